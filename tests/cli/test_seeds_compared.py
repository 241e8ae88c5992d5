"""Groups of seeds among names, notes, tags, the trash, conditions, forms of tables, pictures and reports."""

import csv
import io

import pytest
from hostile import fill
from test_cli_runs import add_run
from test_cli_seeds import SMALL, make_group, metric

from patchrec.operations.run_faults import faults_of
from patchrec.store import Store

SEEDS = {0: [1, 2, 4, 4], 1: [1, 1, 2, 4], 7: [2, 2, 2, 4]}


@pytest.fixture
def compared(toy_cli, tmp_path):
    """The command with a group `grp-1` of three seeds and a run `vanilla-1`."""
    with Store.open(tmp_path / "home") as store:
        make_group(store, SEEDS)
        add_run(store, "vanilla", [4, 4, 8, 8])
    return toy_cli


def test_a_group_has_a_name_of_its_own_and_its_runs_have_note_and_tags(toy_cli, tmp_path):
    marks = ["--name", "mine", "--note", "three of them", "--tag", "paper"]
    assert toy_cli("baseline", "sasrec", "--seeds", "0,1", *SMALL, *marks).code == 0
    assert toy_cli("baseline", "popularity", "--data", "toy", "--name", "sasrec-1-s1").code == 0
    listed = toy_cli("runs", "ls", "--tag", "paper", "--json").json["runs"]
    assert [(row["name"], row["group"], row["note"], row["tags"]) for row in listed] == [
        ("mine-s1", "mine", "three of them", ["paper"]),
        ("mine-s0", "mine", "three of them", ["paper"]),
    ]
    shown = toy_cli("runs", "show", "mine").out
    assert "three of them" in shown
    assert "paper" in shown
    assert "paper" in next(line for line in toy_cli("runs", "ls").out.splitlines() if line.startswith("mine "))
    for name in ("mine", "mine-s0"):
        for words in (["sasrec", "--seeds", "2,3", *SMALL], ["popularity", "--data", "toy"]):
            ran = toy_cli("baseline", *words, "--name", name)
            assert (ran.code, f"--name {name}: " in ran.err) == (2, True), ran.err
    ran = toy_cli("baseline", "sasrec", "--resume", "mine", "--note", "x")
    assert (ran.code, "drop --note" in ran.err) == (2, True)
    # a counted group passes over the names that its runs could not have
    assert toy_cli("baseline", "sasrec", "--seeds", "0,1", *SMALL).code == 0
    with Store.open(tmp_path / "home") as store:
        assert store.seed_groups.all().keys() == {"mine", "sasrec-2"}
        assert [plugin.name for plugin in store.runs.plugins("mine-s1")] == ["sasrec"]


def test_a_run_that_waits_is_no_fault(toy_cli, tmp_path):
    assert toy_cli("baseline", "sasrec", "--seeds", "0,1", *SMALL).code == 0
    with Store.open(tmp_path / "home") as store:
        with store.write() as db:
            db.execute("UPDATE runs SET status = 'interrupted', error = 'waits for its turn' WHERE seed = 1")
        assert store.runs.get("sasrec-1-s1").status == "waiting"
        assert faults_of(store, store.runs.all()) == {}


def test_any_cut_off_of_a_group_is_a_mean_with_its_deviation_and_interval(compared):
    table = compared("runs", "compare", "--metric", "hr@1", "--json").json
    row = next(row for row in table["rows"] if row["run"] == "grp-1")
    found = metric(row["metrics"], "hr@1")
    assert found["value"] == pytest.approx((1 / 4 + 2 / 4 + 0) / 3)
    assert found["sd"] == pytest.approx(1 / 4)
    assert found["low"] <= found["value"] <= found["high"]
    alone = next(row for row in table["rows"] if row["run"] == "vanilla-1")
    assert {found["sd"] for found in alone["metrics"]} == {None}
    assert "seed" not in row["differing"]


def test_a_group_in_one_table_of_chosen_columns(compared):
    asked = ["runs", "compare", "--columns", "run,seed,hr@1,mrr", "--sort", "-hr@1"]
    [first, second] = [row["columns"] for row in compared(*asked, "--json").json["rows"]]
    assert (first["run"], second["run"], second["seed"]) == ("vanilla-1", "grp-1", "0,1,7")
    assert second["hr@1"]["sd"] == pytest.approx(1 / 4)
    assert "sd" not in first["hr@1"]
    rows = list(csv.DictReader(io.StringIO(compared(*asked, "--csv").out)))
    assert [row["hr@1_sd"] for row in rows] == ["", "0.25"]
    assert float(rows[1]["hr@1"]) == pytest.approx(1 / 4)
    assert "0.250 ± 0.250 [" in compared(*asked, "--md").out


def test_a_check_is_of_the_mean_of_a_group(compared):
    assert compared("runs", "compare", "grp-1", "--fail-if", "hr@1 < 0.2").code == 0
    ran = compared("runs", "compare", "grp-1", "vanilla-1", "--fail-if", "hr@1 < 0.3", "--limit", "1")
    assert (ran.code, "holds for grp-1, vanilla-1" in ran.err) == (1, True)


def test_seeds_that_a_condition_leaves_out_are_told(compared):
    table = compared("runs", "compare", "grp-1", "vanilla-1", "--where", "seed <> 7", "--json").json
    assert [(row["run"], row["seeds"]) for row in table["rows"]] == [("grp-1", [0, 1]), ("vanilla-1", [0])]
    assert "grp-1 is without seed 7 (left out)" in table["notes"]
    ran = compared("runs", "compare", "grp-1", "vanilla-1", "--where", "strategy = 'vanilla'")
    assert (ran.code, "run grp-1, the reference, is left out" in ran.err) == (2, True)


def test_a_listing_counts_a_group_once(compared):
    listed = compared("runs", "ls", "--limit", "2", "--json").json["runs"]
    assert [row["group"] for row in listed] == [None, "grp-1", "grp-1", "grp-1"]
    assert [row["name"] for row in compared("runs", "ls", "--limit", "1", "--json").json["runs"]] == ["vanilla-1"]


def test_a_group_goes_to_the_trash_and_comes_back(compared):
    removed = ["pft-s-1", "pft-s-2", "pft-s-3"]
    ran = compared("runs", "rm", "grp-1", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["removed"] == removed
    assert [row["run"] for row in compared("runs", "compare", "--json").json["rows"]] == ["vanilla-1"]
    assert compared("runs", "rm", "grp-1").code == 4  # it has no run left
    assert compared("runs", "restore", *removed).code == 0
    assert len(compared("runs", "compare", "--json").json["rows"]) == 2


def test_pictures_and_reports_show_the_runs_of_a_group_one_by_one(cli, tmp_path):
    fill(tmp_path / "home", [f"Title {number}" for number in range(60)], ["ann", "bob", "eve", "007"])
    names = ["pft-s-1", "vanilla-1", "popularity-1"]
    with Store.open(tmp_path / "home") as store, store.write() as db:
        for seed, name in enumerate(names[:2]):
            db.execute("UPDATE runs SET seed = ?, seed_group = 'grp-1' WHERE name = ?", [seed, name])
    asked = ["grp-1", "popularity-1", "--json"]
    ran = cli("runs", "plot", "slices", *asked)
    assert ran.code == 0, ran.err
    assert ran.json["charts"][0]["names"] == names
    assert cli("runs", "plot", "loss", *asked).code == 0
    ran = cli("runs", "report", *asked, "--out", str(tmp_path / "report.html"))
    assert ran.code == 0, ran.err
    assert ran.json["runs"] == names


@pytest.mark.parametrize(
    "words", [["--protocol", "paper"], ["--note", "x"], ["--name", "x"], ["--data", "toy"], ["--one-list"]]
)
def test_what_a_group_has_no_use_for_is_refused(compared, words):
    ran = compared("eval", "grp-1", *words)
    assert (ran.code, words[0] in ran.err) == (2, True), ran.err


def test_lists_of_another_system_are_no_evaluation_of_a_group(compared, tmp_path):
    (tmp_path / "lists.csv").write_text("user_id,item_id,rank\nann,1,1\n")
    ran = compared("eval", "grp-1", "--predictions", str(tmp_path / "lists.csv"))
    assert (ran.code, "drop the run 'grp-1'" in ran.err) == (2, True), ran.err


def test_a_group_is_evaluated_up_to_a_limit_and_on_slices(toy_cli):
    assert toy_cli("baseline", "sasrec", "--seeds", "0,1", *SMALL).code == 0
    ran = toy_cli("eval", "sasrec-1", "--k", "2", "--exact-to", "3")
    assert ran.code == 0, ran.err
    assert "rank 3" in ran.out
    assert "popularity" in ran.out
    found = toy_cli("eval", "sasrec-1", "--k", "2", "--exact-to", "3", "--json").json
    assert found["exact_to"] == 3
    part = next(row for row in found["metrics"] if row["slice"].startswith("popularity"))
    assert part["slice_targets"] >= part["slice_users"] >= 1
    assert toy_cli("eval", "sasrec-1-s1", "--k", "2").code == 0  # one seed has all ranks, the other some
    table = toy_cli("runs", "compare", "sasrec-1", "--columns", "run,mrr@3,hr@2", "--json").json
    (row,) = table["rows"]
    assert (table["metric"], row["exact_to"], row["seeds"]) == ("mrr@3", 3, [0, 1])
    assert row["columns"]["hr@2"]["value"] is not None
    assert "mrr" not in {metric["name"] for metric in row["metrics"]}
    ran = toy_cli("runs", "compare", "sasrec-1", "--metric", "mrr")
    assert (ran.code, "exact to rank 3" in ran.err) == (2, True)
    assert toy_cli("runs", "show", "sasrec-1", "--slices").code == 0
    assert toy_cli("runs", "show", "sasrec-1-s1", "--slices").code == 0
