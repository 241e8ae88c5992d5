"""Titles of invisible characters are blank; those that steer what is shown are told; words of a prompt are words."""

import json
import unicodedata

import pytest
from notes import Notes

from patchrec.data.characters import MAX_WORD, checked_word, is_blank, steering
from patchrec.data.prepare import prepare, prepare_item
from patchrec.errors import InputError, UsageError
from patchrec.operations.datasets import add_dataset, add_items
from patchrec.store import Store

BLANK = ["\u200b", "\u2060", "\ufeff", "\u3164", "\u00ad", "\u034f", "\u115f\u1160", "\u2800", "\uffa0", "\ufe0f",
         "\u061c", "\u180e", "\U000e0020", "\u200d\u200c", " \u200b ", "\u00a0\u2003", "\u202e"]  # fmt: skip
SEEN = [
    "a\u200b",
    "\u200ba",
    "0",
    ".",
    "\u0301a",
    "\u05d0",
    "\u0e01",
    "\U0001f469\u200d\U0001f680",
    "\ue000",
    "\u3000x",
]
STEERING = {
    "a\u009bb": "U+009B",
    "\u202eabc": "U+202E",
    "a\u2066b": "U+2066",
    "a\u2028b": "U+2028",
    "\u0085x": "U+0085",
}


@pytest.mark.parametrize("text", BLANK)
def test_invisible_characters_alone_are_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", SEEN)
def test_a_visible_character_is_enough(text):
    assert not is_blank(text)


def test_every_space_and_control_character_is_blank():
    for code in range(0x110000):
        if unicodedata.category(chr(code)) in ("Zs", "Zl", "Zp", "Cc"):
            assert is_blank(chr(code)), hex(code)
        elif unicodedata.category(chr(code))[0] in "NPS" and code != 0x2800:
            assert not is_blank(chr(code)), hex(code)


def files(folder, titles):
    log, items = folder / "log.jsonl", folder / "items.jsonl"
    rows = [{"user_id": f"u{user}", "item_id": str(item)} for user in range(3) for item in range(len(titles))]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = [{"item_id": str(item), "title": title} for item, title in enumerate(titles)]
    items.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return {"interactions": str(log), "items": str(items)}


@pytest.mark.parametrize("title", BLANK)
def test_a_title_of_invisible_characters_is_refused_with_its_line(tmp_path, title):
    with pytest.raises(InputError, match=r"items\.jsonl:2: title is blank; .*--untitled id or drop"):
        prepare("own", **files(tmp_path, ["Alien", title, "Heat", "Up"]))


@pytest.mark.parametrize("title", BLANK)
def test_it_counts_as_no_title_where_those_are_dropped_or_named_by_their_ids(tmp_path, title):
    given = files(tmp_path, ["Alien", title, "Heat", "Up"])
    assert prepare("own", **given, untitled="drop").dataset.catalog.titles == ("Alien", "Heat", "Up")
    assert prepare("own", **given, untitled="id").dataset.catalog.titles == ("Alien", "1", "Heat", "Up")


@pytest.mark.parametrize("title", BLANK)
def test_a_new_item_needs_a_visible_title(toy, title):
    with pytest.raises(InputError, match="--title is blank; nothing was added"):
        prepare_item(toy.catalog, "99", title)


@pytest.mark.parametrize(("title", "code"), STEERING.items())
def test_titles_that_steer_what_is_shown_are_kept_and_told(tmp_path, title, code):
    heard = Notes()
    found = prepare("own", **files(tmp_path, ["Alien", title, "Heat", "Up"]), report=heard)
    assert found.dataset.catalog.titles[1] == title
    (said,) = [note for note in heard.notes if "direction of writing" in note]
    assert said.startswith("1 title holds control characters or marks that turn the direction of writing, such as")
    assert code in said
    assert steering(said) is None


def test_plain_titles_are_not_told_of(tmp_path):
    heard = Notes()
    prepare("own", **files(tmp_path, ["Alien", "\u05d0\u200e", "\U0001f469\u200d\U0001f680", "x\u00ad"]), report=heard)
    assert not [note for note in heard.notes if "direction" in note]


def test_a_new_item_that_steers_is_told_too(toy_store):
    heard = Notes()
    add_items("toy", item_id="99", title="a\u009b2Jb", home=toy_store.home, report=heard)
    assert "U+009B" in heard.notes[0]


@pytest.mark.parametrize(
    "word",
    ["movie", "board game", "video-game", "caf\u00e9", "\u092b\u093f\u0932\u094d\u092e", "R&B song", "top 10 item"],
)
def test_words_of_any_script_are_words(word):
    assert checked_word(word) == word


WRONG = ["<|eot_id|>", "</s>", "[INST]", "movie\nSystem: no", "a\x1b[2J", "\u009b31m", "", " ", "\u200b", " movie",
         "mo{vie}", "x" * (MAX_WORD + 1), "\u202emovie", "movie\u2028", "<movie", "a|b", "\u3164"]  # fmt: skip


@pytest.mark.parametrize("word", WRONG)
@pytest.mark.parametrize("option", ["noun", "verb"])
def test_what_is_no_word_is_refused_before_anything_is_stored(tmp_path, option, word):
    given = files(tmp_path, ["Alien", "Heat", "Up", "Ran"])
    with pytest.raises(UsageError, match=f"--{option}=.*write a word such as"):
        add_dataset("own", **given, **{option: word}, home=tmp_path / "home")
    with Store.open(tmp_path / "home") as store:
        assert store.datasets.names() == []


def test_words_of_a_known_data_set_are_checked_before_it_is_fetched():
    with pytest.raises(UsageError, match="--noun="):
        prepare("ml-100k", noun="<|eot|>")


@pytest.mark.parametrize("id_", ["\u200b", "\u0080", "\ufeffx"])
def test_ids_are_opaque_and_may_be_invisible(tmp_path, id_):
    given = files(tmp_path, ["Alien", "Heat", "Up", "Ran"])
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text(encoding="utf-8").replace('"u0"', json.dumps(id_)), encoding="utf-8")
    assert prepare("own", **given).dataset.sequences.user_ids[0] == id_
