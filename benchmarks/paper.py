"""The tables and figures of the PatchRec paper, trained and evaluated anew on any data set, with any backbone.

    python -m benchmarks.paper table-3 --data ml-100k --backbone smollm2-135m --seeds 3

Every line is an ordinary run of the store: one that is done is used again, and `patchrec runs compare` pairs them by
users. All lines of a call take the same steps.

Source: PatchRec (SIGIR 2025). `dropout` of its Table 4 leaves items out during stage 1; our strategy of that name
always leaves them out. Its Fig. 8 is about time: the column `ms` is what ranking the whole catalog took for a target;
`python -m benchmarks.ranking --only long` measures the best 20 alone.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, get_args

from benchmarks.prompts import tell
from benchmarks.sections import run as run_sections
from benchmarks.tables import Column, Section
from patchrec import plugins
from patchrec.errors import PatchrecError, not_found
from patchrec.evaluation.rows import LOG_PROB
from patchrec.model.backbone import Backbone, fast_dtype
from patchrec.model.pull import DEFAULT_BACKBONE
from patchrec.operations.backbones import find_backbone
from patchrec.operations.evaluate import EvaluationResult, evaluate
from patchrec.operations.training.defaults import refuse_values
from patchrec.operations.training.train import RunResult, baseline, finetune, pretrain
from patchrec.reporting import SILENT
from patchrec.store import Store

Start = Literal["pretrained", "none", "itself"]
Loss = Literal["catalog", "vocabulary"]
BASELINES = ("popularity", "recent", "markov", "item-knn", "sasrec", "esasrec")  # that need no model and little time
COLUMNS = (
    Column("", "label"),
    Column("hr@20", "hr@20 dropped", ".3f"),
    Column("kept", "hr@20 kept", ".3f"),
    Column("ndcg@20", "ndcg@20 dropped", ".3f"),
    Column("kept", "ndcg@20 kept", ".3f"),
    Column("log_prob", LOG_PROB, ".3f"),
    Column("ratio", "compression_paper", ".2f"),
    Column("tok/target", "tokens_per_target", ",.0f"),
    Column("ms", "ms_per_target", ",.0f"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table.

    Attributes:
        label: In words.
        strategy: What plans histories; None: `label` is a baseline.
        options: Of the strategy.
        head: What answers.
        start: What is fine-tuned: a pre-trained model, the backbone, or nothing: the pre-trained model itself is
            evaluated under the strategy.
        pretraining: Options of stage 1.
        settings: Of the runs, beside those of the call.
        users_with: Targets of users with so many items alone; None: of all.
    """

    label: str
    strategy: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    head: str = "title"
    start: Start = "pretrained"
    pretraining: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    users_with: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What a call asked for.

    Attributes:
        M, L: Of PFT-I and PFT-S, where a table does not vary them.
        limit: A sample of so many test targets; None takes all.
        long: How many items a long history has.
        settings: Of every run of a language model, as `patchrec.operations.training.train` takes them.
        kinds: Baselines of the table of recommenders.
        loss: Of titles, where they are fine-tuned; None: the default. Pre-training has no choice.
    """

    home: Path | None
    data: str
    backbone: str
    seeds: Sequence[int]
    M: int
    L: int
    limit: int | None
    long: str
    settings: Mapping[str, Any]
    kinds: Sequence[str] = BASELINES
    loss: Loss | None = None

    @property
    def strategies(self) -> dict[str, dict[str, Any]]:
        """The three that the paper compares."""
        return {"vanilla": {}, "pft-i": {"M": self.M}, "pft-s": {"L": self.L}}


def table_2(job: Job) -> Iterator[Line]:
    """Baselines and strategies."""
    yield from (Line("popularity"), Line("sasrec"))
    yield from (Line(_named(name, options), name, options) for name, options in job.strategies.items())


def table_3(job: Job) -> Iterator[Line]:
    """Each strategy with and without patch pre-training."""
    for name, options in job.strategies.items():
        yield Line(_named(name, options), name, options, start="none")
        yield Line(f"{_named(name, options)}, pre-trained", name, options)


def table_4(job: Job) -> Iterator[Line]:
    """What pre-training is worth, part by part."""
    session = {"L": job.L}
    yield Line("whole", "pft-s", session)
    yield Line("stage 1 drops items", "pft-s", session, pretraining={"into": "nothing"})
    yield Line("stage 1 without patches", "pft-s", session, pretraining={"schedule": "none"})
    yield Line("without stage 1", "pft-s", session, start="none")
    yield Line("stage 1 alone, text", "vanilla", start="itself")
    yield Line("stage 1 alone, patches", "item-mean", start="itself")


def figure_5(job: Job) -> Iterator[Line]:
    """History lengths K."""
    for K in (20, 50, 100, 150):
        for name, options in job.strategies.items():
            yield Line(f"{_named(name, options)}, K={K}", name, options, settings={"K": K})


def figure_6(job: Job) -> Iterator[Line]:
    """Items kept as text (M), and items of a session (L)."""
    del job
    yield from (Line(f"pft-i M={M}", "pft-i", {"M": M}) for M in (1, 3, 5, 10, 20))
    yield from (Line(f"pft-s L={L}", "pft-s", {"L": L}) for L in (2, 5, 10, 20))


def figure_8(job: Job) -> Iterator[Line]:
    """Users with long histories, at the paper's K = 150."""
    for name, options in job.strategies.items():
        yield Line(_named(name, options), name, options, settings={"K": 150}, users_with=job.long)


def recommenders(job: Job) -> Iterator[Line]:
    """All kinds of recommender: counts, identifiers, an item head, titles and both heads."""
    yield from map(Line, job.kinds)
    yield Line("item head", "item-mean", {}, "item", "none")
    yield Line(f"titles, pft-s L={job.L}", "pft-s", {"L": job.L}, "title", "none")
    yield Line("both heads", "item-mean", {}, "both", "none")


def figure_2(job: Job) -> Iterator[Line]:
    """Quality by compression: everything that compresses, beside all text."""
    yield Line("vanilla", "vanilla")
    yield from (Line(f"dropout M={M}", "dropout", {"M": M}) for M in (5, 20))
    yield Line("item-mean", "item-mean")
    yield from figure_6(job)


TABLES: dict[str, Callable[[Job], Iterator[Line]]] = {
    "table-2": table_2,
    "table-3": table_3,
    "table-4": table_4,
    "figure-2": figure_2,
    "figure-5": figure_5,
    "figure-6": figure_6,
    "figure-8": figure_8,
    "recommenders": recommenders,
}


def _named(strategy: str, options: Mapping[str, Any]) -> str:
    return " ".join([strategy, *(f"{name}={value}" for name, value in options.items())])


def section(job: Job, name: str) -> Iterator[Section]:
    """Train and evaluate every line of a table, seed by seed; show means over the seeds."""
    rows = []
    for line in TABLES[name](job):
        found = [_numbers(_evaluated(job, line, seed)) for seed in job.seeds]
        known = {key for one in found for key, value in one.items() if isinstance(value, float)}
        means = {
            key: fmean(one[key] for one in found) for key in known if all(one.get(key) is not None for one in found)
        }
        rows.append({"label": line.label, **means, "seeds": dict(zip(job.seeds, found, strict=True))})
    runs = " ".join(one["run"] for row in rows for one in row["seeds"].values())
    told = f"Seen items dropped and kept; means over seeds {', '.join(map(str, job.seeds))}."
    yield Section(f"{name}: {(TABLES[name].__doc__ or '').rstrip('.')}", COLUMNS, rows, (), (told, f"runs: {runs}"))


def _evaluated(job: Job, line: Line, seed: int) -> EvaluationResult:
    common: dict[str, Any] = {"limit": job.limit, "reuse": True, "home": job.home, "report": SILENT}
    common["users_with"] = line.users_with
    tell(f"  {line.label}, seed {seed}")
    if line.strategy is None:
        fitted = baseline(line.label, data=job.data, seed=seed, reuse=True, home=job.home)
        return evaluate(fitted.run, **common)
    if line.start == "itself":
        return evaluate(_pretrained(job, line, seed).run, strategy=line.strategy, options=dict(line.options), **common)
    start = "none" if line.start == "none" else _pretrained(job, line, seed).run
    own = {"backbone": job.backbone} if line.start == "none" else {}
    of_head = {"loss": job.loss} if "loss" in plugins.find_kind(line.head).options.model_fields else {}
    run = finetune(
        strategy=line.strategy, options=dict(line.options), head=line.head, head_options=of_head, start=start,
        data=job.data, seed=seed, reuse=True, home=job.home, **{**job.settings, **line.settings, **own},
    )  # fmt: skip
    return evaluate(run.run, **common)


def _pretrained(job: Job, line: Line, seed: int) -> RunResult:
    """The pre-trained model that a line begins with."""
    settings = {**job.settings, **line.settings}
    return pretrain(
        options=dict(line.pretraining), data=job.data, backbone=job.backbone, seed=seed, reuse=True, home=job.home,
        **settings,
    )  # fmt: skip


def _numbers(found: EvaluationResult) -> dict[str, Any]:
    """The numbers of a line, all targets, over items (`log_prob`: titles)."""
    metrics = {
        row.name if row.name == LOG_PROB else f"{row.name} {row.seen}": row.value
        for row in found.metrics
        if row.slice == "all" and (row.level == "item" or row.name == LOG_PROB)
    }
    cost = {key: value for key, value in found.cost.items() if value is not None}
    cost["ms_per_target"] = 1000 * found.cost["seconds_per_target"]
    return {"run": found.run, **metrics, **{key: float(value) for key, value in cost.items()}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the tables asked for, print them, and give an exit code."""
    given = _parser().parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    names = (
        "layers", "epochs", "max_steps", "batch_size", "learning_rate", "tree_targets", "dropout", "max_nodes", "K",
    )  # fmt: skip
    settings = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    job = Job(
        given.home, given.data, given.backbone, range(given.seeds), given.M, given.L, given.limit, given.long, settings,
        given.kinds, given.loss,
    )  # fmt: skip
    try:
        _refuse_unknown(given.kinds)
        refuse_values("finetune", settings)
        with Store.open(given.home) as store:
            folder = find_backbone(store, given.backbone).folder
            store.datasets.load(given.data)
        backbone = Backbone.load(folder, name=given.backbone)
        chosen = {name: (lambda name=name: section(job, name)) for name in given.tables}
        precision = f"trains in {str(fast_dtype()).removeprefix('torch.')}"
        command = shlex.join(["python", "-m", "benchmarks.paper", *words])
        run_sections(chosen, command, given.json, backbone=backbone, data=given.data, precision=precision)
    except PatchrecError as error:
        tell(f"error: {error}")
        return error.exit_code
    return 0


def _refuse_unknown(kinds: Sequence[str]) -> None:
    """Refuse baselines that there are not, before anything is trained.

    Raises:
        NotFoundError: The message names the choices.
    """
    known = [name for name, kind in plugins.recommenders().items() if kind.is_baseline]
    for name in kinds:
        if name not in known:
            raise not_found("baseline", name, known)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description=str(__doc__).splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("tables", nargs="+", choices=TABLES, metavar="TABLE", help=", ".join(TABLES))
    add("--home", type=Path, help="folder of the store; None: the usual one")
    add("--data", default="ml-100k", help="data set")
    add("--backbone", default=DEFAULT_BACKBONE, help="where training starts")
    add("--seeds", type=int, default=1, help="how many, from 0 on")
    add("--M", type=int, default=5, help="of PFT-I")
    add("--L", type=int, default=5, help="of PFT-S")
    add("--limit", type=int, help="a sample of so many test targets; None: all")
    add("--kinds", nargs="+", default=BASELINES, metavar="NAME", help="baselines among the recommenders")
    add("--long", default="500+", help="items of the users of figure 8")
    add("--layers", type=int, help="first layers of the backbone that are kept; None: all")
    add("--epochs", type=int, help="of each stage; None: the defaults")
    add("--max-steps", type=int, help="of each stage")
    add("--batch-size", type=int, help="targets a step; None: the default")
    add("--learning-rate", type=float, help="of both stages; None: the default")
    add("--tree-targets", type=int, help="1 makes targets independent, as in the paper; None: whole trees")
    add("--loss", choices=get_args(Loss), help="of titles, fine-tuned; None: the default")
    add("--dropout", type=float, help="of both stages; None: the default")
    add("--max-nodes", type=int, help="of one forward pass, both stages; None: the default")
    add("--K", type=int, help="newest items kept; None: the default")
    add("--json", type=Path, metavar="FILE", help="write all raw numbers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
