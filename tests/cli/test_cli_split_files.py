"""`patchrec data export --format ... --output DIR`: files of all splits."""

import pytest


@pytest.mark.parametrize("kind", ["csv", "recbole", "recbole-sequential"])
def test_splits_are_written_whole_into_a_new_folder(toy_cli, tmp_path, kind):
    ran = toy_cli("data", "export", "toy", "--format", kind, "--output", tmp_path / "out" / "shop", "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json) == {"schema", "dataset", "format", "folder", "files", "rows"}
    assert sorted(path.name for path in (tmp_path / "out" / "shop").iterdir()) == ran.json["files"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shop"]
    again = toy_cli("data", "export", "toy", "--format", kind, "--output", tmp_path / "out" / "shop")
    assert again.code == 2
    assert "is not empty" in again.err


def test_what_came_out_can_be_scored(toy_cli, tmp_path):
    assert toy_cli("data", "export", "toy", "--format", "csv", "--output", tmp_path / "out", "-q").code == 0
    rows = (tmp_path / "out" / "test.csv").read_text().splitlines()
    (tmp_path / "lists.csv").write_text("\n".join([rows[0] + ",rank", *(row + ",1" for row in rows[1:])]) + "\n")
    found = toy_cli("eval", "--predictions", tmp_path / "lists.csv", "--json").json
    assert {row["value"] for row in found["metrics"] if row["name"] == "hr@10" and row["slice"] == "all"} == {1.0}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--format", "csv"], "name it with --output DIR"),
        (["--format", "recbole", "--output", "x", "--split", "test"], "drop --split"),
        (["--output", "x"], "--format jsonl is printed"),
    ],
)
def test_options_that_do_not_go_together_are_refused(toy_cli, words, wanted):
    ran = toy_cli("data", "export", "toy", *words)
    assert ran.code == 2
    assert wanted in ran.err
    assert len(ran.err.strip().splitlines()) == 1
