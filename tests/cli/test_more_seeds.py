"""A group of seeds gets more of them: with its own settings, as runs like the others, compared as one row."""

import pytest

from patchrec.store import Store

SMALL = ["--width", "8", "--layers", "1", "--heads", "1", "--max-steps", "1", "--batch-size", "4", "--data", "toy"]


@pytest.fixture
def group(toy_cli):
    """The command with a fitted group `mine` of the seeds 0 and 4."""
    ran = toy_cli("baseline", "sasrec", "--seeds", "0,4", *SMALL, "--name", "mine", "--note", "first", "--tag", "a")
    assert ran.code == 0, ran.err
    return toy_cli


def configs(tmp_path):
    with Store.open(tmp_path / "home") as store:
        return {run.seed: run for run in store.seed_groups.all()["mine"].runs}


def test_a_further_seed_joins_with_the_settings_and_marks_of_the_group(group, tmp_path):
    group("eval", "mine")
    ran = group("baseline", "sasrec", "--resume", "mine", "--seeds", "2", "--json")
    assert (ran.code, ran.json["seeds"]) == (0, [0, 4, 2])
    runs = configs(tmp_path)
    assert list(runs) == [0, 4, 2]
    assert runs[2].config == runs[0].config.model_copy(update={"seed": 2})
    assert (runs[2].name, runs[2].status, runs[2].note, runs[2].tags) == ("mine-s2", "done", "first", ("a",))
    assert runs[2].fingerprints == runs[0].fingerprints
    group("baseline", "popularity", "--data", "toy")
    group("eval", "popularity-1")
    assert "run 'mine-s2' is not evaluated" in group("runs", "compare", "mine", "popularity-1").err
    group("eval", "mine")
    row = group("runs", "compare", "mine", "popularity-1", "--json").json["rows"][0]
    assert (row["run"], row["seeds"]) == ("mine", [0, 4, 2])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume", "mine", "--seeds", "2,4"], "group mine has seed 4 already (it has 0, 4)"),
        (["--resume", "mine", "--seeds", "2,2"], "seed 2 is given twice"),
        (["--resume", "mine", "--seeds", "2", "--max-steps", "3"], "--resume goes on with the run's own settings"),
        (["--resume", "mine", "--seeds", "2", "--width", "4"], "drop --width"),
        (["--resume", "mine"], "or give it more with --seeds"),
        (["--seeds", "2", "--name", "mine", *SMALL], "`patchrec baseline --resume mine --seeds N,N`"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(group, tmp_path, words, said):
    ran = group("baseline", "sasrec", *words)
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert len(ran.err.splitlines()) == 1
    assert list(configs(tmp_path)) == [0, 4]


def test_a_seed_on_other_titles_would_not_compare(group, tmp_path):
    with Store.open(tmp_path / "home") as store, store.write() as db:
        db.execute("UPDATE runs SET fingerprints = json_set(fingerprints, '$.catalog', 'another')")
    ran = group("baseline", "--resume", "mine", "--seeds", "2")
    assert (ran.code, "another catalog, so its seeds would not compare" in ran.err) == (2, True)
    assert list(configs(tmp_path)) == [0, 4]
