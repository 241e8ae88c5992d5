from collections import Counter
from dataclasses import replace
from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Example
from patchrec.errors import UsageError
from patchrec.evaluation.evaluate import evaluate, sample_examples
from patchrec.evaluation.rows import VIEWS, title_log_prob
from patchrec.options import Options
from patchrec.ranking.compression import dataset_paper_ratio
from patchrec.ranking.counts import Popularity
from patchrec.ranking.dense import DenseRecommender
from patchrec.ranking.items import precedence, rank_items
from patchrec.ranking.language import LanguageRecommender
from patchrec.recommender import Query
from patchrec_strategies import dropout, pft_i, pft_s, vanilla

K = 8
STRATEGIES = {
    "vanilla": vanilla.STRATEGY.bind(),
    "pft-i": pft_i.STRATEGY.bind({"M": 2}),
    "pft-s": pft_s.STRATEGY.bind({"L": 2}),
    "dropout": dropout.STRATEGY.bind({"M": 1}),
}


def run(movies, scorer, strategy="vanilla", windows="sliding", **options):
    examples = movies.examples("test", K, windows)
    return evaluate(movies, examples, recommender(movies, scorer, strategy), **options)


def recommender(movies, scorer, strategy="vanilla"):
    planner = STRATEGIES[strategy]
    ratio = dataset_paper_ratio(movies, planner, float(scorer.encoder.titles.lengths.mean()), K)
    return LanguageRecommender.of(scorer, planner, movies, paper_ratio=ratio)


def popular(movies):
    """The popularity of the train split as a recommender."""
    model = Popularity(Options())
    model.fit(movies)
    return DenseRecommender("popularity", model, precedence(movies.popularity), movies.catalog.titles)


def alone(movies, scorer, example, planner):
    """Scores of one target by its own prompt alone."""
    history = movies.history(example)
    return scorer.score_prompt(scorer.encoder.prompt_path(history, planner.plan(history)))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("windows", "max_nodes"), [("sliding", 1024), ("anchored", 40)])
def test_a_target_is_ranked_as_if_it_were_the_only_one(movies, scorer, strategy, windows, max_nodes):
    result = run(movies, replace(scorer, max_nodes=max_nodes), strategy, windows)
    place = precedence(movies.popularity)
    title_of_item = scorer.trie.title_of_item
    examples = movies.examples("test", K, windows)
    assert len(result.rankings) == len(examples) == 8 * 4
    for row, example in zip(result.rankings, examples, strict=True):
        scores = alone(movies, scorer, example, STRATEGIES[strategy])
        assert (row.user, row.user_id, row.position) == (example.user, f"u{example.user}", example.position)
        target, seen = movies.target(example), movies.seen(example)
        assert row.item_id == f"i{target}"
        assert row.log_prob == pytest.approx(scores[title_of_item[target]], abs=1e-4)
        candidates = {
            "dropped": np.setdiff1d(np.arange(len(title_of_item)), seen),
            "kept": np.arange(len(title_of_item)),
        }
        shown = {
            rule: rank_items(items, scores[title_of_item[items]], place, movies.catalog.titles, k=12)
            for rule, items in candidates.items()
        }
        for rule, lines in shown.items():
            assert getattr(row, f"item_rank_{rule}") == {line.item: line.rank for line in lines}.get(target)
            titles = list(dict.fromkeys(line.title for line in lines))
            title = movies.catalog.titles[target]
            expected = 1 + titles.index(title) if title in titles else None
            assert getattr(row, f"title_rank_{rule}") == expected
        assert [item for item, _ in row.top] == [f"i{line.item}" for line in shown["dropped"]]
        assert [score for _, score in row.top] == pytest.approx([line.score for line in shown["dropped"]], abs=1e-4)


@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_either_score_ranks(movies, scorer, score):
    chosen = replace(scorer, score=score)
    row = run(movies, chosen, limit=1).rankings[0]
    example = sample_examples(movies.examples("test", K), 1)[0]
    scores = alone(movies, chosen, example, STRATEGIES["vanilla"])
    assert row.log_prob == pytest.approx(scores[scorer.trie.title_of_item[movies.target(example)]], abs=1e-5)


def test_metrics_are_means_over_all_targets_in_every_view(movies, scorer):
    result = run(movies, scorer, ks=(3,))
    found = {(row.name, row.level, row.seen): row for row in result.metrics if row.slice == "all"}
    for level, seen in VIEWS:
        ranks = [getattr(row, f"{level}_rank_{seen}") or inf for row in result.rankings]
        assert found["hr@3", level, seen].value == np.mean([rank <= 3 for rank in ranks])
        assert found["mrr", level, seen].value == pytest.approx(np.mean([1 / rank for rank in ranks]))
    mean = np.mean([row.log_prob for row in result.rankings])
    assert found["log_prob", "title", "kept"].value == pytest.approx(mean)
    assert len(found) == 4 * len(["hr@3", "ndcg@3", "mrr@3", "mrr"]) + len(["log_prob"])
    assert all(row.low <= row.value <= row.high for row in result.metrics)


def test_repeated_targets_are_misses_where_seen_items_are_dropped(movies, scorer):
    result = run(movies, scorer)
    examples = movies.examples("test", K)
    repeated = [movies.target(example) in movies.seen(example) for example in examples]
    assert 0 < sum(repeated) < len(repeated)
    assert [row.item_rank_dropped is None for row in result.rankings] == repeated
    assert all(row.item_rank_kept is not None for row in result.rankings)


def test_cost_adds_up(movies, scorer):
    result = run(movies, scorer, windows="anchored")
    examples = movies.examples("test", K, "anchored")
    paths = [scorer.encoder.prompt_path(h, STRATEGIES["vanilla"].plan(h)) for h in map(movies.history, examples)]
    nodes = Counter()
    for example, path in zip(examples, paths, strict=True):
        for stop in range(1, len(path) + 1):
            nodes[example.user, tuple(path[:stop].tolist())] += 1
    distinct = len({(example.user, tuple(path.tolist())) for example, path in zip(examples, paths, strict=True)})
    cost = result.cost
    assert cost["num_targets"] == len(examples)
    assert cost["num_users"] == 8
    assert cost["prompt_length"] == np.mean([len(path) for path in paths])
    assert cost["prompt_tokens_per_target"] == len(nodes) / len(examples)
    assert cost["tokens_per_target"] == (len(nodes) + distinct * scorer.tokens) / len(examples)
    assert sum(row.tokens for row in result.rankings) == len(nodes) + distinct * scorer.tokens
    assert cost["seconds_per_target"] > 0
    assert (cost["compression_paper"], cost["compression_history"], cost["compression_prompt"]) == (1, 1, 1)


def test_patches_compress(movies, scorer):
    cost = run(movies, scorer, "pft-s").cost
    assert cost["compression_history"] > cost["compression_prompt"] > 1
    title_length = float(np.mean([len(title) for title in movies.catalog.titles]))  # a token is a byte
    shown = (K / 2 - 2) + 2 + 2 * title_length
    assert cost["compression_paper"] == pytest.approx(K * title_length / shown)


def test_equal_prompts_are_scored_once(movies, scorer):
    """Showing the newest item alone, neighbours that end alike are one prompt."""
    same = [Example(7, 0, position) for position in (10, 10)]
    rows = evaluate(movies, same, recommender(movies, scorer, "dropout")).rankings
    assert rows[1].tokens == 0
    assert rows[0].top == rows[1].top


def test_progress_is_told_target_by_target(movies, scorer):
    class Recorder:
        def __init__(self):
            self.notes, self.bars, self.done, self.tokens = [], [], 0, 0

        def note(self, message):
            self.notes.append(message)

        def picked(self, what, value, why):
            raise AssertionError

        def task(self, label, total, unit):
            self.bars.append((total, unit))
            return self

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def advance(self, amount, *, tokens=0, loss=None):
            self.done += amount
            self.tokens += tokens

    recorder = Recorder()
    result = run(movies, scorer, limit=5, report=recorder)
    assert recorder.bars == [(5, "targets")]
    assert recorder.done == 5
    assert recorder.tokens == sum(row.tokens for row in result.rankings)
    assert "too few" in recorder.notes[0]


def test_no_target_is_an_error(movies, scorer):
    with pytest.raises(UsageError, match="no target"):
        evaluate(movies, [], recommender(movies, scorer))
    with pytest.raises(UsageError, match="no target"):
        evaluate(movies, [], popular(movies))


def test_popularity_ranks_by_train_counts_alone(movies):
    result = evaluate(movies, movies.examples("test", K), popular(movies), ks=(3,))
    train = Counter()
    for user in range(8):
        train.update(movies.sequences.items_of(user)[: movies.sequences.train_stop[user]].tolist())
    by_title = Counter()
    for item in range(12):
        by_title[movies.catalog.titles[item]] += train[item] + 1
    order = sorted(range(12), key=lambda item: (-train[item], item))
    for row, example in zip(result.rankings, movies.examples("test", K), strict=True):
        target = movies.target(example)
        assert row.item_rank_kept == 1 + order.index(target)
        assert row.log_prob == pytest.approx(log(by_title[movies.catalog.titles[target]] / (sum(train.values()) + 12)))
        assert row.tokens == 0
    assert result.cost["tokens_per_target"] == 0
    assert {row.name for row in result.metrics} == {"hr@3", "ndcg@3", "mrr@3", "mrr", "log_prob"}


def test_popularity_takes_the_same_sample_as_a_model(movies, scorer):
    examples = movies.examples("test", K)
    model, baseline = run(movies, scorer, limit=7, seed=3), evaluate(movies, examples, popular(movies), limit=7, seed=3)
    assert [(row.user, row.position) for row in model.rankings] == [(r.user, r.position) for r in baseline.rankings]


def test_a_title_is_as_probable_as_its_items_together():
    log_probs, title_of_item = np.log([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 0, 2])
    assert title_log_prob(log_probs, "item", title_of_item, 2) == pytest.approx(log(0.1 + 0.3))
    assert title_log_prob(log_probs, "item", title_of_item, 1) == pytest.approx(log(0.2))
    assert title_log_prob(log_probs, "title", title_of_item, 2) == log_probs[2]


def test_titles_are_told_apart_by_their_text():
    assert Catalog(("1", "2", "3", "4"), ("Heat", "Up", "Heat", "heat")).title_of_item.tolist() == [0, 1, 0, 2]


def test_asking_for_several_users_gives_what_asking_alone_gives(movies, scorer):
    asked = [Query.of(movies, example) for example in movies.examples("test", K, "anchored")]
    own = recommender(movies, scorer, "pft-s")
    together = dict(own.score_each(asked))
    assert sorted(together) == list(range(len(asked)))
    for number, query in enumerate(asked):
        ((_, alone),) = own.score_each([query])
        np.testing.assert_allclose(together[number].log_probs, alone.log_probs, atol=1e-4)
        assert together[number].cost.length == alone.cost.length == own.lengths([query])[0]


EXAMPLES = [Example(user, 0, position) for user, length in enumerate([1, 30, 2, 7, 60]) for position in range(length)]


@given(st.integers(1, 120), st.integers(0, 9))
def test_a_sample_has_the_size_asked_for_in_order(limit, seed):
    sample = sample_examples(EXAMPLES, limit, seed)
    assert len(sample) == len(set(sample)) == min(limit, len(EXAMPLES))
    assert sample == [example for example in EXAMPLES if example in set(sample)]
    assert sample == sample_examples(EXAMPLES, limit, seed)


def test_a_sample_gives_every_user_its_share():
    counts = Counter(example.user for example in sample_examples(EXAMPLES, 20))
    for user, length in enumerate([1, 30, 2, 7, 60]):
        assert abs(counts[user] - length * 20 / 100) < 1


def test_every_target_is_equally_likely_to_be_sampled():
    drawn = Counter(example for seed in range(2_000) for example in sample_examples(EXAMPLES, 20, seed))
    assert len(drawn) == len(EXAMPLES)
    assert max(abs(count / 2_000 - 20 / 100) for count in drawn.values()) < 0.05


def test_no_limit_takes_all():
    assert sample_examples(EXAMPLES, None) == EXAMPLES


def test_a_limit_below_one_is_refused():
    with pytest.raises(UsageError, match="at least 1"):
        sample_examples(EXAMPLES, 0)
