"""A process that trains a model of random weights, and tells its peak beside what is said beforehand."""

import json
import re
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tiny_training import make_config, make_learner, make_planners
from transformers import LlamaConfig, LlamaForCausalLM

from patchrec.config import HistoryConfig, TrainingConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.model.backbone import Backbone
from patchrec.model.pull import locate
from patchrec.training.estimate import count_steps, memory_of
from patchrec.training.language_learner import LanguageLearner

ITEMS, USERS, LENGTH = 300, 40, 60


def status(name: str) -> int:
    """A line of the process's status, in bytes."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1]) * 1024


def dataset() -> Dataset:
    random = np.random.default_rng(0)
    titles = tuple("".join(map(chr, 97 + random.integers(0, 26, random.integers(4, 20)))) for _ in range(ITEMS))
    sequences = Sequences(
        tuple(f"u{user}" for user in range(USERS)),
        np.arange(USERS + 1) * LENGTH,
        random.integers(0, ITEMS, USERS * LENGTH),
        np.arange(USERS * LENGTH),
        np.full(USERS, LENGTH - 2),
        np.full(USERS, LENGTH - 1),
    )
    return Dataset("tiny", Catalog(tuple(map(str, range(ITEMS))), titles), sequences, 2, "movie", "watched")


def learner_of(folder: Path, training: TrainingConfig) -> LanguageLearner:
    config = make_config(("vanilla", {}), training=training, history=HistoryConfig(K=40, windows="anchored"))
    backbone = Backbone.load(folder, name="random", device="cpu")
    learner = make_learner(config, dataset(), backbone, make_planners(config))
    learner.begin()
    return learner


def main() -> None:
    hidden, inner, layers, heads, keys, vocabulary, nodes, checkpointed, low, rank, targets = map(int, sys.argv[1:])
    with tempfile.TemporaryDirectory() as temporary:
        tiny = locate("tiny-random", Path(temporary)).folder
        config = LlamaConfig(
            vocab_size=vocabulary, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=keys, max_position_embeddings=16384, bos_token_id=0,
            eos_token_id=1, tie_word_embeddings=True,
        )  # fmt: skip
        folder = Path(shutil.copytree(tiny, tiny.with_name("own")))
        LlamaForCausalLM(config).save_pretrained(folder)
        training = TrainingConfig(
            batch_size=targets,
            max_steps=3,
            max_nodes=nodes,
            gradient_checkpointing=bool(checkpointed),
            dtype="bfloat16" if low else "float32",
            lora_rank=rank or None,
        )
        small = training.model_copy(update={"batch_size": 8, "max_steps": 2, "max_nodes": 64})
        list(learner_of(tiny, small).learn(0))  # libraries load what they need at the first step
        learner = learner_of(folder, training)
        said = memory_of(learner, [labelled for _, labelled in count_steps(learner).forests])
        before = status("VmRSS") - sum(parameter.nbytes for parameter in learner.backbone.parameters())
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
        for _ in learner.learn(0):
            pass
    print(json.dumps({"peak": status("VmHWM") - before, "said": said.total, **asdict(said)}))


if __name__ == "__main__":
    main()
