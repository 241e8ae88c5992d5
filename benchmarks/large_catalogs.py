"""Section `catalogs`: exact search in generated catalogs of many titles, beyond the prefill.

Title tokens are kept between runs where `--cache` says, since encoding a million titles takes a minute.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.catalogs import array_bytes, made_up_titles
from benchmarks.machine import in_turn, peak_growth_mb, seconds
from benchmarks.prompts import KINDS, Bench, LaidOut, ranker_of, tell
from benchmarks.tables import Column, Section, Target
from patchrec.history import History
from patchrec.model.patching import PathEncoder
from patchrec.model.titles import TitleTokens
from patchrec.model.tokenizer import encode_titles
from patchrec.plugins import plan_for
from patchrec.ranking.kept import recall_or_build
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.scorer import TitleScorer
from patchrec.ranking.trie import TitleTrie
from patchrec.recommender import Query, rank

HISTORY = 20
MILLION = 1_000_000
TRIES = (
    Column("titles", "titles", ",d"),
    Column("tokens", "tokens", ",d"),
    Column("nodes", "nodes", ",d"),
    Column("build s", "trie_seconds", ",.2f"),
    Column("+MB", "trie_peak_mb", ",.0f"),
    Column("arrays MB", "array_mb", ",.1f"),
)
SEARCHES = (
    Column("titles", "titles", ",d"),
    Column("prefill s", "prefill_seconds", ",.3f"),
    Column("beyond it s", "search_seconds", ",.3f"),
    Column("opened", "num_expanded", ",.0f"),
    Column("run", "num_tokens", ",.0f"),
    Column("rounds", "num_rounds", ",.0f"),
    Column("+MB", "search_peak_mb", ",.0f"),
)
TRIE_NOTES = ("+MB: the most memory held while building, above what was held before.",)
SEARCH_NOTES = (
    "Medians of a user: seconds, trie nodes opened, tokens run beyond the prompt, rounds, and the most memory held "
    "during prompt and search.",
)


def catalogs(bench: Bench) -> Iterator[Section]:
    """Generated catalogs, one line for each size."""
    s = bench.settings
    rows = []
    with TemporaryDirectory() as temporary:
        for size in s.sizes:
            tell(f"  {size:,} titles")
            rows.append(_one_size(bench, size, s.cache or Path(temporary)))
    yield Section("Large catalogs: the title trie", TRIES, rows, _targets(rows), TRIE_NOTES)
    title = f"Large catalogs: top {s.k} after {HISTORY} random items, one user at a time (users {s.users})"
    yield Section(title, SEARCHES, rows, (), (*SEARCH_NOTES, *_growth(rows)))


def _one_size(bench: Bench, size: int, folder: Path) -> dict[str, Any]:
    titles = made_up_titles(size, bench.settings.seed)
    tokens, trie, found = _trie(bench, titles, folder / f"titles-{size}-{bench.settings.seed}.safetensors")
    encoder = PathEncoder(bench.scorer.encoder.prompt, tokens, bench.scorer.backbone.vocab_size)
    ranker = ranker_of(TitleScorer(bench.scorer.backbone, encoder, trie), np.arange(size), titles)
    return {"titles": size, **found, **_search(bench, ranker, size)}


def _trie(bench: Bench, titles: list[str], path: Path) -> tuple[TitleTokens, TitleTrie, dict[str, Any]]:
    """Title tokens, kept or encoded now, their trie, and what building that takes."""
    prompt, tokenizer = bench.scorer.encoder.prompt, bench.folder
    key = {"prompt": prompt.fingerprint, "backbone": bench.scorer.backbone.name, "titles": str(len(titles))}
    tokens, _ = recall_or_build(path, key, lambda: encode_titles(tokenizer, titles, prompt), prompt.end)
    built: list[TitleTrie] = []

    def build() -> None:
        built[:] = [TitleTrie.build(tokens, prompt.end)]

    peak = peak_growth_mb(build, bench.scorer.backbone.device) if bench.on_cpu else None
    took = seconds(build)
    trie = built[0]
    return (
        tokens,
        trie,
        {
            "trie_seconds": took,
            "trie_peak_mb": peak,
            "array_mb": array_bytes(list(vars(trie).values())) / 1e6,
            "nodes": len(trie.forest),
            "tokens": len(tokens.ids),
        },
    )


def _search(bench: Bench, ranker: LanguageRecommender, size: int) -> dict[str, Any]:
    """What ranking takes beyond the prefill, user by user."""
    s = bench.settings
    generator = np.random.default_rng(s.seed)
    planner = plan_for(KINDS["vanilla"])
    users = []
    for _ in range(s.users):
        history = History(generator.choice(size, min(HISTORY, size), replace=False).astype(np.int64))
        users.append(_one_user(bench, ranker, Query(LaidOut.of(history, planner), np.sort(history.items))))
    peaks = [user["peak_mb"] for user in users]
    return {
        "prefill_seconds": median(value for user in users for value in user["seconds"]["prefill"]),
        "search_seconds": median(value for user in users for value in user["beyond"]),
        **{name: median(user[name] for user in users) for name in ("num_expanded", "num_tokens", "num_rounds")},
        "search_peak_mb": None if None in peaks else median(peaks[1:] or peaks),  # the first makes the trie's look-ups
        "users": users,
    }


def _one_user(bench: Bench, ranker: LanguageRecommender, query: Query) -> dict[str, Any]:
    s = bench.settings
    peak = peak_growth_mb(lambda: rank(ranker, [query], s.k), bench.scorer.backbone.device)
    [ranking] = rank(ranker, [query], s.k)
    certificate = ranking.certificate
    assert certificate is not None
    assert certificate.holds
    actions = {"prefill": lambda: ranker.prefill([query]), "rank": lambda: rank(ranker, [query], s.k)}
    times = in_turn(actions, s.repeats)
    return {
        "seconds": times,
        "beyond": [whole - prompt for whole, prompt in zip(times["rank"], times["prefill"], strict=True)],
        "peak_mb": peak,
        "num_expanded": certificate.num_expanded,
        "num_tokens": certificate.num_tokens,
        "num_rounds": certificate.num_rounds,
    }


def _targets(rows: list[dict[str, Any]]) -> list[Target]:
    """The bounds on a trie of a million titles."""
    large = [row for row in rows if row["titles"] == MILLION]
    return [
        target
        for row in large
        for target in (
            Target("a million titles: seconds to build the trie", 30, row["trie_seconds"]),
            Target("a million titles: MB to build the trie", 1000, row["trie_peak_mb"]),
        )
    ]


def _growth(rows: list[dict[str, Any]]) -> Iterator[str]:
    """How search time grew from the smallest catalog to the largest."""
    small, large = min(rows, key=lambda row: row["titles"]), max(rows, key=lambda row: row["titles"])
    if small is not large and small["search_seconds"] > 0:
        catalog, search = large["titles"] / small["titles"], large["search_seconds"] / small["search_seconds"]
        yield f"From smallest to largest the catalog grew {catalog:,.0f} times, search {search:,.1f} times."
