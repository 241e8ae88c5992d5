"""Whatever the catalog: its items alone are recommended, none twice, none seen, k or a reason, the best there are."""

import numpy as np
import pytest
from made_up_catalogs import END
from test_search import HalfAndHalf, check, query

from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import Prompt
from patchrec.model.titles import TitleTokens
from patchrec.ranking.items import precedence
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.scorer import TitleScorer

LONGEST = 5_000


def title(draws, others, longest):
    """A new title: of one token, the beginning of another, one with another's beginning, an equal one, or any."""
    kind = draws.integers(6)
    other = others[draws.integers(len(others))] if others else [30]
    if kind == 0:
        return [int(draws.integers(30, 34))]
    if kind == 1:
        return other[: draws.integers(1, len(other) + 1)]
    if kind == 2:
        return [*other[:60], *draws.integers(30, 34, draws.integers(1, 4)).tolist()]
    if kind == 3:
        return list(other)
    size = longest if longest and not any(len(one) == longest for one in others) else draws.integers(1, 40)
    return draws.integers(30, 34, size).tolist()


def check_catalog(tiny, seed, longest=0, score=None):
    """One generated catalog with generated questions, by a generated score and search."""
    draws = np.random.default_rng(seed)
    titles = []
    for _ in range(draws.integers(1, 26)):
        titles.append(title(draws, titles, longest))
    if longest and not any(len(one) == longest for one in titles):
        titles.append(draws.integers(30, 34, longest).tolist())
    # equal tokens are one text, or several that a tokenizer merges
    texts = [f"{one} {draws.integers(1, draws.integers(2, 4))}" for one in map(str, titles)]
    numbers = np.unique(texts, return_inverse=True)[1].astype(np.int64)
    offsets = np.cumsum([0, *map(len, titles)])
    tokens = TitleTokens(np.concatenate(titles).astype(np.int64), offsets, numbers)
    prompt = Prompt(np.array([0, 20, 21]), np.array([22, 23]), separator=2, end=END)
    encoder = PathEncoder(prompt, tokens, tiny.vocab_size)
    place = precedence(draws.integers(0, 3, len(titles)))
    scorer = TitleScorer.of(tiny, encoder, score or draws.choice(["catalog", "joint"]))
    search = draws.choice(["best-first", "whole"]) if longest else "best-first"
    ranker = LanguageRecommender(tiny, encoder, HalfAndHalf(), place, texts, scorer, search=search)
    short = [item for item in range(len(titles)) if len(titles[item]) < 100] or [0]
    queries = []
    for _ in range(draws.integers(1, 3)):
        items = draws.choice(short, draws.integers(0, 6))
        queries.append(query(items, items if draws.random() < 0.5 else ()))
    allowed = draws.random(len(titles)) < 0.7 if draws.random() < 0.4 else None
    check(ranker, queries, int(draws.integers(1, len(titles) + 4)), allowed)


@pytest.mark.parametrize("part", range(2))
def test_recommendations_of_any_catalog(tiny, part):
    for seed in range(part * 10, part * 10 + 10):
        check_catalog(tiny, seed)


@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_recommendations_beside_a_title_of_5000_tokens(tiny, score):
    check_catalog(tiny, 3, LONGEST, score)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_recommendations_of_1000_catalogs(tiny, part):
    for seed in range(part * 100, part * 100 + 100):
        check_catalog(tiny, seed, LONGEST if seed % 50 == 7 else 0)
