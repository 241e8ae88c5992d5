"""A drawn share of the items that the test split alone knows: what goes, what stays, and what is said of it."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from notes import Notes
from test_sources import GOODREADS_ROW, official_100k, published

from patchrec.config import SPLITS
from patchrec.data.cold_items import draw, leave_to_test
from patchrec.data.histories import Sequences
from patchrec.data.interactions import Interactions
from patchrec.data.prepare import prepare
from patchrec.data.splits import RULES, Rule, Split, arrange
from patchrec.errors import InputError, UsageError

Event = tuple[int, int, int]
"""User, item, second."""

events = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(1, 20)), min_size=1, max_size=40)
shares = st.floats(0.001, 0.999) | st.sampled_from([0.1, 0.2, 0.29, 0.5])
REASON = "interactions of items that only the test split shall know (--cold-items)"


def log(rows: Sequence[Event]) -> Interactions:
    """Ratings and sessions number the rows, so that it is seen where each went."""
    users = list(dict.fromkeys(user for user, _, _ in rows))
    places = np.arange(len(rows))
    return Interactions(
        user_ids=tuple(map(str, users)),
        users=np.array([users.index(user) for user, _, _ in rows]),
        items=np.array([item for _, item, _ in rows]),
        milliseconds=np.array([second for _, _, second in rows]) * 1000,
        ratings=places / 2,
        sessions=places,
    )


Row = tuple[int, int, int, float]


def rows_of(sequences: Sequences, ratings: Any) -> dict[str, dict[str, list[Row]]]:
    """User id -> split -> item, second, session and rating of each interaction, oldest first."""
    assert sequences.timestamps is not None
    assert sequences.sessions is not None
    found: dict[str, dict[str, list[Row]]] = {}
    for user, user_id in enumerate(sequences.user_ids):
        base, parts = int(sequences.offsets[user]), {}
        for split in SPLITS:
            first, stop = sequences.bounds(user, split)
            columns = (sequences.items, sequences.timestamps, sequences.sessions, ratings)
            own = (column[base + first : base + stop].tolist() for column in columns)
            parts[split] = list(zip(*own, strict=True))
        found[user_id] = parts
    return found


def num_targets(rows: dict[str, dict[str, list[Row]]], split: str, least: int) -> int:
    """Interactions of a split before which so many of their user stand."""
    number = 0
    for parts in rows.values():
        position = 0
        for name in SPLITS:
            for _ in parts[name]:
                number += name == split and position >= least
                position += 1
    return number


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80), shares, st.integers(0, 5))
def test_so_many_items_are_drawn_of_those_that_occur(items: list[int], share: float, seed: int) -> None:
    drawn = draw(np.array(items), share, seed).tolist()
    assert len(drawn) == len(set(drawn)) == max(int(Fraction(str(share)) * len(set(items))), 1)
    assert set(drawn) <= set(items)
    assert drawn == draw(np.array(items[::-1]), share, seed).tolist()


def test_another_seed_draws_others() -> None:
    drawn = {tuple(sorted(draw(np.arange(100), 0.29, seed).tolist())) for seed in (0, 0, 1, 2)}
    assert len(drawn) == 3
    assert {len(one) for one in drawn} == {29}


@given(events, st.sampled_from(RULES), shares, st.integers(0, 3))
def test_cold_items_are_gone_before_the_test_split_and_all_else_is_as_it_was(
    rows: list[Event], rule: Rule, share: float, seed: int
) -> None:
    plain = arrange(log(rows), Split(rule=rule))
    before = rows_of(plain.sequences, plain.ratings)
    cold = set(draw(np.array([item for _, item, _ in rows]), share, seed).tolist())
    after = {
        user: {split: [row for row in own if split == "test" or row[0] not in cold] for split, own in parts.items()}
        for user, parts in before.items()
    }
    after = {user: parts for user, parts in after.items() if any(parts.values())}
    least = plain.min_history
    trains = num_targets(before, "train", least), num_targets(after, "train", least)
    if not any(parts["train"] for parts in after.values()) or (trains[0] and not trains[1]):
        with pytest.raises(InputError, match=r"--cold-items 0\.\d+ leaves nothing to learn from .*; lower it"):
            leave_to_test(plain, share, seed)
        return
    found, record = leave_to_test(plain, share, seed)
    assert rows_of(found.sequences, found.ratings) == after
    assert list(found.sequences.user_ids) == list(after)
    assert (found.about, found.min_history) == (plain.about, least)
    tested = {row[0] for parts in before.values() for row in parts["test"]}
    assert record == {
        "share": share,
        "seed": seed,
        "items": len(cold),
        "in_test": len(cold & tested),
        "interactions": len(rows) - len(found.sequences.items),
        "users": len(before) - len(after),
        "targets": num_targets(before, "test", least) - num_targets(after, "test", least),
    }


def shop(folder: Path, rows: Sequence[Event], **options: Any) -> tuple[Any, list[str]]:
    """A data set of own files, and what was told."""
    lines = [f"u{user},{item},{10**9 + second}" for user, item, second in rows]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines, ""]))
    titles = [f"{item},Thing {item}" for item in range(8)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *titles, ""]))
    report = Notes()
    files = {"interactions": folder / "log.csv", "items": folder / "items.csv"}
    return prepare("shop", **files, report=report, **options), report.notes


LASTS = [(user, (user + step) % 7, 10 * step + user) for user in range(5) for step in range(6)]


@pytest.mark.parametrize("rule", RULES)
def test_own_files_have_every_row_in_their_account_and_remember_the_option(tmp_path: Path, rule: Rule) -> None:
    plain, _ = shop(tmp_path, LASTS, split=Split(rule=rule))
    found, notes = shop(tmp_path, LASTS, split=Split(rule=rule), cold_items=0.3, seed=1)
    out = len(plain.dataset.sequences.items) - len(found.dataset.sequences.items)
    account = found.split["account"]["interactions"]
    assert account == {"read": 30, "kept": 30 - out, "rejected": {}, "left_out": {REASON: out}}
    assert found.split["account"]["items"]["kept"] == len(found.dataset.catalog) == 8
    assert found.split["recipe"]["cold_items"] == 0.3
    assert found.split["cold_items_left_out"]["items"] == 2  # of 7 that occur: the eighth has no interaction
    assert f"left out {out} interactions: {REASON.removeprefix('interactions ')}" in notes
    for key in ("rule", "train_until", "validation_until"):
        assert found.split.get(key) == plain.split.get(key)


def test_users_who_had_nothing_else_are_left_out_and_told(tmp_path: Path) -> None:
    (cold,) = draw(np.arange(7), 0.15, 0).tolist()
    rows = [*LASTS, (9, cold, 1)]
    found, notes = shop(tmp_path, rows, split=Split(rule="temporal"), cold_items=0.15)
    assert "u9" not in found.dataset.sequences.user_ids
    assert found.split["cold_items_left_out"]["users"] == 1
    assert "users of whom nothing is left, and who are left out: 1" in notes


def test_targets_with_too_short_a_history_now_are_told(tmp_path: Path) -> None:
    (cold,) = draw(np.arange(7), 0.15, 0).tolist()
    other = (cold + 1) % 7
    rows = [*LASTS, (9, cold, 1), (9, other, 50), (9, (cold + 2) % 7, 60)]
    found, notes = shop(tmp_path, rows, split=Split(rule="ratio", train=0.34, validation=0), cold_items=0.15)
    user = found.dataset.user("u9")
    assert found.dataset.targets_per_user("test")[user] == 1
    assert found.split["cold_items_left_out"]["targets"] == 1
    assert "test targets before which too few items are left, and which are not asked: 1" in notes


def test_an_item_that_was_of_the_test_split_already_takes_nothing_away(tmp_path: Path) -> None:
    rows = [(user, item, 10 * item) for user in range(3) for item in (1, 2, 3, 4)]
    seed = next(seed for seed in range(50) if draw(np.arange(1, 5), 0.25, seed).tolist() == [4])
    found, _ = shop(tmp_path, rows, split=Split(rule="leave-one-out"), cold_items=0.25, seed=seed)
    assert found.split["account"]["interactions"]["left_out"] == {}
    assert found.split["cold_items_left_out"]["in_test"] == 1


def test_the_items_that_are_left_by_other_options_are_drawn_from(tmp_path: Path) -> None:
    rows = [*LASTS, (0, 7, 3)]
    plain, _ = shop(tmp_path, LASTS, cold_items=0.3, core=2)
    found, _ = shop(tmp_path, rows, cold_items=0.3, core=2)
    assert found.dataset.sequences.fingerprint == plain.dataset.sequences.fingerprint


def test_a_data_set_known_by_name_has_cold_items_too(tmp_path: Path) -> None:
    folder = official_100k(tmp_path / "ml-100k", users=4)
    options: dict[str, Any] = {"known": "ml-100k", "from_path": folder, "cold_items": 0.2, "seed": 3}
    found, again, titled = (
        prepare("cold", **options, **more) for more in ({}, {}, {"title": "{title} ({year})", "split": Split()})
    )
    assert found.dataset.fingerprints == again.dataset.fingerprints
    account = found.split["account"]["interactions"]
    assert account["read"] == 4 * 25 == account["kept"] + account["left_out"][REASON]
    assert found.split["cold_items_left_out"]["items"] == titled.split["cold_items_left_out"]["items"] == 5
    assert titled.split["title"] == "{title} ({year})"


def test_published_splits_take_no_cold_items(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"comes with its published splits.*leave --cold-items out"):
        prepare("goodreads", from_path=published(tmp_path, GOODREADS_ROW), cold_items=0.2)


@pytest.mark.parametrize("rule", RULES)
def test_the_real_test_split_is_the_same_with_cold_items(shared_data: Path, rule: Rule) -> None:
    options: dict[str, Any] = {"known": "ml-100k", "from_path": shared_data / "ml-100k", "split": Split(rule=rule)}
    plain = prepare("plain", **options)
    found = prepare("cold", cold_items=0.2, **options)
    record = found.split["cold_items_left_out"]
    assert (record["items"], record["users"], record["targets"]) == (1_438 // 5, 0, 0)
    assert found.split["account"]["interactions"]["read"] == 51_824
    one, other = plain.dataset.sequences, found.dataset.sequences
    assert one.user_ids == other.user_ids
    theirs, ours = (each.items[each.places_of("test")] for each in (one, other))
    assert theirs.tolist() == ours.tolist()
    cold = draw(one.items, 0.2, 0)
    places = [other.places_of(split) for split in ("train", "validation")]
    assert not np.isin(other.items[np.concatenate(places)], cold).any()
    assert not found.dataset.popularity[cold].any()
    assert record["in_test"] == len(np.intersect1d(ours, cold))
