"""Parts of a job: whole, this job's, or not there."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchrec.data.parts import Parts, UserRanking, parts_folder
from patchrec.errors import CorruptError, UsageError

RANKINGS = [
    UserRanking(3, [5, 1], [-0.1, -2.5e-17], [0.9, 1e-300]),
    UserRanking(0, [], [], []),
    UserRanking(7, [2], [-1.0], [None]),
]
PLACES = [3, 0, 7]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    found = Parts(parts_folder(tmp_path / "recs.csv"), {"k": 2, "run": "r"})
    found.claim(0)
    found.begin()
    return found


def again(parts: Parts, **changes: object) -> Parts:
    return Parts(parts.folder, {**parts.plan, **changes})


def test_a_part_reads_back_equal(parts: Parts) -> None:
    parts.write(4, RANKINGS)
    assert again(parts).read(4, PLACES) == RANKINGS


def test_a_part_that_is_absent_or_of_another_job_number_or_user_is_none(parts: Parts) -> None:
    parts.write(4, RANKINGS)
    parts._path(5).write_bytes(parts._path(4).read_bytes())
    assert parts.read(3, PLACES) is None
    assert parts.read(5, PLACES) is None
    assert parts.read(4, [3, 0]) is None
    assert again(parts, k=3).read(4, PLACES) is None


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_or_changed_part_is_none(parts: Parts, data: st.DataObject) -> None:
    parts.write(4, RANKINGS)
    whole = parts._path(4).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    for content in (whole[:place], flipped, whole + b"x"):
        parts._path(4).write_bytes(content)
        assert parts.read(4, PLACES) is None


def test_a_folder_with_other_files_is_left_alone(parts: Parts) -> None:
    (parts.folder / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.txt"):
        again(parts).claim(1)
    parts.remove()
    assert [path.name for path in parts.folder.iterdir()] == ["thesis.txt"]


def test_a_job_has_each_of_its_processes_once(parts: Parts) -> None:
    again(parts).claim(1)
    with pytest.raises(UsageError, match="another process is at"):
        again(parts).claim(0)
    parts.release()
    again(parts).claim(0)


def test_the_output_appears_whole_and_is_known_as_this_job_s(parts: Parts) -> None:
    output = parts.folder.with_name("recs.csv")
    assert parts.published(output) is None
    parts.publish(output, lambda path: path.write_text("rows"), lambda: {"rows": 1})
    assert output.read_text() == "rows"
    assert parts.published(output) == {"rows": 1}
    assert again(parts, k=3).published(output) is None
    output.write_text("changed")
    assert parts.published(output) is None


def test_a_finished_job_leaves_nothing(parts: Parts) -> None:
    parts.write(0, RANKINGS)
    (parts.folder / ".part-000001.jsonl.unfinished").write_text("torn")
    parts.remove()
    assert not parts.folder.exists()


def test_cleared_parts_are_gone_with_their_plan(parts: Parts) -> None:
    parts.write(0, RANKINGS)
    parts.clear()
    assert parts.saved_plan() is None
    assert parts.read(0, PLACES) is None


def test_a_plan_that_cannot_be_read_is_damaged(parts: Parts) -> None:
    for content in (b"{", b"[1]"):
        (parts.folder / "plan.json").write_bytes(content)
        with pytest.raises(CorruptError, match=r"plan\.json' is damaged; the same command with --restart"):
            parts.saved_plan()
