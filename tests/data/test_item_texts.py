import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.item_texts import item_texts
from patchrec.errors import UsageError

CATALOG = Catalog(
    ("1", "2", "3"),
    ("Alien", "{year} {Heat}", "Up"),
    ({"year": 1979, "genres": ["Horror", "Sci-Fi"]}, {"year": 1995}, {"genres": []}),
)


def test_fields_are_filled_in_and_lists_read_as_lists():
    assert item_texts(CATALOG, "{title} ({year}), {genres}") == (
        "Alien (1979), Horror, Sci-Fi",
        "{year} {Heat} (1995), ",
        "Up (), ",
    )


def test_the_title_alone_is_the_title():
    assert item_texts(CATALOG, "{title}") == CATALOG.titles


def test_doubled_braces_are_braces():
    assert item_texts(CATALOG, "{{{title}}}")[0] == "{Alien}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("film", "names no field"),
        ("{titel}", "did you mean 'title'"),
        ("{title", r"expected '}'"),
        ("{title.__class__}", "no field 'title.__class__'"),
        ("{title[0]}", "no field"),
    ],
)
def test_a_template_that_says_nothing_sound_is_refused(template, message):
    with pytest.raises(UsageError, match=message) as caught:
        item_texts(CATALOG, template)
    assert "\n" not in str(caught.value)


def test_a_catalog_without_fields_has_its_titles():
    with pytest.raises(UsageError, match="no field 'year'"):
        item_texts(Catalog(("1",), ("Alien",)), "{title} {year}")
