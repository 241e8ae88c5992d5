"""What exact ranking costs, beside what others do, in one run: `python -m benchmarks.ranking`.

    python -m benchmarks.ranking                              # everything, about 25 minutes on two cores
    python -m benchmarks.ranking --only search prefill        # some sections
    python -m benchmarks.ranking --only exact --run pft-s-1 --users 37 --targets 100
    python -m benchmarks.ranking --json numbers.json          # all raw numbers too

Real prompts of test targets, an untrained backbone in float32, one process. What is compared takes turns
(A, B, A, B, ...) after one call of each; numbers are medians, ratios medians of paired rounds. The sections `joint`
and `exact` need a fine-tuned run of titles in the store, and `long` the data set ml-1m, whose users did more
(`patchrec data add ml-1m`).
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.evaluation_speed import exact
from benchmarks.joint_score import joint
from benchmarks.large_catalogs import catalogs
from benchmarks.long_histories import long
from benchmarks.prefill_rate import prefill
from benchmarks.prompts import Bench, Settings, tell
from benchmarks.search_cost import search
from benchmarks.sections import run
from benchmarks.shared_work import share
from benchmarks.tables import Section
from patchrec.errors import PatchrecError
from patchrec.model.pull import DEFAULT_BACKBONE
from patchrec.store import Store

SECTIONS: dict[str, Callable[[Bench], Iterator[Section]]] = {
    "search": search,
    "joint": joint,
    "long": long,
    "prefill": prefill,
    "catalogs": catalogs,
    "share": share,
    "exact": exact,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen sections, print their tables, and give an exit code."""
    given = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.ranking", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        with Store.open(given.home) as store:
            bench = Bench.open(store, given.data, given.backbone, _settings(given))
            _measure(bench, given.only, command, given.json)
    except PatchrecError as error:
        tell(f"error: {error}")
        return error.exit_code
    return 0


def _measure(bench: Bench, chosen: Sequence[str], command: str, file: Path | None) -> None:
    """Run the chosen sections, each with the catalog's item patches made ready."""

    def measure(name: str) -> Iterator[Section]:
        bench.remember_items()
        yield from SECTIONS[name](bench)

    backbone = bench.scorer.backbone
    precision = str(backbone.embedding.dtype).removeprefix("torch.")
    chosen_sections = {name: partial(measure, name) for name in chosen}
    run(chosen_sections, command, file, backbone=backbone, data=bench.dataset.name, precision=precision)


def _settings(given: argparse.Namespace) -> Settings:
    return Settings(
        users=given.users,
        batch=given.batch,
        repeats=given.repeats,
        beam_repeats=given.beam_repeats,
        overlap=given.overlap,
        k=given.k,
        K=given.K,
        long_data=given.long_data,
        long_users=given.long_users,
        long_repeats=given.long_repeats,
        min_interactions=given.min_interactions,
        sizes=tuple(given.sizes),
        seed=given.seed,
        cache=given.cache,
        run=given.run,
        targets=given.targets,
    )


def _parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ranking",
        description=str(__doc__).splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--home", type=Path, help="folder of the store; None: the usual one")
    add("--data", default="ml-100k", help="data set")
    add("--backbone", default=DEFAULT_BACKBONE, help="untrained model of all sections but joint and exact")
    add("--run", help="fine-tuned run of the sections joint and exact; None: the newest")
    add("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS))
    add("--targets", type=_positive, default=default.targets, help="targets of a user of the section exact")
    add("--users", type=_positive, default=default.users, help="prompts of a row")
    add("--batch", type=_positive, default=default.batch, help="prompts run together")
    add("--repeats", type=_positive, default=default.repeats, help="rounds")
    add("--beam-repeats", type=_positive, default=default.beam_repeats, help="rounds with a beam search")
    add("--overlap", type=_positive, default=default.overlap, help="prompts of a row compared with the beam search's")
    add("--k", type=_positive, default=default.k, help="length of a ranking, and beams")
    add("--K", type=_positive, default=default.K, help="history length")
    add("--long-data", default=default.long_data, help="data set of the section long")
    add("--long-users", type=_positive, default=default.long_users, help="its users")
    add("--long-repeats", type=_positive, default=default.long_repeats, help="rounds with whole histories")
    add("--min-interactions", type=_positive, default=default.min_interactions, help="that these have at least")
    add("--sizes", nargs="+", type=_positive, default=list(default.sizes), help="titles of the section catalogs")
    add("--cache", type=Path, help="folder that keeps their tokens; None: a temporary one")
    add("--seed", type=int, default=default.seed, help="which targets, which titles")
    add("--json", type=Path, metavar="FILE", help="write all raw numbers")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
