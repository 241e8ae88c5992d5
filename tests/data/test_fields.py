"""Columns that stay in their block, against splitting lines and counting texts in a dict."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from patchrec.data import fields as module
from patchrec.data.fields import Numbered, split_fields

TEXTS = st.text(st.characters(exclude_characters="\n\t\0", exclude_categories=["Cs"]), max_size=20)
IDS = st.sampled_from(
    ["a", "b", "ab", "a" * 8, "a" * 9, "b" + "a" * 8, "é" * 5, "12345678", "123456789", "x" * 64, "x" * 65]
)
ROWS = st.lists(st.tuples(TEXTS | IDS, TEXTS | IDS, IDS), min_size=1, max_size=30)
DIGITS = st.integers(0, 10**18 - 1).map(str) | st.from_regex(r"[0-9]{1,18}", fullmatch=True)


def block_of(rows: list[tuple[str, ...]]) -> bytes:
    return "\n".join("\t".join(row) for row in rows).encode("utf-8")


@given(ROWS)
def test_fields_are_what_splitting_gives(rows):
    found = split_fields(block_of(rows), "\t", 3, [2, 0])
    assert found is not None
    third, first = found
    assert list(third) == [row[2] for row in rows]
    assert [first[place] for place in range(len(first))] == [row[0] for row in rows]
    assert list(first[1:]) == [row[0] for row in rows[1:]]
    assert len(first) == len(rows)


@given(ROWS, st.integers(0, 29), st.integers(1, 3))
def test_a_line_of_another_width_is_seen(rows, place, more):
    lines = block_of(rows).split(b"\n")
    place %= len(lines)
    lines[place] += b"\t" * more
    assert split_fields(b"\n".join(lines), "\t", 3, [0]) is None
    if len(lines) > 1:  # one field too many here, one too few there: as many as there should be in all
        other = (place + 1) % len(lines)
        lines[place] = lines[place][: -more + 1 or None]
        lines[other] = lines[other].replace(b"\t", b"", 1)
        assert split_fields(b"\n".join(lines), "\t", 3, [0]) is None


@given(st.lists(st.lists(TEXTS | IDS, min_size=1, max_size=30), min_size=1, max_size=6))
def test_equal_texts_have_one_number_in_the_order_in_which_they_come(blocks):
    numbered, known = Numbered(), {}
    for texts in blocks:
        column = split_fields(block_of([(text, "") for text in texts]), "\t", 2, [0])
        assert column is not None
        expected = [known.setdefault(text, len(known)) for text in texts]
        assert numbered.numbers(column[0]).tolist() == expected
    assert numbered.texts == list(known)


@settings(max_examples=30)
@given(st.lists(IDS, min_size=1, max_size=30), st.lists(IDS, min_size=1, max_size=30))
def test_texts_that_share_a_key_are_told_apart(first, second):
    """With a key that says nothing, the texts themselves decide."""
    mixed, module._mixed = module._mixed, lambda words: np.zeros(len(words[0]), dtype=np.uint64)
    try:
        numbered, known = Numbered(), {}
        for texts in (first, second):
            column = split_fields(block_of([(text, "") for text in texts]), "\t", 2, [0])
            assert column is not None
            expected = [known.setdefault(text, len(known)) for text in texts]
            assert numbered.numbers(column[0]).tolist() == expected
        assert numbered.texts == list(known)
    finally:
        module._mixed = mixed


@given(st.lists(DIGITS, min_size=1, max_size=30))
@example(["0", "000000000000000000", "999999999999999999"])
def test_whole_numbers_are_read_where_they_lie(texts):
    column = split_fields(block_of([(text, "x") for text in texts]), "\t", 2, [0])
    assert column is not None
    found = column[0].whole_numbers()
    assert found is not None
    assert found.tolist() == list(map(int, texts))


@given(st.lists(DIGITS, max_size=10), st.sampled_from(["", "-1", "+1", "1.0", "1_0", " 1", "\u0661", "9" * 19, "x"]))
def test_what_is_no_whole_number_is_left_to_others(texts, odd):
    column = split_fields(block_of([(text, "x") for text in [*texts, odd]]), "\t", 2, [0])
    assert column is not None
    assert column[0].whole_numbers() is None
