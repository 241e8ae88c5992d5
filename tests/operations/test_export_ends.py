"""An exported model ends an answer as it was trained to, whatever its chat ended with."""

import json

import pytest
import torch

from patchrec.operations.exporting.export import export_run
from patchrec.operations.training.train import finetune

TINY = {"data": "walkers", "backbone": "tiny-random", "strategy": "item-mean", "max_steps": 1, "batch_size": 20}


@pytest.mark.parametrize("form", ["paper", "continuation"])
def test_generation_ends_with_the_token_that_ends_titles(home, tmp_path, form):
    from transformers import AutoModelForCausalLM

    run = finetune(**TINY, prompt=form, home=home).run
    export_run(run, tmp_path / "out", home=home)
    prompt = json.loads((tmp_path / "out" / "patchrec.json").read_text())["prompt"]
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert settings["eos_token_id"] == prompt["end"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.tensor([[*prompt["head"], *prompt["tail"]]])

    def forced(_ids, scores):  # what the weights say is of no matter here
        return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([prompt["end"]]), 0.0)

    given = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    out = model.generate(ids, logits_processor=[forced], **given)
    assert out[0, ids.shape[1] :].tolist() == [prompt["end"]]
