"""Paths of items and the T5 that spells them, against what they must be, whatever the weights."""

import shutil
from copy import deepcopy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from text_models import make_encoder_folder

from patchrec.errors import InputError, UsageError
from patchrec.model import item_index
from patchrec.model.generative import Frames, Texts
from patchrec.model.item_batch import ItemBatch
from patchrec.model.item_paths import ItemPaths
from patchrec.options import bind
from patchrec.recommenders.factories import Ground
from patchrec.recommenders.generative import LightLMOptions, P5Options, PODOptions, make_lightlm, make_p5, make_pod
from patchrec.testing import TITLES, make_dataset

ITEMS, K = len(TITLES), 8
TINY = {"width": 16, "inner": 16, "layers": 1, "heads": 2, "dropout": 0.0}
VARIANTS = {
    "p5": (make_p5, P5Options, {"branches": 3}),
    "one token": (make_p5, P5Options, {"branches": 64}),
    "many tokens": (make_p5, P5Options, {"branches": 2, "index": "random"}),
    "titles": (make_p5, P5Options, {"items": "titles"}),
    "no decoder": (make_p5, P5Options, {"branches": 3, "decoder": "none"}),
    "titles without decoder": (make_p5, P5Options, {"items": "titles", "decoder": "none"}),
    "pod": (make_pod, PODOptions, {"branches": 3}),
    "past": (make_p5, P5Options, {"branches": 3, "encoder": "past"}),
    "pod of the past": (make_pod, PODOptions, {"branches": 3, "encoder": "past"}),
    "lightlm": (make_lightlm, LightLMOptions, {"branches": 3}),
}


def made(name, **more):
    make, options, values = VARIANTS[name]
    torch.manual_seed(0)
    return make(Ground(make_dataset(), ITEMS, K), options(**TINY, **values, **more)).eval()


@pytest.fixture(scope="module", params=VARIANTS)
def model(request):
    return made(request.param)


def batch_of(rows, targets=None):
    return ItemBatch.of([np.array(row, dtype=np.int64) for row in rows], ITEMS, "cpu", targets)


def asked_as_trained(model):
    """A copy that in training draws among one text, the one that asks."""
    model = deepcopy(model)
    only = slice(model.frames.answering, model.frames.answering + 1)
    model.before, model.after = model.before[only], model.after[only]
    model.frames = Frames(model.frames.texts[only], 0, model.frames.num_prompts)
    return model


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_loss_is_that_of_each_target_after_what_came_before_it(model):
    """So nothing that follows a target is seen, and what is learned is what is ranked."""
    model = asked_as_trained(model)
    rows = [[4, 3, 7, 9], list(range(K)), []]
    targets = [np.array([-1, 3, -1, 0, 11]), np.arange(K + 1) % ITEMS, np.array([5])]
    expected = torch.zeros(())
    for row, wanted in zip(rows, targets, strict=True):
        for place, target in enumerate(wanted):
            if target >= 0:
                expected -= model.log_probs(batch_of([row[:place]]))[0, target]
    close(model.loss(batch_of(rows, targets)), expected)


@torch.no_grad()
def test_an_answer_is_a_distribution_and_depends_on_its_history_alone(model, monkeypatch):
    rows = [[1, 2, 3], list(range(K)), [], [7], [2, 1, 3]]
    together = model.log_probs(batch_of(rows))
    close(together.exp().sum(dim=-1), torch.ones(len(rows)))
    close(together, torch.cat([model.log_probs(batch_of([row])) for row in rows]))
    assert not torch.allclose(together[0], together[4], atol=1e-3)  # the order of a history matters
    monkeypatch.setattr("patchrec.model.generative._TOKENS", 1)
    monkeypatch.setattr("patchrec.model.generative._SCORES", 1)
    monkeypatch.setattr("patchrec.model.generative._RUN_TOKENS", 1)
    close(model.log_probs(batch_of(rows)), together)  # piece by piece, too


def test_every_weight_learns(model):
    rows = [list(range(K)), list(range(3, 3 + K))]
    for _ in range(4):  # each text is drawn once, one hopes, and the seed is fixed
        model.loss(batch_of(rows, [np.arange(K + 1), np.arange(K + 1)])).backward()
    names = {id(weight): name for name, weight in model.named_parameters()}
    silent = {names[id(own)] for own in model.parameters() if own.grad is None or not own.grad.any()}
    model.zero_grad()
    alone = model.paths.runs.shape[1] == 1  # a decoder of one token attends to nothing else
    assert not {name for name in silent if not (alone and "decoder.block.0.layer.0" in name)}


@torch.no_grad()
@pytest.mark.parametrize("name", ["p5", "many tokens", "titles", "lightlm", "past"])
def test_log_probabilities_are_those_of_each_path_spelled_alone(name):
    """Whole paths one by one through transformers' own decoder, the softmax over what some item goes on with."""
    model = made(name)
    (found,) = model.log_probs(batch_of([[3, 1, 4]]))
    items, lengths = torch.tensor([[3, 1, 4]]), torch.tensor([3])
    texts = Texts(items, lengths, lengths[:, None], lengths[:, None])
    states, seen, _ = model._encode(texts, torch.tensor([model.frames.answering]))
    paths = [[token for token in row if token] for row in model.paths.paths.tolist()]
    for item, path in enumerate(paths):
        inputs = model.body.shared(torch.tensor([[0, *path[:-1]]]))
        if model.past:
            inputs[0, 0] += states[0, -1]
        decoded = model.body.decoder(
            inputs_embeds=inputs, encoder_hidden_states=states, encoder_attention_mask=seen
        ).last_hidden_state[0]
        logits = decoded @ model.body.shared.weight.T
        total = torch.zeros(())
        for place, token in enumerate(path):
            choices = sorted({other[place] for other in paths if other[:place] == path[:place]})
            total += logits[place][choices].log_softmax(-1)[choices.index(token)]
        close(found[item], total)


def plain_beam(paths, log_prob, width):
    """The items that a beam search of this width ends with, prefix by prefix."""
    beam = [()]
    while any(prefix not in paths for prefix in beam):
        longer = {
            prefix if prefix in paths else path[: len(prefix) + 1]
            for prefix in beam
            for path in paths
            if path[: len(prefix)] == prefix
        }
        beam = sorted(longer, key=log_prob, reverse=True)[:width]
    return {paths.index(prefix) for prefix in beam}


@torch.no_grad()
@pytest.mark.parametrize("width", [1, 2, 3, 5, ITEMS])
@pytest.mark.parametrize("name", ["p5", "many tokens", "titles"])
def test_a_beam_finds_what_a_plain_beam_search_finds(name, width):
    model = made(name)
    paths = [tuple(token for token in row if token) for row in model.paths.paths.tolist()]
    exact = model.log_probs(batch_of([[3, 1, 4]]))[0].double()

    def log_prob(prefix):
        return float(exact[[path[: len(prefix)] == prefix for path in paths]].logsumexp(0))

    expected = plain_beam(paths, log_prob, width)
    model.beam = width
    (found,) = model.log_probs(batch_of([[3, 1, 4]]))
    ranked = found.argsort(descending=True).tolist()
    assert set(ranked[: len(expected)]) == expected
    close(found.exp().sum(), torch.ones(()))
    wanted = sorted(expected, key=lambda item: -exact[item])
    assert ranked[: len(expected)] == wanted  # in the order of their own log-probabilities
    if width == ITEMS:
        close(found.double(), exact)


def test_a_beam_narrower_than_the_catalog_may_miss_the_best():
    """Three of a first token that is likely, one of a token that is not: the best item of all is behind the latter."""
    paths = ItemPaths(np.array([[1, 3], [1, 4], [1, 5], [2, 3]]))
    logits = torch.zeros(1, 2, len(paths.alphabet))
    logits[0, paths.step_choice[0, 0], paths.step_token[0, 0]] = 0.2
    steps = paths.choice_log_probs(logits)
    assert steps.sum(-1).argmax() == 3
    assert not paths.beam(steps, 1)[0, 3]
    assert paths.beam(steps, 2)[0, 3]


def test_weights_carry_the_paths_that_they_were_learned_with():
    first, second = made("many tokens"), made("p5")
    torch.manual_seed(9)
    make, options, values = VARIANTS["many tokens"]
    other = make(Ground(make_dataset(), ITEMS, K, is_new=False), options(**TINY, **values)).eval()
    assert not torch.equal(first.paths.paths, other.paths.paths)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.paths.paths, other.paths.paths)
    asked = batch_of([[5, 1], [7]])
    assert torch.equal(first.log_probs(asked), other.log_probs(asked))
    with pytest.raises(RuntimeError):
        second.load_state_dict(first.state_dict())  # another number of tokens


def test_a_cost_is_of_the_positions_that_are_run():
    with_decoder, without = made("p5"), made("no decoder")
    before, after = without.frames.texts[0]
    text = len(before) + len(after) + 3 * 5  # twelve items have three digits of three each
    inner = 4 * 16 * 16 + 2 * 16 * 16  # of a layer: attention and the feed-forward network; and how near positions are
    positions, flops = without.cost_of(5)
    assert positions == text
    assert flops == 2 * text * (inner + 32 * 2) + 2 * 16 * ITEMS
    positions, flops = with_decoder.cost_of(5)
    runs = with_decoder.paths.runs.numel()
    assert positions == text + runs
    choices = 2 * with_decoder.paths.open.numel() * 16
    of_text = 2 * text * (inner + 32 * 2 + 2 * 16 * 16)  # keys and values of the text, too
    assert flops == of_text + 2 * runs * (inner + 32 * 2 + 2 * 16 * 16) + choices


# --- how items become paths


@pytest.mark.parametrize("branches", [2, 3, 4, 12, 64])
@pytest.mark.parametrize("index", ["sequential", "random", "collaborative"])
def test_no_path_begins_another_and_no_place_has_too_many_choices(index, branches):
    dataset = make_dataset()
    if index == "collaborative":
        paths = item_index.collaborative_paths(dataset, ITEMS, branches)
    else:
        numbers = item_index.order_of_histories(dataset, ITEMS)
        paths = item_index.paths_of_numbers(numbers, branches)
    assert len(set(paths)) == ITEMS
    assert not [1 for one in paths for other in paths if one != other and other[: len(one)] == one]
    assert all(0 < token < item_index.first_word(branches) for path in paths for token in path)
    prefixes = {path[:length] for path in paths for length in range(len(path))}
    assert all(len({path[: len(own) + 1] for path in paths if path[: len(own)] == own}) <= branches for own in prefixes)


def test_numbers_are_digits():
    assert item_index.paths_of_numbers(np.array([0, 5, 3, 1, 2, 4]), 3) == [
        (1, 4), (2, 6), (2, 4), (1, 5), (1, 6), (2, 5)
    ]  # fmt: skip


def test_sequential_numbers_follow_training_histories_alone():
    dataset = make_dataset()
    numbers = item_index.order_of_histories(dataset, ITEMS)
    first = list(dict.fromkeys(dataset.sequences.items_of(0)[: dataset.sequences.train_stop[0]].tolist()))
    assert numbers[first].tolist() == list(range(len(first)))
    assert sorted(numbers.tolist()) == list(range(ITEMS))
    users, items = item_index.trained_pairs(dataset, ITEMS)
    for user in range(len(dataset.sequences)):
        trained = dataset.sequences.items_of(user)[: dataset.sequences.train_stop[user]]
        assert items[users == user].tolist() == sorted(set(trained.tolist()))


@pytest.mark.parametrize("num_users", [30, 90])
def test_items_that_share_users_share_a_cluster(num_users):
    """Three kinds of users, each with items of its own; both ways to decompose a matrix."""
    import scipy.sparse

    random = np.random.default_rng(0)
    kinds = np.arange(72) % 3
    shared = (kinds == (np.arange(num_users) % 3)[:, None]) & (random.random((num_users, 72)) < 0.8)
    labels = item_index.clusters(scipy.sparse.csc_array(shared.astype(float)), 3)
    assert len({(kind, label) for kind, label in zip(kinds, labels, strict=True)}) == len(set(labels.tolist())) == 3


def test_equal_titles_are_told_apart_by_a_last_digit():
    paths = item_index.paths_of_titles(
        ["heat", "heat two", "heat"], lambda text: [len(w) + 20 for w in text.split()], 3
    )
    assert paths == [(24, 4), (24, 23, 4), (24, 5)]
    assert item_index.words_of("Shall We  Dance? (1996)") == ["shall", "we", "dance", "?", "(", "1996", ")"]


def test_one_item_is_certain():
    paths = ItemPaths(np.array([[3]]))
    assert paths.choice_log_probs(torch.zeros(2, 1, 1)).tolist() == [[[0.0]], [[0.0]]]


def test_pod_is_asked_without_words():
    model = made("pod")
    assert model.frames.texts[model.frames.answering] == ((), ())
    assert len(model.prompts) == 3
    assert len(model.frames.texts) == 4


@pytest.mark.parametrize("option", [{"search": "beam"}, {"encoder": "past"}])
def test_some_options_need_a_decoder(option):
    ((name, value),) = option.items()
    with pytest.raises(UsageError, match=f"--{name} {value} needs --decoder t5"):
        bind("baseline p5", P5Options, {**option, "decoder": "none"})


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return make_encoder_folder(tmp_path_factory.mktemp("models") / "t5", "t5", [*TITLES, "a user has watched movie"])


@torch.no_grad()
@pytest.mark.parametrize(("make", "values"), [(make_p5, {}), (make_p5, {"items": "titles"}), (make_pod, {})])
def test_a_t5_brings_its_weights_words_and_decoder(t5, make, values):
    options = PODOptions if make is make_pod else P5Options
    begun = make(Ground(make_dataset(), ITEMS, K, start=t5), options(branches=3, **values)).eval()
    stored = load_file(t5 / "model.safetensors")
    assert torch.equal(begun.body.shared.weight[7:], stored["shared.weight"])
    name = "decoder.block.0.layer.1.EncDecAttention.q.weight"
    assert torch.equal(begun.body.state_dict()[name], stored[name])
    assert begun.body.decoder.embed_tokens.weight is begun.body.shared.weight
    found = begun.log_probs(batch_of([[1, 2], []]))
    close(found.exp().sum(dim=-1), torch.ones(2))
    bare = t5.parent / f"bare-{make.__name__}-{len(values)}"
    bare.mkdir()
    for file in t5.glob("*.json"):
        shutil.copy(file, bare)
    again = make(Ground(make_dataset(), ITEMS, K, start=bare, is_new=False), options(branches=3, **values)).eval()
    again.load_state_dict(begun.state_dict())
    assert torch.equal(again.log_probs(batch_of([[1, 2], []])), found)


def test_a_size_beside_weights_is_refused(t5):
    with pytest.raises(UsageError, match="--layers is of random weights"):
        make_p5(Ground(make_dataset(), ITEMS, K, start=t5), P5Options(layers=3))


def test_another_model_is_no_t5(tmp_path):
    folder = make_encoder_folder(tmp_path / "bert", "bert", TITLES)
    with pytest.raises(InputError, match=r"model of type 'bert'; take a T5, such as t5-small"):
        make_p5(Ground(make_dataset(), ITEMS, K, start=folder), P5Options())
