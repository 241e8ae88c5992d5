"""Blends as runs: made, evaluated, asked, and refused where what they mix is not there any more."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_data import walk

from patchrec.errors import CheckFailedError, CorruptError, NotFoundError, UsageError
from patchrec.evaluation.weighting import Weighed
from patchrec.operations.blend import blend
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import export_run
from patchrec.operations.load import load
from patchrec.operations.recommend import recommend
from patchrec.operations.runs import remove_run, show_run
from patchrec.operations.training.train import baseline
from patchrec.recommender import Query, log_probs
from patchrec.store import Store


def fit(home):
    baseline("popularity", home=home)
    baseline("markov", options={"strength": 20.0}, home=home)
    baseline("item-knn", options={"neighbours": 4, "smoothing": 0.5}, home=home, K=4)
    return ["popularity-1", "markov-1", "item-knn-1"]


@pytest.fixture
def runs(prepared):
    """Popularity, which knows nothing here, transitions, which know everything, and neighbours."""
    return prepared(fit)


def validation_log_prob(run, home):
    (found,) = (
        row.value
        for row in evaluate(run, split="validation", home=home).metrics
        if (row.name, row.level, row.seen, row.slice) == ("log_prob", "title", "kept", "all")
    )
    return found


def test_a_blend_is_a_run_that_answers_as_its_parts_do_together(home, runs):
    made = blend(["item-knn-1", "markov-1"], weights=[1, 3], home=home)
    assert (made.run, made.metric, made.together) == ("blend-1", None, None)
    assert [(part.run, part.weight) for part in made.parts] == [("item-knn-1", 0.25), ("markov-1", 0.75)]
    with Store.open(home) as store:
        mixed, one, other = (load(store, store.runs.get(name)) for name in ("blend-1", "item-knn-1", "markov-1"))
        history = mixed.run.config.history
        example = mixed.dataset.examples("test", history.K, history.windows)[0]
        asked = [Query.of(mixed.dataset, example)]
        short = mixed.dataset.examples("test", 4)[0]
        rows = log_probs(one.recommender, [Query.of(mixed.dataset, short)]), log_probs(other.recommender, asked)
    expected = 0.25 * rows[0] + 0.75 * rows[1]
    expected -= np.logaddexp.reduce(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(log_probs(mixed.recommender, asked), expected, rtol=1e-12)

    found = evaluate("blend-1", home=home)
    assert (found.run, found.score, found.num_targets) == ("blend-1", "mixture", 24)
    assert recommend(run="blend-1", user="u3", k=3, home=home).ranking[0].item_id == "i17"
    assert show_run("blend-1", home=home)["config"]["parts"][0]["run"] == "item-knn-1"


def test_weights_are_those_that_rank_validation_targets_best(home, runs):
    sure = baseline("item-knn", options={"neighbours": 2, "smoothing": 1e-6}, home=home).run  # and often wrong
    made = blend([sure, "popularity-1", "item-knn-1"], metric="log_prob", home=home)
    assert [part.run for part in made.parts] == [sure, "popularity-1", "item-knn-1"]
    assert sum(part.weight for part in made.parts) == 1
    assert made.together.value > max(part.alone.value for part in made.parts)
    assert made.difference.difference == pytest.approx(
        made.together.value - next(part.alone.value for part in made.parts if part.run == made.reference)
    )
    with Store.open(home) as store:
        kept = store.runs.get(made.run).config.parts
    assert {part.run: part.weight for part in kept} == {part.run: part.weight for part in made.parts if part.weight > 0}
    assert validation_log_prob(made.run, home) == pytest.approx(made.together.value)


def test_how_often_people_come_back_is_learned_beside_the_weights(home, runs):
    sure = baseline("item-knn", options={"neighbours": 2, "smoothing": 1e-6}, home=home).run
    asked = {"metric": "log_prob", "temperature": 1, "home": home}
    made = blend([sure, "popularity-1", "item-knn-1"], **asked)
    plain = blend([sure, "popularity-1", "item-knn-1"], repeats=1, **asked)
    assert made.repeats != 1
    assert (plain.repeats, plain.repeated) == (1, None)
    assert 0 <= made.repeated <= made.num_targets
    assert made.together.value >= plain.together.value
    with Store.open(home) as store:
        learned, left = store.runs.get(made.run).config, store.runs.get(plain.run).config
        longest = int(np.diff(store.datasets.load(made.dataset).sequences.offsets).max())
    assert learned.kind.options == {"repeats": made.repeats}
    assert left.kind.options == {}
    assert (max(100, longest), 100) == (learned.history.K, left.history.K)
    assert validation_log_prob(made.run, home) == pytest.approx(made.together.value)
    given = blend(["item-knn-1", "popularity-1"], weights=[1, 1], repeats=0.5, home=home)
    assert (given.repeats, given.repeated, given.metric) == (0.5, None, None)


def fit_new(home):
    """Users who walk on to what nobody had in the train split: tales whose titles share a word with the one before."""
    titles = [f"of {item} and {item + 1}" for item in range(30)]
    with Store.open(home) as store:
        own = walk("growing", titles, held_out=4)
        store.datasets.add(own, source="made up", licence="none", split={"rule": "ratio"})
    given = {"data": "growing", "home": home}
    baseline("item-knn", options={"neighbours": 4, "smoothing": 0.5}, **given)
    baseline("popularity", **given)
    baseline("content", **given)
    return ["item-knn-1", "popularity-1", "content-1"]


def test_one_run_speaks_of_items_that_nobody_chose(home, prepared):
    runs = prepared(fit_new)
    made = blend(runs, metric="log_prob", home=home)
    assert (made.speaker, made.new) == ("content-1", 10)
    with pytest.raises(CheckFailedError, match="no blend of these runs is better than item-knn-1 alone"):
        blend(runs, metric="log_prob", new_items=False, home=home)
    assert made.together.value > max(part.alone.value for part in made.parts)
    with Store.open(home) as store:
        config = store.runs.get(made.run).config
    assert {key: config.kind.options[key] for key in ("speaker", "new_items")} == {
        "speaker": "content-1",
        "new_items": made.new_items,
    }
    assert validation_log_prob(made.run, home) == pytest.approx(made.together.value)
    assert blend(runs, metric="log_prob", reuse=True, home=home).run == made.run


def test_a_run_that_speaks_of_new_items_alone_stays_with_weight_0(home, prepared, monkeypatch):
    runs = prepared(fit_new)
    monkeypatch.setattr(Weighed, "best", lambda own, metric: own.weightings.tolist().index([0.5, 0.5, 0]))
    made = blend(runs, metric="log_prob", home=home)
    assert made.label == "0.5 item-knn-1 + 0.5 popularity-1 + content-1 of new items"
    assert [part.weight for part in made.parts] == [0.5, 0.5, 0]
    assert validation_log_prob(made.run, home) == pytest.approx(made.together.value)


def test_how_sure_a_blend_is_is_learned_given_or_left_and_moves_no_new_film_past_another(home, prepared):
    runs = prepared(fit_new)
    learned = blend(runs, metric="log_prob", home=home)
    assert 1 / 8 <= learned.temperature < 1  # both runs smooth what they know
    left = blend(runs, metric="log_prob", temperature=1, home=home)
    given = blend(runs, metric="log_prob", temperature=0.5, home=home)
    assert (left.temperature, given.temperature) == (1, 0.5)
    assert learned.together.value > left.together.value
    for made in (learned, left, given):
        assert validation_log_prob(made.run, home) == pytest.approx(made.together.value)
    with Store.open(home) as store:
        options = [store.runs.get(made.run).config.kind.options for made in (learned, left, given)]
        dataset = store.datasets.load("growing")
    assert [one.get("temperature") for one in options] == [learned.temperature, None, 0.5]
    known = {dataset.catalog.item_ids[item] for item in np.flatnonzero(dataset.popularity)}
    user = dataset.sequences.user_ids[3]
    lists = [recommend(user=user, run=made.run, k=30, home=home).ranking for made in (learned, left)]
    one, other = ([line.item_id for line in ranking if line.item_id in known] for ranking in lists)
    assert one == other


def test_a_temperature_that_is_none_is_refused(home, prepared):
    runs = prepared(fit_new)
    for temperature in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"^blend: --temperature="):
            blend(runs, temperature=temperature, home=home)


def test_new_items_stay_as_likely_together_however_many_come(home, prepared):
    made = blend(prepared(fit_new), metric="log_prob", home=home)
    with Store.open(home) as store:
        run = load(store, store.runs.get(made.run))
        before = run.recommender.new
        wanted = run.run.config.kind.options
        more = run.run.settings["kind"] | {"options": wanted | {"num_new": wanted["num_new"] - 1}}
        fewer = load(store, replace(run.run, settings=run.run.settings | {"kind": more})).recommender.new
    assert (before.factor, before.items.sum()) == (pytest.approx(made.new_items), wanted["num_new"])
    assert fewer.factor == pytest.approx(made.new_items * (wanted["num_new"] - 1) / wanted["num_new"])


def test_weights_that_are_given_leave_nothing_to_learn_of_new_items(home, runs):
    with pytest.raises(UsageError, match="drop it, or --weights"):
        blend(runs[:2], weights=[1, 1], new_items=True, home=home)


def test_a_blend_whose_speaker_is_none_of_its_runs_is_damaged(home, prepared):
    made = blend(prepared(fit_new), metric="log_prob", home=home)
    with Store.open(home) as store:
        run = store.runs.get(made.run)
        kind = run.settings["kind"] | {"options": {"speaker": "nobody"}}
        with pytest.raises(CorruptError, match="'nobody' is none of its runs"):
            load(store, replace(run, settings=run.settings | {"kind": kind}))


@pytest.mark.parametrize("repeats", [0, -1, float("nan"), 1e10])
def test_odds_that_are_none_are_refused(home, runs, repeats):
    with pytest.raises(UsageError, match="repeats"):
        blend(["item-knn-1", "popularity-1"], weights=[1, 1], repeats=repeats, home=home)
    with Store.open(home) as store:
        assert store.runs.names() == runs


def test_where_one_run_is_best_nothing_is_made(home, runs):
    with pytest.raises(CheckFailedError, match="markov-1 alone"):
        blend(["popularity-1", "markov-1"], metric="hr@1", home=home)
    with Store.open(home) as store:
        assert store.runs.names() == runs


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        (["markov-1"], {}, "2 to 5 different runs, got 1"),
        (["markov-1", "markov-1"], {}, "different runs, got 1"),
        (["markov-1", "popularity-1"], {"weights": [1]}, "a number above 0 for each of the 2 runs, such as 2,1"),
        (["markov-1", "popularity-1"], {"weights": [1, 0]}, "above 0"),
        (["markov-1", "popularity-1"], {"weights": [1, float("nan")]}, "above 0"),
        (["markov-1", "popularity-1"], {"metric": "recall"}, "choices: ndcg@20"),
    ],
)
def test_what_cannot_be_mixed_is_refused_in_one_line(home, runs, names, more, message):
    with pytest.raises(UsageError, match=message) as caught:
        blend(names, home=home, **more)
    assert "\n" not in str(caught.value)
    with Store.open(home) as store:
        assert store.runs.names() == runs


def test_a_blend_says_which_of_its_runs_is_gone_or_another(home, runs):
    blend(["item-knn-1", "markov-1"], weights=[1, 1], home=home)
    with Store.open(home) as store:
        store.runs.choose_score("markov-1", "item", {"item_weight": 2.0})
    with pytest.raises(UsageError, match="mixes run markov-1 as it was"):
        evaluate("blend-1", home=home)
    assert "it mixes run 'markov-1', which has other weights" in show_run("blend-1", home=home)["faults"][0]["what"]
    remove_run("item-knn-1", home=home)
    with pytest.raises(NotFoundError, match="mixes run 'item-knn-1', which is gone"):
        evaluate("blend-1", home=home)
    assert "it mixes run 'item-knn-1', which is gone" in show_run("blend-1", home=home)["faults"][0]["what"]


def test_a_blend_can_be_blended_and_is_not_fitted_or_exported(home, runs, tmp_path):
    blend(["item-knn-1", "markov-1"], weights=[1, 1], home=home)
    made = blend(["blend-1", "popularity-1"], weights=[3, 1], home=home)
    assert evaluate(made.run, home=home).num_targets == 24
    with pytest.raises(UsageError, match="patchrec blend RUN RUN"):
        baseline("blend", home=home)
    with pytest.raises(UsageError, match="export the runs that it mixes: item-knn-1, markov-1"):
        export_run("blend-1", tmp_path / "out", home=home)
    assert not (tmp_path / "out").exists()
