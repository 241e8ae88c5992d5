"""`patchrec export`: what it writes, and what it pushes and says of that."""

import huggingface_hub
import pytest

from patchrec_cli.reference import JSON_KEYS


class StandIn:
    """In the place of the hub's client."""

    def create_repo(self, repo_id, **options):
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, **options):
        pass


@pytest.fixture
def trained(toy_cli, monkeypatch):
    """The command on a store with the run `vanilla-1`, logged in to a stand-in of the hub."""
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    monkeypatch.setattr(huggingface_hub, "HfApi", StandIn)
    small = ["--backbone", "tiny-random", "--max-steps", "1", "-q"]
    assert toy_cli("finetune", "--strategy", "vanilla", "--from", "none", *small).code == 0
    return toy_cli


def test_an_export_has_a_card_and_is_not_pushed(trained, tmp_path):
    found = trained("export", "vanilla-1", tmp_path / "out", "--json").json
    assert set(found) == {"schema", *JSON_KEYS["export"]}
    assert "README.md" in found["files"]
    assert found["pushed"] is None


def test_a_push_says_what_goes_where_and_ends_with_the_address(trained, tmp_path):
    ran = trained("export", "vanilla-1", tmp_path / "out", "--push", "jane/toy")
    assert ran.code == 0
    assert "uploading to the Hugging Face hub: jane/toy (private)" in ran.err
    assert "https://hub.example/jane/toy (private)" in ran.out
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert "hf_secret" not in ran.out + ran.err


def test_a_public_push_is_public_in_json(trained, tmp_path):
    found = trained("export", "vanilla-1", tmp_path / "out", "--push", "jane/toy", "--public", "--json").json
    assert found["pushed"] == {"repository": "jane/toy", "url": "https://hub.example/jane/toy", "private": False}


def test_quiet_prints_the_folder_and_the_address(trained, tmp_path):
    ran = trained("export", "vanilla-1", tmp_path / "out", "--push", "jane/toy", "-q")
    assert ran.out.splitlines() == [str((tmp_path / "out").resolve()), "https://hub.example/jane/toy"]
    assert ran.err == ""


@pytest.mark.parametrize(
    ("options", "words"), [(["--public"], "--push OWNER/NAME"), (["--push", "toy"], "'toy' cannot name a model")]
)
def test_slips_are_one_line(trained, tmp_path, options, words):
    ran = trained("export", "vanilla-1", tmp_path / "out", *options)
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith("error: ")
    assert words in ran.err
