"""`patchrec eval --predictions FILE` and `--protocol`: what they print, and what they refuse."""

import pytest


@pytest.fixture
def lists(tmp_path):
    path = tmp_path / "bpr.csv"
    path.write_text("user_id,item_id,rank\nann,14,1\nbob,10,1\nbob,13,2\n")
    return path


def test_lists_are_scored_kept_and_compared(toy_cli, lists):
    ran = toy_cli("eval", "--predictions", lists)
    assert ran.code == 0, ran.err
    assert "predictions-1 (bpr.csv)" in ran.out
    assert "tokens/target" not in ran.out
    assert "1 of 3 targets have no list; each counts as a miss" in ran.err
    assert "next: patchrec runs compare" in ran.err
    assert toy_cli("eval", "--baseline", "popularity").code == 0
    table = toy_cli("runs", "compare", "popularity-1", "predictions-1", "--json").json
    assert [row["run"] for row in table["rows"]] == ["popularity-1", "predictions-1"]
    assert toy_cli("runs", "compare").code == 0
    assert toy_cli("runs", "show", "predictions-1").code == 0
    found = toy_cli("eval", "--predictions", lists, "--json").json
    assert (found["run"], found["score"], found["cost"]["tokens_per_target"]) == ("predictions-1", "list", None)


@pytest.mark.parametrize(
    ("words", "code", "wanted"),
    [
        (["popularity-1"], 2, ["the run 'popularity-1'", "--data names the data set"]),
        (["--protocol", "paper", "--score", "item"], 2, ["drop --score, --protocol"]),
        (["--baseline", "popularity"], 2, ["--baseline"]),
        (["--exact-to", "20"], 2, ["drop --exact-to"]),
        (["--data", "tyo"], 4, ["'toy'"]),
        (["--k", "0"], 2, ["--k"]),
    ],
)
def test_what_is_asked_of_runs_is_refused(toy_cli, lists, words, code, wanted):
    ran = toy_cli("eval", "--predictions", lists, *words)
    assert ran.code == code
    assert all(word in ran.err for word in wanted)
    assert len(ran.err.strip().splitlines()) == 1


def test_a_bad_file_is_bad_input_and_lists_answer_nothing(toy_cli, lists):
    assert toy_cli("eval", "--predictions", lists.parent / "none.csv").code == 3
    assert toy_cli("eval", "--one-list").code == 2
    toy_cli("eval", "--predictions", lists)
    ran = toy_cli("recommend", "--user", "ann", "--run", "predictions-1")
    assert ran.code == 2
    assert "holds lists of another system" in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert toy_cli("baseline", "predictions").code == 4


@pytest.mark.parametrize(
    ("protocol", "title", "note"),
    [
        ("paper", "counted as the published scripts count", "the last hit is the rank"),
        ("sampled", "the target among 99 drawn items", "Krichene and Rendle, KDD 2020"),
    ],
)
def test_another_count_is_printed_apart_and_said_not_to_compare(toy_cli, protocol, title, note):
    ran = toy_cli("eval", "--baseline", "popularity", "--protocol", protocol)
    assert ran.code == 0, ran.err
    before, _, after = ran.out.partition("not to be compared: ")
    assert "mrr" in before
    assert after.startswith(title)
    assert "hr@10" in after
    assert note in ran.err
