"""Files that are whole or absent."""

from pathlib import Path

import pytest

from patchrec.data.whole_files import write_whole


@pytest.mark.parametrize("call", ["os.fdopen", "os.fsync", "pathlib.Path.replace"])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(KeyboardInterrupt):
            write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_takes_the_place_of_the_old_file_and_of_what_a_kill_left(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    (tmp_path / ".plan.json-x.unfinished").write_text("half")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
