"""`patchrec blend`: several runs as one."""

import pytest


@pytest.fixture
def fitted(toy_cli):
    for name in ("popularity", "markov", "item-knn"):
        assert toy_cli("baseline", name, "--data", "toy").code == 0
    return toy_cli


def test_a_blend_is_made_evaluated_and_asked(fitted):
    made = fitted("blend", "markov-1", "item-knn-1", "--weights", "3,1")
    assert made.code == 0, made.err
    assert [line.split() for line in made.out.splitlines() if "-1 " in line][-2:] == [
        ["markov-1", "0.750"],
        ["item-knn-1", "0.250"],
    ]
    assert "next: patchrec eval blend-1" in made.err
    assert fitted("eval", "blend-1").code == 0
    assert fitted("recommend", "--history", "Alien", "--run", "blend-1", "--json").json["score"] == "mixture"
    shown = fitted("runs", "show", "blend-1", "--json").json["run"]
    assert (shown["stage"], shown["kind"], shown["label"]) == ("blend", "blend", "0.75 markov-1 + 0.25 item-knn-1")
    assert fitted("doctor").code == 0


def test_odds_that_it_multiplies_are_shown(fitted):
    assert fitted("blend", "markov-1", "popularity-1", "--weights", "1,1", "--repeats", "0.5").code == 0
    assert "odds          of what a user has had times 0.5\n" in fitted("runs", "show", "blend-1").out
    assert fitted("blend", "markov-1", "popularity-1", "--weights", "1,1").code == 0
    assert "odds  " not in fitted("runs", "show", "blend-2").out


def test_its_json_has_the_weights(fitted):
    made = fitted("blend", "markov-1", "popularity-1", "--weights", "1,1", "--json").json
    assert [(part["run"], part["weight"]) for part in made["parts"]] == [("markov-1", 0.5), ("popularity-1", 0.5)]


@pytest.mark.parametrize(
    ("words", "code", "wanted"),
    [
        (["markov-1"], 2, ["2 to 5 different runs", "patchrec runs ls"]),
        (["markov-1", "sasrec-1"], 4, ["sasrec-1", "markov-1"]),
        (["markov-1", "popularity-1", "--weights", "a,b"], 2, ["--weights", "3,1", "'a,b'"]),
        (["markov-1", "popularity-1", "--weights", "1"], 2, ["each of the 2 runs"]),
        (["markov-1", "popularity-1", "--metric", "auc"], 2, ["'auc'", "ndcg@20"]),
        (["markov-1", "popularity-1", "--limit", "0"], 2, ["--limit"]),
    ],
)
def test_what_cannot_be_mixed_is_refused_in_a_line(fitted, words, code, wanted):
    ran = fitted("blend", *words)
    assert ran.code == code
    assert all(word in ran.err for word in wanted)
    assert len(ran.err.strip().splitlines()) == 1
    assert len(fitted("runs", "ls", "--json").json["runs"]) == 3
