"""FlexAttention over forests against the tiles, and its squares against the mask of every pair.

On a CPU it runs as plain arithmetic on the mask rule, and skips nothing: so the squares, which the kernels of a GPU go
by, are tested on their own, and by the one compiled kernel that a CPU has.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import flex_attention as torch_flex

from patchrec.history import BoolArray
from patchrec.model.attention import Extension, Visibility
from patchrec.model.backbone import Backbone
from patchrec.model.flex import BLOCK, ForestMask, forced, read_no_pickles, serves, squares
from patchrec.model.forest import Forest, grow
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import Prompt
from patchrec.model.titles import TitleTokens

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch run the mask rule as it stands, with gradients, which it refuses on a CPU for want of a kernel."""
    monkeypatch.setattr(torch_flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(torch_flex, "_validate_device", lambda query, key, value: None)


@st.composite
def forests(draw: st.DrawFn) -> list[Forest]:
    """Forests of paths, some long, in one pass; single nodes and lengths about multiples of a square's side too."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    made = []
    for length in draw(
        st.lists(st.sampled_from([1, 2, 5, 60, BLOCK - 1, BLOCK, BLOCK + 1, 300]), min_size=1, max_size=3)
    ):
        trunk = random.integers(0, 3, length)
        branches = [
            np.concatenate([trunk[: random.integers(1, length + 1)], random.integers(0, 3, random.integers(0, 40))])
            for _ in range(draw(st.integers(0, 5)))
        ]
        made.append(grow([trunk, *branches])[0])
    return made


def seen_in(made: list[Forest]) -> BoolArray:
    """(N, N) what each node of a pass sees, node by node."""
    size = sum(map(len, made))
    mask = np.zeros((size, size), dtype=np.bool_)
    start = 0
    for forest in made:
        for node in range(len(forest)):
            mask[start + node, start : start + len(forest)] = forest.ancestors(node)
        start += len(forest)
    return mask


def padded_end(made: list[Forest]) -> np.ndarray:
    end = np.concatenate(
        [forest.end + start for forest, start in zip(made, np.cumsum([0, *map(len, made)]), strict=False)]
    )
    return np.concatenate([end, np.zeros(-len(end) % BLOCK, dtype=np.int64)])


def attended(made: list[Forest], tensors: list[Tensor], *, whole: bool) -> tuple[Tensor, list[Tensor]]:
    """Outputs, and gradients of queries, keys and values, through one of the two."""
    query, key, value = (tensor.clone().requires_grad_() for tensor in tensors)
    visible = Visibility.of([Extension(forest) for forest in made], CPU)
    if whole:
        outputs = ForestMask.of(made, CPU).attend(query, key, value, 0.3)
    else:
        outputs = visible.attend(query, key, value, 0, 0.3, 0.0)
    (outputs * torch.arange(outputs.numel()).view(outputs.shape).sin()).sum().backward()
    return outputs.detach(), [tensor.grad for tensor in (query, key, value)]


@settings(max_examples=12)
@given(forests())
def test_outputs_and_gradients_are_those_of_the_tiles(made: list[Forest]) -> None:
    generator = torch.Generator().manual_seed(0)
    size = sum(map(len, made))
    tensors = [torch.randn(1, heads, size, 16, generator=generator) for heads in (6, 2, 2)]
    outputs, gradients = attended(made, tensors, whole=True)
    expected, expected_gradients = attended(made, tensors, whole=False)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-5)


@settings(max_examples=50)
@given(forests())
def test_squares_are_full_partial_or_empty_as_their_pairs_are(made: list[Forest]) -> None:
    mask = seen_in(made)
    room = -len(mask) % BLOCK
    pairs = np.pad(mask, (0, room)).reshape((len(mask) + room) // BLOCK, BLOCK, -1, BLOCK)
    partial, full = squares(padded_end(made))
    assert (full == pairs.all(axis=(1, 3))).all()
    assert ((partial | full) == pairs.any(axis=(1, 3))).all()
    assert not (partial & full).any()


@settings(max_examples=20)
@given(forests())
def test_the_mask_is_the_one_that_torch_makes_of_the_rule(made: list[Forest]) -> None:
    own = ForestMask.of(made, CPU).block_mask
    size = sum(map(len, made))
    torchs = torch_flex.create_block_mask(own.mask_mod, None, None, size, size, "cpu", BLOCK)
    assert own.shape == torchs.shape
    for side in ("kv", "q", "full_kv", "full_q"):
        counts, indices = getattr(own, f"{side}_num_blocks"), getattr(own, f"{side}_indices")
        assert torch.equal(counts, getattr(torchs, f"{side}_num_blocks"))
        assert torch.equal(indices, getattr(torchs, f"{side}_indices"))
        assert counts.dtype == indices.dtype == torch.int32
        assert indices.is_contiguous()


def test_a_square_that_no_row_sees_into_is_left_out() -> None:
    apart = [grow([np.zeros(BLOCK, dtype=np.int64)])[0]] * 3
    partial, full = squares(padded_end(apart))
    assert (partial == np.eye(3, dtype=np.bool_)).all()
    assert not full.any()


def test_queries_left_in_float32_are_attended_in_the_format_of_values() -> None:
    forest, _ = grow([np.arange(5)])
    query, key, value = torch.randn(1, 4, 5, 16), torch.randn(1, 2, 5, 16), torch.randn(1, 2, 5, 16).bfloat16()
    assert ForestMask.of([forest], CPU).attend(query, key, value, None).dtype == torch.bfloat16


@contextmanager
def compilations() -> Iterator[list[int]]:
    """Counts how often dynamo compiles."""
    counted: list[int] = []

    def backend(module: torch.fx.GraphModule, inputs: object) -> object:
        counted.append(1)
        return module.forward

    torch.compiler.reset()
    compiled = torch.compile(torch_flex.flex_attention, dynamic=True, backend=backend)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("patchrec.model.flex.flex_attention", compiled)
        yield counted
    torch.compiler.reset()


def test_another_length_compiles_no_other_kernel() -> None:
    torch.manual_seed(0)
    with compilations() as counted, torch.no_grad():
        for size in (300, 515, 640, 1024, 1301):
            made = [grow([np.arange(size // 2)])[0], grow([np.arange(size - size // 2)])[0]]
            tensors = [torch.randn(1, heads, size, 16) for heads in (4, 2, 2)]
            outputs = ForestMask.of(made, CPU).attend(*tensors, None)
            visible = Visibility.of([Extension(forest) for forest in made], CPU)
            torch.testing.assert_close(outputs, visible.attend(*tensors, 0, None, 0.0), atol=1e-5, rtol=0)
    assert len(counted) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with g++")
def test_a_compiled_kernel_that_skips_squares_gives_the_same_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    read_no_pickles()
    monkeypatch.setattr("patchrec.model.flex.flex_attention", torch.compile(torch_flex.flex_attention, dynamic=False))
    random = np.random.default_rng(0)
    for length in (400, 555):
        trunk = random.integers(0, 9, length)
        made = [grow([np.concatenate([trunk[:cut], random.integers(0, 9, 90)]) for cut in (50, 130, length)])[0]] * 2
        tensors = [torch.randn(1, heads, sum(map(len, made)), 16) for heads in (6, 2, 2)]
        with torch.no_grad():
            outputs = ForestMask.of(made, CPU).attend(*tensors, None)
            expected = Visibility.of([Extension(forest) for forest in made], CPU).attend(*tensors, 0, None, 0.0)
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def encoder(tiny: Backbone) -> PathEncoder:
    titles = TitleTokens(np.arange(30, 60), np.arange(0, 31, 3))
    return PathEncoder(Prompt(np.array([0, 20]), np.array([22]), separator=2, end=3), titles, tiny.vocab_size)


def test_a_backbone_gives_the_same_states_with_either(tiny: Backbone, encoder: PathEncoder) -> None:
    paths = [np.concatenate([np.arange(5, 150), np.arange(start, start + 9)]) for start in (5, 50, 90)]
    extensions = [Extension(grow(paths)[0]), Extension(grow(paths[:1])[0])]
    with torch.no_grad():
        with forced("tiles"):
            expected = tiny.hidden(tiny.batch(encoder, extensions))
        with forced("flex"):
            batch = tiny.batch(encoder, extensions)
            assert batch.visibility.mask is not None
            torch.testing.assert_close(tiny.hidden(batch), expected, atol=1e-5, rtol=1e-5)


def test_what_hangs_under_a_context_is_attended_in_tiles(tiny: Backbone, encoder: PathEncoder) -> None:
    trunk, _ = grow([np.arange(5, 40)])
    tree, _ = grow([np.arange(3), np.arange(1, 5)])
    with torch.no_grad():
        expected, _ = tiny.extend(encoder, [Extension.at(tree, tiny.prefill(encoder, trunk)[1], 34)])
        with forced("flex"):
            context = tiny.prefill(encoder, trunk)[1]
            extension = Extension.at(tree, context, 34)
            assert tiny.batch(encoder, [extension]).visibility.mask is None
            torch.testing.assert_close(tiny.extend(encoder, [extension])[0], expected, atol=1e-5, rtol=1e-5)


class _Config:
    """A model's configuration, as far as the choice asks."""

    def __init__(self, head_dim: int = 64, **others: float) -> None:
        self.head_dim = head_dim
        self.__dict__.update(others)

    def get_text_config(self) -> "_Config":
        return self


def test_long_passes_on_a_gpu_run_with_flexattention_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr("patchrec.model.flex._can_compile", lambda: True)
    assert serves(_Config(), gpu, 2048, context=False)
    assert serves(_Config(attention_dropout=0.0), gpu, 2048, context=False)
    assert not serves(_Config(), gpu, 2048, context=True)
    assert not serves(_Config(), gpu, 100, context=False)
    assert not serves(_Config(), CPU, 2048, context=False)
    assert not serves(_Config(head_dim=8), gpu, 2048, context=False)
    assert not serves(_Config(attn_pdrop=0.1), gpu, 2048, context=False)
    monkeypatch.setattr("patchrec.model.flex._can_compile", lambda: False)
    assert not serves(_Config(), gpu, 2048, context=False)


def test_dropout_that_no_configuration_told_of_is_refused() -> None:
    forest, _ = grow([np.arange(5)])
    tensors = [torch.randn(1, 2, 5, 16)] * 3
    visible = Visibility((), mask=ForestMask.of([forest], CPU))
    with pytest.raises(ValueError, match="dropped"):
        visible.attend(*tensors, 0, None, 0.1)
