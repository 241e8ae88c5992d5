"""Patching against slow loops written from the paper's equations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchrec.config import PromptConfig
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.patching import PathEncoder
from patchrec.model.tokenizer import make_encoder

TITLES = ("Toy Story", "Alien", "Aliens", "M", "The City of Lost Children", "Alien")


@pytest.fixture(scope="module", params=["all", "titles"])
def encoder(tiny_folder: Path, tiny: Backbone, request: pytest.FixtureRequest) -> PathEncoder:
    prompt = PromptConfig(noun="movie", verb="watched", separators=request.param)
    return make_encoder(tiny_folder, TITLES, prompt, tiny.vocab_size)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[History, Layout]:
    items = draw(st.lists(st.integers(0, len(TITLES) - 1), max_size=12))
    spans, at = [], 0
    while at < len(items):
        stop = draw(st.integers(at + 1, len(items)))
        spans.append((at, stop, draw(st.sampled_from(list(Grain)))))
        at = stop
    return History(np.array(items, dtype=np.int64)), Layout.of(spans)


def item_patch(weight: torch.Tensor, encoder: PathEncoder, item: int) -> torch.Tensor:
    """Equation (3): the mean of the title's token embeddings, one token at a time."""
    total = torch.zeros(weight.shape[1])
    tokens = encoder.titles.of(item)
    for token in tokens:
        total += weight[token]
    return total / len(tokens)


def session_patch(weight: torch.Tensor, encoder: PathEncoder, items: list[int]) -> torch.Tensor:
    """Equation (7): the mean of the item patches, one item at a time."""
    total = torch.zeros(weight.shape[1])
    for item in items:
        total += item_patch(weight, encoder, item)
    return total / len(items)


def slow_inputs(weight: torch.Tensor, encoder: PathEncoder, history: History, layout: Layout) -> torch.Tensor:
    """Equations (4) and (8): the prompt's input embeddings, position by position."""
    rows = [weight[token] for token in encoder.prompt.head]
    separator = weight[encoder.prompt.separator]
    after_patch = [separator] if encoder.prompt.after_patches else []
    for span in layout.spans:
        items = history.items[span.start : span.stop].tolist()
        if span.grain is Grain.SESSION:
            rows += [session_patch(weight, encoder, items), *after_patch]
        for item in items:
            if span.grain is Grain.TEXT:
                rows += [weight[token] for token in encoder.titles.of(item)] + [separator]
            elif span.grain is Grain.ITEM:
                rows += [item_patch(weight, encoder, item), *after_patch]
    return torch.stack(rows + [weight[token] for token in encoder.prompt.tail])


@given(layouts())
def test_bags_give_the_embeddings_of_the_paper_s_equations(
    encoder: PathEncoder, tiny: Backbone, case: tuple[History, Layout]
) -> None:
    history, layout = case
    forest, (nodes,) = grow([encoder.prompt_path(history, layout)])
    with torch.no_grad():
        fast = tiny.embed(tiny.batch(encoder, [Extension(forest)]))[nodes]
        slow = slow_inputs(tiny.embedding, encoder, history, layout)
    torch.testing.assert_close(fast, slow)


@given(layouts())
def test_the_weights_of_every_bag_sum_to_one(encoder: PathEncoder, case: tuple[History, Layout]) -> None:
    path = encoder.prompt_path(*case)
    bags = encoder.bags(path)
    np.testing.assert_allclose(np.add.reduceat(bags.weights, bags.offsets), np.ones(len(path)))


def test_every_title_is_followed_by_one_separator_and_a_patch_where_the_prompt_says_so(encoder: PathEncoder) -> None:
    history = History(np.array([0, 1, 2, 3, 4]))
    layout = Layout.of([(0, 1, Grain.DROPPED), (1, 3, Grain.SESSION), (3, 4, Grain.ITEM), (4, 5, Grain.TEXT)])
    head, tail = len(encoder.prompt.head), len(encoder.prompt.tail)
    path = encoder.prompt_path(history, layout)
    patch = 2 if encoder.prompt.after_patches else 1
    assert len(path) == head + patch + patch + (len(encoder.titles.of(4)) + 1) + tail
    assert len(path) == encoder.num_positions(history, layout)
    assert (path == encoder.prompt.separator).sum() - (encoder.prompt.tail == encoder.prompt.separator).sum() >= (
        3 if encoder.prompt.after_patches else 1
    )


def test_a_session_is_one_key_wherever_it_appears(encoder: PathEncoder) -> None:
    layout = Layout.of([(0, 2, Grain.SESSION), (2, 4, Grain.SESSION)])
    path = encoder.prompt_path(History(np.array([0, 1, 0, 1])), layout)
    head = len(encoder.prompt.head)
    assert path[head] == path[head + (2 if encoder.prompt.after_patches else 1)]
    assert encoder.items_of(int(path[head])).tolist() == [0, 1]


def test_a_fresh_encoder_has_forgotten_its_sessions(encoder: PathEncoder) -> None:
    layout = Layout.of([(0, 2, Grain.SESSION)])
    first = encoder.fresh().prompt_path(History(np.array([0, 1])), layout)
    second = encoder.fresh().prompt_path(History(np.array([2, 3])), layout)
    assert first.tolist() == second.tolist()


def test_a_patch_sends_gradient_to_each_of_its_title_s_tokens(encoder: PathEncoder, tiny: Backbone) -> None:
    forest, (nodes,) = grow([encoder.prompt_path(History(np.array([3])), Layout.of([(0, 1, Grain.ITEM)]))])
    tiny.zero_grad()
    tiny.embed(tiny.batch(encoder, [Extension(forest)]))[nodes[len(encoder.prompt.head)]].sum().backward()
    gradient = tiny.embedding.grad
    assert gradient is not None
    token = encoder.titles.of(3)[0]
    assert gradient[token].tolist() == [1.0] * gradient.shape[1]
    tiny.zero_grad()
