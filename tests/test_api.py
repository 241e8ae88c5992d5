"""The front door: `import patchrec`, runs in memory, data frames in and out."""

import json
import subprocess
import sys

import numpy as np
import pytest

import patchrec
from patchrec.errors import InputError, NotFoundError, UsageError
from patchrec.operations.recommend import recommend

HEAVY = {"torch", "transformers", "numpy", "pydantic", "sqlite_utils", "duckdb", "narwhals", "polars", "pandas"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store with users who go through nine items in order, and a run of first-order transitions."""
    home = tmp_path_factory.mktemp("api") / "home"
    rows = tmp_path_factory.mktemp("files") / "rows.csv"
    lines = [f"u{user},i{(user + step) % 9},{step * 60}" for user in range(5) for step in range(5)]
    rows.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    items = rows.with_name("items.csv")
    items.write_text("item_id,title,year\n" + "".join(f"i{n},Title {n},{2000 + n}\n" for n in range(9)))
    patchrec.add_dataset("nine", interactions=(rows,), items=(items,), split="leave-one-out", home=home)
    patchrec.baseline("markov", options={"strength": 0.1}, data="nine", home=home)
    return home


@pytest.fixture(scope="module")
def run(home):
    return patchrec.load("markov-1", home=home)


def test_importing_patchrec_imports_nothing_heavy_and_offers_its_names():
    code = "import sys, json, patchrec; dir(patchrec); print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(ran.stdout))
    for name in patchrec.__all__:
        assert getattr(patchrec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = patchrec.nonesuch


def test_a_loaded_run_answers_as_the_command_does(home, run):
    for asked in ({"user": "u1"}, {"history": ["Title 1", "i2"]}):
        assert run.recommend(**asked, k=3) == recommend(run="markov-1", **asked, k=3, home=home)
    assert "markov-1" in repr(run)


def test_filters_hold_and_mistakes_are_told(run):
    found = run.recommend(user="u1", where="year >= 2007", keep_seen=True)
    assert {line.item_id for line in found.ranking} == {"i7", "i8"}
    with pytest.raises(NotFoundError, match="no user 'nobody'"):
        run.recommend(user="nobody")
    with pytest.raises(UsageError, match="k must be at least 1"):
        run.recommend(user="u1", k=0)
    with pytest.raises(UsageError, match="whose history"):
        run.recommend()


def test_similar_is_what_comes_after_the_item_alone_without_it(run):
    found = run.similar("Title 2", k=9)
    assert found.ranking[0].item_id == "i3"
    assert "i2" not in {line.item_id for line in found.ranking}
    assert found == run.recommend(history=["i2"], k=9)


def test_many_users_are_ranked_as_each_alone_in_the_order_given(run):
    rows = run.recommend_many(["u3", "u1", "u3"], k=2)
    assert [(row["user_id"], row["rank"]) for row in rows] == [("u3", 1), ("u3", 2), ("u1", 1), ("u1", 2)]
    for user in ("u3", "u1"):
        alone = run.recommend(user=user, k=2).ranking
        own = [row for row in rows if row["user_id"] == user]
        assert [row["item_id"] for row in own] == [line.item_id for line in alone]
        assert np.allclose([row["score"] for row in own], [line.score for line in alone])
    assert len({row["user_id"] for row in run.recommend_many(k=1)}) == 5
    with pytest.raises(UsageError, match="list of ids"):
        run.recommend_many("u1")
    with pytest.raises(UsageError, match="one of the two"):
        run.recommend_many(["u1"], histories={"a": ["i1"]})


def test_histories_of_visitors_are_ranked(run):
    rows = run.recommend_many(histories={"v": ["i0", "i1"], "w": ["Title 4"]}, k=1)
    assert [(row["user_id"], row["item_id"]) for row in rows] == [("v", "i2"), ("w", "i5")]


def test_data_frames_come_back_as_the_kind_that_was_given(run):
    pl = pytest.importorskip("polars")
    found = run.recommend_many(pl.DataFrame({"user_id": ["u1", "u0"]}), k=1)
    assert isinstance(found, pl.DataFrame)
    assert found.columns == ["user_id", "item_id", "score", "rank"]
    assert found["user_id"].to_list() == ["u1", "u0"]
    rows = pl.DataFrame({"user_id": ["v", "v"], "item_id": ["i1", "i0"], "datetime": [20, 10]})
    assert run.recommend_many(histories=rows, k=1)["item_id"].to_list() == ["i2"]  # i0, then i1
    assert run.recommend_many([], k=1, to="polars").columns == found.columns
    with pytest.raises(InputError, match="no column 'user_id'"):
        run.recommend_many(pl.DataFrame({"user": ["u1"]}))
    with pytest.raises(UsageError, match="no data frames 'excel'"):
        run.recommend_many(["u1"], to="excel")


def test_a_data_set_of_data_frames_keeps_ids_and_titles_as_they_are(tmp_path):
    pl = pytest.importorskip("polars")
    from datetime import UTC, datetime

    days = [datetime(2026, 1, 1 + step, tzinfo=UTC) for step in range(4)] * 3
    users = [user for user in ("007", "NA", "1e5") for _ in range(4)]
    items = ["01", "1", "x|y", "é"] * 3
    titles = pl.DataFrame({"item_id": ["01", "1", "x|y", "é"], "title": ["A b", "=1+1", "None", "🎬"]})
    table = pl.DataFrame({"user_id": users, "item_id": items, "datetime": days})
    shown = patchrec.add_dataset("odd", interactions=table, items=titles, split="leave-one-out", home=tmp_path)
    assert shown["summary"]["first_timestamp"] == 1_767_225_600  # 2026-01-01, UTC
    with patchrec.Store.open(tmp_path) as store:
        dataset = store.datasets.load("odd")
    assert set(dataset.sequences.user_ids) == {"007", "NA", "1e5"}
    assert dict(zip(dataset.catalog.item_ids, dataset.catalog.titles, strict=True)) == dict(titles.iter_rows())


def test_one_text_where_a_list_belongs_is_told_and_numbers_are_texts(run):
    for asked in ({"history": "Title 1"}, {"user": "u1", "allow": "Title 1"}, {"user": "u1", "deny": "i1"}):
        with pytest.raises(UsageError, match=r"is a list of titles or item ids, got '.*'; give \['"):
            run.recommend(**asked)
    with pytest.raises(UsageError, match="the history of 'v' is a list"):
        run.recommend_many(histories={"v": "Title 1"})
    for wrong in ("3", 2.5, None):
        with pytest.raises(UsageError, match="k must be a whole number"):
            run.recommend("u1", k=wrong)
    with pytest.raises(NotFoundError, match="no item '7'"):
        run.recommend(history=[7])
    with pytest.raises(NotFoundError, match="no user '7'"):
        run.recommend(7)
    assert run.recommend("u1", k=np.int64(2)) == run.recommend(user="u1", k=2)


def test_unknown_users_are_refused_left_out_or_given_what_is_popular(run):
    popular = run.recommend("nobody", k=2, unknown="popular")
    assert popular.source == "empty history"
    assert run.recommend_many(["nobody", "u1"], k=2, unknown="skip") == run.recommend_many(["u1"], k=2)
    rows = run.recommend_many(["u1", "nobody"], k=2, unknown="popular")
    assert [row["source"] for row in rows] == ["model", "model", "empty history", "empty history"]
    assert [row["item_id"] for row in rows[2:]] == [line.item_id for line in popular.ranking]
    with pytest.raises(UsageError, match="no unknown='skip'; choices: error, popular"):
        run.recommend("nobody", unknown="skip")
    with pytest.raises(UsageError, match="no unknown='drop'; choices: error, skip, popular"):
        run.recommend_many(["nobody"], unknown="drop")


def test_explain_is_a_recommendation_with_its_reasons(run):
    found = run.explain("u1", k=2, where="year >= 2003")
    assert found.explanation is not None
    assert found == run.recommend(user="u1", k=2, where="year >= 2003", explain=True)


def test_what_is_no_table_and_no_setting_is_told(home):
    with pytest.raises(UsageError, match="interactions is a dict; give a data frame"):
        patchrec.add_dataset("table", interactions={"user_id": ["a"], "item_id": ["b"]}, home=home)
    with pytest.raises(TypeError, match=r"no such setting of a run: width; .* stand in options=\{...\}"):
        patchrec.baseline("sasrec", width=7, home=home)
    assert dir(patchrec) == sorted(patchrec.__all__)


@pytest.mark.filterwarnings("error")
def test_frames_without_rows_are_told_and_those_not_computed_yet_are_read(run, home):
    pl = pytest.importorskip("polars")
    with pytest.raises(InputError, match=r"^the data frame of interactions has no rows"):
        patchrec.add_dataset("none", interactions=pl.DataFrame({"user_id": [], "item_id": []}), home=home)
    assert len(run.recommend_many(pl.LazyFrame({"user_id": ["u1", "u2"]}), k=1)) == 2
    with pytest.raises(NotFoundError, match="no item 'nope'"):
        run.recommend_many(histories=pl.DataFrame({"user_id": ["v"], "item_id": ["nope"]}))
