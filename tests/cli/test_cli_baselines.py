"""`patchrec baseline NAME`: a run like any other."""

import json

import pytest

COUNTS = (["popularity"], ["recent", "--half-life", "5"], ["markov"], ["item-knn", "--neighbours", "3"])
SMALL = ["--width", "8", "--layers", "1", "--heads", "1", "--epochs", "1", "--batch-size", "4"]


@pytest.mark.parametrize("words", COUNTS, ids=lambda words: words[0])
def test_a_table_of_counts_is_fitted_evaluated_recommended_from_and_exported(toy_cli, tmp_path, words):
    fitted = toy_cli("baseline", *words, "--data", "toy")
    assert fitted.code == 0, fitted.err
    run = f"{words[0]}-1"
    assert f"patchrec eval {run}" in fitted.err
    assert toy_cli("eval", run).code == 0
    ranked = toy_cli("recommend", "--history", "Alien", "--k", "2", "--json")
    assert ranked.code == 0, ranked.err
    assert ranked.json["run"] == run
    assert len(ranked.json["ranking"]) == 2
    assert toy_cli("export", run, tmp_path / "out").code == 0
    assert json.loads((tmp_path / "out" / "patchrec.json").read_text())
    shown = toy_cli("runs", "show", run, "--json").json["run"]
    assert (shown["stage"], shown["kind"], shown["status"]) == ("baseline", words[0], "done")
    assert toy_cli("doctor").code == 0


@pytest.mark.parametrize("kind", ["sasrec", "esasrec"])
def test_a_model_of_identifiers_trains_with_the_usual_options(toy_cli, kind):
    fitted = toy_cli("baseline", kind, *SMALL, "--data", "toy", "--json")
    assert fitted.code == 0, fitted.err
    again = toy_cli("baseline", "--resume", f"{kind}-1")
    assert f"run {kind}-1 is done" in again.err
    other = toy_cli("baseline", "popularity", "--resume", f"{kind}-1")
    assert f"`patchrec baseline {kind} --resume {kind}-1`" in other.err
    assert toy_cli("eval", f"{kind}-1", "--score", "item").code == 0
    assert toy_cli("eval", f"{kind}-1", "--score", "catalog").code != 0


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ["which baseline?", "item-knn", "popularity"]),
        (["nearest"], ["nearest", "item-knn", "more"]),
        (["markov", "--width", "8"], ["--width", "--strength"]),
        (["llamarec", "--retriever", "markov-1"], ["`patchrec finetune --head llamarec`"]),
        (["--table", "free", "--no-item-vectors", "item"], ["`patchrec finetune --head item`"]),
        (["sasrec", "--retriever", "markov-1"], ["no option '--retriever'", "--dropout"]),
        (["markov", "--strength", "nan"], ["--strength", "finite"]),
        (["recent", "--half-life", "0"], ["--half-life", "greater than"]),
        (["sasrec", "--width", "9", "--heads", "2"], ["--width 9", "--heads 2"]),
        (["popularity", "--data", "toys"], ["toys", "toy"]),
    ],
)
def test_a_baseline_that_cannot_be_is_refused_in_a_line(toy_cli, words, wanted):
    data = [] if "--data" in words else ["--data", "toy"]
    ran = toy_cli("baseline", *words, *data)
    assert ran.code in (2, 4)
    assert all(word in ran.err for word in wanted)
    assert "Traceback" not in ran.err
    assert not toy_cli("runs", "ls", "--json").json["runs"]
