"""`patchrec serve`: runs kept warm behind HTTP."""

import sys
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from patchrec.errors import UsageError
from patchrec_cli.display import Output, print_note
from patchrec_cli.parameters import Data, Json, Quiet, home_of

NEEDS = ("fastapi", "uvicorn")


def serve(
    ctx: typer.Context,
    *,
    runs: Annotated[
        list[str] | None,
        typer.Option(
            "--run", metavar="RUN", help="Run; default: the newest fine-tuned one. Repeat it: several of one data set."
        ),
    ] = None,
    data: Data = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Others than this machine's own need PATCHREC_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8000,
    cache: Annotated[
        float,
        typer.Option(
            "--cache", metavar="GB", min=0, max=1e6, help="Memory for users' prompts, in equal parts for runs; 0: none."
        ),
    ] = 1.0,
    queue: Annotated[
        int, typer.Option("--queue", metavar="N", min=1, max=100_000, help="Requests that wait; others get 503.")
    ] = 256,
    wait: Annotated[
        float, typer.Option("--wait", metavar="MS", min=0, max=1000, help="Milliseconds to wait for a fuller batch.")
    ] = 4.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer recommendation requests over HTTP until Ctrl-C or SIGTERM.

    Needs the extra `serve`: pip install "patchrec[serve]". The address is a page for a browser, /openapi.json lists
    what can be asked. PATCHREC_TOKEN is asked of every request where it is set, PATCHREC_ADMIN_TOKEN of POST /reload.

    Examples:
        patchrec serve --run pft-s-1
        patchrec serve --run pft-s-1 --run sasrec-1
        patchrec serve --port 8080 --cache 4
    """
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise UsageError(f'{" and ".join(missing)} missing; install with: pip install "patchrec[serve]"')
    from patchrec.serving.server import serve as keep_serving

    output = Output(json, quiet)

    def started(served: Any, address: str) -> None:
        loaded = [one.loaded for one in served.runs]
        names = [{"run": one.run.name, "label": one.run.label} for one in loaded]
        dataset = loaded[0].dataset.name
        if output.emit({**names[0], "dataset": dataset, "address": address, "runs": names}, [address]):
            sys.stdout.flush()  # whoever waits for it reads from a pipe
        else:
            shown = ", ".join(f"{one['run']} ({one['label']})" for one in names)
            many = "run" if len(names) == 1 else "runs"
            print_note(f"serving {many} {shown} of {dataset} on {address} (Ctrl-C stops)")

    keep_serving(
        *(runs or ()),
        data=data,
        host=host,
        port=port,
        cache_bytes=int(cache * 1e9),
        most_waiting=queue,
        wait=wait / 1000,
        home=home_of(ctx),
        report=output.reporter,
        started=started,
    )
