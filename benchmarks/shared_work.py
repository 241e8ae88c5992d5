"""Section `share`: what is saved by doing once what all prompts and all calls have in common."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.machine import in_turn
from benchmarks.prompts import NO_LIMIT, Bench, length, tell
from benchmarks.tables import Column, Section
from patchrec.model.attention import Context, Extension
from patchrec.model.forest import grow
from patchrec.model.patching import PathEncoder
from patchrec.model.titles import TitleTokens
from patchrec.model.tokenizer import encode_titles
from patchrec.ranking.kept import keep, recall
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.trie import TitleTrie
from patchrec.recommender import Query, rank

KEY = {"benchmark": "ranking"}
COLUMNS = (
    Column("shared", "what"),
    Column("prompts", "kind"),
    Column("once, s", "shared_seconds", ",.4f"),
    Column("every time, s", "alone_seconds", ",.4f"),
    Column("saved", "saved", ".0%"),
)


class WholePrompts(LanguageRecommender):
    """A ranker that runs every prompt from its first token on."""

    _head: Context | None = None


def share(bench: Bench) -> Iterator[Section]:
    """The prompts' common head, the catalog's item patches, its encoded titles and trie."""
    rows = []
    for kind in ("vanilla", "PFT-S L=5"):
        tell(f"  prompt head: {kind}")
        queries = [query for batch in bench.batches(kind) for query in batch]
        rows.append({"what": "prompt head", "kind": kind, **_heads(bench, queries)})
    tell("  item patches")
    queries = [query for batch in bench.batches("PFT-S L=5") for query in batch]
    rows.append({"what": "item patches", "kind": "PFT-S L=5", **_patches(bench, queries)})
    tell("  titles and trie")
    rows.append({"what": "titles and trie", "kind": None, **_titles(bench)})
    head = len(bench.scorer.encoder.prompt.head) - 1
    s = bench.settings
    notes = (
        f"Prompt head: {head} tokens of every prompt; ranking {s.users} users as one batch.",
        "Item patches: the inputs of the same prompts made from a table against from titles.",
        f"Titles and trie of {len(bench.scorer.encoder.titles):,} items: read from beside a run against made anew.",
    )
    yield Section("Shared work", COLUMNS, rows, (), notes)


def _heads(bench: Bench, queries: Sequence[Query]) -> dict[str, Any]:
    ranker, k = bench.ranker, bench.settings.k
    whole = WholePrompts(
        ranker.backbone, ranker.encoder, ranker.planner, ranker.place, ranker.titles, ranker.scorer, max_tokens=NO_LIMIT
    )
    return _compare(bench, lambda: rank(ranker, queries, k), lambda: rank(whole, queries, k)) | {
        "prompt_tokens": [length(ranker, query) for query in queries]
    }


@torch.no_grad()  # computed item patches are for ranking
def _patches(bench: Bench, queries: Sequence[Query]) -> dict[str, Any]:
    """Inputs of prompts through the table of item patches, and through the tokens of each title."""
    encoder, backbone = bench.scorer.encoder, bench.scorer.backbone
    titles = replace(encoder.titles)  # of which the backbone remembers nothing
    other = PathEncoder(encoder.prompt, titles, encoder.vocab_size)

    def inputs(own: PathEncoder, *, item_rows: bool) -> Callable[[], object]:
        fresh = own.fresh()
        forests = [grow([fresh.prompt_path(query.history, query.history.layout)])[0] for query in queries]
        batch = backbone.batch(fresh, [Extension(forest) for forest in forests])
        assert (batch.table is not None) == item_rows
        keys = np.concatenate([forest.keys for forest in forests])
        return lambda: (fresh.bags(keys, item_rows=item_rows), backbone.embed(batch))

    return _compare(bench, inputs(encoder, item_rows=True), inputs(other, item_rows=False))


def _titles(bench: Bench) -> dict[str, Any]:
    prompt, names = bench.scorer.encoder.prompt, bench.dataset.catalog.titles

    def make() -> tuple[TitleTokens, TitleTrie]:
        titles = encode_titles(bench.folder, names, prompt)
        return titles, TitleTrie.build(titles, prompt.end)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "titles.safetensors"
        keep(path, *make(), KEY)
        return _compare(bench, lambda: recall(path, KEY), make)


def _compare(bench: Bench, shared: Callable[[], object], alone: Callable[[], object]) -> dict[str, Any]:
    times = in_turn({"shared": shared, "alone": alone}, bench.settings.repeats)
    pairs = zip(times["shared"], times["alone"], strict=True)
    return {
        "shared_seconds": median(times["shared"]),
        "alone_seconds": median(times["alone"]),
        "saved": 1 - median(a / b for a, b in pairs),
        "seconds": times,
    }
