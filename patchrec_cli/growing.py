"""`patchrec data append` and `patchrec data users`: data sets that grow, and who is in them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from patchrec_cli import own_files as own
from patchrec_cli.display import Column, Output, print_fields, print_note, print_table
from patchrec_cli.numbers import count, several
from patchrec_cli.parameters import Json, Quiet, home_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="Data set; see `patchrec data ls`.")]
SPLIT = "A new split"


@own.takes_files(own.OF_APPENDING)
def append(
    ctx: typer.Context,
    name: Name,
    *,
    interactions: Annotated[
        list[str] | None,
        own.option("--interactions", "FILE", "File, folder, pattern, archive or -; repeat it.", own.FILES),
    ] = None,
    items: Annotated[
        list[str] | None,
        own.option("--items", "FILE", "Items with their titles; those that are known are left out.", own.FILES),
    ] = None,
    resplit: Annotated[
        bool, typer.Option("--resplit", help="Split the whole data set anew, by its rule.", rich_help_panel=SPLIT)
    ] = False,
    split: Annotated[
        Literal["paper", "temporal", "leave-one-out", "ratio"] | None,
        typer.Option(help="With --resplit: another rule.", rich_help_panel=SPLIT),
    ] = None,
    train: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="With --resplit: share of train, such as 0.8.", rich_help_panel=SPLIT),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="With --resplit: share of validation.", rich_help_panel=SPLIT),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    **of_files: Any,
) -> None:
    """Add interactions to a data set, with the users and items that come with them; all are added or none.

    Files are read as those that the data set was made of; options say what is otherwise. What is stored keeps its
    split, and runs made before go on ranking. What is stored already (user, item and second) is left out.

    Examples:
        patchrec data append shop --interactions today.csv
        patchrec data append shop --interactions today.csv --items products.csv
        patchrec data append shop --resplit
    """
    from patchrec.operations import growing

    output = Output(json, quiet)
    found = growing.append_interactions(
        name,
        interactions=interactions or (),
        items=items or (),
        again=resplit,
        split=split,
        train=train,
        validation=validation,
        rejects=of_files["rejects"],
        home=home_of(ctx),
        report=output.reporter,
        **own.given(of_files),
    )
    if not output.emit(found, [str(found["version"])]):
        print_fields(appended_fields(found))
    if found["ranking"]:
        output.next_step(f"patchrec recommend --all --run {found['ranking']} --output recs.parquet")


def appended_fields(found: dict[str, Any]) -> dict[str, object]:
    """What came, as people read it."""
    came, summary = found["appended"], found["dataset"]["summary"]
    new = ", ".join(several(came[what], what) for what in ("users", "items") if came[what])
    targets = ", ".join(f"{split} {count(number)}" for split, number in found["dataset"]["targets"].items())
    return {
        "data": found["dataset"]["name"],
        "version": str(found["version"]),
        "appended": several(came["interactions"], "interactions") + (f"; new: {new}" if new else ""),
        "late": count(came["late"]) if came.get("late") else None,
        "now": f"{several(summary['interactions'], 'interactions')}, {several(summary['users'], 'users')}, "
        f"{several(summary['items'], 'items')}",
        "targets": targets,
    }


def users(
    ctx: typer.Context,
    name: Name,
    match: Annotated[str | None, typer.Option("--match", metavar="TEXT", help="Only ids with this in them.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most N; default: all.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the users of a data set, with how many interactions each has, the first and the last."""
    from patchrec.operations import growing

    output = Output(json, quiet)
    found = growing.list_users(name, match=match, limit=limit, home=home_of(ctx))
    rows = found["users"]
    if not output.emit(found, [row["user_id"] for row in rows]) and rows:
        shown = [{**row, "first": at(row["first"]), "last": at(row["last"])} for row in rows]
        columns = [
            Column("user", "user_id"),
            Column("interactions", "interactions", right=True),
            Column("first (UTC)", "first"),
            Column("last (UTC)", "last"),
        ]
        print_table(columns, shown)
    if len(rows) < found["num_users"] and not quiet:
        fitting, everyone = found["num_matching"], found["num_users"]
        of = count(fitting if len(rows) < fitting else everyone)
        print_note(
            f"note: {count(len(rows))} of {of} users" + (f" with {match!r} in them" if fitting < everyone else "")
        )


def at(seconds: int | None) -> str | None:
    """Unix seconds as people read them."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
