"""`patchrec backbones rm`: what goes, what stays, and what becomes of the runs; a folder that was deleted by hand."""

import shutil
import sys

import pytest

from patchrec.operations.backbones import pull_backbone
from patchrec.store import Store
from patchrec.store.backbones import StoredBackbone

SIZE = ("--width", "16", "--layers", "1", "--heads", "2", "--tokens", "300")
TRAIN = ("--backbone", "small", "--max-steps", "1", "--K", "4")
TITLES = ("finetune", "--strategy", "vanilla", "--from", "none", *TRAIN)


@pytest.fixture
def made(toy_cli):
    assert toy_cli("backbones", "make", "small", *SIZE).code == 0
    return toy_cli


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "home" / "backbones"


def noted(tmp_path):
    with Store.open(tmp_path / "home") as store:
        return [backbone.name for backbone in store.backbones.all()]


def test_folders_and_notes_go_and_the_names_are_free(made, folder, tmp_path):
    assert made("backbones", "make", "other", *SIZE).code == 0
    assert made("backbones", "pull", "tiny-random").code == 0
    ran = made("backbones", "rm", "small", "tiny-random")
    assert ran.code == 0, ran.err
    assert "MB" in ran.out
    assert "titles of toy" in ran.out
    assert [path.name for path in folder.iterdir()] == noted(tmp_path) == ["other"]
    rows = made("backbones", "ls", "--json").json["backbones"]
    assert [row["name"] for row in rows if row["pulled"]] == ["other"]
    assert made("backbones", "rm", "other", "-q").out.split() == ["other"]
    assert made("backbones", "make", "small", *SIZE).code == 0
    shown = made("backbones", "rm", "small", "small", "--json").json
    assert shown["removed"] == ["small"]
    assert (shown["backbones"][0]["folder"], shown["backbones"][0]["runs"]) == (str(folder / "small"), [])
    assert made("doctor").code == 0


@pytest.mark.parametrize("name", ["smal", "smollm2-135m", "..", ".", "", "no/such", "../backbones/small"])
def test_unknown_names_remove_nothing_and_are_told_with_the_choices(made, folder, name):
    ran = made("backbones", "rm", "small", name)
    assert (ran.code, ran.out) == (4, "")
    assert "choices: small" in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert (folder / "small" / "config.json").is_file()


def test_a_model_that_was_given_by_its_path_stays(made, folder, tmp_path):
    own = tmp_path / "mine"
    shutil.copytree(folder / "small", own)
    assert made(*TITLES, "--backbone", own).code == 0
    assert made("backbones", "rm", own).code == 4
    with Store.open(tmp_path / "home") as store:  # as a store was noted that lay elsewhere
        store.backbones.put(StoredBackbone("mine", "somewhere", own))
    assert made("backbones", "rm", "mine").code == 0
    assert (own / "config.json").is_file()
    assert noted(tmp_path) == ["small"]


def test_what_a_link_leads_to_stays(made, folder, tmp_path):
    (folder / "small").rename(tmp_path / "disk")
    (folder / "small").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert made("backbones", "rm", "small").code == 0
    assert not (folder / "small").is_symlink()
    assert (tmp_path / "disk" / "config.json").is_file()


def test_a_run_that_is_done_ranks_as_before(made):
    assert made(*TITLES).code == 0
    ask = ("recommend", "--run", "vanilla-1", "--history", "Alien", "--json")
    before = made(*ask).json["ranking"]
    ran = made("backbones", "rm", "small")
    assert ran.code == 0, ran.err
    assert "ranks as before" in ran.out
    assert made(*ask).json["ranking"] == before
    assert made("eval", "vanilla-1").code == 0
    again = made("finetune", "--strategy", "vanilla", "--from", "vanilla-1", "--max-steps", "1")
    assert again.code == 0, again.err
    assert made("finetune", "--strategy", "pft-s", "--L", "2", "--from", "none", *TRAIN).code == 4


def test_a_run_that_is_done_is_exported_without_its_backbone(made, tmp_path):
    assert made(*TITLES).code == 0
    assert made("backbones", "rm", "small").code == 0
    ran = made("export", "vanilla-1", tmp_path / "exported")
    assert ran.code == 0, ran.err


def test_texts_of_new_items_need_the_backbone_and_it_is_said(made):
    assert made(*TITLES, "--head", "item", "--item-encoder", "llm").code == 0
    ran = made("backbones", "rm", "small")
    assert (ran.code, "cannot rank new items" in ran.err, "--yes" in ran.err) == (2, True, True)
    assert made("backbones", "rm", "small", "--yes").code == 0
    ask = ("recommend", "--run", "vanilla-1", "--history", "Alien", "--json")
    assert made(*ask).code == 0
    assert made("data", "items", "add", "toy", "--item-id", "new-1", "--title", "Heat").code == 0
    ran = made(*ask)
    assert (ran.code, "patchrec backbones pull small" in ran.err) == (4, True)
    assert made("backbones", "make", "small", *SIZE).code == 0
    assert made(*ask).code == 0


def test_a_run_that_needs_it_asks_for_yes_where_nobody_can_be_asked(made, folder, tmp_path):
    assert made(*TITLES).code == 0
    untrained = made("eval", "--baseline", "untrained", "--strategy", "vanilla", "--backbone", "small", "--limit", "1")
    assert untrained.code == 0, untrained.err
    with Store.open(tmp_path / "home") as store:
        store.runs.fail("vanilla-1", "full disk")
    ran = made("backbones", "rm", "small", "-q")
    assert (ran.code, ran.out) == (2, "")
    assert "vanilla-1 cannot go on (and 1 more runs)" in ran.err
    assert (folder / "small").is_dir()
    assert noted(tmp_path) == ["small"]
    ran = made("backbones", "rm", "small", "--yes", "--json")
    assert [(use["status"], use["without"], use["lost"]) for use in ran.json["backbones"][0]["runs"]] == [
        ("failed", "cannot go on", True),
        ("done", "cannot rank", True),
    ]


def test_what_is_fetched_again_asks_for_nothing(made, tmp_path):
    assert made(*TITLES, "--backbone", "tiny-random").code == 0
    with Store.open(tmp_path / "home") as store:
        store.runs.interrupt("vanilla-1", "Ctrl-C")
    ran = made("backbones", "rm", "tiny-random")
    assert (ran.code, "fetches it again to go on" in ran.out) == (0, True)
    assert made("finetune", "--resume", "vanilla-1").code == 0
    assert noted(tmp_path) == ["small", "tiny-random"]


def test_a_run_that_is_done_fetches_nothing(made, folder, tmp_path):
    assert made(*TITLES, "--backbone", "tiny-random").code == 0
    assert made("backbones", "rm", "tiny-random").code == 0
    assert made("recommend", "--run", "vanilla-1", "--history", "Alien").code == 0
    assert made("export", "vanilla-1", tmp_path / "exported").code == 0
    assert [path.name for path in folder.iterdir()] == ["small"]


def test_a_run_that_starts_from_another_has_its_weights(made, tmp_path):
    assert made("pretrain", *TRAIN).code == 0
    assert made("finetune", "--strategy", "vanilla", "--from", "pretrain-1", "--max-steps", "1").code == 0
    with Store.open(tmp_path / "home") as store:
        store.runs.interrupt("vanilla-1", "Ctrl-C")
    shown = made("backbones", "rm", "small", "--json").json["backbones"][0]["runs"]
    assert [use["run"] for use in shown] == ["pretrain-1"]
    assert made("finetune", "--resume", "vanilla-1").code == 0


def test_a_run_that_is_trained_further_keeps_the_defaults_of_a_made_backbone(made):
    assert made("pretrain", *TRAIN).code == 0
    assert made("backbones", "rm", "small").code == 0
    ran = made("finetune", "--from", "pretrain-1", "--strategy", "pft-s", "--dry-run")
    assert ran.code == 0, ran.err
    assert "128 targets a step, learning rate 0.003, up to" in ran.err


def test_what_is_in_use_stays(made, folder, tmp_path):
    assert made(*TITLES).code == 0
    with Store.open(tmp_path / "home") as store:
        store.runs.reopen("vanilla-1")
    ran = made("backbones", "rm", "small", "--yes")
    assert (ran.code, "vanilla-1 is still running" in ran.err) == (2, True)
    assert (folder / "small").is_dir()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_a_terminal_is_asked(made, folder, monkeypatch, answer, code):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ran = made("backbones", "rm", "small")
    assert (ran.code, (folder / "small").exists()) == (code, bool(code))
    assert "remove 1 backbone (" in ran.err


@pytest.mark.parametrize("again", [("make", "small", *SIZE, "--seed", "1"), ("pull", "tiny-random")])
def test_what_was_deleted_by_hand_is_made_and_fetched_anew(made, folder, tmp_path, again):
    assert made("backbones", "pull", "tiny-random").code == 0
    name = again[1]
    shutil.rmtree(folder / name)
    with Store.open(tmp_path / "home") as store, store.write() as db:
        db.execute("UPDATE backbones SET revision = 'earlier' WHERE name = ?", [name])
    rows = {row["name"]: row["pulled"] for row in made("backbones", "ls", "--json").json["backbones"]}
    assert not rows.get(name)
    ran = made("backbones", *again)
    assert ran.code == 0, ran.err
    with Store.open(tmp_path / "home") as store:
        assert store.backbones.get(name).revision in ("seed 1", "seed 0")
    assert made("doctor").code == 0


def test_a_note_whose_folder_is_gone_is_taken_off(made, folder, tmp_path):
    shutil.rmtree(folder / "small")
    [check] = [one for one in made("doctor", "--json").json["checks"] if one["name"] == "backbones"]
    assert (check["ok"], "patchrec backbones rm NAME" in check["fix"]) == (False, True)
    assert made("backbones", "rm", "small", "--json").json["backbones"][0]["folder"] is None
    assert made("doctor").code == 0


def test_a_folder_of_somebody_else_is_not_overwritten(made, folder):
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("keep")
    ran = made("backbones", "make", "notes", *SIZE)
    assert (ran.code, "is no backbone of patchrec" in ran.err) == (2, True)
    assert made("backbones", "rm", "notes").code == 4
    assert (folder / "notes" / "mine.txt").read_text() == "keep"


def test_a_backbone_of_the_store_is_taken_by_its_path_too(made, folder, tmp_path):
    assert made(*TITLES, "--backbone", folder / "small").code == 0
    assert noted(tmp_path) == ["small"]
    [use] = made("backbones", "rm", "small", "--json").json["backbones"][0]["runs"]
    assert (use["run"], use["lost"]) == ("vanilla-1", False)
    assert pull_backbone("tiny-random", home=tmp_path / "home").pulled
