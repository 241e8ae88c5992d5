"""Weights that are NaN or infinite are told as such, whatever the architecture."""

import pytest
import torch

from patchrec.errors import InputError
from patchrec.model.backbone import Backbone
from patchrec.model.made import make_tiny


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["q_proj", "embed_tokens", "norm"])
def test_weights_that_are_no_numbers_are_not_blamed_on_the_architecture(tmp_path, value, part):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "tiny"
    folder.mkdir()
    make_tiny(folder)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if part in name:
            weights[name] = torch.full_like(weight, value)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="not finite") as caught:
        Backbone.load(folder, name="mine")
    assert "Llama" not in str(caught.value)
