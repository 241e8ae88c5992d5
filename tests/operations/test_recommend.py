"""Filters act inside the ranking: what they give is what ranking everything and filtering afterwards gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.errors import InputError, NotFoundError, UsageError
from patchrec.operations.filters import Filtered, Filters, find_items, find_named
from patchrec.operations.load import LoadedRun, load
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import finetune
from patchrec.recommender import rank
from patchrec.store import Store

NUM_ITEMS = 30
KINDS = ("x", "y", "z")


def shop() -> Dataset:
    """Few users, and items of which every two share a title."""
    items = [np.random.default_rng(user).permutation(NUM_ITEMS)[: 3 + user] for user in range(8)]
    lengths = np.array([len(each) for each in items])
    return Dataset(
        name="shop",
        catalog=Catalog(
            tuple(f"i{item:02d}" for item in range(NUM_ITEMS)),
            tuple(f"Thing {item // 2}" for item in range(NUM_ITEMS)),
            tuple({"year": 1980 + item, "kind": KINDS[item % 3]} for item in range(NUM_ITEMS)),
        ),
        sequences=Sequences(
            user_ids=tuple(f"u{user}" for user in range(8)),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            items=np.concatenate(items),
            timestamps=None,
            train_stop=lengths - 2,
            validation_stop=lengths - 1,
        ),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filters") / "home"
    with Store.open(folder) as store:
        store.datasets.add(shop(), source="made up", licence="none", split={"rule": "leave-one-out"})
    finetune(strategy="pft-s", options={"L": 2}, data="shop", backbone="tiny-random", max_steps=1, home=folder)
    return folder


@pytest.fixture(scope="module")
def loaded(home: Path) -> LoadedRun:
    with Store.open(home) as store:
        return load(store, store.runs.get("pft-s-1"))


filters = st.builds(
    Filters,
    where=st.none() | st.builds("year >= {}".format, st.integers(1980, 2009)) | st.sampled_from(["kind = 'x'", "1"]),
    allow=st.lists(st.sampled_from([f"i{item:02d}" for item in range(NUM_ITEMS)]), max_size=12).map(tuple),
    deny=st.lists(st.sampled_from([f"Thing {item}" for item in range(NUM_ITEMS // 2)]), max_size=8).map(tuple),
    keep_seen=st.booleans(),
)


def fits(item: int, given_filters: Filters) -> bool:
    """What the filters above say of an item, in plain code."""
    where = given_filters.where or "1"
    year, kind = 1980 + item, KINDS[item % 3]
    holds = {"1": True, "kind = 'x'": kind == "x"}.get(where, where > "y" and year >= int(where[-4:]))
    allowed = not given_filters.allow or f"i{item:02d}" in given_filters.allow
    return holds and allowed and f"Thing {item // 2}" not in given_filters.deny


@given(filters, st.integers(0, 7), st.integers(1, 40), st.sampled_from(["catalog", "joint"]))
@settings(max_examples=40)
def test_filters_give_what_filtering_the_whole_order_gives(loaded, given_filters, user, k, score) -> None:
    if not any(fits(item, given_filters) for item in range(NUM_ITEMS)):
        with pytest.raises(UsageError, match="no item of 30 fits"):
            Filtered.of(loaded.dataset.catalog, given_filters)
        return
    own = loaded.recommender
    recommender = replace(own, scorer=replace(own.scorer, score=score))
    whole = replace(recommender, search="whole")
    [everything] = rank(whole, [loaded.user_query(user, keep_seen=True)], NUM_ITEMS)
    seen = set() if given_filters.keep_seen else set(loaded.dataset.sequences.items_of(user).tolist())
    left = [line for line in everything.recommendations if fits(line.item, given_filters) and line.item not in seen]
    filtered = Filtered.of(loaded.dataset.catalog, given_filters)
    query = loaded.user_query(user, keep_seen=given_filters.keep_seen)
    [found] = rank(recommender, [query], k, allowed=filtered.allowed)
    assert [line.item for line in found.recommendations] == [line.item for line in left[:k]]
    assert [line.score for line in found.recommendations] == pytest.approx([line.score for line in left[:k]], abs=1e-4)
    reason = filtered.shortfall(k, query.seen, len(found.recommendations)) or found.shortfall
    assert (reason is None) == (len(left) >= k)


def test_too_few_left_says_what_each_filter_leaves(home: Path) -> None:
    found = recommend(user="u7", k=20, home=home, filters=Filters(where="year >= 2000"))
    past = shop().sequences.items_of(7)
    had = int((past >= 20).sum())
    assert had > 0
    assert len(found.ranking) == 10 - had
    assert found.shortfall == (
        f"asked for 20, but {10 - had} of 30 items can be ranked: --where keeps 10, and the user has had {had} of those"
    )
    both = recommend(user="u7", k=20, home=home, filters=Filters("year >= 2000", deny=("i20",), keep_seen=True))
    assert both.shortfall == (
        "asked for 20, but 9 of 30 items can be ranked: --where keeps 10, --deny takes out 1, together they leave 9"
    )


def test_a_user_who_has_had_all_that_fits_gets_an_empty_ranking_with_the_reason(home: Path) -> None:
    had = f"i{shop().sequences.items_of(3)[0]:02d}"
    found = recommend(user="u3", k=2, home=home, filters=Filters(allow=(had,)))
    assert found.ranking == []
    assert "0 of 30 items can be ranked: --allow keeps 1, and the user has had 1 of those" in str(found.shortfall)


def test_a_filter_that_fits_nothing_is_refused_by_name(home: Path) -> None:
    with pytest.raises(UsageError, match="no item of 30 fits --where 'year > 3000'"):
        recommend(user="u3", home=home, filters=Filters(where="year > 3000"))
    with pytest.raises(UsageError, match=r"fits --where and --deny \(--where keeps 1, --deny takes out 1\)"):
        recommend(user="u3", home=home, filters=Filters(where="item_id = 'i03'", deny=("i03",)))


def test_an_item_is_named_by_id_or_by_title_which_is_all_that_have_it(tmp_path: Path) -> None:
    catalog = Catalog(("1", "2", "3", "5"), ("Heat", "Alien", "heat ", "2"))
    assert [items.tolist() for items in find_named(catalog, ["HEAT", "1", "id:2", "title:2", "5"])] == [
        [0, 2],
        [0],
        [1],
        [3],
        [3],
    ]
    with pytest.raises(UsageError, match="'2' is the id of 'Alien' and the title of another item; write 'id:2' or"):
        find_named(catalog, ["2"])
    with pytest.raises(NotFoundError, match=r"no item 'Aliem'; did you mean 'Alien'.*; 1 more is unknown too"):
        find_named(catalog, ["Aliem", "Heat", "id:9"])
    (tmp_path / "deny.txt").write_text("\ufeffheat\r\n\n  id:2  \n")
    mask = Filtered.of(catalog, Filters(deny=(f"@{tmp_path / 'deny.txt'}",))).allowed
    assert mask is not None
    assert mask.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "holds no name"), (b"a\n\xff\n", "names.txt:2: not UTF-8"), (None, "no file")]
)
def test_a_list_of_names_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, word: str) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=word):
        Filtered.of(Catalog(("1",), ("A",)), Filters(allow=(f"@{path}",)))


def test_the_whole_catalog_and_the_search_agree_and_both_certify(home: Path) -> None:
    first, whole = (recommend(user="u5", k=5, home=home, search=search) for search in ("best-first", "whole"))
    assert [line.item_id for line in first.ranking] == [line.item_id for line in whole.ranking]
    for found in (first, whole):
        assert found.certificate is not None
        assert found.certificate["holds"]
        assert found.certificate["kth_score"] == pytest.approx(found.ranking[-1].score, abs=1e-4)
        assert all(line.probability == pytest.approx(np.exp(line.score)) for line in found.ranking)
    assert (first.certificate["search"], whole.certificate["search"]) == ("best-first", "whole")
    assert first.certificate["num_titles"] < whole.certificate["num_titles"] == NUM_ITEMS // 2


def test_probabilities_of_the_joint_score_need_the_whole_catalog(home: Path) -> None:
    first, whole = (
        recommend(user="u5", k=5, home=home, search=search, score="joint") for search in ("best-first", "whole")
    )
    assert {line.probability for line in first.ranking} == {None}
    everything = recommend(
        user="u5", k=NUM_ITEMS, home=home, search="whole", score="joint", filters=Filters(keep_seen=True)
    )
    of_titles = {line.title: line.probability for line in everything.ranking}
    assert sum(of_titles.values()) == pytest.approx(1)
    assert [line.probability for line in whole.ranking] == pytest.approx(
        [of_titles[line.title] for line in whole.ranking]
    )


@pytest.mark.parametrize(
    ("titles", "name", "meant"),
    [
        (("It", "IT", "it "), "It", [0]),
        (("It", "IT", "it "), "IT", [1]),
        (("It", "IT", "it "), "it ", [2]),
        (("It", "IT", "it "), "it", [0, 1, 2]),
        (("Straße", "Strasse"), "Strasse", [1]),
        (("Straße", "Strasse"), "title:Straße", [0]),
        (("Straße", "Strasse"), "STRASSE", [0, 1]),
        (("It", "It", "IT"), "It", [0, 1]),
    ],
)
def test_a_title_as_it_is_written_means_no_other(titles, name, meant):
    catalog = Catalog(tuple(f"id-{number}" for number in range(len(titles))), titles)
    assert find_named(catalog, [name])[0].tolist() == meant
    if len(meant) == 1:
        assert find_items(catalog, [name]).tolist() == meant


def test_an_item_of_a_history_is_one_item() -> None:
    catalog = Catalog(("10", "11", "12", "13"), ("Heat", "heat ", "Alien", "Big"))
    assert find_items(catalog, ["alien", "13", "id:10"]).tolist() == [2, 3, 0]
    assert find_items(catalog, []).tolist() == []
    with pytest.raises(UsageError, match=r"'HEAT' is the title of 2 items; give the id of one of them: 10, 11"):
        find_items(catalog, ["13", "HEAT"])
    with pytest.raises(NotFoundError, match="did you mean 'Alien'"):
        find_items(catalog, ["Aliem"])


def test_a_made_up_history_is_filtered_too(loaded: LoadedRun, home: Path) -> None:
    found = recommend(history=["i00", "i07"], k=3, home=home, filters=Filters(where="kind = 'y'"))
    assert {int(line.item_id[1:]) % 3 for line in found.ranking} == {1}
    assert "i07" not in {line.item_id for line in found.ranking}
    assert loaded.history_query(np.array([0, 7]), keep_seen=True).seen.tolist() == []
