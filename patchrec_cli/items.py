"""`patchrec data items`: add items to a data set's catalog, and list them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from patchrec.errors import UsageError
from patchrec_cli import own_files as own
from patchrec_cli.command import Command, command_group
from patchrec_cli.display import Column, Output, print_fields, print_note, print_table
from patchrec_cli.numbers import count, moment, several
from patchrec_cli.parameters import Json, Quiet, home_of

app = command_group("items", "Add items to a data set's catalog, and list them.")
FROM_FILE = "Items of a file"
Name = Annotated[str, typer.Argument(metavar="NAME", help="Data set; see `patchrec data ls`.")]


@app.command("add", cls=Command)
@own.takes_files(own.OF_ITEMS)
def add(
    ctx: typer.Context,
    name: Name,
    *,
    item_id: Annotated[str | None, typer.Option("--item-id", metavar="ID", help="Id of the new item.")] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TITLE", help="Its title.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What else is known of it; repeat it."),
    ] = None,
    from_path: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Items with their titles, one a row.", rich_help_panel=FROM_FILE),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    **of_files: Any,
) -> None:
    """Add items by their titles; runs trained before can recommend them at once.

    All are added or none. An id that the catalog has is refused.

    Examples:
        patchrec data items add ml-100k --item-id 9001 --title "New Film" --set year=2026
        patchrec data items add shop --from new.csv --item-col sku --title-col name
    """
    from patchrec.operations import datasets
    from patchrec.operations.runs import list_runs

    output = Output(json, quiet)
    given = own.given(of_files)
    found = datasets.add_items(
        name,
        item_id=item_id,
        title=title,
        metadata=assignments(settings or []),
        from_path=from_path,
        home=home_of(ctx),
        report=output.reporter,
        **given,
    )
    added = found["items"]
    if not output.emit(found, [item["item_id"] for item in added]):
        only = added[0] if len(added) == 1 else None
        shown = f"{only['item_id']} ({only['title']})" if only else several(len(added), "items")
        print_fields({"data": name, "added": shown, "catalog": several(found["num_items"], "items")})
    rows = list_runs(home=home_of(ctx))
    able = [
        row["name"] for row in rows if (row["dataset"], row["status"]) == (name, "done") and row["stage"] != "pretrain"
    ]
    output.next_step(f"patchrec recommend --user ID --run {able[0]}" if able else f"patchrec data items ls {name}")


@app.command("ls", cls=Command)
def ls(
    ctx: typer.Context,
    name: Name,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most N; default: all.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the items of a data set, the last one first."""
    from patchrec.operations import datasets

    output = Output(json, quiet)
    found = datasets.list_items(name, limit=limit, home=home_of(ctx))
    if not output.emit(found, [item["item_id"] for item in found["items"]]):
        columns = [
            Column("item", "item_id"),
            Column("title", "title"),
            Column("metadata", "metadata"),
            Column("added (UTC)", "added"),
        ]
        print_table(columns, [item_row(item) for item in found["items"]])
        if len(found["items"]) < found["num_items"] and not quiet:
            print_note(f"note: the last {count(len(found['items']))} of {several(found['num_items'], 'items')}")


def item_row(item: dict[str, Any]) -> dict[str, object]:
    """One item as people read it."""
    parts = [f"{key} {', '.join(map(str, one)) if isinstance(one, list) else one}" for key, one in known(item)]
    return {**item, "metadata": tuple(parts) or None, "added": moment(item["added_at"])}


def known(item: dict[str, Any]) -> list[tuple[str, Any]]:
    """Metadata that has a value."""
    return [(key, one) for key, one in item["metadata"].items() if one not in (None, "", [])]


def assignments(settings: list[str]) -> dict[str, str]:
    """Read "KEY=VALUE" words.

    Raises:
        UsageError: One has no "=" or no key, or a key is there twice.
    """
    found: dict[str, str] = {}
    for word in settings:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set takes KEY=VALUE, such as year=2026; got {word!r}")
        if key.strip() == "title":
            raise UsageError(f"--set does not take {key.strip()!r}; give the title with --title TITLE")
        if key.strip() in found:
            raise UsageError(f"--set has {key.strip()!r} twice; several values of a list go in one, with | between")
        found[key.strip()] = text
    return found
