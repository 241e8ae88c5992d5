"""Slices of groups of seeds, other ways to count, and what a group is called and said of: as people see it."""

import pytest
from test_cli_runs import add_run
from test_cli_seeds import make_group

from patchrec.operations.slices import slices_of
from patchrec.store import Store
from patchrec.store.evaluations import MetricRow

RANKS = {0: [1, 2, 4, 4], 1: [1, 1, 2, 4], 7: [2, 2, 2, 4]}


@pytest.fixture
def grouped(toy_cli, tmp_path):
    """The command with a group `grp-1` of three seeds, whose targets are of users that the data set has."""
    with Store.open(tmp_path / "home") as store:
        make_group(store, RANKS)
        with store.write() as db:
            db.execute("UPDATE rankings SET user_id = 'ann' WHERE user = 0")
            db.execute("UPDATE rankings SET user_id = '007', position = position - 1 WHERE user = 1")
    return toy_cli


def test_slices_of_a_group_are_means_with_deviation_and_interval(grouped):
    ran = grouped("runs", "show", "grp-1", "--slices", "--json")
    assert ran.code == 0, ran.err
    (cut,) = ran.json["slices"]
    assert (cut["evaluation"], len(cut["evaluations"]), cut["seeds"]) == (None, 3, [0, 1, 7])
    found = {
        (row["slice"], row["seen"]): row for row in cut["metrics"] if (row["name"], row["level"]) == ("mrr", "item")
    }
    whole, short = found["all", "dropped"], found["history 0-9", "dropped"]  # every target has a short history
    assert (short["value"], short["sd"], short["low"], short["high"]) == pytest.approx(
        (whole["value"], whole["sd"], whole["low"], whole["high"])
    )
    assert short["low"] < short["value"] < short["high"]
    out = grouped("runs", "show", "grp-1", "--slices").out
    assert "grp-1: 4 targets (test) of 2 users, seeds 0,1,7" in " ".join(out.split())
    assert "±" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_group_that_nobody_evaluated_has_no_slices(toy_cli, tmp_path):
    with Store.open(tmp_path / "home") as store:
        make_group(store, {0: [1], 1: [2]})
        with store.write() as db:
            db.execute("DELETE FROM evaluations")
    ran = toy_cli("runs", "show", "grp-1", "--slices")
    assert (ran.code, "patchrec eval grp-1" in ran.err) == (4, True)


def test_a_group_gets_another_name_and_its_runs_keep_theirs(grouped, tmp_path):
    ran = grouped("runs", "edit", "grp-1", "--name", "anchored", "--note", "three", "--tag", "paper", "--json")
    assert ran.code == 0, ran.err
    runs = ["pft-s-1", "pft-s-2", "pft-s-3"]
    assert ran.json["run"] == {"name": "anchored", "note": "three", "tags": ["paper"], "runs": runs}
    assert grouped("runs", "show", "anchored").code == 0
    assert [row["run"] for row in grouped("runs", "compare", "--json").json["rows"]] == ["anchored"]
    out = grouped("runs", "edit", "anchored", "--untag", "paper", "--note", "").out
    assert out.split() == ["group", "anchored", "note", "none", "tags", "none"]
    with Store.open(tmp_path / "home") as store:
        assert {(run.group, run.note, run.tags) for run in store.runs.all()} == {("anchored", None, ())}


def test_a_name_that_was_given_is_no_name_for_a_group(grouped, tmp_path):
    with Store.open(tmp_path / "home") as store:
        add_run(store, "vanilla", [1, 1, 1, 1])
    for name in ("vanilla-1", "VANILLA-1", "pft-s-1", "none", "a b"):
        assert grouped("runs", "edit", "grp-1", "--name", name, "--tag", "x").code == 2
    assert grouped("runs", "edit", "grp-1", "--name", "new").code == 0
    assert grouped("runs", "edit", "new", "--name", "newer").code == 0
    ran = grouped("runs", "edit", "newer", "--name", "new")
    assert (ran.code, "no name is given twice" in ran.err) == (2, True)
    ran = grouped("runs", "edit", "newer", "--untag", "x")
    assert (ran.code, "tag of group 'newer'" in ran.err) == (4, True)
    ran = grouped("runs", "edit", "vanilla-1", "--name", "other")
    assert (ran.code, "keeps its name" in ran.err) == (2, True)


def test_a_fitted_group_is_gone_on_with_and_shown_under_its_new_name(toy_cli, tmp_path):
    small = ["--width", "8", "--layers", "1", "--heads", "1", "--max-steps", "1", "--batch-size", "4", "--data", "toy"]
    assert toy_cli("baseline", "sasrec", "--seeds", "0,4", *small).code == 0
    assert toy_cli("runs", "edit", "sasrec-1", "--name", "small").code == 0
    with Store.open(tmp_path / "home") as store, store.write() as db:
        db.execute("UPDATE runs SET status = 'interrupted', error = 'stopped' WHERE seed = 4")
    ran = toy_cli("baseline", "sasrec", "--resume", "small")
    assert ran.code == 0, ran.err
    assert "2 of 2 seeds" in ran.out
    assert "sasrec-1-s4" in ran.out
    found = toy_cli("eval", "small", "--json").json
    part = [row for row in found["metrics"] if row["slice"] == "history 0-9" and row["name"] == "hr@10"]
    assert part
    assert all(row["low"] is not None and row["low"] <= row["value"] <= row["high"] for row in part)
    stored = toy_cli("runs", "show", "small", "--json").json["group"]["evaluations"][0]["metrics"]
    for row in found["metrics"]:
        assert row in stored


def test_other_ways_to_count_are_shown_apart_and_marked(toy_cli):
    assert toy_cli("eval", "--baseline", "popularity").code == 0
    assert "not to be compared" not in toy_cli("runs", "show", "popularity-1").out
    for protocol in ("paper", "sampled"):
        assert toy_cli("eval", "popularity-1", "--protocol", protocol, "--limit", "2").code == 0
    out = toy_cli("runs", "show", "popularity-1").out
    words = " ".join(out.split())
    assert "not to be compared: counted as the published scripts count, over 20 titles 2 targets (test)" in words
    assert "not to be compared: the target among 99 drawn items 2 targets (test), --limit 2" in words
    assert max(map(len, out[out.index("not to be compared") :].splitlines())) <= 80


def test_only_what_is_shown_is_in_a_title(toy_cli):
    assert toy_cli("eval", "--baseline", "popularity").code == 0
    out = toy_cli("runs", "compare", "popularity-1").out
    assert "cost of a target" in out
    assert "compression ratios" not in out


def test_slices_of_a_run_are_as_they_were(grouped, tmp_path):
    (cut,) = slices_of("pft-s-1", home=tmp_path / "home")
    assert {type(row) for row in cut.metrics} == {MetricRow}
    assert (cut.evaluation, cut.evaluations, cut.seeds, cut.num_targets, cut.num_users) == (1, [1], [0], 4, 2)
