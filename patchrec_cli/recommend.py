"""`patchrec recommend`: a ranking for a user or a made-up history."""

from typing import Annotated, Any, Literal

import typer

from patchrec_cli.display import Column, Output, plain, print_fields, print_note, print_table
from patchrec_cli.parameters import Data, Json, Quiet, Run, home_of


def recommend(
    ctx: typer.Context,
    *,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="User id of the data set.")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option("--history", metavar="TITLE", help="A title or item id; repeat it, oldest first."),
    ] = None,
    run: Run = None,
    k: Annotated[int, typer.Option("--k", metavar="N", min=1, help="How many to recommend.")] = 10,
    data: Data = None,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Also rank what the user has had.")] = False,
    score: Annotated[
        Literal["catalog", "joint"] | None, typer.Option("--score", help="Score; default: the run's.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recommend the next items for a user or a history.

    Examples:
        patchrec recommend --user 42
        patchrec recommend --history "Toy Story" --history "Alien"
    """
    from patchrec.operations import recommend as operations

    output = Output(json, quiet)
    result = plain(
        operations.recommend(
            user=user,
            history=history or None,
            run=run,
            k=k,
            data=data,
            keep_seen=keep_seen,
            score=score,
            home=home_of(ctx),
            report=output.reporter,
        )
    )
    if not output.emit(result, [row["item_id"] for row in result["ranking"]]):
        draw_ranking(result)
    if result["shortfall"] and not quiet:
        print_note(f"note: {result['shortfall']}")


def draw_ranking(result: dict[str, Any]) -> None:
    """Print a ranking after the newest titles of the history that it follows."""
    whose = f"user {result['user']}" if result["user"] is not None else "the history"
    print_fields(
        {
            "run": f"{result['run']} ({result['label']})",
            "for": f"{whose}, after {result['history_length']} items",
            "newest": " | ".join(result["history"]),
        }
    )
    columns = [
        Column("rank", "rank", right=True),
        Column("item", "item_id"),
        Column("title", "title"),
        Column(f"{result['score']} score", "score", right=True),
    ]
    print_table(columns, [row | {"score": f"{row['score']:.3f}"} for row in result["ranking"]], title=" ")
