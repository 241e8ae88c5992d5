"""A cache of prompts' prefixes changes what is run, never what is answered."""

from dataclasses import replace

import numpy as np
import pytest

from patchrec.history import History
from patchrec.model.attention import Context
from patchrec.model.prefixes import PrefixCache, names_of
from patchrec.recommender import Query, Ranking, rank


def same(one: list[Ranking], other: list[Ranking]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert [line.item for line in mine.recommendations] == [line.item for line in theirs.recommendations]
        scores = [[line.score for line in ranking.recommendations] for ranking in (mine, theirs)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def growing(user: int) -> list[Query]:
    """A user's history item by item, as it was asked after."""
    items = (user + np.arange(14)) % 20
    return [
        Query(History(items[:stop], None, 0, anchored=True), np.unique(items[:stop]), user)
        for stop in range(3, len(items) + 1)
    ]


@pytest.mark.parametrize("score", ["catalog", "item", "mixture"])
@pytest.mark.parametrize("max_bytes", [1 << 30, 60_000])
def test_answers_are_those_without_a_cache(by_score, score, max_bytes) -> None:
    plain = by_score[score].recommender
    cached = replace(plain, prefixes=PrefixCache(max_bytes))
    for first, second in zip(growing(0), growing(1), strict=True):
        asked = [first, second, replace(first, user=None)]  # the third is the first's again
        same(rank(cached, asked, 4), rank(plain, asked, 4))
        assert cached.prefixes.num_bytes <= max_bytes
        assert sum(node.num_bytes for node in cached.prefixes._by_use.values()) == cached.prefixes.num_bytes
    if max_bytes > 1 << 20:
        assert cached.prefixes.found > cached.prefixes.asked / 3


def test_a_repeated_prompt_runs_one_position(by_score) -> None:
    recommender = replace(by_score["catalog"].recommender, prefixes=PrefixCache(1 << 30))
    query = growing(2)[-1]
    first = rank(recommender, [query], 3)
    before, length = recommender.prefixes.found, int(recommender.lengths([query])[0])
    same(rank(recommender, [query], 3), first)
    head = len(recommender.encoder.prompt.head) - 1
    assert recommender.prefixes.found - before == length - head - 1


def test_prompts_of_one_user_run_what_they_share_once(by_score, monkeypatch) -> None:
    recommender = by_score["catalog"].recommender
    queries = growing(3)
    alone = [rank(recommender, [query], 4)[0] for query in queries]
    ran = []
    extend = type(recommender.backbone).extend

    def counted(self, encoder, extensions, **more):
        ran.append(sum(len(extension.forest) for extension in extensions))
        return extend(self, encoder, extensions, **more)

    monkeypatch.setattr(type(recommender.backbone), "extend", counted)
    same(rank(recommender, queries, 4), alone)
    assert ran[0] < sum(recommender.lengths(queries)) / 2


def test_sessions_have_the_same_name_whichever_encoder_met_them(by_score) -> None:
    recommender = by_score["catalog"].recommender
    one, other = recommender.encoder.fresh(), recommender.encoder.fresh()
    recommender._path(other, growing(5)[-1])  # which numbers other sessions first
    query = growing(0)[-1]
    keys = [recommender._path(encoder, query) for encoder in (one, other)]
    assert keys[0].tolist() != keys[1].tolist()
    names = [names_of(encoder, own).tolist() for encoder, own in zip((one, other), keys, strict=True)]
    assert names[0] == names[1]
    assert len({tuple(name) for name in names[0]}) == len(set(keys[0].tolist()))


def test_the_longest_known_prefix_is_found_and_the_least_used_goes_first() -> None:
    def path(*keys: int) -> np.ndarray:
        return np.array([[key, 0] for key in keys])

    def ran(number: int) -> Context:
        import torch

        from patchrec.model.attention import KeysValues

        kept = KeysValues([(torch.arange(number).float().reshape(1, 1, -1, 1),) * 2])
        return Context(((kept, slice(0, number)),), np.arange(-1, number - 1), np.arange(number))

    cache = PrefixCache(1 << 20)
    cache.add(path(1, 2, 3, 4), ran(4), 0)
    cache.add(path(1, 2, 5), ran(3), 0)
    assert len(cache) == 3  # what both begin with, and what each goes on with
    context, found = cache.find(None, path(1, 2, 3, 9))
    assert found == len(context) == 3
    assert [keys.flatten().tolist() for keys, _ in context.layer(0)] == [[0, 1], [2]]
    assert cache.find(None, path(7)) == (None, 0)
    cache.find(None, path(1, 2, 5))
    cache.max_bytes = cache.num_bytes - 1
    cache.add(path(1, 2), ran(2), 0)
    assert cache.find(None, path(1, 2, 3, 4))[1] == 2
    assert cache.find(None, path(1, 2, 5))[1] == 3
    cache.clear()
    assert (len(cache), cache.num_bytes, cache.find(None, path(1))[1]) == (0, 0, 0)
