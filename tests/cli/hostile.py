"""Text that attacks whoever shows it, and a store that is full of it."""

import math
from pathlib import Path

import numpy as np

from patchrec.config import KindConfig, RunConfig, StrategyConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.evaluation.rows import metric_rows
from patchrec.store import Store
from patchrec.store.evaluations import RankingRow
from patchrec.store.runs import LossRow, ValidationRow

_VECTORS = (
    "<script>MARK</script>",
    "<ScRiPt >MARK</ScRiPt>",
    "<script src=data:text/javascript,MARK></script>",
    "<img src=x onerror=MARK>",
    "<img/src=x/onerror=MARK>",
    "<svg onload=MARK>",
    "<svg><script>MARK</script></svg>",
    "<svg><animate attributeName=x dur=1s onbegin=MARK>",
    "<svg><a xlink:href=javascript:MARK><text>x</text></a></svg>",
    "<body onload=MARK>",
    "<iframe src=javascript:MARK></iframe>",
    "<iframe srcdoc='<script>MARK</script>'></iframe>",
    "<details open ontoggle=MARK>",
    "<video src=x onerror=MARK></video>",
    "<video><source onerror=MARK></video>",
    "<audio src=x onerror=MARK></audio>",
    "<input autofocus onfocus=MARK>",
    "<select autofocus onfocus=MARK></select>",
    "<p contenteditable autofocus onfocus=MARK>x</p>",
    "<object data=x onerror=MARK></object>",
    "<link rel=stylesheet href=x onerror=MARK>",
    "<style onload=MARK></style>",
    "<math><mtext><img src=x onerror=MARK></mtext></math>",
    "<form><button formaction=javascript:MARK>x</button></form>",
    "<base href=javascript:MARK//>",
)
_BEFORE = ("", '">', "'>", "</title></style></script></svg></bdi>")


def marking(number: int) -> str:
    """What a payload does when it runs: it leaves a mark on the outermost page."""
    return f"top.document.documentElement.dataset.ran{number}=1"


PAYLOADS = [
    before + vector.replace("MARK", marking(number))
    for number, (vector, before) in enumerate((vector, before) for vector in _VECTORS for before in _BEFORE)
]
"""100 payloads for pages, each with a mark of its own."""

_OPENING = ("\x1b[", "\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x9b", "\x9d", "\x90", "\x07", "\x08\x08", "\x1bc")
_BODIES = ("31mred", "2J\x1b[H", "0;owned\x07", "52;c;cm0gLXJmIC8=\x1b\\", "8;;http://x.example\x1b\\link\r")
SEQUENCES = [f"{opening}{body}" for opening in _OPENING for body in _BODIES]
"""60 payloads for terminals: sequences in seven and eight bits, bells, backspaces, carriage returns, a reset."""

LENGTH = 25


def hostile_dataset(titles: list[str], users: list[str]) -> Dataset:
    """A data set with these titles, whose users went through all of them together."""
    items = np.arange(len(users) * LENGTH) % len(titles)
    return Dataset(
        "hostile",
        Catalog(tuple(f"{title} {number}" for number, title in enumerate(titles)), tuple(titles)),
        Sequences(
            tuple(users),
            np.arange(len(users) + 1) * LENGTH,
            items,
            np.arange(len(items)) * 86_400,
            np.full(len(users), LENGTH - 4),
            np.full(len(users), LENGTH - 2),
        ),
        noun="thing",
        verb="had",
    )


def add_evaluated_run(
    store: Store, dataset: Dataset, strategy: StrategyConfig | None, *, label: str = "label", seed: int = 0
) -> str:
    """A finished run, with its curves and an evaluation of all test targets, whose ranks are drawn."""
    config = RunConfig(
        stage="baseline" if strategy is None else "finetune",
        dataset=dataset.name,
        kind=KindConfig(name="popularity" if strategy is None else "title"),
        backbone=None if strategy is None else "tiny-random",
        strategies=() if strategy is None else (strategy,),
        seed=seed,
    )
    prints = {"catalog": dataset.catalog.fingerprint, "split": dataset.sequences.fingerprint}
    name = store.runs.create(config, label=label, versions={"patchrec": "0"}, fingerprints=prints).name
    if strategy is not None:
        store.runs.log_loss(name, [LossRow(step, 3 / step, 10, 2, 0.1, 1e-3) for step in range(1, 9)])
        for step in (2, 5, 8):
            store.runs.log_validation(name, ValidationRow(step, 4 / step, 10, 2, 0.1))
    store.runs.finish(name, {})
    rng, catalog, rows = np.random.default_rng(seed), dataset.catalog, []
    for example in dataset.examples("test", K=100):
        seen, target = set(dataset.seen(example).tolist()), dataset.target(example)
        order = [item for item in rng.permutation(len(catalog)).tolist() if item not in seen]
        rank = order.index(target) + 1 if target in order else None
        rows.append(
            RankingRow(
                example.user, dataset.sequences.user_ids[example.user], example.position, catalog.item_ids[target],
                -math.log(rank or 1), rank, rank, rank, rank,
                tuple((catalog.item_ids[item], -0.1 * place - 1) for place, item in enumerate(order[:20])), 30, 0.01,
            )
        )  # fmt: skip
    cost = {"tokens_per_target": 30.0, "seconds_per_target": 0.01, "flops_per_target": 1e9}
    if strategy is not None:
        cost |= {"prompt_length": 40.0 + 10 * seed, "prompt_tokens_per_target": 12.0, "compression_prompt": 2.0}
    settings = {"limit": None, "ks": [10, 20], "catalog": catalog.fingerprint}
    store.evaluations.add(
        name, "test", "catalog", config=settings, metrics=metric_rows(rows, (10, 20)), rankings=rows, cost=cost
    )
    return name


def fill(home: Path, titles: list[str], users: list[str], *, label: str = "label") -> Dataset:
    """A store with such a data set and three runs on it: `popularity-1`, `pft-s-1` and `vanilla-1`."""
    dataset = hostile_dataset(titles, users)
    with Store.open(home) as store:
        store.datasets.add(dataset, source=titles[0], licence=titles[-1], split={"rule": "leave-one-out"})
        add_evaluated_run(store, dataset, None, label=label)
        add_evaluated_run(store, dataset, StrategyConfig(name="pft-s", options={"L": 5}), label=label, seed=1)
        add_evaluated_run(store, dataset, StrategyConfig(name="vanilla"), label=label, seed=2)
    return dataset
