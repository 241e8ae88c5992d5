"""The page about writing a recommender shows the example as it is, and the example's own tests pass."""

import os
import re
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "writing-a-recommender.md").read_text()
EXAMPLE = ROOT / "examples" / "patchrec-again"


@pytest.mark.parametrize("file", ["patchrec_again.py", "pyproject.toml", "tests/test_again.py"])
def test_the_tutorial_shows_the_files_of_the_example(file):
    shown = re.search(rf"^`{re.escape(file)}`:\n\n```\w+\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert shown
    assert shown[1] == (EXAMPLE / file).read_text()


def test_the_tests_of_the_example_pass(tmp_path):
    done = warm.run(
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")],
        env={**os.environ, "PYTHONPATH": str(EXAMPLE), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
