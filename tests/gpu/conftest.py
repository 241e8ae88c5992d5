"""A GPU, or what `PATCHREC_TEST_DEVICE` names in its place, and a random backbone that FlexAttention can serve."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from patchrec.model.backbone import Backbone
from patchrec.model.made import make_tiny

sys.path.append(str(Path(__file__).parents[1] / "training"))  # for its made-up data set

NAME = "tiny-wide"


@pytest.fixture(scope="session")
def device() -> torch.device:
    """What is compared with the CPU. `PATCHREC_TEST_DEVICE=cpu` compares it with itself, to try the tests."""
    named = os.environ.get("PATCHREC_TEST_DEVICE", "cuda")
    if named == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(named)


@pytest.fixture
def gpu(device: torch.device) -> torch.device:
    """A real GPU."""
    if device.type != "cuda":
        pytest.skip("for a CUDA device only")
    return device


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Let accelerate forget its device, and torch its kernels: past eight variants of one it compiles no more."""
    from accelerate.state import AcceleratorState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    if torch.cuda.is_available():
        torch.compiler.reset()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with six heads of size 16, of which three share keys, as in SmolLM2."""
    from transformers import LlamaConfig, LlamaForCausalLM

    place = tmp_path_factory.mktemp("backbones") / NAME
    make_tiny(place)
    config = LlamaConfig.from_pretrained(place)
    config.update({"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16})
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(place)
    return place


@pytest.fixture
def load(folder: Path) -> Callable[[torch.device | str], Backbone]:
    """A fresh copy of the backbone on a device."""
    return lambda where: Backbone.load(folder, name=NAME, device=str(where))
