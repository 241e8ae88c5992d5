"""`patchrec eval` and `patchrec runs show` on slices, costs and ranks up to a limit, in 80 columns."""

from dataclasses import replace

import pytest

from patchrec.data.catalog import Catalog
from patchrec.store import Store


@pytest.fixture
def genres(cli, toy, tmp_path):
    """The command with a data set whose items have genres, one of them hostile."""
    names = [["Horror", "Sci-Fi"], ["Sci-Fi"], "Crime", ["Crime", "\x1b[31mred"], "Comedy", ["Crime"]]
    catalog = Catalog(toy.catalog.item_ids, toy.catalog.titles, tuple({"genre": name, "year": 1980} for name in names))
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(replace(toy, catalog=catalog), source="made up", licence="none", split={"rule": "x"})
    return cli


def evaluated(cli, *more):
    return cli("eval", "--baseline", "popularity", *more)


def test_slices_are_few_unless_asked_for(genres):
    out = evaluated(genres).out
    assert "popularity" in out
    assert "history" not in out
    assert "genre" not in out
    out = evaluated(genres, "--by", "genre").out
    assert "genre=Crime" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_json_has_all_slices_with_their_targets_and_users(genres):
    found = evaluated(genres, "--by", "genre", "--by", "year", "--json").json["metrics"]
    crime = [row for row in found if row["slice"] == "genre=Crime" and row["name"] == "hr@10"]
    assert len({(row["level"], row["seen"]) for row in crime}) == len(crime) == 4
    # the test targets are Big, Fargo and Heat
    assert {(row["slice_targets"], row["slice_users"]) for row in crime} == {(2, 2)}
    assert {row["slice"] for row in found} >= {"all", "history 0-9", "popularity tail", "year=1980"}


def test_an_unknown_field_is_a_usage_error_in_one_line(genres):
    ran = evaluated(genres, "--by", "gender")
    assert ran.code == 2
    assert "did you mean 'genre'" in ran.err
    assert "Traceback" not in ran.err


def test_a_run_shows_its_slices(genres):
    evaluated(genres)
    ran = genres("runs", "show", "popularity-1", "--slices", "--by", "genre")
    assert ran.code == 0
    assert "popularity-1: 3 targets (test) of 3 users" in ran.out
    assert "history 0-9" in ran.out
    assert "genre=Crime" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert genres("runs", "show", "popularity-1", "--by", "genre").code == 2
    cut = genres("runs", "show", "popularity-1", "--slices", "--json").json["slices"]
    assert {row["slice"] for row in cut[0]["metrics"]} >= {"all", "history 0-9"}


def test_a_run_shows_what_a_target_cost(genres):
    evaluated(genres)
    out = genres("runs", "show", "popularity-1").out
    assert "what a target cost" in out
    assert "catalog tokens" in out
    assert max(map(len, out.splitlines())) <= 80


def test_ranks_up_to_a_limit(genres):
    ran = evaluated(genres, "--exact-to", "20")
    assert ran.code == 0
    assert "rank 20" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert evaluated(genres, "--exact-to", "20", "--json").json["exact_to"] == 20
    refused = evaluated(genres, "--exact-to", "5")
    assert refused.code == 2
    assert "--exact-to 20" in refused.err
    assert evaluated(genres, "--exact-to", "0").code == 2


def test_lists_of_another_system_have_slices_of_fields_too(genres, tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("user_id,item_id,rank\nann,14,1\nbob,10,1\nbob,13,2\n")
    ran = genres("eval", "--predictions", path, "--by", "genre")
    assert ran.code == 0, ran.err
    assert "genre=Crime" in ran.out
    assert "compute/target" not in ran.out
    out = genres("runs", "show", "predictions-1").out
    assert "--by genre" in out
    assert "what a target cost" not in out
    assert "genre=Crime" in genres("runs", "show", "predictions-1", "--slices", "--by", "genre").out


def test_a_protocol_beside_a_limit_is_refused_in_one_line(genres):
    ran = evaluated(genres, "--exact-to", "20", "--protocol", "paper")
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 1)
    assert "--protocol needs the scores of all items" in ran.err


def test_tables_for_papers_go_as_far_as_the_ranks(genres):
    evaluated(genres, "--k", "3", "--exact-to", "5")
    ran = genres("runs", "compare", "--csv")
    assert ran.code == 0, ran.err
    assert "mrr@5" in ran.out.splitlines()[0]
    ran = genres("runs", "compare")
    assert ran.code == 0, ran.err
    assert "mrr@5" in ran.out
    assert "hr@3" in ran.out
    out = genres("runs", "show", "popularity-1").out
    assert "--exact-to 5" in out
