"""What a user is told when a backbone is nowhere to be had. The hub is stood in for: no test reaches it."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from patchrec.errors import NotFoundError
from patchrec.model.pull import locate


def refuse_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The errors are made without the HTTP answer that they would carry: its library changes with the hub's version."""

    def model_info(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(HfApi, "model_info", model_info)


def test_a_gated_model_names_the_two_ways_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse_with(monkeypatch, GatedRepoError.__new__(GatedRepoError))
    with pytest.raises(
        NotFoundError, match=r"is gated: accept its licence .* `hf auth login`, or choose --backbone smol"
    ):
        locate("llama-3.2-1b", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_the_hub_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse_with(monkeypatch, RepositoryNotFoundError.__new__(RepositoryNotFoundError))
    with pytest.raises(NotFoundError, match=r"no model 'nobody/nothing'"):
        locate("nobody/nothing", tmp_path)


def test_an_unreachable_hub_is_told_and_a_folder_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse_with(monkeypatch, ConnectionError("no route"))
    with pytest.raises(NotFoundError, match=r"cannot be reached; a model folder works too"):
        locate("llama-3.2-1b", tmp_path)
