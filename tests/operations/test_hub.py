"""Pushing an export: explicit, private by default, told before it begins, and every refusal in one line."""

from types import SimpleNamespace

import huggingface_hub
import pytest

from patchrec.errors import PatchrecError, UsageError
from patchrec.operations.exporting.export import export_run
from patchrec.operations.training.train import finetune
from patchrec.reporting import SILENT


class StandIn:
    """What stands in for the hub's client: it notes calls, and fails where told."""

    def __init__(self, calls, failure=None, at="create"):
        self.calls, self.failure, self.at = calls, failure, at

    def create_repo(self, repo_id, **options):
        self.calls.append(("create", repo_id, options))
        if self.failure is not None and self.at == "create":
            raise self.failure
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, **options):
        self.calls.append(
            ("upload", options["repo_id"], sorted(path.name for path in options["folder_path"].iterdir()))
        )
        if self.failure is not None and self.at == "upload":
            raise self.failure


class Notes(type(SILENT)):
    """A reporter that keeps its notes among the hub's calls, in order."""

    def __init__(self, calls):
        self.calls = calls

    def note(self, message):
        self.calls.append(("note", message))


class RefusedError(OSError):
    """An answer of the hub with a status."""

    def __init__(self, status):
        super().__init__(f"{status} Client Error for url\nmore lines")
        self.response = SimpleNamespace(status_code=status)


def fit(home):
    return finetune(strategy="vanilla", data="walkers", backbone="tiny-random", max_steps=1, home=home).run


@pytest.fixture
def run(prepared):
    return prepared(fit)


@pytest.fixture
def hub(monkeypatch):
    """Log in, and put a stand-in in the client's place; gives the list of calls."""

    def start(failure=None, at="create", token="hf_secret"):
        calls = []
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: StandIn(calls, failure, at))
        return calls

    return start


def test_nothing_is_uploaded_unless_asked_for(home, run, hub, tmp_path):
    calls = hub()
    assert export_run(run, tmp_path / "out", home=home).pushed is None
    assert calls == []


@pytest.mark.parametrize("public", [False, True])
def test_a_new_repository_is_private_unless_public_is_said(home, run, hub, tmp_path, public):
    calls = hub()
    result = export_run(run, tmp_path / "out", push="jane/letters", public=public, home=home)
    assert calls[0] == ("create", "jane/letters", {"repo_type": "model", "private": not public, "exist_ok": False})
    assert calls[1] == ("upload", "jane/letters", result.files)
    assert (result.pushed.url, result.pushed.private) == ("https://hub.example/jane/letters", not public)


def test_what_goes_where_is_told_before_the_hub_is_asked(home, run, hub, tmp_path):
    calls = hub()
    result = export_run(run, tmp_path / "out", push="jane/letters", home=home, report=Notes(calls))
    told = next(place for place, call in enumerate(calls) if call[0] == "note" and "uploading" in call[1])
    assert told < next(place for place, call in enumerate(calls) if call[0] == "create")
    assert "jane/letters (private)" in calls[told][1]
    assert all(name in calls[told][1] for name in result.files)


@pytest.mark.parametrize("name", ["letters", "jane/letters/x", "jane/le tters", "/letters", "jane/", "a--b/c", ""])
def test_a_name_that_the_hub_would_not_take_is_refused_before_anything_is_written(home, run, hub, tmp_path, name):
    calls = hub()
    with pytest.raises(UsageError, match="give OWNER/NAME"):
        export_run(run, tmp_path / "out", push=name, home=home)
    assert not (tmp_path / "out").exists()
    assert calls == []


def test_who_is_not_logged_in_is_told_before_anything_is_written(home, run, hub, tmp_path):
    hub(token=None)
    with pytest.raises(UsageError, match="not logged in to the Hugging Face hub; run `hf auth login`"):
        export_run(run, tmp_path / "out", push="jane/letters", home=home)
    assert not (tmp_path / "out").exists()


def test_public_alone_is_refused(home, run, tmp_path):
    with pytest.raises(UsageError, match="--public goes with --push"):
        export_run(run, tmp_path / "out", public=True, home=home)


@pytest.mark.parametrize("at", ["create", "upload"])
@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (RefusedError(409), UsageError, "'jane/letters' is on the hub already"),
        (RefusedError(401), UsageError, "does not know your login; run `hf auth login`"),
        (RefusedError(403), UsageError, "may not write 'jane/letters'"),
        (RefusedError(500), PatchrecError, "the hub refused 'jane/letters' \\(500: 500 Client Error for url\\)"),
        (ConnectionError("no route\nto host"), PatchrecError, "cannot be reached \\(ConnectionError\\)"),
    ],
    ids=lambda value: str(getattr(getattr(value, "response", None), "status_code", "")),
)
def test_every_refusal_is_one_line_that_says_how_to_push_what_was_written(
    home, run, hub, tmp_path, failure, kind, words, at
):
    hub(failure, at)
    with pytest.raises(kind, match=words) as caught:
        export_run(run, tmp_path / "out", push="jane/letters", home=home)
    message = str(caught.value)
    assert "\n" not in message
    assert f"`hf upload jane/letters '{tmp_path / 'out'}' --private`" in message
    assert "hf_secret" not in message
    assert (tmp_path / "out" / "README.md").is_file()


def test_without_a_network_the_real_client_s_error_is_one_line(home, run, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PatchrecError, match="the Hugging Face hub cannot be reached") as caught:
        export_run(run, tmp_path / "out", push="jane/letters", home=home)
    assert "\n" not in str(caught.value)
