"""Fields of a catalog become features: which suit, what a value is, and what is refused."""

import numpy as np
import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.item_features import checked_fields, item_features, suitable_fields
from patchrec.errors import UsageError


def catalog(titles=("Red Fox", "Red Hen", "Blue Hen", "Owl"), **columns):
    metadata = tuple({name: values[item] for name, values in columns.items()} for item in range(len(titles)))
    return Catalog(tuple(f"i{item}" for item in range(len(titles))), tuple(titles), metadata if columns else ())


def names_of(features, item):
    return [features.names[number] for number in features.bags[item] if number < len(features.names)]


ANIMALS = catalog(
    kinds=[["wild", "fur"], ["tame"], ["tame", "tame"], ["wild"]],
    legs=[4, 2, 2, 2],
    farm=["no", "yes", "yes", "no"],
    link=["a", "b", "c", "d"],
    same=["x"] * 4,
    parts=[{"a": 1}] * 4,
)


def test_lists_texts_and_numbers_give_a_feature_for_each_value_that_items_share():
    features = item_features(ANIMALS, ("kinds", "legs", "farm"))
    assert names_of(features, 0) == ["kinds=wild", "farm=no"]  # it alone has fur, and four legs
    assert names_of(features, 1) == names_of(features, 2) == ["kinds=tame", "legs=2", "farm=yes"]
    assert set(features.names) == {"kinds=wild", "kinds=tame", "legs=2", "farm=no", "farm=yes"}


def test_the_start_mark_has_none_and_bags_are_filled_up():
    features = item_features(ANIMALS, ("kinds", "legs"))
    assert features.bags.dtype == np.int32
    assert features.bags[-1].tolist() == [3, 3]
    assert sorted(features.bags[0].tolist()) == [0, 3]


def test_fields_suit_that_tell_items_apart_and_are_shared():
    assert suitable_fields(ANIMALS) == ("kinds", "farm")


def test_without_a_field_that_suits_the_words_of_titles_are_taken():
    assert suitable_fields(catalog()) == suitable_fields(catalog(link=["a", "b", "c", "d"])) == ("title",)
    features = item_features(catalog(), ("title",))
    assert [names_of(features, item) for item in range(4)] == [
        ["title=red"], ["title=red", "title=hen"], ["title=hen"], [],
    ]  # fmt: skip


def test_numbers_of_many_values_fall_into_tenths_of_the_items():
    years = list(range(1900, 2000))
    features = item_features(catalog([f"t{year}" for year in years], year=years), ("year",))
    assert len(features.names) == 10
    assert np.bincount(features.bags[:-1, 0]).tolist() == [10] * 10
    assert (np.diff(features.bags[:-1, 0]) >= 0).all()


def test_what_an_item_does_not_have_is_no_feature():
    features = item_features(catalog(kind=["a", "", None, "a"], size=[1, 1, None, float("nan")]), ("kind", "size"))
    assert [names_of(features, item) for item in range(4)] == [["kind=a", "size=1"], ["size=1"], [], ["kind=a"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind", "--fields 'kind': no field 'kind'; did you mean 'kinds'?; choices: farm, kinds"),
        ("kinds,sise", "no field 'sise'; choices: farm, kinds, legs, link, parts, same, title"),
        (" , ", "names no field; choices: farm, kinds"),
        ("link", "no two items share a value of 'link'"),
        ("parts", "no two items share a value of 'parts'"),
    ],
)
def test_fields_that_are_not_there_or_say_nothing_are_refused(text, words):
    with pytest.raises(UsageError) as caught:
        checked_fields(ANIMALS, text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_given_fields_keep_their_order_once():
    assert checked_fields(ANIMALS, " title, kinds,title") == ("title", "kinds")


def test_without_any_field_the_way_to_add_some_is_told():
    with pytest.raises(UsageError, match=r"choices: title; for more, .*--items"):
        checked_fields(catalog(), "genres")
    with pytest.raises(UsageError, match=r"no two items share .*--items"):
        suitable_fields(catalog(("One", "Two", "Three")))
