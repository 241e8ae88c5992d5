"""The forest does not change the loss: compared with one example per row, written out slowly.

Shapes: P positions of a row, D hidden size, V vocabulary.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import STRATEGIES, make_config, make_dataset, make_planners
from torch.nn import functional

from patchrec.config import HistoryConfig, PromptConfig, TrainingConfig
from patchrec.layout import Grain
from patchrec.model.attention import Extension
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import Prompt
from patchrec.model.titles import TitleTokens
from patchrec.model.tokenizer import make_encoder
from patchrec.strategy import Moment
from patchrec.training.batches import Batches, draws
from patchrec.training.objective import Row, label_rows, label_step, pack, split_rows, tree_rows

FORMS = ("paper", "instruction-first", "continuation")
WINDOWS = ("sliding", "anchored")
# Every strategy with every form and window; the quick suite takes each (strategy, form) with one of the windows.
CASES = [
    pytest.param(
        strategy,
        form,
        windows,
        id=f"{strategy[0]}-{form}-{windows}",
        marks=[pytest.mark.slow] if (row + column + plane) % 2 else [],
    )
    for row, strategy in enumerate(STRATEGIES)
    for column, form in enumerate(FORMS)
    for plane, windows in enumerate(WINDOWS)
]


def slow_row_loss(backbone, encoder, history, layout, target):
    """Cross-entropy of one answer, summed over its tokens: equations (3) to (5) of the paper as loops, no forest."""
    weight = backbone.embedding
    prompt = encoder.prompt

    def title(item):
        return [weight[token] for token in encoder.titles.of(item)]

    def item_patch(item):
        return sum(title(item)) / len(title(item))

    inputs = [weight[token] for token in prompt.head]
    for span in layout.spans:
        items = history.items[span.start : span.stop]
        if span.grain is Grain.SESSION:
            inputs += [sum(item_patch(item) for item in items) / len(items), weight[prompt.separator]]
        for item in items:
            if span.grain is Grain.TEXT:
                inputs += [*title(item), weight[prompt.separator]]
            elif span.grain is Grain.ITEM:
                inputs += [item_patch(item), weight[prompt.separator]]
    inputs += [weight[token] for token in prompt.tail]
    answer = [*encoder.titles.of(target).tolist(), prompt.end]
    rows = torch.stack([*inputs, *title(target)])  # (P, D)
    logits = backbone.model(inputs_embeds=rows[None], use_cache=False).logits[0]  # (P, V)
    return functional.cross_entropy(logits[len(inputs) - 1 :], torch.tensor(answer), reduction="sum"), len(answer)


def slow_loss(backbone, encoder, dataset, planners, step, seed):
    total, count = torch.zeros(()), 0
    for planner in planners:
        for tree in step.trees:
            for example in tree:
                history = dataset.history(example)
                numbers = draws(seed, step.epoch, step.number, tree)[: len(history)]
                layout = planner.plan(history, Moment(step.progress, numbers))
                loss, tokens = slow_row_loss(backbone, encoder, history, layout, dataset.target(example))
                total, count = total + loss, count + tokens
    return total / count


def forest_loss(backbone, encoder, forests):
    total = sum(
        backbone(backbone.batch(encoder, [Extension(labelled.forest)]), labelled.titles)[0] for labelled in forests
    )
    return total / sum(labelled.titles.total for labelled in forests)


def gradients(backbone, loss):
    backbone.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in backbone.model.named_parameters()}


def middle_step(config, dataset):
    """A step from the middle of a run, where pre-training compresses about half."""
    batches = Batches(
        dataset.examples("train", config.history.K, config.history.windows),
        config.training,
        config.seed,
        stage=config.stage,
    )
    return list(batches.steps())[batches.num_steps // 2]


def assert_close(fast, slow):
    assert fast.keys() == slow.keys()
    for name in slow:
        error = float((fast[name] - slow[name]).norm() / slow[name].norm())
        assert error < 1e-5, f"{name}: {error}"


@pytest.mark.parametrize(("strategy", "form", "windows"), CASES)
def test_loss_and_gradients_equal_one_example_per_row(tiny, tiny_folder, dataset, strategy, form, windows):
    prompt = PromptConfig(form=form, noun="movie", verb="watched")
    training = TrainingConfig(batch_size=6)
    config = make_config(strategy, prompt=prompt, history=HistoryConfig(K=6, windows=windows), training=training)
    planners = make_planners(config)
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, prompt, tiny.vocab_size)
    step = middle_step(config, dataset)
    forests = label_step(step, dataset, encoder, planners, seed=0, max_nodes=400)

    fast = forest_loss(tiny, encoder, forests)
    slow = slow_loss(tiny, encoder, dataset, planners, step, 0)

    assert fast.item() == pytest.approx(slow.item(), rel=1e-5)
    assert_close(gradients(tiny, fast), gradients(tiny, slow))


def test_pretraining_on_raw_and_compressed_averages_over_the_tokens_of_both(tiny, tiny_folder, dataset):
    config = make_config(("vanilla", {}), ("patch-pretraining", {}), stage="pretrain")
    planners = make_planners(config)
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, config.prompt, tiny.vocab_size)
    step = middle_step(config, dataset)
    forests = label_step(step, dataset, encoder, planners, seed=0, max_nodes=1024)
    fast = forest_loss(tiny, encoder, forests)
    slow = slow_loss(tiny, encoder, dataset, planners, step, 0)
    assert fast.item() == pytest.approx(slow.item(), rel=1e-5)
    assert_close(gradients(tiny, fast), gradients(tiny, slow))


@pytest.mark.parametrize("max_nodes", [16, 40, 100, 300])
def test_the_cut_into_forests_does_not_change_the_loss(tiny, tiny_folder, dataset, max_nodes):
    config = make_config(("vanilla", {}), ("pft-s", {"L": 2}))
    planners = make_planners(config)
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, config.prompt, tiny.vocab_size)
    step = middle_step(config, dataset)
    one = label_step(step, dataset, encoder, planners, seed=0, max_nodes=100_000)
    many = label_step(step, dataset, encoder, planners, seed=0, max_nodes=max_nodes)
    assert len(one) == 1
    assert len(many) > 1
    assert sum(forest.titles.total for forest in many) == one[0].titles.total
    assert forest_loss(tiny, encoder, many).item() == pytest.approx(forest_loss(tiny, encoder, one).item(), rel=1e-5)


def test_a_forest_holds_the_limit_or_twice_the_longest_path(tiny_folder, dataset, tiny):
    config = make_config(("vanilla", {}), prompt=PromptConfig(form="paper", noun="movie", verb="watched"))
    planners = make_planners(config)
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, config.prompt, tiny.vocab_size)
    step = middle_step(config, dataset)
    longest = max(len(row.path) for tree in step.trees for row in tree_rows(tree, dataset, encoder, planners, Moment()))
    for max_nodes in (16, longest, 3 * longest, 5 * longest):
        forests = label_step(step, dataset, encoder, planners, seed=0, max_nodes=max_nodes)
        assert max(len(labelled.forest) for labelled in forests) <= max(max_nodes, 2 * longest)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("max_nodes", [16, 200, 400])
def test_prompts_longer_than_the_limit_are_still_shared(tiny_folder, tiny, form, max_nodes):
    """Halving until 2P holds a part (P the longest path) repeats the prefix, but never costs more than three times."""
    dataset = make_dataset(num_users=1, shortest=40, longest=40)
    prompt = PromptConfig(form=form, noun="movie", verb="watched")
    config = make_config(("vanilla", {}), prompt=prompt, training=TrainingConfig(batch_size=64))
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, prompt, tiny.vocab_size)
    (step,) = Batches(dataset.examples("train", 50), config.training, 0, stage=config.stage).steps()
    (whole,) = label_step(step, dataset, encoder, make_planners(config), seed=0, max_nodes=10**6)
    parts = label_step(step, dataset, encoder, make_planners(config), seed=0, max_nodes=max_nodes)
    assert sum(len(part.forest) for part in parts) <= 3 * len(whole.forest)
    if form == "continuation":
        assert len(parts) == 1  # one path, however long


def test_continuation_makes_one_path_of_all_targets_of_a_user(tiny_folder, tiny):
    dataset = make_dataset(num_users=1, shortest=9, longest=9)
    prompt = PromptConfig(form="continuation", noun="movie", verb="watched")
    config = make_config(("vanilla", {}), prompt=prompt, training=TrainingConfig(batch_size=64))
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, prompt, tiny.vocab_size)
    (step,) = Batches(dataset.examples("train", 20), config.training, 0, stage=config.stage).steps()
    (labelled,) = label_step(step, dataset, encoder, make_planners(config), seed=0, max_nodes=1024)

    # the train split: all items but the last; its last answer needs no node for its end
    shown = dataset.sequences.items_of(0)[:-1]
    titles = sum(len(encoder.titles.of(item)) + 1 for item in shown)
    assert len(labelled.forest) == len(encoder.prompt.head) + titles - 1
    assert (np.diff(labelled.forest.depth) == 1).all()
    learned = sum(len(encoder.titles.of(item)) + 1 for item in shown[dataset.min_history :])
    assert labelled.titles.total == learned
    assert (labelled.titles.counts == 1).all()


def test_labels_that_several_examples_share_count_several_times():
    def path(*keys):
        return np.array(keys, dtype=np.int64)

    # two examples ask for 7 after 1 2, one for 8; the two continue differently
    rows = [Row(path(1, 2, 7), path(7, 3)), Row(path(1, 2, 7), path(7, 4)), Row(path(1, 2, 8), path(8, 3))]
    labelled = label_rows(rows)
    assert labelled.forest.keys.tolist() == [1, 2, 7, 8]
    assert labelled.titles.nodes.tolist() == [1, 2, 3]
    labels = labelled.titles
    asked = sorted(zip(labels.nodes[labels.rows], labels.classes, labels.counts, strict=True))
    assert asked == [(1, 7, 2), (1, 8, 1), (2, 3, 1), (2, 4, 1), (3, 3, 1)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=8), st.integers(1, 4)), min_size=1, max_size=12
    ),
    st.integers(1, 30),
)
def test_splitting_keeps_every_row_once_and_in_order(shapes, max_nodes):
    rows = [
        Row(np.array(keys, dtype=np.int64), np.zeros(min(labels, len(keys)), dtype=np.int64)) for keys, labels in shapes
    ]
    parts = split_rows(rows, max_nodes)
    assert [row for part, _ in parts for row in part] == rows
    for part, size in parts:
        assert size == len(label_rows(part).forest)
        assert size <= max_nodes or len(part) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 40))
def test_packing_takes_every_part_once_and_fills_no_forest_beyond_its_limit(sizes, max_nodes):
    parts = [([Row(np.array([number]), np.array([0]))], size) for number, size in enumerate(sizes)]
    size_of = {int(rows[0].path[0]): size for rows, size in parts}
    packs = [[int(row.path[0]) for row in rows] for rows in pack(parts, max_nodes)]
    assert sorted(number for numbers in packs for number in numbers) == list(range(len(sizes)))
    totals = [sum(size_of[number] for number in numbers) for numbers in packs]
    assert all(total <= max_nodes or len(numbers) == 1 for total, numbers in zip(totals, packs, strict=True))
    # first fit: no two forests could have been one
    assert all(one + other > max_nodes for place, one in enumerate(totals) for other in totals[place + 1 :])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=7), min_size=1, max_size=10))
def test_labels_of_a_forest_are_the_labels_of_its_rows(answers):
    """Every row ends in its answer; walking up from each label's node must give a row's prefix."""
    rows = [Row(np.array(keys[:-1], dtype=np.int64), np.array(keys[1:], dtype=np.int64)) for keys in answers]
    labelled = label_rows(rows)
    forest, labels = labelled.forest, labelled.titles
    found = []
    for row, token, count in zip(labels.rows, labels.classes, labels.counts, strict=True):
        prefix, node = [], int(labels.nodes[row])
        while node >= 0:
            prefix.insert(0, int(forest.keys[node]))
            node = int(forest.parent[node])
        found += [(*prefix, int(token))] * int(count)
    assert sorted(found) == sorted(tuple(keys[:stop]) for keys in answers for stop in range(2, len(keys) + 1))


def test_titles_of_a_prompt_without_tail_still_have_a_node_before_them():
    """The first answer token hangs under the prompt's last position, whatever that is."""
    titles = TitleTokens(np.array([5, 6], dtype=np.int64), np.array([0, 1, 2], dtype=np.int64))
    prompt = Prompt(np.array([9], dtype=np.int64), np.empty(0, dtype=np.int64), 10, 10)
    encoder = PathEncoder(prompt, titles, 20)
    dataset = make_dataset(num_users=1)
    history = dataset.history(dataset.examples("train", 1)[0])
    answer = encoder.answer_path(1)
    layout = make_planners(make_config(("item-mean", {})))[0].plan(history)
    labelled = label_rows([Row(np.concatenate([encoder.prompt_path(history, layout), answer[:-1]]), answer)])
    assert labelled.titles.classes.tolist() == [6, 10]
    assert labelled.forest.keys.tolist() == [9, 20 + int(history.items[0]), 10, 6]
    assert labelled.titles.nodes.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("strategy", "tokens"),
    [
        (("vanilla", {}), lambda h, t, K, a: h + t + K * (a + 1) + a),
        (("pft-i", {"M": 4}), lambda h, t, K, a: h + t + 4 * (a + 1) + 2 * (K - 4) + a),
        (("pft-s", {"L": 5}), lambda h, t, K, a: h + t + 5 * (a + 1) + 2 * 5 + 2 * (K // 5 - 2) + a),
    ],
    ids=["vanilla", "pft-i", "pft-s"],
)
def test_a_target_alone_costs_what_the_documentation_says(strategy, tokens):
    h, t, K, a, num_items = 3, 2, 20, 4, 12
    titles = TitleTokens(np.arange(num_items * a) % 50, np.arange(num_items + 1) * a)
    encoder = PathEncoder(Prompt(np.arange(h), np.arange(t), 60, 61), titles, 70)
    dataset = make_dataset(num_users=1, shortest=40, longest=40)
    example = dataset.examples("train", K)[-1]
    (row,) = tree_rows((example,), dataset, encoder, make_planners(make_config(strategy)), Moment())
    assert len(row.path) == tokens(h, t, K, a)
