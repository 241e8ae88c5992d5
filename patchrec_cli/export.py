"""`patchrec export`: a run as a folder that any Hugging Face program opens."""

from pathlib import Path
from typing import Annotated

import typer

from patchrec_cli.display import Output, plain, print_fields
from patchrec_cli.parameters import Json, Quiet, home_of


def export(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run; see `patchrec runs ls`.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; it must be new or empty.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run as a Hugging Face model folder.

    AutoModelForCausalLM.from_pretrained opens it; the patch markers are in its tokenizer.
    """
    from patchrec.operations import export as operations

    output = Output(json, quiet)
    result = plain(operations.export_run(run, folder, home=home_of(ctx), report=output.reporter))
    if not output.emit(result, [result["folder"]]):
        print_fields(result)
