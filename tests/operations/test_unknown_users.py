"""A nightly batch meets users whom nobody knows, and a file that says what its items are called."""

import json
from pathlib import Path

import numpy as np
import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.data.parquet import open_parquet
from patchrec.errors import InputError, NotFoundError, UsageError
from patchrec.operations.filters import Filters
from patchrec.operations.many import bulk_job
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import baseline
from patchrec.reporting import Silent
from patchrec.store import Store

BASE = ["user_id", "item_id", "score", "rank", "probability"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight users of five items each; every other item is had more often."""
    folder = tmp_path_factory.mktemp("unknown") / "home"
    lengths = np.full(8, 5)
    data = Dataset(
        name="shop",
        catalog=Catalog(
            tuple(f"i{item}" for item in range(10)),
            tuple(f"=Thing {item}" for item in range(10)),
            tuple(
                {"price": item, "weight": 0.5 * item, "tags": ["a", str(item)], **({"year": 1990} if item else {})}
                for item in range(10)
            ),
        ),
        sequences=Sequences(
            user_ids=tuple(f"u{user}" for user in range(8)),
            offsets=np.arange(9) * 5,
            items=np.concatenate([(user * 2 + np.arange(5) * (1 + user % 2)) % 10 for user in range(8)]),
            timestamps=None,
            train_stop=lengths - 2,
            validation_stop=lengths - 1,
        ),
    )
    with Store.open(folder) as store:
        store.datasets.add(data, source="made up", licence="none", split={"rule": "leave-one-out"})
    baseline("sasrec", data="shop", max_steps=1, K=5, home=folder)
    baseline("markov", data="shop", home=folder)
    return folder


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_job, "USERS_PER_PART", {"cpu": 3, "cuda": 3})


@pytest.fixture
def users(tmp_path: Path) -> str:
    path = tmp_path / "users.txt"
    path.write_text("u3\nnew\nu1\nnewer\nu5\nu6\n")
    return str(path)


def run(home: Path, output: Path, **asked: object) -> list[dict]:
    assert recommend_all(Request(output=str(output), **{"run": "sasrec-1", "k": 2, **asked}), home=home) is not None
    return [json.loads(line) for line in output.read_text().splitlines()] if output.suffix == ".jsonl" else []


def test_unknown_users_stop_a_batch_before_any_work_and_the_choices_are_named(
    home: Path, users: str, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError) as caught:
        run(home, tmp_path / "out.jsonl", users=users)
    for words in (
        "2 of 6 users",
        "'new', 'newer'",
        "--unknown skip",
        "--unknown popular",
        "`patchrec data users shop`",
    ):
        assert words in str(caught.value)
    assert not (tmp_path / "out.jsonl").exists()


def test_skipped_users_have_no_row_and_known_ones_are_as_ever(home: Path, users: str, tmp_path: Path) -> None:
    rows = run(home, tmp_path / "out.jsonl", users=users, unknown="skip")
    (tmp_path / "known.txt").write_text("u3\nu1\nu5\nu6\n")
    assert rows == run(home, tmp_path / "known.jsonl", users=str(tmp_path / "known.txt"))
    assert list(rows[0]) == BASE


def test_rejects_are_a_list_that_can_be_given_again(home: Path, users: str, tmp_path: Path) -> None:
    rejects = tmp_path / "new.txt"
    run(home, tmp_path / "out.jsonl", users=users, rejects=str(rejects))  # which means: skip
    assert rejects.read_text() == "new\nnewer\n"
    rows = run(home, tmp_path / "cold.jsonl", users=str(rejects), unknown="popular")
    assert {row["source"] for row in rows} == {"popularity"}
    with pytest.raises(NotFoundError, match="none of 2 users is in data set 'shop'"):
        run(home, tmp_path / "none.jsonl", users=str(rejects), unknown="skip")


def test_rejects_take_the_place_of_no_other_file_unasked(home: Path, users: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("something else\n")
    asked = {"users": users, "rejects": str(tmp_path / "mine.txt")}
    with pytest.raises(UsageError, match="is there already"):
        run(home, tmp_path / "out.jsonl", **asked)
    run(home, tmp_path / "out.jsonl", **asked, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "new\nnewer\n"
    with pytest.raises(UsageError, match="is the file of the users or the output"):
        run(home, tmp_path / "out.jsonl", users=users, rejects=users, overwrite=True)
    with pytest.raises(UsageError, match="are for users of a file"):
        run(home, tmp_path / "all.jsonl", unknown="skip")


@pytest.mark.parametrize("wrong", [{"columns": ("colour",)}, {"filters": Filters(where="colour = 3")}])
def test_a_mistake_elsewhere_writes_no_rejects(home: Path, users: str, tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(UsageError, match="no column 'colour'"):
        run(home, tmp_path / "out.jsonl", users=users, rejects=str(tmp_path / "new.txt"), **wrong)
    assert not list(tmp_path.glob("*.txt")) or [path.name for path in tmp_path.glob("*.txt")] == [Path(users).name]


def test_a_list_of_users_has_no_encoding_to_name(home: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Zoë\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.txt:1: not UTF-8 \(byte 0xeb at 3\); save the file as UTF-8$"):
        run(home, tmp_path / "out.jsonl", users=str(tmp_path / "latin.txt"))


@pytest.mark.parametrize(("name", "source"), [("sasrec-1", "popularity"), ("markov-1", "empty history")])
def test_users_without_a_history_get_what_is_popular_and_the_row_says_so(
    home: Path, users: str, tmp_path: Path, name: str, source: str
) -> None:
    rows = run(home, tmp_path / "out.jsonl", run=name, users=users, unknown="popular")
    assert list(rows[0]) == [*BASE, "source"]
    assert [row["user_id"] for row in rows] == [user for user in Path(users).read_text().split() for _ in range(2)]
    assert {row["user_id"]: row["source"] for row in rows} == {
        "u3": "model", "new": source, "u1": "model", "newer": source, "u5": "model", "u6": "model",
    }  # fmt: skip
    with Store.open(home) as store:
        dataset = store.datasets.load("shop")
    best = np.argsort(-dataset.popularity, kind="stable")[:2].tolist()
    cold = [row for row in rows if row["user_id"] == "new"]
    assert [row["item_id"] for row in cold] == [f"i{item}" for item in best]
    total = dataset.popularity.sum() + 10  # each item counts once more
    assert [row["probability"] for row in cold] == pytest.approx(
        [(dataset.popularity[one] + 1) / total for one in best]
    )
    alone = recommend(user="new", run=name, k=2, unknown="popular", home=home)
    assert (alone.source, alone.history) == (source, [])
    assert [line.item_id for line in alone.ranking] == [row["item_id"] for row in cold]
    known = recommend(user="u3", run=name, k=2, unknown="popular", home=home)
    assert (known.source, [line.item_id for line in known.ranking]) == ("model", [row["item_id"] for row in rows[:2]])


def test_filters_hold_for_them_too(home: Path, users: str, tmp_path: Path) -> None:
    rows = run(home, tmp_path / "out.jsonl", users=users, unknown="popular", filters=Filters(where="price >= 8"))
    assert {row["item_id"] for row in rows if row["user_id"] == "new"} == {"i8", "i9"}


def test_a_stopped_job_with_unknown_users_goes_on_and_is_no_other_job(
    home: Path, users: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(home, tmp_path / "whole.jsonl", users=users, unknown="popular")
    rank, seen = bulk_job.rank, []

    def stop(*arguments, **options):
        seen.append(1)
        if len(seen) == 2:
            raise OSError("gone")
        return rank(*arguments, **options)

    monkeypatch.setattr(bulk_job, "rank", stop)
    with pytest.raises(OSError, match="gone"):
        run(home, tmp_path / "out.jsonl", users=users, unknown="popular")
    monkeypatch.setattr(bulk_job, "rank", rank)
    with pytest.raises(UsageError, match="parts of another job: columns"):
        run(home, tmp_path / "out.jsonl", users=users, unknown="popular", columns=("title",))
    other = tmp_path / "others.txt"
    other.write_text(Path(users).read_text().replace("newer", "newest"))
    with pytest.raises(UsageError, match=r"parts of another job: unknown_users\.sha256"):
        run(home, tmp_path / "out.jsonl", users=str(other), unknown="popular")
    assert run(home, tmp_path / "out.jsonl", users=users, unknown="popular") == whole


def test_columns_of_the_catalog_stand_in_every_row(home: Path, tmp_path: Path) -> None:
    asked = ("title", "PRICE", "weight", "tags", "year", "title")
    rows = run(home, tmp_path / "out.jsonl", columns=asked)
    assert list(rows[0]) == [*BASE, "title", "price", "weight", "tags", "year"]
    for row in rows:
        item = int(row["item_id"][1:])
        assert (row["title"], row["price"], row["weight"]) == (f"=Thing {item}", item, item / 2)
        assert (json.loads(row["tags"]), row["year"]) == (["a", str(item)], 1990 if item else None)
    run(home, tmp_path / "out.parquet", columns=asked)
    from contextlib import ExitStack

    with ExitStack() as stack:
        names, batches = open_parquet(tmp_path / "out.parquet", stack)
        columns = next(iter(batches)).columns
    assert names == (*BASE, "title", "price", "weight", "tags", "year")
    assert list(columns["title"]) == [row["title"] for row in rows]
    assert [int(value) for value in columns["price"]] == [row["price"] for row in rows]
    run(home, tmp_path / "out.csv", columns=("title",))
    header, first = (tmp_path / "out.csv").read_text().splitlines()[:2]
    assert header == ",".join([*BASE, "title"])
    assert first.split(",")[-1] == f"'{rows[0]['title']}"  # which no spreadsheet takes for a formula


@pytest.mark.parametrize(
    ("column", "words"), [("colour", "choices: "), ("item_id", "has a column 'item_id' of its own")]
)
def test_columns_that_cannot_be_are_named(home: Path, tmp_path: Path, column: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(home, tmp_path / "out.csv", columns=(column,))


def test_an_append_between_two_nights_makes_another_job(home: Path, tmp_path: Path) -> None:
    """What a job found is never mixed with what came since: its plan names the version by its fingerprint."""
    _, plan = bulk_job.make_job(Request(output=str(tmp_path / "out.csv"), run="markov-1"), home, Silent())
    with Store.open(home) as store:
        assert plan["data"]["split"] == store.versions.all("shop")[-1].fingerprint
