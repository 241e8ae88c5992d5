"""Every row of every file is in the account once, and ids that mean nobody are told."""

import json
import random
import re
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from notes import Notes

from patchrec.data.prepare import Prepared, prepare
from patchrec.errors import InputError
from patchrec.store import Store

COLUMNS = ("user_id", "item_id", "timestamp", "rating", "event")
KNOWN = ("i1", "i2", "i3", "i4")
ITEMS = "item_id,title\n" + "".join(f"{item},T{item}\n" for item in KNOWN)
KINDS = ("csv", "tsv", "jsonl", "parquet")
FAULTS = ("unknown", "no user", "no item", "bad time", "ragged", "missing user", "missing item", "missing time",
          "other event", "low rating")  # fmt: skip

REASONS = {
    "unknown": r"item \.\.\. is not among the items",
    "no user": r"user_id is (blank|missing)",
    "no item": r"item_id is (blank|missing)",
    "bad time": r"timestamp \.\.\. is no time that is known",
    "ragged": r"N fields where the header has N|not JSON \(not a JSON object\)|not a JSON object",
    "repeat": r"the same user, item and time as line N",
    "missing user": r"the user is missing \(--missing\)",
    "missing item": r"the item is missing \(--missing\)",
    "missing time": r"the time is missing \(--missing\)",
    "other event": r"another row \(--rows\)",
    "low rating": r"rating below 3 \(--min-rating\)",
    "again": r"the same user, item and time again \(--repeats (first|last)\)",
    "core": r"interactions in no \d+-core \(--core\)",
    "short": r"interactions of users with fewer than \d+ \(--min-history\)",
    "drawn": r"interactions of users who were not drawn \(--sample-users\)",
    "no match": r"no item in it \(--item-pattern\)",
}
LEFT_OUT = {"missing user", "missing item", "missing time", "other event", "low rating", "again", "core", "short",
            "drawn", "no match"}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A row, with what is wrong with it."""

    user: str
    item: str
    time: int
    rating: int
    faults: frozenset[str]

    def cells(self) -> list[str | None]:
        """Its values, None where it is too short."""
        user, item, time, rating, event = self.user, self.item, str(10**9 + self.time), str(self.rating), "buy"
        user = "" if "no user" in self.faults else "NA" if "missing user" in self.faults else user
        item = "" if "no item" in self.faults else "NA" if "missing item" in self.faults else item
        item = "i9" if "unknown" in self.faults else item
        time = "soon" if "bad time" in self.faults else "NA" if "missing time" in self.faults else time
        event = "view" if "other event" in self.faults else event
        rating = "1" if "low rating" in self.faults else rating
        return [user, item, time, rating, event]


def write_log(path: Path, lines: list[Line]) -> None:
    """The rows in the format of the file's ending."""
    kind = path.suffix[1:]
    rows = [line.cells() for line in lines]
    if kind == "parquet":
        import duckdb

        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute(f"CREATE TABLE log ({', '.join(f'{name} VARCHAR' for name in COLUMNS)})")
            nulled = [[value or None for value in row] for row in rows]
            connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", nulled)
            connection.execute(f"COPY log TO '{path}' (FORMAT parquet)")
        return
    if kind == "jsonl":
        objects = [json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows]
        written = ["7" if "ragged" in line.faults else text for line, text in zip(lines, objects, strict=True)]
        path.write_text("".join(text + "\n" for text in written))
        return
    sep = "," if kind == "csv" else "\t"
    texts = [sep.join(COLUMNS)]
    for line, row in zip(lines, rows, strict=True):
        texts.append(sep.join(map(str, row[:3] if "ragged" in line.faults else row)))
    path.write_text("".join(text + "\n" for text in texts))


@dataclass(frozen=True)
class Asked:
    """Options."""

    rows: bool
    missing: bool
    min_rating: bool
    repeats: str
    core: int | None
    min_history: int | None
    sample_users: int | None

    @property
    def options(self) -> dict[str, Any]:
        found: dict[str, Any] = {"repeats": self.repeats, "skip_bad": True}
        found |= {"rows": "event = 'buy'"} if self.rows else {}
        found |= {"missing": "NA"} if self.missing else {}
        found |= {"min_rating": 3} if self.min_rating else {}
        for name in ("core", "min_history", "sample_users"):
            found |= {name: getattr(self, name)} if getattr(self, name) else {}
        return found


PLAIN = Asked(False, False, False, "refuse", None, None, None)


def effective(line: Line, asked: Asked, kind: str) -> frozenset[str]:
    """What is wrong with a row under these options, in this format."""
    found = set(line.faults)
    for what, fault, otherwise in (
        (asked.rows, "other event", None),
        (asked.min_rating, "low rating", None),
        (asked.missing, "missing item", "unknown"),
        (asked.missing, "missing time", "bad time"),
        (asked.missing, "missing user", None),
        (kind != "parquet", "ragged", None),
    ):
        if fault in found and not what:
            found.discard(fault)
            found |= {otherwise} if otherwise else set()
    if "ragged" in found:
        return frozenset({"ragged"})  # it is no row at all, and nothing else is looked at
    if "other event" in found:
        return frozenset({"other event"})  # whatever else it holds does not matter
    return frozenset(found)


def after_repeats(lines: list[Line], rule: str) -> list[Line]:
    if rule == "keep":
        return lines
    keys = [(line.user, line.item, line.time) for line in lines]
    if rule == "last":
        return [line for place, line in enumerate(lines) if keys[place] not in keys[place + 1 :]]
    return [line for place, line in enumerate(lines) if keys[place] not in keys[:place]]


def after_core(lines: list[Line], core: int) -> list[Line]:
    while True:
        users, items = Counter(line.user for line in lines), Counter(line.item for line in lines)
        kept = [line for line in lines if users[line.user] >= core and items[line.item] >= core]
        if kept == lines:
            return kept
        lines = kept


def expected(lines: list[Line], asked: Asked, kind: str) -> tuple[list[Line], Counter[str], Counter[str]]:
    """What is kept before users are drawn; for each reason how many rows have it alone, and how many have it at all."""
    alone: Counter[str] = Counter()
    at_all: Counter[str] = Counter()
    kept = []
    for line in lines:
        faults = effective(line, asked, kind)
        user = "NA" if "missing user" in line.faults and "no user" not in line.faults else line.user
        if not faults:
            kept.append(replace(line, user=user))
        at_all.update(faults)
        if len(faults) == 1:
            alone.update(faults)
    steps = [("repeat" if asked.repeats == "refuse" else "again", after_repeats(kept, asked.repeats))]
    if asked.core:
        steps.append(("core", after_core(steps[-1][1], asked.core)))
    if asked.min_history:
        counts = Counter(line.user for line in steps[-1][1])
        steps.append(("short", [line for line in steps[-1][1] if counts[line.user] >= asked.min_history]))
    for reason, left in steps:
        for counter in (alone, at_all):
            counter[reason] += len(kept) - len(left)
        kept = left
    return kept, alone, at_all


def counted(found: Prepared) -> tuple[Counter[str], Counter[str]]:
    """Rejected and left out, by the short names of the reasons."""
    account = found.split["account"]["interactions"]
    tables: list[Counter[str]] = []
    for key in ("rejected", "left_out"):
        one: Counter[str] = Counter()
        for reason, number in account[key].items():
            (name,) = [name for name, pattern in REASONS.items() if re.fullmatch(pattern, reason)]
            one[name] += number
        tables.append(one)
    return tables[0], tables[1]


lines_of = st.builds(
    Line,
    user=st.sampled_from(["a", "b", "c", "d"]),
    item=st.sampled_from(KNOWN),
    time=st.integers(1, 3),
    rating=st.sampled_from([3, 4, 5]),
    faults=st.frozensets(st.sampled_from(FAULTS), max_size=1)
    | st.just(frozenset())
    | st.frozensets(st.sampled_from(FAULTS), min_size=2, max_size=3),
)
files_of = st.lists(lines_of, min_size=1, max_size=25)
asks = st.builds(
    Asked,
    rows=st.booleans(),
    missing=st.booleans(),
    min_rating=st.booleans(),
    repeats=st.sampled_from(["refuse", "keep", "first", "last"]),
    core=st.none() | st.integers(1, 3),
    min_history=st.none() | st.integers(1, 4),
    sample_users=st.none() | st.integers(1, 4),
)
GOOD = Line("a", "i1", 1, 5, frozenset())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(files_of, asks)
@example([GOOD, replace(GOOD, time=2)], PLAIN)
@example([GOOD, replace(GOOD, time=2, faults=frozenset({"unknown", "missing time"}))], replace(PLAIN, missing=True))
@example([GOOD, replace(GOOD, time=2, faults=frozenset({"low rating", "bad time"}))], replace(PLAIN, min_rating=True))
def test_every_row_is_kept_rejected_or_left_out(kind: str, lines: list[Line], asked: Asked) -> None:
    kept, alone, at_all = expected(lines, asked, kind)
    read = len(lines)
    with tempfile.TemporaryDirectory() as name:
        log, items = Path(name) / f"log.{kind}", Path(name) / "items.csv"
        write_log(log, lines)
        items.write_text(ITEMS)
        if not kept:
            with pytest.raises(InputError):
                prepare("shop", interactions=log, items=items, items_format="csv", **asked.options)
            return
        report = Notes()
        found = prepare("shop", interactions=log, items=items, items_format="csv", report=report, **asked.options)
    rejected, left_out = counted(found)
    account = found.split["account"]["interactions"]
    sequences = found.dataset.sequences
    assert account["read"] == read
    assert account["kept"] == len(sequences.items)
    assert read == account["kept"] + sum(rejected.values()) + sum(left_out.values())
    assert set(rejected).isdisjoint(LEFT_OUT)
    assert set(left_out) <= LEFT_OUT
    users = list(dict.fromkeys(line.user for line in kept))
    if asked.sample_users is not None and asked.sample_users < len(users):
        drawn = sequences.user_ids
        assert len(drawn) == asked.sample_users
        assert list(drawn) == [user for user in users if user in drawn]
        not_drawn = sum(line.user not in drawn for line in kept)
        kept = [line for line in kept if line.user in drawn]
        for counter in (alone, at_all):
            counter["drawn"] += not_drawn
    assert account["kept"] == len(kept)
    together = rejected + left_out
    for reason in {*together, *at_all}:
        assert alone[reason] <= together[reason] <= at_all[reason], reason
    for user, user_id in enumerate(sequences.user_ids):
        own = sorted((line for line in kept if line.user == user_id), key=lambda line: line.time)
        assert [found.dataset.catalog.item_ids[item] for item in sequences.items_of(user)] == [one.item for one in own]
    for reason, number in account["left_out"].items():
        interactions = "interaction" if number == 1 else "interactions"
        assert f"left out {number} {interactions}: {reason.removeprefix('interactions ')}" in report.notes
    skipped = [note for note in report.notes if note.startswith("skipped")]
    if sum(rejected.values()) <= 20:
        assert len(skipped) == sum(rejected.values())
    else:
        assert len(skipped) == len(account["rejected"])


patterned = st.lists(
    st.lists(st.tuples(st.sampled_from([*KNOWN, "i9"]), st.booleans()), max_size=4), min_size=1, max_size=12
)


@settings(max_examples=40)
@given(patterned, st.booleans())
def test_every_match_of_a_pattern_is_in_the_account(shown: list[list[tuple[str, bool]]], rows: bool) -> None:
    """A row without a match counts once, another one as often as it matches."""
    text = "user_id,shown,event\n"
    matches: list[str] = []
    none = other = 0
    for place, cell in enumerate(shown):
        event = "view" if place % 3 == 2 else "buy"
        text += f"u{place % 2},{' '.join(f'{item}-{int(clicked)}' for item, clicked in cell)},{event}\n"
        clicked = [item for item, was in cell if was]
        if rows and event == "view":
            other += 1
        elif not clicked:
            none += 1
        else:
            matches += clicked
    kept, unknown = sum(item in KNOWN for item in matches), sum(item not in KNOWN for item in matches)
    with tempfile.TemporaryDirectory() as name:
        log, items = Path(name) / "log.csv", Path(name) / "items.csv"
        log.write_text(text)
        items.write_text(ITEMS)
        options = {"rows": "event = 'buy'"} if rows else {}

        def read() -> Prepared:
            return prepare(
                "shop", interactions=log, items=items, item_col="shown", items_id_col="item_id",
                item_pattern=r"(\S+)-1(?!\S)", skip_bad=True, **options,
            )  # fmt: skip

        if not kept:
            with pytest.raises(InputError):
                read()
            return
        found = read()
    rejected, left_out = counted(found)
    account = found.split["account"]["interactions"]
    assert (account["read"], account["kept"]) == (len(matches) + none + other, kept)
    assert rejected == Counter({"unknown": unknown} if unknown else {})
    assert +left_out == +Counter({"no match": none, "other event": other})


item_rows = st.lists(
    st.tuples(st.sampled_from(["i1", "i2", "i3", "", "NA"]), st.sampled_from(["A", "B", "", "NA"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60)
@given(
    item_rows,
    st.sampled_from(["refuse", "first", "last", "most"]),
    st.sampled_from(["refuse", "drop", "id"]),
    st.booleans(),
)
def test_every_row_of_items_is_kept_rejected_or_left_out(
    rows: list[tuple[str, str]], duplicates: str, untitled: str, missing: bool
) -> None:
    kept: dict[str, list[str]] = {}
    rejected = left_out = 0
    for item, title in rows:
        blank = title == "" or (missing and title == "NA")
        if missing and item == "NA":
            left_out += 1
        elif item == "" or (duplicates == "refuse" and item in kept) or (blank and untitled == "refuse"):
            rejected += 1
        elif blank and untitled == "drop":
            left_out += 1
        else:
            left_out += item in kept
            kept.setdefault(item, []).append(item if blank else title)
    options = {"missing": "NA"} if missing else {}
    with tempfile.TemporaryDirectory() as name:
        log, items = Path(name) / "log.csv", Path(name) / "items.csv"
        log.write_text("user_id,item_id\n" + "".join(f"u,{item}\n" for item in kept or ["i1"]))
        items.write_text("item_id,title\n" + "".join(f"{item},{title}\n" for item, title in rows))

        def read() -> Prepared:
            return prepare(
                "shop", interactions=log, items=items, duplicate_items=duplicates, untitled=untitled, skip_bad=True,
                **options,
            )  # fmt: skip

        if not kept:
            with pytest.raises(InputError, match="no usable item"):
                read()
            return
        found = read()
    account = found.split["account"]["items"]
    assert (account["read"], account["kept"]) == (len(rows), len(kept))
    assert sum(account["rejected"].values()) == rejected
    assert sum(account["left_out"].values()) == left_out
    which = {"last": -1}.get(duplicates, 0)
    titles = {
        item: Counter(own).most_common(1)[0][0] if duplicates == "most" else own[which] for item, own in kept.items()
    }
    assert dict(zip(found.dataset.catalog.item_ids, found.dataset.catalog.titles, strict=True)) == titles


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("quoted", [False, True])
def test_every_row_of_a_long_file_is_where_it_belongs(tmp_path: Path, kind: str, quoted: bool) -> None:
    """Several blocks and batches, with ids of all lengths and alphabets."""
    rng = random.Random(quoted)
    users = [f"{name}{number}" for number in range(400) for name in ("u", "ü", "user-" * 5, "長い", "x" * 70 + "-")]
    items = [f"{name}{number}" for number in range(100) for name in ("", "0", "item", "é" * 40)]
    sep = "," if kind == "csv" else "\t"
    lines, kept = [sep.join(("user_id", "item_id", "timestamp", "note"))], []
    wrong: Counter[str] = Counter()
    for place in range(45_000):
        user, item, time = rng.choice(users), rng.choice(items), str(10**9 + place)
        note = '"a ""b"""' if quoted and kind == "csv" and place % 9_000 == 5_000 else "-"
        fault = rng.choice(FAULTS) if rng.random() < 0.01 else ""
        row = [user, item, time, note]
        if fault == "unknown":
            row[1] = f"i{place}"
        elif fault == "no user":
            row[0] = ""
        elif fault == "bad time":
            row[2] = "soon"
        elif fault == "ragged":
            row.append("more")
        elif fault == "missing user":
            row[0] = "NA"
        else:
            fault = ""
            kept.append((user, item))
        wrong[fault] += 1
        lines.append(sep.join(row))
    log, goods = tmp_path / f"log.{kind}", tmp_path / f"items.{kind}"
    log.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    goods.write_text(f"item_id{sep}title\n" + "".join(f"{item}{sep}T{item}\n" for item in items), encoding="utf-8")
    found = prepare("shop", interactions=log, items=goods, missing="NA", skip_bad=True)
    rejected, left_out = counted(found)
    assert found.split["account"]["interactions"]["read"] == 45_000
    assert rejected + left_out == Counter({fault: number for fault, number in wrong.items() if fault})
    expected_of: dict[str, list[str]] = {}
    for user, item in kept:
        expected_of.setdefault(user, []).append(item)
    sequences, ids = found.dataset.sequences, found.dataset.catalog.item_ids
    assert list(sequences.user_ids) == list(expected_of)
    for user, own in enumerate(expected_of.values()):
        assert [ids[item] for item in sequences.items_of(user)] == own


def test_the_account_is_kept_with_the_data_set(tmp_path: Path) -> None:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    log.write_text("user_id,item_id,event\na,i1,buy\na,i9,buy\na,i2,view\nb,i2,buy\n")
    items.write_text(ITEMS)
    found = prepare("shop", interactions=log, items=items, rows="event = 'buy'", skip_bad=True)
    account = {
        "interactions": {
            "read": 4,
            "kept": 2,
            "rejected": {"item ... is not among the items": 1},
            "left_out": {"another row (--rows)": 1},
        },
        "items": {"read": 4, "kept": 4, "rejected": {}, "left_out": {}},
    }
    assert found.split["account"] == account
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(found.dataset, source="s", licence="l", split=found.split)
        assert store.datasets.show("shop")["split"]["account"] == account


def test_a_row_that_is_missing_something_and_wrong_elsewhere_is_counted_once(tmp_path: Path) -> None:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    log.write_text("user_id,item_id,timestamp\na,i1,1000000001\na,i9,NA\n,i1,NA\nNA,i9,NA\n")
    items.write_text(ITEMS)
    found = prepare("shop", interactions=log, items=items, missing="NA", skip_bad=True)
    account = found.split["account"]["interactions"]
    assert (account["read"], account["kept"]) == (4, 1)
    assert sum(account["rejected"].values()) + sum(account["left_out"].values()) == 3


def test_many_rejected_rows_are_told_by_reason(tmp_path: Path) -> None:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    rows = ["a,i1", *(f"a,x{number}" for number in range(18)), ",i1", "a,", "a,i1,5"]
    log.write_text("user_id,item_id\n" + "".join(row + "\n" for row in rows))
    items.write_text(ITEMS)
    report = Notes()
    found = prepare("shop", interactions=log, items=items, skip_bad=True, report=report)
    assert found.split["account"]["interactions"]["rejected"] == {
        "item ... is not among the items": 18,
        "user_id is blank": 1,
        "item_id is blank": 1,
        "N fields where the header has N": 1,
    }
    assert [note for note in report.notes if note.startswith("skipped")] == [
        "skipped: item ... is not among the items (18), such as log.csv:3: item 'x0' is not among the items",
        "skipped: user_id is blank (1), such as log.csv:21: user_id is blank",
        "skipped: item_id is blank (1), such as log.csv:22: item_id is blank",
        "skipped: N fields where the header has N (1), such as log.csv:23: 3 fields where the header has 2",
    ]
    assert "21 rows were skipped; --rejects FILE keeps them with their reasons" in report.notes


# ---------------------------------------------------------------- ids that mean nobody


def written(folder: Path, rows: list[tuple[str, str]], items: list[str] | None = None) -> dict[str, Path]:
    log, goods = folder / "log.csv", folder / "items.csv"
    log.write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in rows))
    found = {"interactions": log}
    if items is not None:
        goods.write_text("item_id,title\n" + "".join(f"{item},T{item}\n" for item in items))
        found["items"] = goods
    return found


def suspects(notes: list[str]) -> list[str]:
    return [note for note in notes if "is not known, leave it out" in note]


ORDINARY = [(f"u{user}", f"i{1 + (user + step) % 9}") for user in range(40) for step in range(5)]


def told(folder: Path, rows: list[tuple[str, str]], **options: Any) -> tuple[Prepared, list[str]]:
    report = Notes()
    found = prepare("shop", **written(folder, rows), untitled="id", report=report, **options)
    return found, suspects(report.notes)


@pytest.mark.parametrize(
    "user", ["nan", "NaN", "NAN", "NA", "N/A", "<NA>", "None", "none", "NULL", "null", "undefined", "-", "?", "\\N"]
)
@pytest.mark.parametrize("number", [1, 60])
def test_a_user_who_is_a_spelling_of_missing_is_told(tmp_path: Path, user: str, number: int) -> None:
    rows = [*ORDINARY, *((user, f"i{1 + step % 9}") for step in range(number))]
    found, notes = told(tmp_path, rows)
    total = 200 + number
    assert notes == [
        f"user {user!r} has {number} of {total} interactions ({number / total:.0%}): if it means that the user is not "
        f"known, leave it out with --missing {user!r}"
    ]
    assert user in found.dataset.sequences.user_ids
    left, notes = told(tmp_path, rows, missing=user)
    assert notes == []
    assert user not in left.dataset.sequences.user_ids
    account = left.split["account"]["interactions"]
    assert (account["read"], account["kept"], account["rejected"]) == (total, 200, {})
    assert account["left_out"] == {"the user is missing (--missing)": number}


@pytest.mark.parametrize("user", ["guest", "u_all", "1"])
def test_a_user_with_most_of_all_rows_is_told(tmp_path: Path, user: str) -> None:
    """Two thirds of all rows are one user's, where others have five each."""
    _, notes = told(tmp_path, [*ORDINARY, *((user, f"i{1 + step % 9}") for step in range(400))])
    assert notes == [
        f"user {user!r} has 400 of 600 interactions (67%): if it means that the user is not known, leave it out with "
        f"--missing {user!r}"
    ]


@pytest.mark.parametrize("user", ["0.0", "-1", "0", "-1.0", "99999"])
def test_a_number_that_is_everybody_is_told(tmp_path: Path, user: str) -> None:
    """A third of all rows are one user's, where others have five each."""
    rows = [*ORDINARY, *((user, f"i{1 + step % 9}") for step in range(120))]
    _, notes = told(tmp_path, rows)
    assert notes == [
        f"user {user!r} has 120 of 320 interactions (38%): if it means that the user is not known, leave it out with "
        f"--missing {user!r}"
    ]
    left, notes = told(tmp_path, rows, missing=user)
    assert notes == []
    assert left.split["account"]["interactions"]["left_out"] == {"the user is missing (--missing)": 120}


@pytest.mark.parametrize("user", ["0", "-1", "0.0", "99999", "u_x", "anna"])
@pytest.mark.parametrize("number", [5, 15])
def test_a_user_of_usual_size_is_not_told(tmp_path: Path, user: str, number: int) -> None:
    rows = [*ORDINARY, *((user, f"i{1 + step % 9}") for step in range(number))]
    assert told(tmp_path, rows)[1] == []


@pytest.mark.parametrize("users", [1, 2, 5])
def test_few_users_are_nobody_to_be_told(tmp_path: Path, users: int) -> None:
    rows = [(f"u{user}", f"i{step % 9}") for user in range(users) for step in range(30 if user else 200)]
    assert told(tmp_path, rows)[1] == []


@pytest.mark.parametrize("item", ["nan", "None", "NULL", "NA"])
def test_an_item_that_is_a_spelling_of_missing_is_told(tmp_path: Path, item: str) -> None:
    rows = [*ORDINARY, *((f"u{user}", item) for user in range(30))]
    _, notes = told(tmp_path, rows)
    assert notes == [
        f"item {item!r} has 30 of 230 interactions (13%): if it means that the item is not known, leave it out with "
        f"--missing {item!r}"
    ]
    left, notes = told(tmp_path, rows, missing=item)
    assert notes == []
    assert left.split["account"]["interactions"]["left_out"] == {"the item is missing (--missing)": 30}
    assert item not in left.dataset.catalog.item_ids


def zipf(items: int, total: int) -> list[tuple[str, str]]:
    """Interactions of a catalog where the n-th item has 1/n of what the first has, each user an item once."""
    harmonic = sum(1 / place for place in range(1, items + 1))
    counts = [max(1, round(total / harmonic / place)) for place in range(1, items + 1)]
    users = counts[0]
    rows, first = [], 0
    for place, count in enumerate(counts):
        rows += [(f"u{(first + step) % users}", f"i{place}") for step in range(count)]
        first += count
    return rows


@pytest.mark.parametrize("items", [20, 100, 500])
def test_a_popular_item_is_not_told(tmp_path: Path, items: int) -> None:
    """Popularity has a long tail: the first of 500 items has a seventh of all interactions, with nothing wrong."""
    rows = zipf(items, 3000)
    assert told(tmp_path, rows)[1] == []


def test_an_item_that_every_user_has_is_not_told(tmp_path: Path) -> None:
    rows = [(f"u{user}", item) for user in range(60) for item in ("hit", *(f"i{user}-{n}" for n in range(4)))]
    assert told(tmp_path, rows)[1] == []


def test_an_item_with_an_implausible_share_is_told(tmp_path: Path) -> None:
    """More than its users could have it once."""
    rows = [(f"u{user}", f"i{user}-{step}") for user in range(40) for step in range(5)]
    rows += [(f"u{user}", "0") for user in range(40) for _ in range(15)]
    _, notes = told(tmp_path, rows)
    assert notes == [
        "item '0' has 600 of 800 interactions (75%): if it means that the item is not known, leave it out with "
        "--missing '0'"
    ]


def parquet(path: Path, select: str) -> Path:
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


@pytest.mark.parametrize("kind", ["DOUBLE", "VARCHAR", "BIGINT"])
def test_an_empty_user_is_no_user(tmp_path: Path, kind: str) -> None:
    """A column of numbers with gaps, as data frames write it."""
    values = {"DOUBLE": ("7.5", "NULL", "'nan'"), "VARCHAR": ("'7'", "NULL", "''"), "BIGINT": ("7", "NULL", "NULL")}
    rows = " UNION ALL ".join(f"SELECT {one}::{kind} AS user_id, 'i1' AS item_id" for one in values[kind])
    log = parquet(tmp_path / "log.parquet", rows)
    if kind == "DOUBLE":
        with pytest.raises(InputError, match="write ids as whole numbers or text"):
            prepare("shop", interactions=log, untitled="id")
        return
    with pytest.raises(InputError, match=r"log\.parquet:2: user_id is missing; .*--skip-bad"):
        prepare("shop", interactions=log, untitled="id")
    found = prepare("shop", interactions=log, untitled="id", skip_bad=True)
    assert found.dataset.sequences.user_ids == ("7",)
    assert sum(found.split["account"]["interactions"]["rejected"].values()) == 2


def test_gaps_in_a_csv_column_of_floats_are_no_users(tmp_path: Path) -> None:
    """Pandas writes 17850.0, and nothing where there is none; `--missing ''` leaves such rows out."""
    rows = [("17850.0", "i1"), ("", "i1"), ("13047.0", "i1"), ("", "i2")]
    with pytest.raises(InputError, match=r"log\.csv:3: user_id is blank; .*--skip-bad"):
        told(tmp_path, rows)
    found, _ = told(tmp_path, rows, missing="")
    assert found.dataset.sequences.user_ids == ("17850.0", "13047.0")
    assert found.split["account"]["interactions"]["left_out"] == {"the user is missing (--missing)": 2}


def test_several_texts_may_mean_missing(tmp_path: Path) -> None:
    rows = [*ORDINARY, ("nan", "i1"), ("-1", "i1"), ("u1", "NULL"), ("NULL", "NULL")]
    found, notes = told(tmp_path, rows, missing=["nan", "-1", "NULL"])
    assert notes == []
    account = found.split["account"]["interactions"]
    assert (account["read"], account["kept"]) == (204, 200)
    assert account["left_out"] == {"the user is missing (--missing)": 3, "the item is missing (--missing)": 1}


def test_missing_is_a_text_as_it_is_written(tmp_path: Path) -> None:
    """Neither case nor blanks are passed over."""
    found, _ = told(tmp_path, [("nan", "i1"), ("NaN", "i1"), (" nan", "i1")], missing="nan")
    assert found.dataset.sequences.user_ids == ("NaN", " nan")


def test_missing_ids_of_items_are_left_out(tmp_path: Path) -> None:
    files = written(tmp_path, [("u", "i1"), ("u", "NA")], ["i1", "NA", "NA"])
    found = prepare("shop", **files, missing="NA")
    assert found.dataset.catalog.item_ids == ("i1",)
    assert found.split["account"]["items"] == {
        "read": 3,
        "kept": 1,
        "rejected": {},
        "left_out": {"an item without id (--missing)": 2},
    }
    assert found.split["account"]["interactions"]["left_out"] == {"the item is missing (--missing)": 1}


def test_missing_times_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\nu,1,1000000001\nu,2,0000-00-00\nu,3,1000000003\n")
    with pytest.raises(InputError, match=r"log\.csv:3"):
        prepare("shop", interactions=log, untitled="id")
    found = prepare("shop", interactions=log, untitled="id", missing="0000-00-00")
    assert found.split["account"]["interactions"]["left_out"] == {"the time is missing (--missing)": 1}


@pytest.mark.parametrize("others", ["4,5", "4,"])
def test_missing_ratings_are_none(tmp_path: Path, others: str) -> None:
    """Whether or not a rating is blank elsewhere."""
    first, second = others.split(",")
    log = tmp_path / "log.csv"
    log.write_text(f"user_id,item_id,rating\nu,1,0\nu,2,{first}\nu,3,{second}\n")
    found = prepare("shop", interactions=log, untitled="id", missing="0")
    assert [str(rating) for rating in found.ratings] == ["nan", "4.0", f"{second}.0" if second else "nan"]


def test_missing_ratings_are_left_out_where_ratings_are_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,rating\nu,1,NA\nu,2,4\nu,3,5\n")
    found = prepare("shop", interactions=log, untitled="id", missing="NA", min_rating=3)
    account = found.split["account"]["interactions"]
    assert (account["read"], account["kept"], account["rejected"]) == (3, 2, {})
    assert sum(account["left_out"].values()) == 1


def test_missing_metadata_is_none(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,year\n1,A,NA\n2,B,1999\n")
    (tmp_path / "log.csv").write_text("user_id,item_id\nu,1\n")
    found = prepare("shop", interactions=tmp_path / "log.csv", items=tmp_path / "items.csv", missing="NA")
    assert found.dataset.catalog.metadata[0].get("year") in (None, "")
