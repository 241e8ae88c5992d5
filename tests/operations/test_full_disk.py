"""A disk that is full at any level loses nothing saved, and leaves the store sound."""

import json
import os
import sys
from pathlib import Path

import pytest
import warm

from patchrec.operations.backbones import pull_backbone

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.parametrize("levels", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_a_full_disk_leaves_the_store_sound_and_the_run_goes_on(home: Path, tmp_path: Path, levels: int) -> None:
    pull_backbone("tiny-random", home=home)
    (tmp_path / "work").mkdir()
    done = warm.run(
        [str(Path(__file__).with_name("full_trials.py")), str(home), str(tmp_path / "work"), str(levels)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TOKENIZERS_PARALLELISM": "false"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"codes": [7] * levels, "unsound": 0, "untold": 0, "stuck": 0}, done.stderr
