"""A checkpoint is whole or absent, and damage is seen before use."""

import errno
import os
import random
from pathlib import Path

import pytest

from patchrec.errors import CorruptError, OutOfResourcesError, PatchrecError
from patchrec.training.checkpoint import list_checkpoints, prune, read_manifest, write_checkpoint


def fill(content: bytes):
    def write(folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "weights.bin").write_bytes(content)
        (folder / "model" / "config.json").write_bytes(b"{}")
        (folder / "progress.json").write_bytes(b'{"step": 1}')

    return write


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_checkpoint_reads_back_as_written(tmp_path):
    written = write_checkpoint(tmp_path / "checkpoints", 120, fill(b"abc"))
    assert written.path == tmp_path / "checkpoints" / "step-00000120"
    assert read_manifest(written.path) == written
    assert written.step == 120
    assert sorted(written.manifest["files"]) == ["model/config.json", "model/weights.bin", "progress.json"]
    assert written.manifest["files"]["model/weights.bin"]["size"] == 3


def test_the_newest_few_are_kept_and_leftovers_of_killed_writers_go(tmp_path):
    for step in (1, 2, 10, 9):
        write_checkpoint(tmp_path, step, fill(b"abc"))
    (tmp_path / ".unfinished-step-00000011").mkdir()
    (tmp_path / ".unfinished-step-00000011" / "half").write_bytes(b"x")
    prune(tmp_path, keep=2)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert [read_manifest(path).step for path in list_checkpoints(tmp_path)] == [9, 10]


def test_an_unfinished_checkpoint_is_no_checkpoint(tmp_path):
    def die(folder: Path) -> None:
        fill(b"abc")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, 1, die)
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_under_the_same_name_does_not_get_in(tmp_path):
    leftover = tmp_path / ".unfinished-step-00000001"
    leftover.mkdir()
    (leftover / "stray").write_bytes(b"x")
    written = write_checkpoint(tmp_path, 1, fill(b"abc"))
    assert not (written.path / "stray").exists()
    read_manifest(written.path)


class DiskTrouble:
    """Fails the n-th call among the ways to touch the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int, code: int) -> None:
        self.calls, self.n, self.code = 0, n, code
        monkeypatch.setattr(os, "fsync", self.watch(os.fsync))
        for name in ("rename", "mkdir", "write_bytes"):
            monkeypatch.setattr(Path, name, self.watch(getattr(Path, name)))

    def watch(self, function):
        def call(*args, **kwargs):
            self.calls += 1
            if self.calls == self.n:
                raise OSError(self.code, os.strerror(self.code))
            return function(*args, **kwargs)

        return call


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, OutOfResourcesError), (errno.EIO, PatchrecError)])
def test_whichever_write_fails_the_last_good_checkpoint_loads(tmp_path, code, kind):
    good = write_checkpoint(tmp_path, 1, fill(b"good"))
    for n in range(1, 100):
        with pytest.MonkeyPatch.context() as monkeypatch:
            trouble = DiskTrouble(monkeypatch, n, code)
            failed = None
            try:
                write_checkpoint(tmp_path, 2, fill(b"new"))
            except PatchrecError as error:
                failed = error
        assert failed is None or (isinstance(failed, kind) and "step-00000002" in str(failed))
        assert read_manifest(list_checkpoints(tmp_path)[0]) == good
        # after the rename only the flush of the folder is left: then the new one is there, and whole
        for path in list_checkpoints(tmp_path)[1:]:
            read_manifest(path)
            if failed is not None:
                remove_checkpoint(path)
        if failed is None:
            break
    # mkdir of parent, folder and model; four files; flushes of four files, two folders; rename; flush of the parent
    assert trouble.calls == 3 + 4 + 4 + 2 + 1 + 1


def remove_checkpoint(path: Path) -> None:
    for file in files(path):
        file.unlink()
    (path / "model").rmdir()
    path.rmdir()


def test_a_full_disk_is_told_apart_from_other_trouble(tmp_path, monkeypatch):
    DiskTrouble(monkeypatch, 4, errno.ENOSPC)
    with pytest.raises(OutOfResourcesError, match=r"disk full while writing checkpoint .* free some space and resume"):
        write_checkpoint(tmp_path, 1, fill(b"abc"))


def damage(folder: Path, luck: random.Random) -> str:
    """Flip some bits of a byte, or cut off an end, in one file of a checkpoint."""
    path = luck.choice(files(folder))
    content = bytearray(path.read_bytes())
    if content and luck.random() < 0.7:
        where = luck.randrange(len(content))
        content[where] ^= luck.randrange(1, 256)
        path.write_bytes(content)
        return f"flip at {where} of {path.name}"
    kept = luck.randrange(len(content)) if content else 0
    path.write_bytes(content[:kept])
    return f"{path.name} cut to {kept}"


def not_whole(checkpoint: Path) -> bool:
    try:
        read_manifest(checkpoint)
    except CorruptError as error:
        return checkpoint.name in str(error)
    return False


def all_damage_is_seen(folder: Path, trials: int) -> None:
    checkpoint = write_checkpoint(folder, 7, fill(bytes(range(256)) * 20)).path
    before = {path: path.read_bytes() for path in files(checkpoint)}
    for trial in range(trials):
        done = damage(checkpoint, random.Random(trial))
        if {path: path.read_bytes() for path in files(checkpoint)} == before:
            continue
        assert not_whole(checkpoint), f"not seen: {done}"
        for path, content in before.items():
            path.write_bytes(content)
    read_manifest(checkpoint)


def test_random_flips_and_truncations_are_all_seen(tmp_path):
    all_damage_is_seen(tmp_path, 30)


@pytest.mark.slow
def test_a_thousand_flips_and_truncations_are_all_seen(tmp_path):
    all_damage_is_seen(tmp_path, 1000)


def test_every_flip_in_the_manifest_itself_is_seen(tmp_path):
    manifest = write_checkpoint(tmp_path, 1, fill(b"abc")).path / "manifest.json"
    content = manifest.read_bytes()
    for where in range(0, len(content), 3):
        manifest.write_bytes(content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :])
        with pytest.raises(CorruptError):
            read_manifest(manifest.parent)


def test_the_message_names_the_file_and_the_way_out(tmp_path):
    checkpoint = write_checkpoint(tmp_path, 1, fill(b"abc")).path
    (checkpoint / "model" / "weights.bin").write_bytes(b"abd")
    with pytest.raises(CorruptError, match=r"model/weights\.bin has other bytes .* remove that folder to go on"):
        read_manifest(checkpoint)


@pytest.mark.parametrize("name", ["manifest.json", "progress.json", "model/weights.bin"])
def test_a_missing_file_is_seen(tmp_path, name):
    checkpoint = write_checkpoint(tmp_path, 1, fill(b"abc")).path
    (checkpoint / name).unlink()
    with pytest.raises(CorruptError, match=name):
        read_manifest(checkpoint)


def test_an_added_file_is_seen(tmp_path):
    checkpoint = write_checkpoint(tmp_path, 1, fill(b"abc")).path
    (checkpoint / "model" / "adapter_config.json").write_bytes(b"{}")
    with pytest.raises(CorruptError, match=r"model/adapter_config\.json does not belong there"):
        read_manifest(checkpoint)
