"""Conditions over items: what SQL finds is what plain code finds, and nothing but a mask or a usage error comes out."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.data import conditions
from patchrec.data.catalog import Catalog
from patchrec.data.conditions import columns_of, fitting
from patchrec.errors import UsageError

FILMS = Catalog(
    item_ids=("007", "8", "=1+1", "i4", "i5"),
    titles=("Alien (1979)", "Aliens (1986)", "Heat (1995)", 'it\'s "quoted" 😀', "Big (1988)"),
    metadata=(
        {"year": "1979", "genres": ["Horror", "Sci-Fi"], "rating": 8.5, "order": 1},
        {"year": " 1986 ", "genres": ["Action"], "rating": "8.4", "order": 2, "seen": True},
        {"year": 1995, "genres": [], "rating": None, "order": 3, "seen": False},
        {"year": "unknown", "Year": 2001, "order": 10},
        {},
    ),
)

HOSTILE = [
    "1); DROP TABLE items; --",
    "1); SELECT (1",
    "1) UNION SELECT 1 FROM items WHERE (1",
    "1) OR (1 = 1",
    "1; ATTACH DATABASE '/tmp/patchrec-hostile.db' AS other",
    "ATTACH DATABASE '/tmp/patchrec-hostile.db' AS other",
    "PRAGMA writable_schema = 1",
    "1 IN pragma_database_list",
    "item_id IN sqlite_master",
    "(SELECT sql FROM sqlite_master) LIKE '%'",
    "EXISTS (SELECT 1 FROM items a, items b, items c, items d)",
    "EXISTS (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n)",
    "(VALUES (1))",
    "load_extension('/tmp/patchrec-hostile.so')",
    "readfile('/etc/passwd') IS NOT NULL",
    "writefile('/tmp/patchrec-hostile', 'x')",
    "random() > 0",
    "length(randomblob(2000000000)) > 0",
    "length(zeroblob(2000000000)) > 0",
    "length(printf('%.*c', 1000000000, 'x')) > 0",
    "count(*) > 1",
    "row_number() OVER () = 1",
    "1 GROUP BY year HAVING 1",
    "1 LIMIT 1",
    "year = ?",
    "year = :year",
    "1 /* never closed",
    "1 -- the rest",
    "title REGEXP '(a+)+$'",
    "title MATCH 'x'",
    "RAISE(ABORT, 'x')",
    "'never closed",
    "\0",
    "\ud800",
    "(" * 5000 + "1" + ")" * 5000,
    " AND ".join(["1"] * 20_000),
    "1" * 200_000,
    "year >=",
    "year, title",
    "   ",
]


def chosen(condition: str, catalog: Catalog = FILMS) -> list[str]:
    return [item_id for item_id, fits in zip(catalog.item_ids, fitting(catalog, condition), strict=True) if fits]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("year >= 1980", ["8", "=1+1", "i4"]),  # text compares above every number
        ("typeof(year) = 'integer' and year >= 1980", ["8", "=1+1"]),
        ("year = '1979'", ["007"]),
        ("rating > 8.45", ["007"]),
        ("title like '%(1995)'", ["=1+1"]),
        ("TITLE LIKE 'alien%' AND Item_Id <> '8'", ["007"]),
        ("title = 'it''s \"quoted\" 😀'", ["i4"]),
        ("genres like '%\"Sci-Fi\"%'", ["007"]),
        ("json_array_length(genres) = 0", ["=1+1"]),
        ("genres ->> 0 = 'Action'", ["8"]),
        ("seen", ["8"]),
        ("not seen", ["=1+1"]),  # NULL is not false
        ("year is null", ["i5"]),
        ('"order" between 2 and 3', ["8", "=1+1"]),
        ("[order] = 1 or `order` = 10", ["007", "i4"]),
        ("year_2 > 2000", ["i4"]),
        ("item_id = '007'", ["007"]),
        ("item_id = '7'", []),
        ("item_id in ('8', '=1+1')", ["8", "=1+1"]),
        ("1", ["007", "8", "=1+1", "i4", "i5"]),
        ("0 or null", []),
        ("'; -- (' <> title", ["007", "8", "=1+1", "i4", "i5"]),
    ],
)
def test_a_condition_chooses_items(condition: str, expected: list[str]) -> None:
    assert chosen(condition) == expected


@given(
    st.lists(st.one_of(st.none(), st.integers(-3, 3), st.floats(-3, 3)), min_size=1, max_size=8),
    st.sampled_from(
        [("<", operator.lt), ("<=", operator.le), ("=", operator.eq), ("<>", operator.ne), (">", operator.gt)]
    ),
    st.integers(-3, 3),
    st.booleans(),
)
def test_numbers_compare_as_in_plain_code_however_they_are_written(values, sign, bound, as_text) -> None:
    shown = [str(value) if as_text and value is not None else value for value in values]
    names = tuple(str(place) for place in range(len(values)))
    catalog = Catalog(names, names, tuple({"year": value} for value in shown))
    text, holds = sign
    expected = [value is not None and holds(value, bound) for value in values]
    assert fitting(catalog, f"year {text} {bound}").tolist() == expected


@pytest.mark.parametrize("condition", HOSTILE, ids=lambda condition: condition[:40])
def test_a_hostile_condition_is_a_usage_error_of_one_line(condition: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*--where[^\n]*$") as refused:
        fitting(FILMS, condition)
    assert len(str(refused.value)) < 1000
    assert chosen("1") == list(FILMS.item_ids)


@given(st.text(alphabet="()'\"`[];-/*?%= yearitle01<>|.,\0", max_size=24) | st.text(max_size=12))
def test_any_text_gives_a_mask_or_a_usage_error(condition: str) -> None:
    try:
        mask = fitting(FILMS, condition)
    except UsageError:
        return
    assert (mask.shape, mask.dtype) == ((5,), np.dtype(bool))


def test_an_unknown_column_is_named_with_a_guess_and_the_columns() -> None:
    with pytest.raises(UsageError, match=r"no column 'yeer'; did you mean 'year'.*choices: Year_2, genres, item_id"):
        fitting(FILMS, "yeer > 1990")


def test_a_quoted_name_that_is_no_column_is_not_taken_for_text() -> None:
    with pytest.raises(UsageError, match=r"no column 'Horror'.*single quotes"):
        fitting(FILMS, 'genres like "Horror"')


def test_a_condition_that_runs_on_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "MAX_SECONDS", -1.0)
    many = Catalog(*[tuple(map(str, range(2000)))] * 2)
    with pytest.raises(UsageError, match="not judged in"):
        fitting(many, "title like '%1%' or title like '%2%'")


def test_values_that_no_database_holds_are_still_judged() -> None:
    odd = Catalog(
        ("a", "b", "c", "d"),
        ("A", "B", "C", "D\ud800"),
        ({"n": 1 << 70}, {"n": float("nan")}, {"n": {"deep": [1]}}, {"n": "x" * 3_000_000, "": 1, "#": 2}),
    )
    assert chosen("n > 5 and typeof(n) = 'real'", odd) == ["a"]
    assert chosen("n is null", odd) == ["b"]
    assert chosen("n ->> '$.deep[0]' = 1", Catalog(odd.item_ids[:3], odd.titles[:3], odd.metadata[:3])) == ["c"]
    assert chosen("length(n) = 3000000 and title like 'D%'", odd) == ["d"]
    assert chosen('"#" = 2', odd) == ["d"]


def test_columns_are_id_and_title_then_keys_as_they_appear() -> None:
    assert list(columns_of(FILMS)) == ["item_id", "title", "year", "genres", "rating", "order", "seen", "Year_2"]
    assert list(columns_of(Catalog(("1",), ("A",)))) == ["item_id", "title"]
