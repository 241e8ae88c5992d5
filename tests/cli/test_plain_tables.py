"""Tables that need no wrapping are drawn without rich, and as rich draws them; options not given are passed at once."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_early import modules_after

from patchrec_cli.app import main
from patchrec_cli.display import UNWRAPPED, WIDTH, plain_table, rich_table

WORDS = st.text(string.ascii_letters + string.digits + " -.,[]\\_/|\n", max_size=12)


@st.composite
def tables(draw):
    num_columns = draw(st.integers(1, 4))
    line = st.lists(WORDS, min_size=num_columns, max_size=num_columns)
    rights = draw(st.lists(st.booleans(), min_size=num_columns, max_size=num_columns))
    headings = [word.replace("\n", " ") for word in draw(line)] if draw(st.booleans()) else [""] * num_columns
    return headings, draw(st.lists(line, max_size=4)), rights


@given(tables(), st.sampled_from([20, WIDTH, UNWRAPPED]))
def test_a_table_is_drawn_as_rich_draws_it(table, width):
    headings, cells, rights = table
    found = plain_table(headings, cells, rights, width)
    assert found is None or found == rich_table(headings, cells, rights, width)


@pytest.mark.parametrize("cell", ["é", "日本", "x" * 81, " x", "x ", "x \ny"])
def test_what_has_another_width_or_does_not_fit_is_left_to_rich(cell):
    assert plain_table(["a"], [[cell]], [False], WIDTH) is None


def test_listings_need_neither_rich_nor_pydantic(toy_store, monkeypatch):
    monkeypatch.setenv("PATCHREC_HOME", str(toy_store.home))
    for words in (
        ["baseline", "markov"],
        ["baseline", "popularity"],
        ["blend", "markov-1", "popularity-1", "--weights", "1,1"],
    ):
        assert main([*words, "-q"]) == 0
    codes, modules = modules_after(["data", "ls"], ["runs", "ls"], ["runs", "ls", "--json"], ["runs", "ls", "-q"])
    assert codes == [0, 0, 0, 0]
    assert not {"rich", "pydantic", "typer._adapters", "numpy"} & modules


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recommend", "--user"], "requires an argument"),
        (["data", "show", "a", "b"], "unexpected extra argument"),
        (["data", "append"], "Missing argument 'NAME'"),
        (["runs", "ls", "--limit", "x"], "--limit"),
        (["runs", "ls", "--limit", "0"], "greater than or equal to 1"),
    ],
)
def test_options_are_checked_as_before(words, said, capfd):
    assert main(words) == 2
    assert said in capfd.readouterr().err
