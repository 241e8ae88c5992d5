"""Time to rank for a batch of histories, kind by kind, side by side: `python -m benchmarks.batch_inference`.

    python -m benchmarks.batch_inference                             # 32 histories, all 30 layers: minutes of beams
    python -m benchmarks.batch_inference --layers 4 --kinds sasrec item title beam
    python -m benchmarks.batch_inference --kinds sasrec lite-llm4rec p5 p5:search=beam beam
    python -m benchmarks.batch_inference --kinds sasrec title beam --title run:pft-s-1

`item` is the native item head (one position an item), `title` the exact best k by titles, `beam` a constrained beam
search of k with a KV cache over the same trie after the same prompts, with the same weights. Any other name is a
baseline, with options after a colon, fitted for one step; `run:NAME` is a run of the store. What is compared takes
turns (A, B, A, B, ...) after one call of each; numbers are medians, ratios medians of paired rounds. An untrained
model is as fast as a trained one but for the exact search, which opens other nodes: name a trained run.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.beam import BeamSearch, Padded
from benchmarks.machine import in_turn
from benchmarks.prompts import LaidOut, tell
from benchmarks.sections import run as run_sections
from benchmarks.tables import Column, Section
from patchrec.data.histories import Dataset
from patchrec.errors import PatchrecError, UsageError
from patchrec.evaluation.evaluate import sample_examples
from patchrec.model.backbone import Backbone
from patchrec.model.pull import DEFAULT_BACKBONE
from patchrec.operations.backbones import find_backbone
from patchrec.operations.load import load
from patchrec.operations.training.train import baseline, finetune
from patchrec.plugins import find_kind
from patchrec.ranking.language import LanguageRecommender
from patchrec.recommender import Query, Recommender, rank
from patchrec.store import Store

ITEM, TITLE, BEAM, OF_STORE = "item", "title", "beam", "run:"
USUAL = ("sasrec", ITEM, TITLE, BEAM)
PUBLISHED = (
    "LITE-LLM4Rec reports 6.13 ms with its item projection against 2,170 ms with a beam search: a ratio of 354, of "
    "other models on other hardware."
)
COLUMNS = (
    Column("kind", "kind"),
    Column("ms/batch", "ms", ",.1f"),
    Column("ms/history", "ms_each", ",.2f"),
    Column("/first", "over_first", ",.2f"),
    Column("beam/it", "beam_over", ",.1f"),
    Column("positions", "positions", ",.1f"),
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured.

    Attributes:
        store: Where the data set and named runs are.
        made: A store of its own, for runs of one step.
        folder: Of the backbone.
        layers: First layers of it that are kept; None keeps all.
        title: What stands for `title`, and gives `beam` its prompts: a strategy with options, or `run:NAME`.
        batch, k, repeats: Histories, length of a ranking, rounds.
        beam_batch: Histories that the beam search takes at a time: it holds k copies of each.
        beam_repeats: Rounds that it takes part in.
        seed: Which targets.
    """

    store: Store
    made: Path
    dataset: Dataset
    folder: Path
    layers: int | None
    title: str
    batch: int
    k: int
    repeats: int
    beam_batch: int
    beam_repeats: int
    seed: int

    def recommender(self, kind: str) -> tuple[Recommender, list[Query]]:
        """What ranks, and the histories as it wants them; no item is left out, so that all have the same candidates."""
        if kind == TITLE and self.title.startswith(OF_STORE):
            kind = self.title
        if kind.startswith(OF_STORE):
            run = self.store.runs.get(kind.removeprefix(OF_STORE))
            if run.dataset != self.dataset.name:
                raise UsageError(f"run {run.name} is of {run.dataset!r}; give --data {run.dataset}")
            store = self.store
            recommender = load(store, run).recommender
        else:
            name = self._fit(kind)
            with Store.open(self.made) as store:
                run = store.runs.get(name)
                recommender = load(store, run).recommender
        examples = self.dataset.examples("test", run.config.history.K, run.config.history.windows)
        chosen = sample_examples(examples, self.batch, self.seed)
        return recommender, [Query.of(self.dataset, example, keep_seen=True) for example in chosen]

    def _fit(self, kind: str) -> str:
        """A run of one step."""
        settings: dict[str, Any] = {"data": self.dataset.name, "home": self.made}
        step = {"max_steps": 1, "batch_size": self.batch, "validate_every": None}
        language = {"start": "none", "backbone": str(self.folder), "layers": self.layers, **step}
        name, options = _named(self.title if kind == TITLE else kind)
        if kind == TITLE:
            return finetune(strategy=name, options=options, **language, **settings).run
        if kind == ITEM:
            return finetune(strategy="item-mean", head="item", **language, **settings).run
        return baseline(name, options=options, **(step if find_kind(name).training else {}), **settings).run


def _named(text: str) -> tuple[str, dict[str, Any]]:
    """A name with its options: "p5:search=beam,layers=2"."""
    name, _, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(",") if part]
    if any(not equals for _, equals, _ in pairs):
        raise UsageError(f"{text!r}: options are written as NAME:OPTION=VALUE,OPTION=VALUE")
    return name, {key.replace("-", "_"): value for key, _, value in pairs}


def batches(bench: Bench, kinds: Sequence[str]) -> Iterator[Section]:
    """The best k for one batch of histories, by every kind in turn."""
    found: dict[str, tuple[Recommender, list[Query]]] = {}
    actions: dict[str, Callable[[], object]] = {}
    for kind in kinds:
        tell(f"  {kind}")
        if kind != BEAM:
            found[kind] = bench.recommender(kind)
            actions[kind] = partial(rank, *found[kind], bench.k)
    if BEAM in kinds:
        actions[BEAM] = _beam_search(bench, *(found.get(TITLE) or bench.recommender(TITLE)))
    times = in_turn(actions, bench.repeats, rare={BEAM: bench.beam_repeats} if BEAM in actions else None)
    rows = [_row(kind, times, kinds[0], bench.batch, found.get(kind)) for kind in kinds]
    notes = [
        "Medians. `/first` and `beam/it` are medians of paired rounds; positions are those run through a model for a "
        "history, where it tells. The beam search is not exact, ranks by joint, and gets its prompts embedded.",
        PUBLISHED,
    ]
    title = f"Best {bench.k} for a batch of {bench.batch} histories, titles by {bench.title}"
    yield Section(title, COLUMNS, rows, (), notes)


def _beam_search(bench: Bench, recommender: Recommender, queries: Sequence[Query]) -> Callable[[], object]:
    """The beam search over the trie of a model of titles, after its prompts."""
    if not isinstance(recommender, LanguageRecommender) or recommender.scorer is None:
        raise UsageError(f"--title {bench.title!r} ranks by no titles, which the beam search needs; name another")
    scorer, planner = recommender.scorer, recommender.planner
    laid_out = [Query(LaidOut.of(query.history, planner), query.seen) for query in queries]
    beam = BeamSearch.of(scorer)
    starts = range(0, len(laid_out), bench.beam_batch)
    prompts = [Padded.of(scorer, laid_out[start : start + bench.beam_batch]) for start in starts]
    beam.run(prompts[0], 2, max_tokens=2)  # what it loads at its first call
    return lambda: [beam.run(some, bench.k) for some in prompts]


def _row(
    kind: str,
    times: Mapping[str, list[float]],
    first: str,
    batch: int,
    found: tuple[Recommender, list[Query]] | None,
) -> dict[str, Any]:
    """A kind's numbers."""
    seconds = median(times[kind])
    row: dict[str, Any] = {"kind": kind, "seconds": times[kind], "ms": 1e3 * seconds, "ms_each": 1e3 * seconds / batch}
    row["over_first"] = _ratio(times[kind], times[first])
    row["beam_over"] = _ratio(times[BEAM], times[kind]) if BEAM in times else None
    row["positions"] = float(found[0].lengths(found[1]).mean()) if found is not None else None
    return row


def _ratio(one: Sequence[float], other: Sequence[float]) -> float:
    return median([a / b for a, b in zip(one, other, strict=False)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and give an exit code."""
    given = _parser().parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "benchmarks.batch_inference", *map(str, words)])
    kinds = list(dict.fromkeys(given.kinds))
    try:
        with ExitStack() as stack:
            made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="patchrec-")))
            store = stack.enter_context(Store.open(given.home))
            dataset, folder = store.datasets.load(given.data), find_backbone(store, given.backbone).folder
            with Store.open(made) as other:
                other.datasets.add(dataset, source="a copy", licence="as its original's", split={"rule": "copied"})
            sizes = given.batch, given.k, given.repeats, given.beam_batch, given.beam_repeats, given.seed
            bench = Bench(store, made, dataset, folder, given.layers, given.title, *sizes)
            backbone = Backbone.load(folder, name=given.backbone)
            chosen = {"batches": partial(batches, bench, kinds)}
            layers = "all layers" if given.layers is None else f"{given.layers} layers"
            run_sections(
                chosen, command, given.json, backbone=backbone, data=given.data, precision=f"float32, {layers}"
            )
    except PatchrecError as error:
        tell(f"error: {error}")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch_inference",
        description=str(__doc__).splitlines()[0].partition(":")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--home", type=Path, help="folder of the store; None: the usual one")
    add("--data", default="ml-100k", help="data set")
    add("--backbone", default=DEFAULT_BACKBONE, help="of item, title and beam")
    add("--layers", type=int, help="first layers of it that are kept; None: all")
    add("--kinds", nargs="+", default=list(USUAL), metavar="KIND", help="what ranks, the measure of the others first")
    add("--title", default="pft-s:L=5", metavar="STRATEGY|run:NAME", help="how titles are ranked, and beams prompted")
    add("--batch", type=_positive, default=32, help="histories")
    add("--k", type=_positive, default=20, help="length of a ranking, and beams")
    add("--repeats", type=_positive, default=5, help="rounds")
    add("--beam-batch", type=_positive, default=4, help="histories that the beam search takes at a time")
    add("--beam-repeats", type=_positive, default=1, help="rounds with the beam search")
    add("--seed", type=int, default=0, help="which targets")
    add("--json", type=Path, metavar="FILE", help="write all raw numbers")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
