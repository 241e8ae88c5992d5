"""`--loss catalog`: what is learned is what is ranked, at the nodes where titles part and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_item_labels import assert_close, gradients, middle_step
from tiny_training import STRATEGIES, make_config, make_kind_config, make_kind_learner, make_planners

from patchrec.config import HistoryConfig, PromptConfig, TrainingConfig
from patchrec.model.attention import Extension
from patchrec.model.tokenizer import make_encoder
from patchrec.ranking.trie import TitleTrie
from patchrec.recommender import Query, log_probs
from patchrec.strategy import EVALUATION
from patchrec.training.batches import group_trees
from patchrec.training.objective import Heads, label_step, label_trees, tree_rows

FORMS = ("paper", "instruction-first", "continuation")


def slow_catalog_loss(backbone, encoder, titles, prompt_rows, target):
    """Minus the log-probability of a title among titles, token by token, each step over what the titles leave."""
    end = encoder.prompt.end
    answers = [(*titles.of(item).tolist(), end) for item in range(len(titles))]
    wanted, said, total = answers[target], [], torch.zeros(())
    for token in wanted:
        choices = sorted({answer[len(said)] for answer in answers if list(answer[: len(said)]) == said})
        if len(choices) > 1:
            rows = torch.stack([*prompt_rows, *(backbone.embedding[known] for known in said)])
            logits = backbone.model(inputs_embeds=rows[None], use_cache=False).logits[0, -1]
            total = total - torch.log_softmax(logits[choices], dim=0)[choices.index(token)]
        said.append(token)
    return total


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=[name for name, _ in STRATEGIES])
def test_loss_and_gradients_equal_the_title_alone_token_by_token(tiny, tiny_folder, dataset, strategy, form):
    prompt = PromptConfig(form=form, noun="movie", verb="watched")
    config = make_config(
        strategy, prompt=prompt, history=HistoryConfig(K=6, windows="anchored"), training=TrainingConfig(batch_size=4)
    )
    planners = make_planners(config)
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, prompt, tiny.vocab_size)
    trie = TitleTrie.build(encoder.titles, encoder.prompt.end)
    trees = [(tree, EVALUATION) for tree in middle_step(config, dataset).trees]
    forests = label_trees(trees, dataset, encoder, planners, max_nodes=200, heads=Heads(branches=trie))
    fast = sum(tiny(tiny.batch(encoder, [Extension(one.forest)]), one.titles)[0] for one in forests)

    slow = torch.zeros(())
    for tree, moment in trees:
        for example in tree:
            history = dataset.history(example)
            keys = encoder.prompt_path(history, planners[0].plan(history, moment))
            bags = encoder.bags(keys)
            stops = [*bags.offsets[1:].tolist(), len(bags.rows)]
            inputs = [
                (
                    tiny.embedding[torch.from_numpy(bags.rows[a:b])] * torch.tensor(bags.weights[a:b])[:, None].float()
                ).sum(0)
                for a, b in zip(bags.offsets.tolist(), stops, strict=True)
            ]
            slow = slow + slow_catalog_loss(tiny, encoder, encoder.titles, inputs, dataset.target(example))
    assert fast.item() == pytest.approx(slow.item(), rel=1e-5)
    found, expected = gradients(tiny, fast), gradients(tiny, slow)
    assert_close({name: found[name] for name in expected}, expected)


@pytest.mark.parametrize("kind", ["title", "both"])
def test_the_validation_loss_is_minus_the_score_that_titles_are_ranked_by(tiny_folder, dataset, kind):
    training = TrainingConfig(batch_size=8, validate_every=1)
    config = make_kind_config(
        kind, training, options={"loss": "catalog"}, history=HistoryConfig(K=8, windows="anchored")
    )
    examples = dataset.examples("validation", 8, "anchored") or dataset.examples("train", 8, "anchored")
    learner = make_kind_learner(config, dataset, tiny_folder, examples)
    learner.begin()
    learner.weights = replace(learner.weights, item=0.0)
    encoder, forests = learner.validation_forests
    labels = sum(one.titles.total for one in forests)
    scores = log_probs(learner.recommender(), [Query.of(dataset, example) for example in examples])
    targets = [dataset.target(example) for example in examples]
    expected = -sum(scores[row, item] for row, item in enumerate(targets))
    assert learner.measure_forests(encoder, forests) * labels == pytest.approx(expected, rel=1e-4)


def test_labels_stand_where_titles_part_and_paths_end_there(tiny, tiny_folder, dataset):
    config = make_config(("item-mean", {}))
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, config.prompt, tiny.vocab_size)
    trie = TitleTrie.build(encoder.titles, encoder.prompt.end)
    example = dataset.examples("train", 8)[0]
    for row in tree_rows((example,), dataset, encoder, make_planners(config), EVALUATION, heads=Heads(branches=trie)):
        nodes, places = row.branching
        answer = encoder.answer_path(dataset.target(example))
        assert (trie.num_children(nodes) > 1).all()
        assert row.labels.tolist() == answer[: places[-1] + 1].tolist()
        assert row.path[row.begin + 1 :].tolist() == answer[: places[-1]].tolist()


def test_less_is_forwarded_than_for_whole_titles(tiny, tiny_folder, dataset):
    config = make_config(("item-mean", {}))
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, config.prompt, tiny.vocab_size)
    trie = TitleTrie.build(encoder.titles, encoder.prompt.end)
    step, planners = middle_step(config, dataset), make_planners(config)
    whole, parting = (
        sum(
            len(one.forest)
            for one in label_step(step, dataset, encoder, planners, seed=0, max_nodes=400, heads=Heads(branches=some))
        )
        for some in (None, trie)
    )
    assert parting < whole


def test_a_catalog_of_one_title_has_nothing_to_learn(tiny, tiny_folder, dataset):
    config = make_config(("item-mean", {}))
    encoder = make_encoder(tiny_folder, ["Heat"] * len(dataset.catalog), config.prompt, tiny.vocab_size)
    trie = TitleTrie.build(encoder.titles, encoder.prompt.end)
    trees = [(tree, EVALUATION) for tree in group_trees(dataset.examples("train", 8)[:3], 3)]
    forests = label_trees(trees, dataset, encoder, make_planners(config), max_nodes=400, heads=Heads(branches=trie))
    assert all(one.titles is None for one in forests)
    assert np.sum([len(one.forest) for one in forests]) > 0
