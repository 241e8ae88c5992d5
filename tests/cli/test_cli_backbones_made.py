"""`patchrec backbones make`: a small model of a data set's own titles, ready to be trained."""

import pytest

from patchrec.store import Store

SIZE = ("--width", "16", "--layers", "1", "--heads", "2", "--tokens", "300")


def test_a_made_backbone_is_listed_trained_and_asked(toy_cli):
    made = toy_cli("backbones", "make", "small", *SIZE)
    assert made.code == 0, made.err
    assert "none: random weights" in made.out
    assert "next: patchrec finetune --strategy item-mean --head item --backbone small" in made.err
    assert "next: patchrec finetune --strategy pft-s --L 20 --loss catalog --backbone small" in made.err
    assert "small" in toy_cli("backbones", "ls", "-q").out.split()
    trained = toy_cli("finetune", "--strategy", "pft-s", "--L", "2", "--backbone", "small", "--max-steps", "2")
    assert trained.code == 0, trained.err
    assert "made for a CPU" in trained.err
    assert "learning rate 0.003" in trained.err
    assert "epochs since the log is small" in trained.err
    assert len(toy_cli("recommend", "--run", "pft-s-1", "--history", "Alien", "--json").json["ranking"]) > 0
    assert toy_cli("doctor").code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("small", "--width", "15"), 2, "multiple of twice --heads"),
        (("small", "--tokens", "9"), 2, "every byte is a token"),
        (("tiny-random",), 2, "there is a backbone 'tiny-random' already"),
        (("taken",), 2, "there is a backbone 'taken' already"),
        (("no/name",), 2, "no/name"),
        (("small", "--data", "tay"), 4, "toy"),
        (("small", "--layers", "0"), 2, "--layers"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line_and_leaves_nothing(toy_cli, tmp_path, words, code, said):
    assert toy_cli("backbones", "make", "taken", *SIZE).code == 0
    ran = toy_cli("backbones", "make", *words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    with Store.open(tmp_path / "home") as store:
        assert [backbone.name for backbone in store.backbones.all()] == ["taken"]
    assert [path.name for path in (tmp_path / "home" / "backbones").iterdir()] == ["taken"]
