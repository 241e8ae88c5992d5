"""Text from data is shown, never obeyed."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.store import Store
from patchrec_cli.display import Column, clean, print_json, print_table
from patchrec_cli.numbers import sparkline

NASTY = [
    "[bold red]markup[/bold red]",
    "[link=https://example.org]link[/link]",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "\x9b31mred in one byte",
    "back\x08\x08\x08\x7fspace",
    "\u202eright to left override",
    ":smiley: and [/]",
    "emoji 👩‍🚀 und Umlaute äöü, العربية",
    "a\tb",
]


@given(st.text())
def test_clean_text_has_no_control_character_and_no_line_break(text):
    shown = clean(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert len(shown.splitlines()) <= 1


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cf"])))
def test_clean_text_stays_as_it_is(text):
    assert clean(text) == text


def test_joined_emoji_stay_whole():
    assert clean("👩‍🚀") == "👩‍🚀"


@pytest.mark.parametrize("title", NASTY, ids=ascii)
def test_markup_is_shown_as_text_and_control_sequences_go(title, capsys):
    print_table([Column("title", "title")], [{"title": title}])
    shown = capsys.readouterr().out.splitlines()[1]
    assert shown == clean(title).rstrip()
    assert "\x1b" not in shown


@given(st.text(min_size=1, max_size=300), st.integers())
def test_a_table_fits_80_columns(text, number):
    import contextlib
    import io

    from rich.cells import cell_len

    with contextlib.redirect_stdout(io.StringIO()) as out:
        print_table(
            [Column("text", "text"), Column("number", "number", right=True)], [{"text": text, "number": number}]
        )
    assert all(cell_len(line) <= 80 for line in out.getvalue().splitlines())


@given(
    st.dictionaries(
        st.text(), st.text() | st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.text())
    )
)
def test_json_is_exact_and_ascii(payload):
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        print_json(payload)
    assert out.getvalue().isascii()
    assert json.loads(out.getvalue()) == payload


def test_what_is_no_number_is_null_in_json(capsys):
    print_json({"loss": float("nan"), "ratios": [float("inf"), np.float64(1.5)], "ranks": np.array([1, 2])})
    assert json.loads(capsys.readouterr().out) == {"loss": None, "ratios": [None, 1.5], "ranks": [1, 2]}


def test_titles_are_printed_without_control_sequences_and_exported_exactly(cli, tmp_path):
    titles = [title for title in NASTY if "\t" not in title]
    count = len(titles)
    dataset = Dataset(
        "nasty",
        Catalog(tuple(f"\x1b{item}" for item in range(count)), tuple(titles)),
        Sequences(
            ("\x1b[2Jeve",),
            np.array([0, count]),
            np.arange(count),
            None,
            np.array([count - 2]),
            np.array([count - 1]),
        ),
    )
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(dataset, source="\x1b[31mmade up", licence="[red]none[/red]", split={})
    preview = ["strategies", "preview", "--strategy", "vanilla", "--user", "\x1b[2Jeve"]
    for arguments in (["data", "show", "nasty"], ["data", "ls"], preview, [*preview, "-q"]):
        ran = cli(*arguments)
        assert ran.code == 0
        assert not any(unicodedata.category(character) == "Cc" for character in ran.out.replace("\n", ""))
    shown = cli(*preview, "--json")
    assert shown.out.isascii()
    assert shown.json["user"] == "\x1b[2Jeve"
    assert shown.json["spans"][0]["titles"] == titles
    exported = cli("data", "export", "nasty")
    assert exported.out.isascii()
    assert exported.json["history"] == [f"\x1b{item}" for item in range(count - 1)]
    assert "[red]none[/red]" in cli("data", "show", "nasty").out


def test_no_color_and_pipes_give_plain_text(toy_cli, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    ran = toy_cli("data", "ls")
    assert "\x1b" not in ran.out + ran.err


def test_a_curve_is_drawn_in_one_line():
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"  # round(7 / 2) = 4: the fifth of eight
    assert sparkline([2.0, float("nan"), None, 2.0]) == "▁▁"
    assert sparkline([]) == ""
    assert len(sparkline([float(number) for number in range(1000)])) <= 48
