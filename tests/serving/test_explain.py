"""What carried a recommendation: the change of its score when a part of the history is left out."""

import json
from pathlib import Path

import numpy as np
import pytest

from patchrec.history import History
from patchrec.operations.explain import TOO_SHORT
from patchrec.operations.recommend import recommend
from patchrec.recommender import Query, log_probs, nothing, units
from patchrec_cli.app import main
from patchrec_cli.recommend import titled


def test_a_part_is_what_the_layout_shows_as_one(by_score) -> None:
    recommender = by_score["catalog"].recommender
    history = History(
        np.arange(8), None, 0, anchored=True
    )  # sessions of 3 from the start: 3 as one, 3 patches, 2 titles
    found = units(recommender, Query(history))
    assert [(part.start, part.stop) for part in found] == [(0, 3), *((item, item + 1) for item in range(3, 8))]


@pytest.mark.parametrize("score", ["catalog", "item", "mixture"])
def test_changes_are_those_of_ranking_everything_twice(by_score, made: Path, score: str) -> None:
    loaded = by_score[score]
    found = recommend(user="u4", k=5, run="pft-s-1", score=score, explain=True, home=made)
    query = loaded.user_query(loaded.dataset.user("u4"))
    spans = units(loaded.recommender, query)
    every = [Query(query.history), *(Query(query.history.without(span)) for span in spans)]
    scores = log_probs(loaded.recommender, every)
    items = [loaded.dataset.catalog.index[line.item_id] for line in found.ranking]
    assert found.explanation is not None
    own = np.array([part.changes for part in found.explanation.parts])
    expected = (scores[0] - scores[1:])[:, items]
    if score == "mixture":  # whose scores are fused, not normalised: the differences of differences are the same
        own, expected = own - own[:, :1], expected - expected[:, :1]
    assert own == pytest.approx(expected, abs=1e-4)
    held = [item for part in found.explanation.parts for item in part.items]
    assert held == [loaded.dataset.catalog.item_ids[item] for item in query.history.items]
    assert "not a cause" in found.explanation.about


def test_any_recommender_is_explained_item_by_item(made: Path) -> None:
    found = recommend(user="u4", k=2, run="popularity-1", explain=True, home=made)
    assert found.explanation is not None
    assert len(found.explanation.parts) == found.history_length
    assert {change for part in found.explanation.parts for change in part.changes} == {0.0}  # it reads no history


def test_a_history_of_one_part_is_not_explained(made: Path) -> None:
    found = recommend(history=["i01"], k=2, run="pft-s-1", explain=True, home=made)
    assert found.explanation is not None
    assert (found.explanation.about, found.explanation.parts) == (TOO_SHORT, [])
    assert recommend(history=["i01"], k=2, run="pft-s-1", home=made).explanation is None


def test_leaving_out_keeps_times_sessions_and_where_the_window_starts() -> None:
    history = History(np.arange(4), np.arange(4) * 10, 7, anchored=True, sessions=np.array([0, 0, 1, 1]))
    left = history.without(slice(1, 3))
    assert (left.items.tolist(), left.timestamps.tolist(), left.sessions.tolist()) == ([0, 3], [0, 30], [0, 1])
    assert (left.start, left.anchored) == (7, True)
    assert History(nothing()).without(slice(0, 0)).items.tolist() == []


def test_the_command_shows_it_and_says_what_it_is_not(made: Path, capsys) -> None:
    asked = ["--home", str(made), "recommend", "--run", "pft-s-1", "--user", "u4", "--k", "2", "--explain"]
    assert main(asked) == 0
    shown = capsys.readouterr()
    assert "carried by" in shown.out
    assert "not a cause" in shown.err
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["explanation"]
    assert {len(part["changes"]) for part in found["parts"]} == {2}
    assert main(["--home", str(made), "recommend", "--all", "--explain", "--output", "x.csv"]) == 2
    assert "--explain does not go with --all" in capsys.readouterr().err


def test_the_server_explains_as_the_command_does(asker, made: Path) -> None:
    mine = asker.recommended(user="u4", k=3, explain=True)["explanation"]
    own = recommend(user="u4", k=3, run="pft-s-1", explain=True, home=made).explanation
    assert own is not None
    assert mine["about"] == own.about
    assert [part["items"] for part in mine["parts"]] == [part.items for part in own.parts]
    for one, other in zip(mine["parts"], own.parts, strict=True):
        assert one["changes"] == pytest.approx(other.changes, abs=1e-4)


def test_of_a_long_session_the_newest_titles_are_shown() -> None:
    assert titled(["a", "b"]) == "a | b"
    assert titled([str(one) for one in range(8)]) == "3 more | 3 | 4 | 5 | 6 | 7"
