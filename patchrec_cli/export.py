"""`patchrec export`: a run as a folder that any Hugging Face program opens, and on the hub where asked."""

from pathlib import Path
from typing import Annotated

import typer

from patchrec_cli.display import Output, plain, print_fields
from patchrec_cli.parameters import Json, Quiet, home_of

HUB = "Hugging Face hub"


def export(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run; see `patchrec runs ls`.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; it must be new or empty.")],
    push: Annotated[
        str | None,
        typer.Option(
            "--push",
            metavar="OWNER/NAME",
            help="Also upload the folder to a new private repository, with your `hf auth login`.",
            rich_help_panel=HUB,
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --push: let everybody see it.", rich_help_panel=HUB)
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run as a Hugging Face model folder with a model card.

    AutoModelForCausalLM.from_pretrained opens it; the patch markers are in its tokenizer. README.md, the card, says
    what was trained on what, with metrics, costs and licences. Nothing leaves this machine without --push.

    Examples:
        patchrec export pft-s-1 my-model
        patchrec export pft-s-1 my-model --push jane/my-model
    """
    from patchrec.operations.exporting import export as operations

    output = Output(json, quiet)
    result = plain(
        operations.export_run(run, folder, push=push, public=public, home=home_of(ctx), report=output.reporter)
    )
    pushed = result["pushed"]
    if not output.emit(result, [result["folder"], *([pushed["url"]] if pushed else [])]):
        shown = {**result, "pushed": None}
        if pushed:
            shown["hub"] = f"{pushed['url']} ({'private' if pushed['private'] else 'public'})"
        print_fields(shown)
