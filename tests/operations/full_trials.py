"""Train where no file may grow beyond a level, as on a disk that is full, store and all: run as a process of its own.

    python full_trials.py HOME WORK LEVELS

HOME holds `walkers` and `tiny-random`. It imports everything once and forks each training. Prints one line of JSON:
exit codes, how many stores are not sound, how many runs are not what they say, and how many did not go on.
"""

import json
import os
import resource
import shutil
import sys
from pathlib import Path

import torch

from patchrec.errors import OutOfResourcesError, PatchrecError
from patchrec.model.backbone import Backbone
from patchrec.operations.training.train import finetune
from patchrec.store import Store

TINY = {"data": "walkers", "backbone": "tiny-random", "max_steps": 4, "batch_size": 4, "checkpoint_every": 1}


def fork(home: Path, most: int | None, resume: str | None = None) -> int:
    """Train in a child; its exit code is the command's."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if most is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            if resume is None:
                finetune(strategy="item-mean", start="none", home=home, **TINY)
            else:
                finetune(resume=resume, home=home)
            code = 0
        except PatchrecError as error:
            code = error.exit_code
            if not isinstance(error, OutOfResourcesError):
                sys.stderr.write(f"{most}: {type(error).__name__}: {error}\n")
        except BaseException as error:
            sys.stderr.write(f"{most}: {type(error).__name__}: {error}\n")
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trial(kept: Path, home: Path, most: int) -> tuple[int, bool, bool, bool]:
    """One level: exit code, whether the store is sound, whether its runs say how they ended, whether they go on."""
    shutil.copytree(kept, home)
    code = fork(home, most)
    with Store.open(home) as store:
        sound = store.rows("PRAGMA integrity_check") == [("ok",)] and store.rows("PRAGMA foreign_key_check") == []
        runs = store.runs.all()
    # "lost" is what the store shows where not even the failure could be written
    told = all(run.status in (("done",) if code == 0 else ("failed", "lost")) for run in runs)
    on = code == 0 or fork(home, None, runs[-1].name if runs else None) == 0
    shutil.rmtree(home)
    return code, sound, told, on


if __name__ == "__main__":
    torch.set_num_threads(1)
    kept, work, levels = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    Backbone.load(kept / "backbones" / "tiny-random", name="tiny-random", device="cpu").tokenizer()
    shutil.copytree(kept, work / "whole")
    assert fork(work / "whole", None) == 0
    largest = max(path.stat().st_size for path in (work / "whole" / "runs").rglob("*") if path.is_file())
    found = [trial(kept, work / "now", 4096 + level * (largest - 4096) // levels) for level in range(levels)]
    codes, sound, told, on = zip(*found, strict=True)
    print(
        json.dumps(
            {"codes": codes, "unsound": sound.count(False), "untold": told.count(False), "stuck": on.count(False)}
        )
    )
