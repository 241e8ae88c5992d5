"""Train in one or several processes, stop one of them, go on: run as a process of its own.

    python shared_trials.py BACKBONE WORK JOBS

JOBS is a JSON list. A job has a `folder` below WORK (the same again goes on), and may have `processes` (1), settings of
`training`, a `kind` with `options` that is no plain language model, `seeds` of its processes, `patience` in seconds,
and `stop`: [rank, step, signal], the signal that a process
sends itself after a step. Everything is imported once, and each process of a job forked. Prints a JSON list: for each
job a list of what its processes came to.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed.fsdp
import torch.distributed.tensor
from tiny_training import make_config, make_kind_config, run_training

from patchrec.config import TrainingConfig
from patchrec.errors import PatchrecError
from patchrec.model.backbone import Backbone
from patchrec.plugins import find_kind
from patchrec.store.runs import LossRow
from patchrec.training.item_learner import ItemLearner
from patchrec.training.language_learner import LanguageLearner

TRAINING = {"batch_size": 8, "epochs": 2, "learning_rate": 3e-3, "checkpoint_every": 2, "max_nodes": 60, "max_steps": 8}
learners: list[LanguageLearner] = []


def stop_after(learner: Any, step: int, number: int, note: Path) -> None:
    """Let this process send itself a signal when it has learned a step."""
    learn = learner.learn

    def watched(self: Any, first: int) -> Iterator[LossRow]:
        for row in learn(self, first):
            if row.step == step:
                note.write_text(str(time.time()))
                os.kill(os.getpid(), number)
            yield row

    learner.learn = watched


def remember_learners() -> None:
    """Keep what trains, to see what it holds."""
    init = LanguageLearner.__init__

    def remembered(self: LanguageLearner, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        learners.append(self)

    LanguageLearner.__init__ = remembered  # type: ignore[method-assign]


def held() -> int:
    """Weights that this process trains: none where it was refused before it began."""
    if not learners or not hasattr(learners[0], "updater"):
        return 0
    tensors = [getattr(parameter, "_local_tensor", parameter) for parameter in learners[0].parameters]
    return sum(tensor.numel() for tensor in tensors)


def run(job: dict[str, Any], rank: int, backbone: Path, folder: Path) -> dict[str, Any]:
    """One process of a job."""
    kind = job.get("kind", "title")
    if job.get("stop", [None])[0] == rank:
        stop_after(LanguageLearner if find_kind(kind).is_head else ItemLearner, *job["stop"][1:], folder / "stopped")
    remember_learners()
    training = TrainingConfig(**{**TRAINING, **job.get("training", {})})
    seed = job.get("seeds", [0, 0, 0])[rank]
    if "kind" not in job:
        strategies = ("vanilla", {}), ("patch-pretraining", {})
        config = make_config(*strategies, stage="pretrain", training=training, seed=seed)
    else:
        config = make_kind_config(kind, training, options=job.get("options"), seed=seed)
    losses = folder / ("losses.jsonl" if rank == 0 else os.devnull)
    found: dict[str, Any] = {"code": 0, "error": None}
    try:
        result = run_training(config, backbone, folder / "run-1", losses, resume=True)
        progress = result.progress
        found |= {"step": progress.step, "loss": progress.loss, "best": progress.best_loss}
        found |= {"best_step": progress.best_step, "metric": progress.best_metric}
    except PatchrecError as error:
        found |= {"code": error.exit_code, "error": str(error)}
    return found | {"ended": time.time(), "held": held()}


def start(job: dict[str, Any], rank: int, port: int, backbone: Path, folder: Path) -> int:
    """Fork one process of a job."""
    child = os.fork()
    if child == 0:
        try:
            count = job.get("processes", 1)
            if count > 1:
                where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
                os.environ.update(where, RANK=str(rank), PATCHREC_PEER_TIMEOUT=str(job.get("patience", 60)))
            found = run(job, rank, backbone, folder)
            (folder / f"process-{rank}").write_text(json.dumps(found))
            sys.stderr.flush()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)
    return child


def outcome(job: dict[str, Any], backbone: Path, work: Path) -> list[dict[str, Any]]:
    """Run a job; a process that only stopped is killed when all others have ended."""
    folder = work / job["folder"]
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = range(job.get("processes", 1))
    children = {rank: start(job, rank, port, backbone, folder) for rank in ranks}
    victim = job.get("stop", [None])[0]
    for rank in sorted(ranks, key=lambda rank: rank == victim):
        if rank == victim and job["stop"][2] == signal.SIGSTOP:
            os.kill(children[rank], signal.SIGKILL)
        os.waitpid(children[rank], 0)
    notes = [folder / f"process-{rank}" for rank in ranks if rank != victim]
    found = [json.loads(note.read_text()) for note in notes]
    for note in notes:
        note.unlink()
    if victim is not None:
        stopped = float((folder / "stopped").read_text())
        found = [one | {"waited": one["ended"] - stopped} for one in found]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    backbone, work = Path(sys.argv[1]), Path(sys.argv[2])
    Backbone.load(backbone, name="tiny-random", device="cpu").tokenizer()  # so that no child imports anything
    print(json.dumps([outcome(job, backbone, work) for job in json.loads(sys.argv[3])]))
