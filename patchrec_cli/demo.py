"""`patchrec demo`: the whole way from ratings to recommendations in one command."""

import typer

from patchrec_cli.display import Output
from patchrec_cli.parameters import Json, Quiet, home_of


def demo(ctx: typer.Context, json: Json = False, quiet: Quiet = False) -> None:
    """Go the whole way once: fetch, train, evaluate, recommend.

    Takes MovieLens-100K and SmolLM2-135M, and less than 8 minutes on two CPU cores. What is there is used again.
    """
    from patchrec.operations import demo as operations

    output = Output(json, quiet)
    operations.demo(home=home_of(ctx), report=output.reporter)
