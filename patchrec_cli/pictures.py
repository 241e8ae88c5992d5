"""`patchrec runs plot` and `patchrec runs report`: pictures of runs, in the terminal or as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from patchrec_cli.display import Output, plain, print_fields, print_note
from patchrec_cli.parameters import Data, Json, Quiet, home_of

if TYPE_CHECKING:
    from patchrec.drawing.chart import Chart

Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN", help="Runs, or groups for each of theirs; default: all evaluated ones (loss: the newest)."
    ),
]
Compared = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN", help="Runs, or groups for each of theirs; default: all that are evaluated on the same data."
    ),
]
Metric = Annotated[
    str | None,
    typer.Option("--metric", metavar="NAME", help="What runs are judged by, such as ndcg@10; default: mrr."),
]
Split = Annotated[Literal["validation", "test"], typer.Option("--split", help="Whose targets.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write over the file where it exists.")]


def plot(
    ctx: typer.Context,
    *,
    picture: Annotated[
        Literal["loss", "frontier", "slices"],
        typer.Argument(metavar="PICTURE", help="What to draw.", show_default=False),
    ],
    names: Runs = None,
    metric: Metric = None,
    split: Split = "test",
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write an .svg or .png; default: the terminal.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw loss curves, accuracy against tokens, or slices.

    The frontier has a point for each run that reads a prompt: a metric against the mean length of its prompts, as in
    Fig. 2 of the PatchRec paper. Slices are parts of the targets: by history, popularity, user and session.

    Examples:
        patchrec runs plot loss pft-s-1 vanilla-1
        patchrec runs plot frontier --metric ndcg@10 --out frontier.svg
        patchrec runs plot slices pft-s-1 popularity-1 --metric hr@20
    """
    from patchrec.operations.charts_file import ENDINGS, check_file, write_charts
    from patchrec.operations.pictures import plot as operation

    output = Output(json, quiet)
    if out is not None:
        check_file(out, ENDINGS, overwrite=overwrite)
    charts = operation(
        picture, names or (), metric=metric, split=split, data=data, home=home_of(ctx), report=output.reporter
    )
    if out is not None:
        write_charts(charts, out, overwrite=overwrite)
    shown = {"picture": picture, "file": None if out is None else str(out), "charts": plain(charts)}
    if output.emit(shown, [out] if out is not None else values_of(charts)):
        return
    if out is not None:
        print_fields({"picture": picture, "file": out})
        return
    from patchrec_cli.terminal_charts import draw_charts

    draw_charts(charts)


def values_of(charts: "Sequence[Chart]") -> list[str]:
    """The numbers of charts, one a line: name, place, value."""
    from patchrec.drawing.chart import Curves

    lines = []
    for chart in charts:
        if isinstance(chart, Curves):
            lines += [f"{one.name} {mark.x:g} {mark.y:.6g}" for one in chart.series for mark in one.marks]
            lines += [f"{level.name} - {level.y:.6g}" for level in chart.levels]
        else:
            for row in chart.rows:
                named = zip(chart.names, row.points, strict=True)
                lines += [f"{name} {row.label!r} {point.value:.6g}" for name, point in named if point is not None]
    return lines


def report(
    ctx: typer.Context,
    names: Compared = None,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page, an .html file.")],
    metric: Metric = None,
    split: Split = "test",
    data: Data = None,
    users: Annotated[
        int, typer.Option("--users", metavar="N", min=0, max=20, help="How many example users are shown; 0: none.")
    ] = 3,
    user: Annotated[
        list[str] | None, typer.Option("--user", metavar="ID", help="Show this user instead; repeat it.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write what is known of runs as one page that needs nothing else.

    Tables with intervals and differences, loss curves, accuracy against tokens, slices, and example users: what of
    their history each run reads as text, as item patches and as session patches, what came next, and the list. The
    first run named is the reference; where none is named it is the best one. The page loads and runs nothing.

    Examples:
        patchrec runs report --out report.html
        patchrec runs report popularity-1 pft-s-1 --metric ndcg@10 --user 42 --out report.html
    """
    from patchrec.operations.report import write_report

    output = Output(json, quiet)
    found: dict[str, Any] = write_report(
        names or (),
        out,
        metric=metric,
        split=split,
        data=data,
        users=users,
        named_users=user or (),
        overwrite=overwrite,
        home=home_of(ctx),
        report=output.reporter,
    )
    if not output.emit(found, [found["file"]]):
        print_fields(
            {
                "file": found["file"],
                "runs": found["runs"],
                "example users": found["users"],
                "size": f"{found['bytes'] / 1000:,.0f} kB",
            }
        )
    if found["users"] and not quiet and not json:
        print_note(f"note: it shows titles and histories of {found['dataset']}; its licence: {found['licence']}")
