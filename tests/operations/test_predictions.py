"""Lists of another system, scored on exactly the targets of a run and kept as a run that nothing can be asked of."""

import numpy as np
import pytest

from patchrec.errors import InputError, UsageError
from patchrec.operations.blend import blend
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import export_run
from patchrec.operations.load import load
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all
from patchrec.operations.predictions import evaluate_predictions
from patchrec.operations.recommend import recommend
from patchrec.operations.runs import compare_runs, show_run
from patchrec.operations.score_choice import choose_score
from patchrec.operations.training.train import baseline
from patchrec.ranking.items import item_order, precedence
from patchrec.recommender import Query, log_probs
from patchrec.reporting import Silent
from patchrec.store import Store


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def metrics(found, level="item", seen="dropped"):
    return {row.name: row.value for row in found.metrics if (row.level, row.seen, row.slice) == (level, seen, "all")}


@pytest.fixture
def markov(home):
    return baseline("markov", options={"strength": 20.0}, home=home).run


@pytest.fixture
def write(home, tmp_path):
    """Write lists as CSV; rows are user, item, rank, and where given a position."""

    def write(rows, name="theirs.csv", columns="user_id,item_id,rank,position"):
        path = tmp_path / name
        width = len(rows[0])
        lines = [",".join(columns.split(",")[:width]), *(",".join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def whole(home, markov, write):
    """The whole rankings of a run for every test target, as a file of lists."""
    with Store.open(home) as store:
        loaded = load(store, store.runs.get(markov))
    dataset, history = loaded.dataset, loaded.run.config.history
    examples = dataset.examples("test", history.K, history.windows)
    scores = log_probs(loaded.recommender, [Query.of(dataset, example) for example in examples])
    rows = []
    for example, row in zip(examples, scores, strict=True):
        order = item_order(row, precedence(dataset.popularity))
        user = dataset.sequences.user_ids[example.user]
        rows += [
            (user, dataset.catalog.item_ids[item], rank, example.position) for rank, item in enumerate(order.tolist())
        ]
    return write(rows)


@pytest.mark.parametrize("limit", [None, 7])
def test_a_runs_own_rankings_as_a_file_give_its_own_numbers(home, markov, whole, limit):
    own = evaluate(markov, limit=limit, home=home)
    theirs = evaluate_predictions(whole, limit=limit, home=home)
    assert {row.slice for row in theirs.metrics} == {row.slice for row in own.metrics}
    assert (theirs.run, theirs.label, theirs.score) == ("predictions-1", "theirs.csv", "list")
    assert (theirs.num_targets, theirs.num_users) == (own.num_targets, own.num_users)
    values = [{(r.name, r.level, r.seen, r.slice): (r.value, r.low, r.high) for r in f.metrics} for f in (own, theirs)]
    assert {key[:3] for key in values[0] if key not in values[1]} == {("log_prob", "title", "kept")}
    assert all(values[0][key] == value for key, value in values[1].items())
    table = compare_runs([markov, "predictions-1"], metric="ndcg@10", home=home)
    assert table["num_targets"] == own.num_targets
    assert (table["rows"][1]["difference"]["difference"], table["rows"][1]["difference"]["p_value"]) == (0, 1)


def test_a_target_that_its_list_lacks_or_that_has_no_list_is_a_miss(home, write):
    report = Notes()
    path = write([("u0", "i12", 1, 12), ("u1", "i00", 1, 13), ("u1", "i14", 2, 13)])
    found = evaluate_predictions(path, home=home, report=report)
    assert metrics(found)["hr@10"] == pytest.approx(2 / 24)
    assert metrics(found)["mrr"] == pytest.approx((1 + 1 / 2) / 24)
    assert metrics(found, "title", "kept")["hr@10"] == pytest.approx(2 / 24)
    assert found.cost["targets_without_list"] == 22
    assert "22 of 24 targets have no list; each counts as a miss" in report.notes
    assert "no list holds more than 2 items: nothing beyond is found, by hr@20 or by mrr" in report.notes


def test_seen_items_are_dropped_and_kept(home, write):
    path = write([("u0", "i00", 1, 12), ("u0", "i01", 2, 12), ("u0", "i12", 3, 12)])  # u0 began with both
    found = evaluate_predictions(path, home=home)
    assert metrics(found)["mrr"] == pytest.approx(1 / 24)
    assert metrics(found, seen="kept")["mrr"] == pytest.approx(1 / 3 / 24)


def test_what_nobody_knows_keeps_its_place_and_is_told(home, write):
    report = Notes()
    path = write([("u0", "new", 1, 12), ("u0", "i12", 2, 12), ("zoe", "i12", 1, 3), ("u2", "i01", 1, 2)])
    found = evaluate_predictions(path, home=home, report=report)
    assert metrics(found)["mrr"] == pytest.approx(1 / 2 / 24)
    assert "items that the catalog does not have: 1 in 1 places, such as 'new'; they keep their places" in report.notes
    assert "users that the data set does not have: 1, such as 'zoe'; their lists are not counted" in report.notes
    assert "1 lists are for no target of this split, such as one of user 'u2'; not counted" in report.notes
    with Store.open(home) as store:
        (first, *_) = store.evaluations.rankings(store.evaluations.all(found.run)[-1].id)
    assert first.top == (("i12", -2.0),)


def test_a_list_that_may_be_for_two_targets_is_refused_unless_it_is_for_both(home, write):
    path = write([("u0", "i12", 1), ("u0", "i13", 2)])
    with pytest.raises(UsageError, match=r"user 'u0' has 2 targets in this split.*position.*--one-list"):
        evaluate_predictions(path, home=home)
    found = evaluate_predictions(path, one_list=True, home=home)  # for position 13, item 12 is seen
    assert metrics(found)["mrr"] == pytest.approx((1 + 1) / 24)
    assert metrics(found, seen="kept")["mrr"] == pytest.approx((1 + 1 / 2) / 24)
    positions = write([("u0", "i12", 1, 12)], "positions.csv")
    with pytest.raises(UsageError, match="says by position"):
        evaluate_predictions(positions, one_list=True, home=home)


def test_a_list_is_found_by_the_seconds_of_its_target(home, write):
    path = write([("u0", "i13", 1, 13 * 86_400)], columns="user_id,item_id,rank,timestamp")
    assert metrics(evaluate_predictions(path, home=home))["hr@10"] == pytest.approx(1 / 24)


def test_the_same_file_is_the_same_run(home, write):
    first = write([("u0", "i12", 1, 12)])
    assert evaluate_predictions(first, home=home).run == "predictions-1"
    assert evaluate_predictions(first, limit=3, home=home).run == "predictions-1"
    assert evaluate_predictions(write([("u0", "i13", 1, 12)], "other.csv"), home=home).run == "predictions-2"
    shown = show_run("predictions-1", home=home)
    assert (shown["stage"], shown["kind"], shown["status"]) == ("predictions", "predictions", "done")
    assert shown["config"]["kind"]["options"]["file"] == "theirs.csv"


def test_nothing_is_asked_of_lists(home, markov, write, tmp_path):
    run = evaluate_predictions(write([("u0", "i12", 1, 12)]), home=home).run
    asked = [
        lambda: recommend(run=run, user="u0", home=home),
        lambda: recommend_all(Request(output=str(tmp_path / "all.csv"), run=run), home=home),
        lambda: evaluate(run, home=home),
        lambda: export_run(run, tmp_path / "out", home=home),
        lambda: blend([run, markov], weights=[1, 1], home=home),
        lambda: choose_score(run, home=home),
    ]
    for ask in asked:
        with pytest.raises(UsageError, match=r"another system|has one score") as caught:
            ask()
        assert "\n" not in str(caught.value)
    with pytest.raises(Exception, match="predictions"):
        baseline("predictions", home=home)
    with Store.open(home) as store:
        assert store.runs.names() == [markov, run]
    assert recommend(user="u0", home=home).run == markov  # lists are never picked


def test_lists_have_no_log_probability_to_compare(home, markov, write):
    evaluate(markov, home=home)
    run = evaluate_predictions(write([("u0", "i12", 1, 12)]), home=home).run
    with pytest.raises(UsageError, match="have no log_prob"):
        compare_runs([markov, run], metric="log_prob", home=home)
    table = compare_runs(metric="log_prob", home=home)
    assert [row["run"] for row in table["rows"]] == [markov]
    assert f"{run} is left out: lists of another system have no log_prob" in table["notes"]
    assert not any("not to be compared" in note for note in compare_runs([markov, run], home=home)["notes"])


def test_a_file_that_cannot_be_used_leaves_no_run(home, write):
    with pytest.raises(InputError):
        evaluate_predictions(write([("u0", "i12", 1, 12), ("u0", "i12", 2, 12)]), home=home)
    with Store.open(home) as store:
        assert store.runs.names() == []


def test_random_lists_of_random_length_equal_a_plain_loop(home, write):
    generator = np.random.default_rng(5)
    rows, expected = [], []
    with Store.open(home) as store:
        dataset = store.datasets.load("walkers")
    for example in dataset.examples("test", 1):
        items = generator.permutation(20)[: generator.integers(1, 20)].tolist()
        user = dataset.sequences.user_ids[example.user]
        rows += [(user, f"i{item:02d}", rank, example.position) for rank, item in enumerate(items, start=1)]
        target = dataset.target(example)
        expected.append(1 / (items.index(target) + 1) if target in items else 0)
    generator.shuffle(rows)
    found = evaluate_predictions(write(rows), home=home)
    assert metrics(found, seen="kept")["mrr"] == pytest.approx(np.mean(expected))
