"""Model folders that encode texts, small enough for tests: T5 and BERT of random weights, nothing fetched."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, BertForMaskedLM, T5ForConditionalGeneration

from patchrec.model.scratch import make_scratch

SHAPES = {
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2},
    "bert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
}
CLASSES = {"t5": T5ForConditionalGeneration, "bert": BertForMaskedLM}


def make_encoder_folder(folder: Path, model_type: str, texts: Sequence[str], seed: int = 0) -> Path:
    """A whole model as the hub would have it, with weights that are not the same for all words."""
    folder.mkdir(parents=True)
    make_scratch(folder, texts, model_type, **SHAPES[model_type])
    config = AutoConfig.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLASSES[model_type](config)
        with torch.no_grad():
            model.get_input_embeddings().weight.normal_()
    model.save_pretrained(folder)
    return folder
