"""What a user is told of a backbone that cannot be had or kept. The hub is stood in for: no test reaches it."""

import errno
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from patchrec.errors import NotFoundError, OutOfResourcesError
from patchrec.model import pull
from patchrec.model.made import Shape
from patchrec.model.pull import KNOWN, locate, make


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


@pytest.mark.parametrize(
    ("name", "needed"),
    [*((known.name, f"it needs {known.room} in") for known in KNOWN.values()), ("org/model", "it was to go to")],
)
def test_a_full_disk_is_told_what_a_backbone_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, needed: str
) -> None:
    monkeypatch.setattr(pull, "_fetch", full)
    with pytest.raises(OutOfResourcesError, match=rf"nothing was kept, {needed} '{tmp_path}', free some space"):
        locate(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shape", "needed"), [(Shape(), "2 MB"), (Shape(width=2048, layers=16, heads=16), "4,329 MB")])
def test_a_full_disk_is_told_what_a_made_backbone_of_this_shape_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shape: Shape, needed: str
) -> None:
    monkeypatch.setattr(pull, "make_model", full)
    with pytest.raises(OutOfResourcesError, match=f"it needs {needed} in"):
        make("small", tmp_path, shape, ["Alien"], "titles")


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
