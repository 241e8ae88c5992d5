"""`patchrec demo`: the whole way from ratings to recommendations in one command."""

from shlex import quote
from typing import Annotated, Any

import typer

from patchrec.errors import InterruptedRunError
from patchrec_cli.comparison import draw_comparison
from patchrec_cli.display import Output, plain, print_lines, print_note
from patchrec_cli.numbers import duration, several, value
from patchrec_cli.parameters import Json, Quiet, home_of
from patchrec_cli.recommend import draw_ranking

Data = Annotated[
    str | None,
    typer.Option("--data", metavar="NAME", help="A data set of yours instead, and a small model made of its titles."),
]


def demo(ctx: typer.Context, data: Data = None, json: Json = False, quiet: Quiet = False) -> None:
    """Go the whole way once: fetch, train, evaluate, recommend.

    Takes MovieLens-100K and SmolLM2-135M, and less than 8 minutes on two CPU cores. What is there is used again, and
    what was stopped goes on.

    Examples:
        patchrec demo
        patchrec demo --data shop
    """
    from patchrec.operations import demo as operations

    output = Output(json, quiet)
    try:
        result = plain(operations.demo(data=data, home=home_of(ctx), report=output.reporter))
    except InterruptedRunError as error:
        raise InterruptedRunError(f"{error}; the same demo goes on from there", error.exit_code) from error
    run = result["best"]
    if output.emit(result, [run]):
        return
    draw_comparison(result["comparison"])
    print_lines(["", verdict(result["comparison"], run), ""])
    draw_ranking(result["recommendations"])
    if result["recommendations"]["shortfall"]:
        print_note(f"note: {result['recommendations']['shortfall']}")
    print_lines(["", f"all of it took {duration(result['seconds'])}"])
    output.next_step(*(_next_on_own_data if data else _next)(result, run))


def _next(result: dict[str, Any], run: str) -> list[str]:
    """What is worth a look on the demo's own data."""
    data = result["comparison"]["dataset"]
    return [
        f'patchrec recommend --run {run} --history "Toy Story" --history "Alien"',
        f"patchrec baseline sasrec --data {data}",
        f"patchrec recommend --run {run} --user {quote(result['recommendations']['user'])} --explain",
        f"patchrec finetune --strategy pft-s --L 5 --data {data} --dry-run",
        f"patchrec runs compare --data {data}",
    ]


def _next_on_own_data(result: dict[str, Any], run: str) -> list[str]:
    """What is done with a recommender that one has."""
    data = result["comparison"]["dataset"]
    return [
        f"patchrec recommend --run {run} --all --output {run}.csv",
        f"patchrec serve --run {run}",
        f"patchrec runs report --data {data} --out {data}.html",
        f"patchrec baseline sasrec --data {data}",
    ]


def verdict(comparison: dict[str, Any], who: str = "the model") -> str:
    """Say in a sentence or two what the last row shows against the first (popularity), good or bad."""
    popularity, tuned = comparison["rows"][0], comparison["rows"][-1]
    found = tuned["difference"]
    sign = -1 if found["difference"] < 0 else 1
    bounds = [
        sign * bound for bound in (found["low"], found["high"]) if bound is not None
    ]  # of one user there are none
    size = value(sign * found["difference"], *sorted(bounds))
    is_level = round(found["difference"], 3) == 0
    place = "level with" if is_level else "ahead of" if sign > 0 else "behind"
    users = several(comparison["num_users"], "users")
    unsure = ""
    if not bounds:
        unsure = f",\nand {users} {'is' if comparison['num_users'] == 1 else 'are'} too few to say more"
    elif not is_level and min(bounds) <= 0 <= max(bounds):
        unsure = f",\nand the interval holds 0: {users} are too few to be sure"
    shown = (
        f"On the same {several(comparison['num_targets'], 'targets')} {who} is {place} popularity in\n"
        f"{comparison['metric']}{',' if is_level else ' by'} {size}{unsure}."
    )
    return "\n".join([shown, *_likelier(_log_prob(popularity), _log_prob(tuned))])


def _likelier(before: float | None, after: float | None) -> list[str]:
    """Say how much likelier the targets are than they were, in nats; nothing where one is not known."""
    if before is None or after is None:
        return []
    nats = after - before
    if round(nats, 2) == 0:
        return ["It finds them as likely."]
    return [f"It finds them {abs(nats):.2f} nats {'more' if nats > 0 else 'less'} likely."]


def _log_prob(row: dict[str, Any]) -> float | None:
    """Mean log-probability of the targets, in nats; None where a target has no probability."""
    found = next(metric["value"] for metric in row["metrics"] if metric["name"] == "log_prob")
    return None if found is None else float(found)
