"""Pushing an exported folder to the Hugging Face hub: asked for by name, told before it begins, private by default."""

from dataclasses import dataclass
from pathlib import Path

from patchrec.errors import PatchrecError, UsageError
from patchrec.reporting import Reporter

_LOG_IN = "run `hf auth login` once"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is on the hub now.

    Attributes:
        repository: OWNER/NAME.
    """

    repository: str
    url: str
    private: bool


def refuse_push(repository: str) -> None:
    """Say what would keep a push from working, before anything is written.

    Raises:
        UsageError: The name is not OWNER/NAME, or nobody is logged in.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        whole = repository.count("/") == 1
    except HFValidationError:
        whole = False
    if not whole:
        raise UsageError(
            f"{repository!r} cannot name a model on the hub: give OWNER/NAME, in letters, digits, '-', '_' and '.'"
        )
    if get_token() is None:
        raise UsageError(f"not logged in to the Hugging Face hub; {_LOG_IN}, then export again")


def push_folder(folder: Path, repository: str, *, public: bool, message: str, report: Reporter) -> Pushed:
    """Make a new repository and upload a folder into it, with the hub's own login.

    Raises:
        UsageError: The repository exists, or the login may not write there. PatchrecError: The hub cannot be reached.
            The folder stays as it is.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    kind = "public" if public else "private"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    names = ", ".join(path.relative_to(folder).as_posix() for path in files)
    report.note(f"uploading to the Hugging Face hub: {repository} ({kind}), {len(files)} files, {_size(size)}: {names}")
    try:
        url = str(api.create_repo(repository, repo_type="model", private=not public, exist_ok=False))
        api.upload_folder(repo_id=repository, repo_type="model", folder_path=folder, commit_message=message)
    except Exception as error:  # the hub's client lets errors of three libraries through
        raise _in_one_line(error, repository, folder, public) from error
    return Pushed(repository, url, not public)


def _in_one_line(error: Exception, repository: str, folder: Path, public: bool) -> PatchrecError:
    """What went wrong, and how to push the folder, which is written."""
    later = f"`hf upload {repository} '{folder}'{'' if public else ' --private'}`"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 409:
        return UsageError(f"{repository!r} is on the hub already; to add to it: {later}, or choose another name there")
    if status == 401:
        return UsageError(f"the hub does not know your login; {_LOG_IN}, then {later}")
    if status in (403, 404):
        return UsageError(f"your login may not write {repository!r} on the hub; name an owner that you are: {later}")
    if status is not None:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return PatchrecError(f"the hub refused {repository!r} ({status}: {first}); once that is right: {later}")
    return PatchrecError(f"the Hugging Face hub cannot be reached ({type(error).__name__}); later: {later}")


def _size(num_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:,.1f} {unit}"
    return f"{num_bytes} bytes"
