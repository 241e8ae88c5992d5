"""Evaluations up to a limit beside those of the whole catalog: stored, used again, compared as far as they go."""

import pytest

from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.blend import blend
from patchrec.operations.evaluate import evaluate
from patchrec.operations.pictures import plot
from patchrec.operations.report import write_report
from patchrec.operations.runs import compare_runs, show_run
from patchrec.operations.slices import slices_of
from patchrec.operations.training.train import baseline, finetune
from patchrec.store import Store


def fit(home):
    first, second = (baseline(name, data="walkers", home=home).run for name in ("popularity", "markov"))
    evaluate(first, home=home, ks=(3,))
    evaluate(second, home=home, ks=(3,), exact_to=5)
    return first, second


@pytest.fixture
def runs(prepared):
    """Two counted runs and their evaluations: the first of the whole catalog, the second exact to rank 5."""
    return prepared(fit)


def test_what_was_asked_for_is_stored(home, runs):
    (stored,) = show_run(runs[1], home=home)["evaluations"]
    assert stored["config"]["exact_to"] == 5
    assert "exact_to" not in show_run(runs[0], home=home)["evaluations"][0]["config"]
    with Store.open(home) as store:
        (found,) = store.evaluations.all(runs[1])
        assert found.exact_to == 5
        assert max(row.item_rank_kept for row in store.evaluations.rankings(found.id)) <= 6


def test_an_evaluation_up_to_a_limit_is_no_one_of_the_whole_catalog(home, runs):
    again = evaluate(runs[1], home=home, ks=(3,), exact_to=5, reuse=True)
    assert again.exact_to == 5
    assert len(show_run(runs[1], home=home)["evaluations"]) == 1
    assert evaluate(runs[1], home=home, ks=(3,), reuse=True).exact_to is None
    assert len(show_run(runs[1], home=home)["evaluations"]) == 2


def test_runs_are_compared_up_to_the_rank_that_all_know(home, runs):
    table = compare_runs(list(runs), home=home)
    assert table["metric"] == "mrr@5"
    assert [row["exact_to"] for row in table["rows"]] == [None, 5]
    whole = compare_runs(list(runs), metric="mrr@3", home=home)["rows"][1]["difference"]
    evaluate(runs[1], home=home, ks=(3,))
    assert compare_runs(list(runs), metric="mrr@3", home=home)["rows"][1]["difference"] == whole
    assert {row["run"] for row in compare_runs(home=home)["rows"]} == set(runs)


@pytest.mark.parametrize("metric", ["mrr", "ndcg@10"])
def test_a_metric_that_needs_more_ranks_is_refused_with_a_way_out(home, runs, metric):
    evaluate(runs[0], home=home, ks=(3, 10))
    with pytest.raises(UsageError, match=r"exact to rank 5.*patchrec eval markov-1 --split test"):
        compare_runs(list(runs), metric=metric, home=home)


def test_an_earlier_evaluation_that_knows_a_metric_is_taken(home, runs):
    evaluate(runs[1], home=home, ks=(3,))
    evaluate(runs[1], home=home, ks=(3,), exact_to=4)
    table = compare_runs(list(runs), metric="mrr", home=home)
    assert [row["exact_to"] for row in table["rows"]] == [None, None]
    assert compare_runs(list(runs), home=home)["metric"] == "mrr@4"


@pytest.mark.parametrize(
    "asked", [{"sort": "hr@10"}, {"sort": "-mrr"}, {"fail_if": "hr@6 < 0.1"}, {"fail_if": "mrr < 0.1"}]
)
def test_an_order_or_a_check_that_needs_more_ranks_is_refused(home, runs, asked):
    option = "--sort" if "sort" in asked else "--fail-if"
    with pytest.raises(UsageError, match=rf"^{option} .*exact to rank 5.*patchrec eval markov-1"):
        compare_runs(list(runs), home=home, **asked)


def test_a_column_is_empty_where_a_run_does_not_know_it(home, runs):
    rows = compare_runs(list(runs), columns=["run", "hr@5", "hr@10", "mrr"], home=home)["rows"]
    assert [row["columns"]["hr@5"] is None for row in rows] == [False, False]
    for name in ("hr@10", "mrr"):
        assert [row["columns"][name] is None for row in rows] == [False, True]
    turned = compare_runs(list(reversed(runs)), columns=["run", "hr@10", "mrr"], home=home)["rows"]
    assert [row["columns"]["mrr"] is None for row in turned] == [True, False]
    with pytest.raises(UsageError, match=r"--columns hr@10: .*exact to rank 5"):
        compare_runs([runs[1]], columns=["run", "hr@10"], home=home)


def test_a_metric_of_no_kind_is_unknown_and_not_beyond_the_limit(home, runs):
    with pytest.raises(UsageError, match="no metric 'hits'"):
        compare_runs(list(runs), metric="hits", home=home)


def test_another_count_needs_the_scores_of_all_items(home, runs):
    for protocol in ("paper", "sampled"):
        with pytest.raises(UsageError, match="--protocol needs the scores of all items"):
            evaluate(runs[0], protocol=protocol, exact_to=20, home=home)


def test_pictures_and_reports_go_as_far_as_all_know(home, runs, tmp_path):
    (chart,) = plot("slices", runs, home=home)
    assert chart.x_label.startswith("mrr@5")
    labels = [row.label for row in chart.rows]
    assert labels[0] == "all targets"
    assert labels[1:] == sorted(labels[1:])
    assert {label.partition(" ")[0] for label in labels[1:]} >= {"history", "popularity"}
    with Store.open(home) as store:
        (found,) = store.evaluations.all(runs[1])
        rows = store.evaluations.rankings(found.id)
    newest = {row.user_id: row for row in sorted(rows, key=lambda row: row.position)}
    user = next(name for name, row in newest.items() if row.item_rank_dropped == 6)
    out = tmp_path / "report.html"
    write_report(runs, out, named_users=[user], home=home)
    page = out.read_text(encoding="utf-8")
    assert "beyond rank 5" in page


def test_a_blend_is_located_by_its_scores(home):
    parts = [baseline(name, data="walkers", home=home).run for name in ("popularity", "markov")]
    run = blend(parts, weights=[1.0, 1.0], home=home).run
    whole, short = (evaluate(run, ks=(3,), exact_to=limit, home=home) for limit in (None, 5))
    values = {(row.name, row.level, row.seen, row.slice): row for row in whole.metrics}
    assert {row.name for row in short.metrics} == {"hr@3", "ndcg@3", "mrr@3", "log_prob"}
    assert all(row == values[row.name, row.level, row.seen, row.slice] for row in short.metrics)


def test_slices_are_cut_again_from_what_is_stored(home, runs):
    for run in runs:
        (cut,) = slices_of(run, home=home)
        (stored,) = show_run(run, home=home)["evaluations"]
        by_key = {(row["slice"], row["name"], row["level"], row["seen"]): row for row in stored["metrics"]}
        assert {(row.slice, row.name, row.level, row.seen) for row in cut.metrics} == set(by_key)
        for row in cut.metrics:
            known = by_key[row.slice, row.name, row.level, row.seen]
            assert (row.value, row.low, row.high) == (known["value"], known["low"], known["high"])
            assert (row.slice_targets, row.slice_users) == (known["slice_targets"], known["slice_users"])


def test_slices_need_an_evaluation(home):
    run = baseline("popularity", data="walkers", home=home).run
    with pytest.raises(NotFoundError, match="patchrec eval popularity-1"):
        slices_of(run, home=home)


def test_a_run_of_titles_is_evaluated_up_to_a_limit(home):
    run = finetune(
        strategy="pft-s", options={"L": 2}, data="walkers", backbone="tiny-random", start="none", max_steps=1,
        batch_size=4, home=home,
    ).run  # fmt: skip
    whole, short = evaluate(run, home=home, ks=(3,)), evaluate(run, home=home, ks=(3,), exact_to=5)
    values = {(row.name, row.level, row.seen, row.slice): row.value for row in whole.metrics}
    for row in short.metrics:
        assert row.value == pytest.approx(values[row.name, row.level, row.seen, row.slice], abs=1e-5)
    assert short.cost["proven_targets"] == short.num_targets
