"""What the command line says of catalogs, and which words it takes."""

from dataclasses import replace

import pytest

from patchrec.data.catalog import Catalog
from patchrec.operations import catalog_audit
from patchrec.store import Store


def test_data_show_says_what_is_to_know_of_titles(toy_cli):
    said = " ".join(toy_cli("data", "show", "toy").out.split())
    assert "to know items that share their title with another: 2, such as 'Heat': they share its score" in said


def test_data_show_reads_titles_as_a_backbone_does(toy_cli):
    shown = toy_cli("data", "show", "toy", "--backbone", "tiny-random", "--json").json["findings"]
    whats = {one["what"]: one for one in shown}
    assert whats["titles that another's tokens begin with"]["examples"] == ["Alien"]


def test_doctor_notes_what_is_handled_and_stays_at_zero(toy_cli):
    toy_cli("backbones", "pull", "tiny-random")
    ran = toy_cli("doctor", "--json")
    assert ran.code == 0
    names = [check["name"] for check in ran.json["checks"]]
    assert names[-3:] == ["data toy", "data toy", "data toy, tiny-random"]
    assert "note" in toy_cli("doctor").out


def test_doctor_fails_for_what_cannot_be_trained_on(cli, toy, tmp_path):
    catalog = Catalog(toy.catalog.item_ids, ("Alien", "\u200b", *toy.catalog.titles[2:]))
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(replace(toy, catalog=catalog), source="made up", licence="none", split={"rule": "ratio"})
    ran = cli("doctor", "--json")
    assert ran.code == 1
    (failed,) = [check for check in ran.json["checks"] if not check["ok"]]
    assert failed["name"] == "data toy"
    assert failed["detail"].startswith("items with a blank title: 1")
    assert "--untitled" in failed["fix"]


def test_a_large_catalog_is_left_to_data_show(toy_cli, monkeypatch):
    toy_cli("backbones", "pull", "tiny-random")
    monkeypatch.setattr(catalog_audit, "LARGE", 3)
    checks = toy_cli("doctor", "--json").json["checks"]
    assert "patchrec data show toy --backbone tiny-random" in next(
        c["detail"] for c in checks if c["name"] == "data toy"
    )
    assert not [check for check in checks if check["name"] == "data toy, tiny-random"]


@pytest.mark.parametrize("option", ["--noun", "--verb"])
@pytest.mark.parametrize("word", ["<|eot|>", "a\nb", "a\x1b[2J", ""])
def test_what_is_no_word_is_refused_with_exit_code_2(cli, tmp_path, option, word):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,title\n" + "".join(f"u{u},i{i},t{i}\n" for u in range(3) for i in range(4)))
    ran = cli("data", "add", "own", "--interactions", log, "--title-col", "title", option, word)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) == 1
    assert "\x1b" not in ran.err
