"""Item labels of forests: compared with one example per row, and learned.

Shapes: P positions of a row, D hidden size, I items.
"""

import numpy as np
import pytest
import torch
from test_objective import FORMS, assert_close, middle_step
from tiny_training import STRATEGIES, TITLES, make_config, make_dataset, make_planners
from torch.nn import functional

from patchrec.config import HistoryConfig, PromptConfig, TrainingConfig
from patchrec.layout import Grain
from patchrec.model.attention import Extension
from patchrec.model.item_head import ItemSide, ItemSideConfig
from patchrec.model.tokenizer import make_encoder
from patchrec.strategy import Moment
from patchrec.training.batches import Batches, draws
from patchrec.training.objective import Heads, Row, label_rows, label_step, tree_rows

ITEM, BOTH = Heads(title=False, item=True), Heads(title=True, item=True)
# Every strategy with every form; heads, table and windows take turns.
CASES = [
    pytest.param(
        strategy,
        form,
        ("sliding", "anchored")[(row + column) % 2],
        (ITEM, BOTH)[row % 2],
        ItemSideConfig(("tied", "patch", "free")[(row // 2 + column) % 3], item_vectors=(row + column) % 3 > 0),
        ("all", "titles")[(row + column) % 2],
        id=f"{strategy[0]}-{form}",
    )
    for row, strategy in enumerate(STRATEGIES)
    for column, form in enumerate(FORMS)
]


def give_items(backbone, dataset, config, *, trained=True):
    side = ItemSide(len(TITLES), backbone.embedding.shape[1], config, dataset.popularity)
    random = torch.Generator().manual_seed(0)
    if trained:
        with torch.no_grad():
            for parameter in side.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    backbone.items = side


def slow_row_losses(backbone, encoder, history, layout, target):
    """Cross-entropies of one answer, of its title's tokens and of its item: loops over positions, no forest."""
    weight, prompt, items = backbone.embedding, encoder.prompt, backbone.items

    def mean(item):
        tokens = encoder.titles.of(item)
        return sum(weight[token] for token in tokens) / len(tokens)

    def patch(item):
        if items.head.table == "tied":  # what is added in the input is the vector of the row
            return mean(item) + weight.shape[1] ** 0.5 * items.head.free[item]
        return mean(item) if items.vectors is None else mean(item) + items.vectors[item]

    after_patch = [weight[prompt.separator]] if prompt.after_patches else []
    inputs = [weight[token] for token in prompt.head]
    for span in layout.spans:
        members = history.items[span.start : span.stop]
        if span.grain is Grain.SESSION:
            inputs += [sum(patch(item) for item in members) / len(members), *after_patch]
        for item in members:
            if span.grain is Grain.TEXT:
                inputs += [*(weight[token] for token in encoder.titles.of(item)), weight[prompt.separator]]
            elif span.grain is Grain.ITEM:
                inputs += [patch(item), *after_patch]
    inputs += [weight[token] for token in prompt.tail]
    answer = [*encoder.titles.of(target).tolist(), prompt.end]
    rows = torch.stack([*inputs, *(weight[token] for token in answer[:-1])])  # (P, D)
    output = backbone.model(inputs_embeds=rows[None], use_cache=False, output_hidden_states=True)
    begin = len(inputs) - 1
    title = functional.cross_entropy(output.logits[0, begin:], torch.tensor(answer), reduction="sum")
    patches = torch.stack([mean(item) for item in range(len(TITLES))])
    scores = items.head.scores(output.hidden_states[-1][0, begin], patches)
    return torch.stack([title, functional.cross_entropy(scores, torch.tensor(target))])


def slow_losses(backbone, encoder, dataset, planners, step, seed):
    total, count = torch.zeros(2), 0
    for planner in planners:
        for tree, example in ((among, one) for among in step.trees for one in among):
            history = dataset.history(example)
            numbers = draws(seed, step.epoch, step.number, tree)[: len(history)]
            layout = planner.plan(history, Moment(step.progress, numbers))
            total = total + slow_row_losses(backbone, encoder, history, layout, int(dataset.target(example)))
            count += 1
    return total, count


def forest_losses(backbone, encoder, forests):
    return sum(
        backbone(backbone.batch(encoder, [Extension(labelled.forest)]), labelled.titles, labelled.items)
        for labelled in forests
    )


def gradients(backbone, loss):
    """Of the parameters that a loss depends on."""
    backbone.zero_grad(set_to_none=True)
    loss.backward()
    return {name: own.grad.clone() for name, own in backbone.named_parameters() if own.grad is not None}


@pytest.mark.parametrize(("strategy", "form", "windows", "heads", "config", "separators"), CASES)
def test_losses_and_gradients_equal_one_example_per_row(
    tiny, tiny_folder, dataset, strategy, form, windows, heads, config, separators
):
    give_items(tiny, dataset, config)
    prompt = PromptConfig(form=form, separators=separators, noun="movie", verb="watched")
    run = make_config(
        strategy,
        prompt=prompt,
        history=HistoryConfig(K=6, windows=windows),
        training=TrainingConfig(batch_size=6),
    )
    planners = make_planners(run)
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, prompt, tiny.vocab_size)
    step = middle_step(run, dataset)
    forests = label_step(step, dataset, encoder, planners, seed=0, max_nodes=400, heads=heads)

    fast = forest_losses(tiny, encoder, forests)
    slow, count = slow_losses(tiny, encoder, dataset, planners, step, 0)

    assert sum(labelled.items.total for labelled in forests) == count
    assert fast[1].item() == pytest.approx(slow[1].item(), rel=1e-5)
    if heads.title:
        assert fast[0].item() == pytest.approx(slow[0].item(), rel=1e-5)
    else:
        assert all(labelled.titles is None for labelled in forests)
    found, expected = gradients(tiny, fast.sum()), gradients(tiny, slow.sum() if heads.title else slow[1])
    assert_close({name: found[name] for name in expected}, expected)
    assert not any(found[name].any() for name in found.keys() - expected.keys())  # vectors where no patch stands


@pytest.mark.parametrize("heads", [ITEM, BOTH], ids=["item", "both"])
def test_the_cut_into_forests_does_not_change_the_losses(tiny, tiny_folder, dataset, heads):
    give_items(tiny, dataset, ItemSideConfig("patch", item_vectors=True))
    run = make_config(("pft-i", {"M": 2}))
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, run.prompt, tiny.vocab_size)
    step, planners = middle_step(run, dataset), make_planners(run)
    one, many = (
        label_step(step, dataset, encoder, planners, seed=0, max_nodes=nodes, heads=heads) for nodes in (100_000, 40)
    )
    assert len(one) == 1
    assert len(many) > 1
    torch.testing.assert_close(forest_losses(tiny, encoder, many), forest_losses(tiny, encoder, one))


def test_titles_alone_are_asked_for_unless_heads_say_otherwise(tiny, tiny_folder, dataset):
    run = make_config(("vanilla", {}))
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, run.prompt, tiny.vocab_size)
    forests = label_step(middle_step(run, dataset), dataset, encoder, make_planners(run), seed=0, max_nodes=10**6)
    assert all(labelled.items is None and labelled.titles is not None for labelled in forests)


def test_with_the_item_head_alone_continuation_is_one_path_of_history(tiny, tiny_folder):
    """Two positions an item, a label after each separator from the first target on, and no answer."""
    dataset = make_dataset(num_users=1, shortest=9, longest=9)
    run = make_config(("item-mean", {}), history=HistoryConfig(K=20), training=TrainingConfig(batch_size=64))
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, run.prompt, tiny.vocab_size)
    (step,) = Batches(dataset.examples("train", 20), run.training, 0, stage=run.stage).steps()
    (labelled,) = label_step(step, dataset, encoder, make_planners(run), seed=0, max_nodes=1024, heads=ITEM)

    shown = dataset.sequences.items_of(0)[:-1]  # the train split
    head = len(encoder.prompt.head)
    assert labelled.titles is None
    assert len(labelled.forest) == head + 2 * (len(shown) - 1)
    assert (np.diff(labelled.forest.depth) == 1).all()
    targets = np.arange(dataset.min_history, len(shown))
    assert labelled.items.nodes.tolist() == (head + 2 * targets - 1).tolist()
    assert labelled.items.classes[np.argsort(labelled.items.rows)].tolist() == shown[targets].tolist()
    assert labelled.items.total == len(targets)


def test_the_item_stands_where_the_answer_begins_and_equal_ones_count_together():
    def path(*keys):
        return np.array(keys, dtype=np.int64)

    rows = [Row(path(1, 2), path(), 5), Row(path(1, 2), path(), 5), Row(path(1, 2), path(), 4), Row(path(1), path(), 5)]
    labels = label_rows(rows).items
    asked = sorted(zip(labels.nodes[labels.rows], labels.classes, labels.counts, strict=True))
    assert asked == [(0, 5, 1), (1, 4, 1), (1, 5, 2)]
    titled = label_rows([Row(path(1, 2, 7, 8), path(7, 8, 3), 5)])
    assert titled.items.nodes.tolist() == [1]
    assert titled.titles.nodes.tolist() == [1, 2, 3]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy[0])
def test_heads_change_nothing_but_the_answer_in_a_row(tiny, tiny_folder, dataset, strategy):
    run = make_config(strategy)
    encoder, planners = (
        make_encoder(tiny_folder, dataset.catalog.titles, run.prompt, tiny.vocab_size),
        make_planners(run),
    )
    for tree in middle_step(run, dataset).trees:
        moment = Moment(draws=np.full(50, 0.5))
        title, item, both = (tree_rows(tree, dataset, encoder, planners, moment, h) for h in (Heads(), ITEM, BOTH))
        for one, two, three in zip(title, item, both, strict=True):
            assert one.path.tolist() == three.path.tolist() == [*two.path, *one.labels[:-1]]
            assert one.begin == two.begin == three.begin
            assert (one.item, two.item) == (None, three.item)


def popularity_loss(dataset, forests):
    shares = np.log((dataset.popularity + 1) / (dataset.popularity.sum() + len(TITLES)))
    asked = [(labelled.items.classes, labelled.items.counts) for labelled in forests]
    return -sum(float((shares[classes] * counts).sum()) for classes, counts in asked)


SIDES = (ItemSideConfig("patch", True), ItemSideConfig("patch"), ItemSideConfig("free"))


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        *((config, "float32") for config in SIDES),
        (SIDES[0], "bfloat16"),
        *(pytest.param(config, "bfloat16", marks=pytest.mark.slow) for config in SIDES[1:]),
    ],
    ids=str,
)
def test_learning_goes_below_the_popularity_prior_and_never_far_above(tiny, tiny_folder, dataset, config, dtype):
    give_items(tiny, dataset, config, trained=False)
    run = make_config(("item-mean", {}), training=TrainingConfig(batch_size=64))
    encoder, planners = (
        make_encoder(tiny_folder, dataset.catalog.titles, run.prompt, tiny.vocab_size),
        make_planners(run),
    )
    forests = label_step(middle_step(run, dataset), dataset, encoder, planners, seed=0, max_nodes=4096, heads=ITEM)
    total, prior = sum(labelled.items.total for labelled in forests), popularity_loss(dataset, forests)
    optimizer = torch.optim.AdamW(
        [{"params": tiny.model.parameters(), "lr": 1e-4}, {"params": tiny.items.parameters(), "lr": 1e-3}],
        weight_decay=0.0,
    )
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = forest_losses(tiny, encoder, forests)[1] / total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if config.table == "patch":
        assert losses[0] == pytest.approx(prior / total, rel=1e-3)
    assert max(losses) < losses[0] + 0.05
    assert losses[-1] < prior / total - 0.3
