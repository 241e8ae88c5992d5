"""Amazon reviews by name: three releases written as they were published, and what is decided of their oddities."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from notes import Notes

from patchrec.data.prepare import Prepared, prepare
from patchrec.data.splits import choose_split
from patchrec.errors import InputError, UsageError

USERS = [f"A{number}" for number in range(5)]
ITEMS = [f"B00000000{number}" for number in range(6)]
DAY = 86_400
BEGIN = 1_388_534_400
TITLES = ["Blocks &amp; Bricks", "It&#39;s a Kite", "Doll <b>House</b>", "Top", "Yo-Yo\n(red)", "Ball"]
READ = ["Blocks & Bricks", "It's a Kite", "Doll House", "Top", "Yo-Yo (red)", "Ball"]


def reviews(names: tuple[str, ...], scale: int = 1) -> list[dict[str, Any]]:
    """Each of five users reviews five or all of six items, a day apart; one passes by, one item has no metadata.

    Args:
        names: Keys of user, item, rating and time.
        scale: Units of time a second.
    """
    rows = []
    for number, user in enumerate(USERS):
        for place, item in enumerate(ITEMS[: 5 + (number > 0)]):
            rows.append((user, item, 4.0, BEGIN + place * DAY))
    rows += [rows[0], ("A9", ITEMS[0], 1.0, BEGIN), ("A1", "B00000NONE", 5.0, BEGIN), ("A1", "B0UNTITLED", 5.0, BEGIN)]
    made = [dict(zip(names, row, strict=True)) for row in rows]
    return [{**row, names[3]: row[names[3]] * scale, "summary": "it's ok", "title": "my words"} for row in made]


def products(id_key: str, more: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{id_key: item, "title": title} for item, title in zip(ITEMS, TITLES, strict=True)]
    return [{**row, **more} for row in [*rows, {id_key: "B0UNTITLED"}]]


def release(folder: Path, year: int, name: str = "Toys_and_Games") -> Path:
    """The files of a release."""
    folder.mkdir(parents=True, exist_ok=True)
    if year == 2023:
        rows = [
            {**row, "asin": "V" + row["parent_asin"]}
            for row in reviews(("user_id", "parent_asin", "rating", "timestamp"), 1000)
        ]
        meta = products(
            "parent_asin",
            {"store": "Nobody &amp; Co", "categories": ["Toys", "Games"], "main_category": "Toys", "price": None},
        )
        files = {f"{name}.jsonl.gz": map(json.dumps, rows), f"meta_{name}.jsonl": map(json.dumps, meta)}
    else:
        old = year == 2014
        rows = reviews(("reviewerID", "asin", "overall", "unixReviewTime"))
        kinds: dict[str, Any] = (
            {"categories": [["Toys", "Games"], ["Toys", ""]]}
            if old
            else {"category": ["Toys", "Games"], "tech1": "<x>"}
        )
        meta = products("asin", {"brand": "Nobody &amp; Co", "price": 6.99, "imUrl": "x", **kinds})
        files = {
            f"{'reviews_' * old}{name}_5.json": map(json.dumps, rows),
            f"meta_{name}.json.gz": map(repr if old else json.dumps, meta),
        }
    for file, lines in files.items():
        raw = "".join(f"{line}\n" for line in lines).encode()
        (folder / file).write_bytes(gzip.compress(raw) if file.endswith(".gz") else raw)
    return folder


def histories(found: Prepared) -> dict[str, list[str]]:
    dataset = found.dataset
    return {
        user_id: [dataset.catalog.item_ids[item] for item in dataset.sequences.items_of(user)]
        for user, user_id in enumerate(dataset.sequences.user_ids)
    }


@pytest.mark.parametrize("year", [2014, 2018, 2023])
def test_every_release_comes_to_the_same_data_set(year: int, tmp_path: Path) -> None:
    said = Notes()
    found = prepare("amazon-toys", from_path=release(tmp_path, year), report=said)
    whole = dict.fromkeys(USERS, ITEMS[:5])  # the sixth item has four reviews, so it is in no 5-core
    assert histories(found) == whole
    catalog = found.dataset.catalog
    assert list(catalog.titles) == READ[:5]
    price = None if year == 2023 else "6.99"
    assert catalog.metadata[0] == {"brand": "Nobody & Co", "categories": ["Toys", "Games"], "price": price}
    sequences = found.dataset.sequences
    assert sequences.timestamps is not None
    assert sequences.timestamps[:5].tolist() == [BEGIN + place * DAY for place in range(5)]
    assert (sequences.train_stop[0], sequences.validation_stop[0], found.split["rule"]) == (3, 4, "leave-one-out")
    assert (found.dataset.noun, found.dataset.verb) == ("toy", "bought")
    account = found.split["account"]["interactions"]
    assert account["read"] == account["kept"] + sum(account["rejected"].values()) + sum(account["left_out"].values())
    assert account["left_out"]["its item has no title (--untitled drop)"] == 1
    assert account["rejected"] == {"item ... is not among the items": 1}
    # A9 is out, then the item of four reviews, whose users keep five.
    assert found.split["core_left_out"] == {"core": 5, "passes": 1, "users": 1, "items": 1, "interactions": 5}
    assert any("Python literals" in note for note in said.notes) == (year == 2014)
    assert any("5-core: left out 1 of 6 users and 1 of 6 items" in note for note in said.notes)


def test_a_release_is_kept_otherwise_where_an_option_says_so(tmp_path: Path) -> None:
    folder = release(tmp_path, 2018)
    found = prepare(
        "amazon-toys", from_path=folder, core=1, split=choose_split("temporal"), fields=("tech1",), html=False
    )
    assert found.dataset.catalog.titles[0] == TITLES[0]
    assert found.dataset.catalog.metadata[0] == {"tech1": "<x>"}
    assert len(found.dataset.sequences.user_ids) == 6
    assert found.split["rule"] == "temporal"


def test_a_core_that_leaves_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no interaction is left: all 30 are in no 10-core \(--core\); lower --core"):
        prepare("amazon-toys", from_path=release(tmp_path, 2018), core=10)


@pytest.mark.parametrize("core", [0, -1])
def test_a_core_below_one_is_one_line(core: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--core"):
        prepare("amazon-toys", from_path=release(tmp_path, 2018), core=core)


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("Toys_and_Games_5.json", '{"reviewerID": "A1", "asin":', "not JSON"),
        ("Toys_and_Games_5.json", '["A1"]', "not JSON"),
        ("meta_Toys_and_Games.json.gz", "{'asin': __import__('os').getcwd()}", "not JSON"),
        ("meta_Toys_and_Games.json.gz", "{'asin': 'B1', 'title': 'x', 'price': {1: 2}[1]}", "not JSON"),
    ],
)
def test_damaged_lines_are_named_with_their_number_and_nothing_is_run(
    file: str, line: str, words: str, tmp_path: Path
) -> None:
    path = release(tmp_path, 2018) / file
    packed = file.endswith(".gz")
    raw = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    lines = raw.decode().splitlines()
    lines.insert(2, line)
    raw = "".join(f"{one}\n" for one in lines).encode()
    path.write_bytes(gzip.compress(raw) if packed else raw)
    with pytest.raises(InputError, match=rf"{file}:3: {words}"):
        prepare("amazon-toys", from_path=tmp_path, skip_bad=False)
    found = prepare("amazon-toys", from_path=tmp_path)
    assert any(message.startswith(f"{file}:3: {words}") for message in found.rejected)


def test_a_release_that_is_not_there_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        prepare("amazon-movies")
    said = str(caught.value)
    assert "\n" not in said
    for word in ("amazon-reviews-2023.github.io", "patchrec data add amazon-movies --from PATH", "meta_Movies_and_TV"):
        assert word in said
    with pytest.raises(InputError, match="does not hold reviews_Movies_and_TV_5"):
        prepare("amazon-movies", from_path=release(tmp_path, 2023))


def test_fields_that_are_nowhere_are_refused_and_some_that_are_missing_are_told(tmp_path: Path) -> None:
    folder = release(tmp_path, 2018)
    with pytest.raises(InputError, match=r"no column colour; columns: .*'brand'.*--fields"):
        prepare("amazon-toys", from_path=folder, fields=("colour",))
    said = Notes()
    prepare("amazon-toys", from_path=folder, fields=("brand", "colour|hue"), report=said)
    assert any("no column colour or hue" in note for note in said.notes)


def test_fields_are_chosen_among_the_columns_of_interactions_too(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,title,kind,maker\nu,1,A &amp; B,<i>x</i>,m\nv,2,C,y,n\n")
    found = prepare("shop", interactions=log, fields=("kind",), html=True)
    assert found.dataset.catalog.titles == ("A & B", "C")
    assert found.dataset.catalog.metadata == ({"kind": "x"}, {"kind": "y"})
