"""`patchrec demo`: the whole way from ratings to recommendations in one command."""

from typing import Any

import typer

from patchrec_cli.display import Output, plain, print_lines
from patchrec_cli.numbers import duration, value
from patchrec_cli.parameters import Json, Quiet, home_of
from patchrec_cli.recommend import draw_ranking
from patchrec_cli.runs import draw_comparison


def demo(ctx: typer.Context, json: Json = False, quiet: Quiet = False) -> None:
    """Go the whole way once: fetch, train, evaluate, recommend.

    Takes MovieLens-100K and SmolLM2-135M, and less than 8 minutes on two CPU cores. What is there is used again.
    """
    from patchrec.operations import demo as operations

    output = Output(json, quiet)
    result = plain(operations.demo(home=home_of(ctx), report=output.reporter))
    run = result["finetuned"]["run"]
    if output.emit(result, [run]):
        return
    draw_comparison(result["comparison"])
    print_lines(["", verdict(result["comparison"]), ""])
    draw_ranking(result["recommendations"])
    print_lines(["", f"all of it took {duration(result['seconds'])}"])
    user = result["recommendations"]["user"]
    output.next_step(
        f"patchrec strategies preview --run {run} --user {user}",
        f'patchrec recommend --run {run} --history "Toy Story" --history "Alien"',
        f"patchrec finetune --strategy pft-i --M 5 --from {result['pretrained']['run']} --max-steps 8",
        "patchrec runs compare",
    )


def verdict(comparison: dict[str, Any]) -> str:
    """Say in a sentence or two what the three rows (untrained, popularity, fine-tuned) show, good or bad."""
    _, popularity, tuned = comparison["rows"]
    moved = tuned["difference"]
    interval = value(moved["difference"], moved["low"], moved["high"])
    if moved["high"] < 0:
        sure = ": it got worse"
    else:
        sure = "" if moved["low"] > 0 else ", and the interval holds 0: nothing is shown yet"
    behind = popularity["difference"]["difference"] - moved["difference"]
    rest = (
        f"Popularity alone is still {behind:.3f} ahead; longer training is the way on."
        if behind > 0
        else f"That is {-behind:.3f} ahead of popularity alone."
    )
    targets = f"On the same {comparison['num_targets']} targets"
    return f"{targets} fine-tuning moved log_prob by\n{interval} nats{sure}.\n{rest}"
