"""What a GPU computes of forests against the CPU: states, losses and gradients, with FlexAttention and in tiles."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_training import STRATEGIES, make_config, make_dataset, make_planners
from torch import Tensor

from patchrec.config import PromptConfig
from patchrec.data.histories import Dataset
from patchrec.model.attention import Extension, Visibility
from patchrec.model.backbone import Backbone
from patchrec.model.flex import ForestMask, forced
from patchrec.model.forest import Forest, grow
from patchrec.model.patching import PathEncoder
from patchrec.model.tokenizer import make_encoder
from patchrec.training.batches import Batches
from patchrec.training.objective import LabelledForest, label_step

pytestmark = pytest.mark.gpu
Load = Callable[[torch.device | str], Backbone]
Gradients = dict[str, Tensor]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset(num_users=24, longest=40)


def first_step(
    dataset: Dataset, backbone: Backbone, strategy: tuple[str, dict[str, object]]
) -> tuple[PathEncoder, list[LabelledForest]]:
    """A step's forests, some longer than a square of FlexAttention."""
    prompt = PromptConfig(form="instruction-first", noun="movie", verb="watched")
    config = make_config(strategy, prompt=prompt)
    assert config.training is not None
    training = config.training.model_copy(update={"batch_size": 128})
    batches = Batches(dataset.examples("train", 20), training, 0, stage="finetune")
    encoder = make_encoder(backbone.folder, dataset.catalog.titles, prompt, backbone.vocab_size).fresh()
    step = next(iter(batches.steps()))
    return encoder, label_step(step, dataset, encoder, make_planners(config), seed=0, max_nodes=1200)


def step_gradients(
    backbone: Backbone, encoder: PathEncoder, forests: list[LabelledForest], *, half: bool = False
) -> tuple[float, Gradients]:
    """Mean loss of a step and its gradients."""
    total = 0.0
    for labelled in forests:
        batch = backbone.batch(encoder, [Extension(labelled.forest)])
        with torch.autocast(backbone.device.type, dtype=torch.bfloat16, enabled=half):
            loss = backbone(batch, labelled.titles)[0]
        loss = loss / sum(forest.titles.total for forest in forests)
        loss.backward()
        total += float(loss.detach())
    return total, {name: weight.grad.cpu() for name, weight in backbone.named_parameters() if weight.grad is not None}


def random_forests(lengths: tuple[int, ...]) -> list[Forest]:
    random = np.random.default_rng(0)
    made = []
    for length in lengths:
        trunk = random.integers(5, 100, length)
        cuts = [length, length // 2, length // 3]
        made.append(grow([np.concatenate([trunk[:cut], random.integers(5, 100, 1 + cut // 5)]) for cut in cuts])[0])
    return made


def same(found: Gradients, expected: Gradients, tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, atol=tolerance * max(scale, 1e-3), rtol=0, msg=name)


def test_states_of_forests_are_those_of_the_cpu(device: torch.device, load: Load, dataset: Dataset):
    states = []
    for where in ("cpu", device):
        backbone = load(where)
        encoder, forests = first_step(dataset, backbone, ("pft-s", {"L": 2}))
        with torch.no_grad():
            passes = [backbone.hidden(backbone.batch(encoder, [Extension(one.forest)])).cpu() for one in forests]
        states.append(torch.cat(passes))
    torch.testing.assert_close(states[1], states[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy[0])
def test_a_step_s_loss_and_gradients_are_those_of_the_cpu(
    device: torch.device, load: Load, dataset: Dataset, strategy: tuple[str, dict[str, object]]
):
    found = []
    for where in ("cpu", device):
        backbone = load(where)
        found.append(step_gradients(backbone, *first_step(dataset, backbone, strategy)))
    (expected_loss, expected), (loss, gradients) = found
    assert loss == pytest.approx(expected_loss, abs=1e-4)
    same(gradients, expected, 1e-3)


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-3), (True, 0.05)], ids=["float32", "bfloat16"])
def test_a_step_with_flexattention_is_that_in_tiles(
    gpu: torch.device, load: Load, dataset: Dataset, half: bool, tolerance: float
):
    found = []
    for kernel in ("tiles", "flex"):
        backbone = load(gpu)
        with forced(kernel):
            found.append(step_gradients(backbone, *first_step(dataset, backbone, ("vanilla", {})), half=half))
    (expected_loss, expected), (loss, gradients) = found
    assert loss == pytest.approx(expected_loss, abs=tolerance)
    same(gradients, expected, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03)], ids=str)
def test_flexattention_gives_the_outputs_and_gradients_of_the_tiles(
    gpu: torch.device, dtype: torch.dtype, tolerance: float
):
    torch.manual_seed(0)
    for lengths in ((1,), (100,), (127, 1), (128, 128), (129, 300), (700, 700), (3000,)):
        forests = random_forests(lengths)
        size = sum(map(len, forests))
        tensors = [torch.randn(1, heads, size, 64, device=gpu, dtype=dtype) for heads in (9, 3, 3)]
        weights = torch.randn(1, 9, size, 64, device=gpu, dtype=dtype)
        found = []
        for whole in (False, True):
            leaves = [tensor.clone().requires_grad_() for tensor in tensors]
            if whole:
                outputs = ForestMask.of(forests, gpu).attend(*leaves, None)
            else:
                visible = Visibility.of([Extension(forest) for forest in forests], gpu)
                outputs = visible.attend(*leaves, 0, None, 0.0)
            (outputs * weights).sum().backward()
            found.append([outputs.detach().float(), *(leaf.grad.float() for leaf in leaves)])
        for expected, got in zip(*found, strict=True):
            torch.testing.assert_close(got, expected, atol=tolerance * float(expected.abs().max()), rtol=0)


def test_long_passes_are_run_with_flexattention(gpu: torch.device, load: Load, dataset: Dataset):
    backbone = load(gpu)
    encoder, forests = first_step(dataset, backbone, ("vanilla", {}))
    longest = max(forests, key=lambda labelled: len(labelled.forest)).forest
    assert len(longest) > 512
    assert backbone.batch(encoder, [Extension(longest)]).visibility.mask is not None


def test_bfloat16_gives_nearly_the_loss_of_float32(device: torch.device, load: Load, dataset: Dataset):
    losses = []
    for half in (False, True):
        backbone = load(device)
        losses.append(step_gradients(backbone, *first_step(dataset, backbone, ("pft-i", {"M": 2})), half=half)[0])
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
