"""Backbones of a known shape with random weights, what their arithmetic amounts to, and the card's rate of products."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.machine import in_turn, seconds
from benchmarks.prefill_rate import linear_layers
from patchrec.model.backbone import Backbone
from patchrec.model.made import make_tiny
from patchrec.model.shape import head_size
from patchrec.training.objective import LabelledForest

# Public figures of the model; its weights are gated, and no number measured here depends on them.
SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.2-1b": {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128_256, "rope_theta": 500_000.0,
    },
    "tiny": {
        "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 512, "rope_theta": 10_000.0,
    },
}  # fmt: skip

# Dense bfloat16 products of a card, TFLOP/s, by a part of its name; the first that fits. Makers' data sheets.
PEAKS = (
    ("H200", 989.0), ("GH200", 989.0), ("H100 PCIe", 756.0), ("H100 NVL", 835.0), ("H100", 989.0), ("H800", 989.0),
    ("B200", 2250.0), ("A100", 312.0), ("A800", 312.0), ("L40S", 362.0), ("L40", 181.0), ("L4", 121.0), ("A10", 125.0),
    ("RTX 4090", 165.0), ("RTX 3090", 71.0),
)  # fmt: skip


def make_shape(name: str, folder: Path, tokenizer: Path) -> None:
    """Write a Llama of that shape with random weights, with the tokenizer of another model; whole or not at all.

    Args:
        name: Of the shape.
        folder: Where to; nothing is done where it is there.
        tokenizer: Model folder; None of its tokens lies beyond the shape's vocabulary.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    if folder.exists():
        return
    work = folder.with_name(f".{folder.name}")
    shutil.rmtree(work, ignore_errors=True)
    if name == "tiny":
        make_tiny(work)
    else:
        shutil.copytree(
            tokenizer, work, ignore=shutil.ignore_patterns("*.safetensors*", "config.json", "patchrec.json")
        )
    shape = dict(SHAPES[name])
    rope = {"rope_type": "default", "rope_theta": shape.pop("rope_theta")}
    config = LlamaConfig(
        **shape, rope_parameters=rope, tie_word_embeddings=True, max_position_embeddings=131_072, bos_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(work)
    work.rename(folder)


def training_flops(backbone: Backbone, forests: Sequence[LabelledForest]) -> int:
    """Operations that a step has to do: forward and backward, without what is computed again to save memory.

    Six for each weight of a linear layer and node, and of the head and labelled node; twelve for each pair of a node
    and what it sees, in each layer and for each of the heads' dimensions.
    """
    config = backbone.model.config.get_text_config()
    weights = sum(layer.weight.numel() for layer in linear_layers(backbone))
    nodes = sum(len(one.forest) for one in forests)
    labelled = sum(len(one.titles.nodes) for one in forests)
    pairs = sum(int((one.forest.depth + 1).sum()) for one in forests)
    attention = 12 * pairs * config.num_attention_heads * head_size(config) * config.num_hidden_layers
    return 6 * (weights * nodes + backbone.embedding.numel() * labelled) + int(attention)


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of one large matrix product."""
    side = 8192 if device.type == "cuda" else 512
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)

    def products() -> None:
        for _ in range(10):
            torch.mm(left, right, out=out)

    seconds(products)
    return 10 * 2 * side**3 / median(in_turn({"products": products}, 5)["products"])


def peak_rate(device: torch.device) -> float | None:
    """Operations a second by the maker's data sheet; None where the card is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak * 1e12 for part, peak in PEAKS if part in name), None)
