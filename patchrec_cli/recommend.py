"""`patchrec recommend`: a ranking for a user or a made-up history, or rankings for many users into a file."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from patchrec.errors import InterruptedRunError, UsageError
from patchrec_cli.display import (
    Column,
    Output,
    is_first_process,
    plain,
    print_fields,
    print_note,
    print_table,
    shortened,
)
from patchrec_cli.numbers import count, duration, several
from patchrec_cli.parameters import Data, Json, Quiet, Run, Score, home_of

FILTERS = "Filters"
MANY = "Many users"
SHOWN_TITLES = 5  # of a part
TITLE_LETTERS = 200  # of a title
SHOWN_PARTS = 3  # of a history, for each recommended item
NOT_REPEATED = ("restart",)  # what a job that is gone on with must not do again


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
    score: Score = None,
    search: Annotated[
        Literal["best-first", "whole"],
        typer.Option("--search", help="Stop with a proof, or score every title; both are exact."),
    ] = "best-first",
    retrieve: Annotated[
        int | None,
        typer.Option(
            "--retrieve", metavar="N", min=1, help="Rank only the best N by the run's item head; default: all."
        ),
    ] = None,
    explain_search: Annotated[
        bool, typer.Option("--explain-search", help="Show why the ranking is exact and what that took.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show which parts of the history carried each item; no cause.")
    ] = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens-per-batch", metavar="N", min=1, help="Prompt positions at a time; default: by free memory."
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help='Condition, as "year >= 1990".', rich_help_panel=FILTERS),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="ITEM", help="Only these: id, title or @FILE.", rich_help_panel=FILTERS),
    ] = None,
    deny: Annotated[
        list[str] | None,
        typer.Option("--deny", metavar="ITEM", help="None of these: id, title or @FILE.", rich_help_panel=FILTERS),
    ] = None,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Also rank what the user has had.", rich_help_panel=FILTERS)
    ] = False,
    everyone: Annotated[
        bool, typer.Option("--all", help="Recommend for every user of the data set.", rich_help_panel=MANY)
    ] = False,
    users: Annotated[
        str | None,
        typer.Option("--users", metavar="FILE", help="One user id a line; - for stdin.", rich_help_panel=MANY),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--output", metavar="FILE", help=".parquet, .csv or .jsonl; - for stdout.", rich_help_panel=MANY),
    ] = None,
    file_format: Annotated[
        Literal["csv", "jsonl", "parquet"] | None,
        typer.Option("--format", help="Default: by the file's ending; stdout: jsonl.", rich_help_panel=MANY),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="COLUMN", help="In every row too: title, or a field; repeat it.", rich_help_panel=MANY
        ),
    ] = None,
    unknown: Annotated[
        Literal["error", "skip", "popular"] | None,
        typer.Option("--unknown", help="Users that the data set does not have; default: error.", rich_help_panel=MANY),
    ] = None,
    rejects: Annotated[
        str | None,
        typer.Option("--rejects", metavar="FILE", help="Write their ids there; implies skip.", rich_help_panel=MANY),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over the file where it exists.", rich_help_panel=MANY)
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what a stopped job has done.", rich_help_panel=MANY)
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="ray[:ADDRESS]", help="Actors of a Ray cluster rank; default: here.", rich_help_panel=MANY
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recommend the next items for a user, a history or many users.

    A job for many users that was stopped goes on with the same command.

    Examples:
        patchrec recommend --user 42
        patchrec recommend --history "Toy Story" --history "Alien"
        patchrec recommend --user 42 --where "year >= 1990" --explain-search
        patchrec recommend --user 42 --explain
        patchrec recommend --all --output recs.parquet --with title
        patchrec recommend --users night.txt --output recs.csv --unknown popular --rejects new.txt
    """
    from patchrec.operations.filters import Filters

    output = Output(json, quiet)
    asked = {
        "run": run,
        "k": k,
        "data": data,
        "filters": Filters(where, tuple(allow or ()), tuple(deny or ()), keep_seen),
        "score": score,
        "search": search,
        "max_tokens": max_tokens,
        "retrieve": retrieve,
    }
    if not (everyone or users):
        many: dict[str, object] = {"--output": to, "--format": file_format, "--overwrite": overwrite}
        many |= {
            "--restart": restart,
            "--on": on,
            "--with": columns,
            "--rejects": rejects,
            "--unknown skip": unknown == "skip",
        }
        refuse("goes with --all or --users FILE", many)
        whose = {"user": user, "history": history or None, "unknown": unknown or "error", "explain": explain}
        recommend_one(output, explain_search, home_of(ctx), **asked, **whose)
        return
    refuse("does not go with --all", {"--users": everyone and users})
    one = {"--user": user, "--history": history, "--explain": explain, "--explain-search": explain_search}
    refuse("does not go with --all and --users", one)
    if to is None:
        raise UsageError("where to? give --output FILE, such as --output recs.parquet, or --output - for stdout")
    into: dict[str, Any] = {"output": to, "format": file_format, "overwrite": overwrite, "restart": restart, "on": on}
    into |= {"columns": tuple(columns or ()), "unknown": unknown, "rejects": rejects}
    recommend_many(output, home_of(ctx), **asked, **into, users=users, again=command_line(ctx))


def refuse(why: str, given: Mapping[str, object]) -> None:
    """Refuse options that have no use here.

    Raises:
        UsageError: Names the first.
    """
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} {why}; see `patchrec recommend --help`")


def recommend_one(shown: Output, explain_search: bool, home: Path | None, **asked: Any) -> None:
    """Rank after one history and print it."""
    from patchrec.operations import recommend as operations

    result = plain(operations.recommend(**asked, home=home, report=shown.reporter))
    if not shown.emit(result, [row["item_id"] for row in result["ranking"]]):
        draw_ranking(result)
        if result["explanation"]:
            draw_explanation(result)
        if explain_search:
            draw_certificate(result["certificate"])
    if result["shortfall"] and not shown.quiet:
        print_note(f"note: {result['shortfall']}")


def recommend_many(shown: Output, home: Path | None, **asked: Any) -> None:
    """Rank for many users into a file and print what that came to."""
    from patchrec.operations.many.bulk_job import Request
    from patchrec.operations.many.recommend_all import recommend_all

    try:
        found = recommend_all(Request(**asked), home=home, report=shown.reporter)
    except InterruptedRunError as error:
        if not is_first_process():
            raise SystemExit(error.exit_code) from error
        raise
    if found is None:
        return
    result = plain(found)
    if result["output"] == "-":  # stdout is for the rows
        if not shown.quiet:
            print_note(f"{count(result['rows'])} rows for {several(result['users'], 'users')}")
    elif not shown.emit(result, [result["output"]]):
        draw_bulk(result)
    if result["shortfall"] and not shown.quiet:
        print_note(f"note: {result['shortfall']}")


def command_line(ctx: typer.Context) -> str:
    """The command that was given, as it can be given again to go on with it."""
    words = ["patchrec"]
    home = home_of(ctx)
    if home is not None:
        words += ["--home", str(home)]
    words.append(str(ctx.info_name))
    for param in ctx.command.params:
        value = ctx.params.get(str(param.name))
        if value == param.default or value in (None, False, ()) or param.name in NOT_REPEATED:
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [param.opts[0]] if value is True else [param.opts[0], str(one)]
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        words = ["torchrun", "--nproc_per_node", processes, "-m", "patchrec_cli", *words[1:]]
    return shlex.join(words)


def draw_ranking(result: dict[str, Any]) -> None:
    """Print a ranking after the newest titles of the history that it follows."""
    whose = f"user {result['user']}" if result["user"] is not None else "the history"
    after = f"after {several(result['history_length'], 'items')}"
    if result["source"] != "model":
        told = {"popularity": "what is popular", "empty history": "the run's answer to an empty history"}
        after = f"whom the data set does not have: {told[result['source']]}"
    print_fields(
        {
            "run": f"{result['run']} ({result['label']})",
            "for": f"{whose}, {after}",
            "newest": " | ".join(map(title_shown, result["history"])),
        }
    )
    rows = [
        row
        | {"title": title_shown(row["title"])}
        | {"score": f"{row['score']:.3f}", "probability": percent(row.get("probability"))}
        for row in result["ranking"]
    ]
    columns = [
        Column("rank", "rank", right=True),
        Column("item", "item_id"),
        Column("title", "title"),
        Column(f"{result['score']} score", "score", right=True),
    ]
    if any(row["probability"] for row in rows):
        columns.append(Column("probability", "probability", right=True))
    if rows:
        print_table(columns, rows, title=" ")


def title_shown(title: str) -> str:
    """A title as a ranking shows it: of a very long one the beginning."""
    return str(shortened(title, TITLE_LETTERS))


def percent(probability: float | None) -> str | None:
    """A probability as people read it: "12.4%", "0.03%", "<0.01%"."""
    if probability is None:
        return None
    if probability < 1e-4:
        return "<0.01%"
    return f"{probability:.1%}" if probability >= 0.01 else f"{probability:.2%}"


def draw_explanation(result: dict[str, Any]) -> None:
    """Print, for each recommended item, the parts of the history that carried it most."""
    explanation = result["explanation"]
    rows = []
    for place, line in enumerate(result["ranking"]):
        changed = [(part["changes"][place], part) for part in explanation["parts"]]
        carried = sorted((one for one in changed if one[0] is not None and one[0] > 0), key=lambda one: -one[0])
        for number, (change, part) in enumerate(carried[:SHOWN_PARTS]):
            title = "" if number else title_shown(line["title"])
            rows.append({"title": title, "part": titled(part["titles"]), "change": f"{change:+.3f}"})
    columns = [Column("recommended", "title"), Column("carried by", "part"), Column("nats", "change", right=True)]
    if rows:
        print_table(columns, rows, title=" ")
    print_note(f"note: {explanation['about']}")


def titled(titles: list[str]) -> str:
    """A part of a history by its titles, the newest of many alone."""
    left = len(titles) - SHOWN_TITLES
    return " | ".join([*([f"{left:,} more"] if left > 0 else []), *map(title_shown, titles[-SHOWN_TITLES:])])


def draw_certificate(certificate: dict[str, Any] | None) -> None:
    """Print why a ranking is exact, and what the search took."""
    if certificate is None:
        print_note("note: every item has its own score here, so there is no search to explain")
        return
    kth, bound = certificate["kth_score"], certificate["best_open_bound"]
    verdict = "nothing was left open" if bound is None else "no title left open can score above the last one needed"
    fields = {
        "search": certificate["search"],
        "among": f"the best {count(certificate['retrieved'])} by the item head" if certificate["retrieved"] else None,
        "exact": f"yes: {verdict}" if certificate["holds"] else "NO: a title left open may score higher",
        "k-th score": "fewer candidates than asked for" if kth is None else f"{kth:.6f}",
        "best open bound": "-" if bound is None else f"{bound:.6f}",
        "nodes expanded": count(certificate["num_expanded"]),
        "titles scored": count(certificate["num_titles"]),
        "tokens": f"{count(certificate['num_tokens'])} after the prompt, in {count(certificate['num_rounds'])} rounds",
    }
    print_table(
        [Column("", "name"), Column("", "value")],
        [{"name": n, "value": v} for n, v in fields.items() if v is not None],
        title=" ",
    )


def draw_bulk(result: dict[str, Any]) -> None:
    """Print what recommending for many users came to."""
    speed = result["users_per_second"]
    found = (
        f", {count(result['parts_found'])} of {count(result['parts'])} parts from before"
        if result["parts_found"]
        else ""
    )
    print_fields(
        {
            "file": result["output"],
            "run": f"{result['run']} ({result['label']})",
            "users": count(result["users"])
            + (f", {count(result['unknown_users'])} unknown" if result["unknown_users"] else ""),
            "rows": count(result["rows"]),
            "fewer than k": several(result["short"], "users") if result["short"] else None,
            "time": duration(result["seconds"]) + (f", {speed:,.1f} users/s" if speed is not None else "") + found,
        }
    )
