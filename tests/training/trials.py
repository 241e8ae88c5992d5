"""Train, break it, resume, compare: run as a process of its own.

    python trials.py kill BACKBONE WORK NUM_KILLS     kills at random moments
    python trials.py fill BACKBONE WORK NUM_LEVELS    no file may grow beyond a level, as on a disk that is full

It imports everything once and forks each training, so that a trial costs no imports. It never trains itself: autograd's
threads do not survive a fork. Prints one line of JSON.
"""

import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import torch
from tiny_training import STRATEGIES, make_config, make_kind_config, run_training

from patchrec.config import RunConfig, TrainingConfig
from patchrec.errors import PatchrecError
from patchrec.model.backbone import Backbone

TRAINING = TrainingConfig(batch_size=8, epochs=2, learning_rate=3e-3, checkpoint_every=2, max_nodes=200)
BY_RANKS = TRAINING.model_copy(update={"validate_every": 2, "validate_metric": "ndcg@20"})
CONFIGS = [
    make_config(("vanilla", {}), ("patch-pretraining", {}), stage="pretrain", training=TRAINING),
    *(make_config(strategy, training=TRAINING) for strategy in STRATEGIES),
    *(make_kind_config(kind, BY_RANKS) for kind in ("item", "both")),
    *(make_kind_config(kind, BY_RANKS.model_copy(update={"epochs": 40})) for kind in ("sasrec", "esasrec")),
]
if find_spec("peft"):
    import peft  # noqa: F401 - here once, and not in every child

    CONFIGS.append(make_config(("pft-s", {"L": 2}), training=TRAINING.model_copy(update={"lora_rank": 2})))

Outcome = tuple[str, list[str]]


def fork_training(config: RunConfig, backbone: Path, work: Path, max_file: int | None = None) -> int:
    """Start a training in a child, which exits as the command line would."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if max_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (max_file, max_file))
            run_training(config, backbone, work / "checkpoints", work / "losses.jsonl", resume=True)
            code = 0
        except PatchrecError as error:
            code = error.exit_code
        finally:
            os._exit(code)
    return child


def wait(child: int) -> int:
    """Exit code of a child, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(work: Path) -> Outcome:
    """Digest of the final weights, and the distinct rows of the loss curve: a step with two values shows twice."""
    (last,) = work.glob("checkpoints/step-*")
    found = hashlib.sha256()
    for path in sorted(last.rglob("*.safetensors")):
        found.update(path.read_bytes())
    rows = sorted(set((work / "losses.jsonl").read_text().splitlines()), key=lambda row: json.loads(row)["step"])
    return found.hexdigest(), rows


def reference(config: RunConfig, backbone: Path, work: Path) -> tuple[Outcome, float]:
    """What an undisturbed training gives, and the seconds it takes."""
    work.mkdir()
    begun = time.monotonic()
    assert wait(fork_training(config, backbone, work)) == 0
    return outcome(work), time.monotonic() - begun


def killed_then_finished(config: RunConfig, backbone: Path, work: Path, seconds: float, luck: random.Random) -> int:
    """Kill a training once or twice, then let it finish; return how many kills hit."""
    work.mkdir()
    hits = 0
    for _ in range(luck.choice((1, 1, 2))):
        child = fork_training(config, backbone, work)
        time.sleep(luck.uniform(0, seconds))
        os.kill(child, luck.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
        status = wait(child)
        # a SIGTERM before training watches for it kills; one after its last step lets it finish
        assert status in {-signal.SIGKILL, -signal.SIGTERM, 143, 0}, status
        hits += status != 0
    assert wait(fork_training(config, backbone, work)) == 0
    return hits


def kill(backbone: Path, folder: Path, wanted: int) -> dict[str, object]:
    references: dict[int, tuple[Outcome, float]] = {}
    hits, mismatches = 0, []
    for number in count():
        which = number % len(CONFIGS)
        if which not in references:
            references[which] = reference(CONFIGS[which], backbone, folder / f"reference-{which}")
        expected, seconds = references[which]
        work = folder / f"trial-{number}"
        hits += killed_then_finished(CONFIGS[which], backbone, work, seconds, random.Random(number))
        if outcome(work) != expected:
            mismatches.append(number)
        if hits >= wanted:
            break
    return {"hits": hits, "mismatches": mismatches}


def fill(backbone: Path, folder: Path, levels: int) -> dict[str, object]:
    config = CONFIGS[0].model_copy(update={"training": TRAINING.model_copy(update={"max_steps": 5})})
    expected, _ = reference(config, backbone, folder / "reference")
    (work,) = (folder / "reference").glob("checkpoints/step-*")
    largest = max(path.stat().st_size for path in work.rglob("*"))
    codes, mismatches = [], []
    for number in range(levels):
        work = folder / f"level-{number}"
        work.mkdir()
        codes.append(wait(fork_training(config, backbone, work, max_file=4096 + number * (largest - 4096) // levels)))
        assert wait(fork_training(config, backbone, work)) == 0
        if outcome(work) != expected:
            mismatches.append(number)
    return {"codes": codes, "mismatches": mismatches}


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, backbone, folder, number = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    Backbone.load(backbone, name="tiny-random", device="cpu").tokenizer()  # so that no child imports anything
    print(json.dumps({"kill": kill, "fill": fill}[what](backbone, folder, number)))
