"""The item head and item vectors against plain torch, one item and one position at a time.

Shapes: I items, D hidden size, P positions of a path, n states.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from patchrec.config import PromptConfig
from patchrec.errors import CorruptError, UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.item_head import ItemSide, ItemSideConfig, read_metadata, spread_beside
from patchrec.model.loss import Labels, summed_cross_entropy
from patchrec.model.patching import PathEncoder
from patchrec.model.tokenizer import make_encoder

TITLES = ("Toy Story", "Alien", "Aliens", "M", "Alien")
POPULARITY = np.array([7, 3, 0, 1, 2])
I = len(TITLES)  # noqa: E741
CHOSEN = POPULARITY > 0
PRIOR = np.log((POPULARITY + 1) / (POPULARITY.sum() + I))
PRIOR[~CHOSEN] = PRIOR[CHOSEN].mean()  # as if they had been chosen as often as the typical item
CONFIGS = [ItemSideConfig(table, vectors) for table in ("patch", "text", "free", None) for vectors in (True, False)]
CONFIGS.append(ItemSideConfig("tied", True))


def make_side(config, *, num_items=I, width=6, trained=True, seed=1):
    """An item side as it is before training, or with random numbers in all its parameters."""
    popularity = np.concatenate([POPULARITY, np.zeros(num_items - I, dtype=np.int64)])
    side = ItemSide(num_items, width, config, popularity, seed=seed)
    random = torch.Generator().manual_seed(seed)
    if trained:
        with torch.no_grad():
            for parameter in side.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=random))
    return side


@pytest.fixture
def backbone(tiny_folder):
    """A backbone of its own, to which items may be given."""
    return Backbone.load(tiny_folder, name="tiny-random", device="cpu")


@pytest.fixture(scope="module")
def encoder(tiny_folder, tiny):
    return make_encoder(tiny_folder, TITLES, PromptConfig(), tiny.vocab_size)


def with_items(backbone, config, **more):
    backbone.items = make_side(config, width=backbone.embedding.shape[1], **more)
    return backbone


def labels_of(*asked):
    """Labels of nodes: (node, class, count)."""
    nodes = np.unique([node for node, _, _ in asked])
    rows = np.searchsorted(nodes, [node for node, _, _ in asked])
    return Labels(nodes, rows, np.array([c for _, c, _ in asked]), np.array([count for _, _, count in asked]))


# The head alone


def slow_patch_scores(head, hidden, patches):
    """Logits item by item, as the documentation writes them."""
    width = hidden.shape[1]
    hidden = hidden / hidden.pow(2).mean(dim=1, keepdim=True).sqrt()
    columns = []
    for item in range(len(patches)):
        alike = patches[item] / patches[item].pow(2).mean().sqrt()
        row = head.projection @ alike / width + (0.0 if head.free is None else head.free[item])
        columns.append(hidden @ row + head.prior_scale * float(PRIOR[item]))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("table", ["tied", "patch", "text"])
def test_scores_and_gradients_of_a_table_of_patches_are_the_documented_ones(table):
    random = torch.Generator().manual_seed(0)
    head = make_side(ItemSideConfig(table)).head
    hidden, patches = (torch.randn(rows, 6, generator=random).requires_grad_() for rows in (3, I))
    asked = [(0, 2, 1), (0, 4, 2), (2, 1, 1)]
    torch.testing.assert_close(head.scores(hidden, patches), slow_patch_scores(head, hidden, patches))

    slow = slow_patch_scores(head, hidden[[0, 2]], patches).log_softmax(dim=1)
    expected = -sum(count * slow[row, item] for row, (_, item, count) in zip((0, 0, 1), asked, strict=True))
    found = summed_cross_entropy(head.states(hidden[[0, 2]]), *head.weight_and_bias(patches), labels_of(*asked))
    torch.testing.assert_close(found, expected)
    inputs = [hidden, patches, *head.parameters()]
    torch.testing.assert_close(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs))


def test_a_free_table_is_a_linear_layer():
    head = make_side(ItemSideConfig("free")).head
    hidden = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head.scores(hidden, None), hidden @ head.free.T)
    assert [name for name, _ in head.named_parameters()] == ["free"]


def test_a_text_table_knows_nothing_of_an_item_alone():
    side = make_side(ItemSideConfig("text", encoder="llm"))
    assert [name for name, _ in side.head.named_parameters()] == ["projection", "prior_scale"]
    side.texts.copy_(torch.randn(I, 6, generator=torch.Generator().manual_seed(0)))
    side.texts[4] = side.texts[1]
    by_text = side.head.scores(torch.randn(3, 6), None) - side.head.prior_scale * side.head.prior
    torch.testing.assert_close(by_text[:, 4], by_text[:, 1])


def test_tied_vectors_begin_in_the_input_as_long_as_tokens_of_a_pretrained_backbone():
    embedding = torch.randn(300, 32, generator=torch.Generator().manual_seed(0)) * 0.5
    config = ItemSideConfig("tied", item_vectors=True)
    for made, size in ((False, 0.5), (True, 0.02 * 32**0.5)):
        side = ItemSide(400, 32, config, np.ones(400, dtype=np.int64), spread=spread_beside(embedding, made=made))
        assert side.all_vectors().std().item() == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("table", ["tied", "free"])
def test_vectors_that_begin_at_random_are_as_the_seed_says(table):
    first, same, other = (
        make_side(ItemSideConfig(table), num_items=400, width=32, trained=False, seed=seed).head.free
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert first.std().item() == pytest.approx(0.02, rel=0.05)


def test_a_patch_table_begins_as_the_popularity_prior():
    head = make_side(ItemSideConfig("patch"), trained=False).head
    scores = head.scores(torch.randn(2, 6), torch.randn(I, 6))
    shares = torch.from_numpy(np.exp(PRIOR) / np.exp(PRIOR).sum()).float()
    torch.testing.assert_close(scores.softmax(dim=1), shares.expand(2, I))


def test_items_that_nobody_chose_are_no_class_while_it_learns():
    head = make_side(ItemSideConfig("patch")).head
    bias = head.weight_and_bias(torch.randn(I, 6))[1]
    assert torch.equal(head.classes(bias).isinf(), torch.from_numpy(~CHOSEN))
    assert torch.equal(head.classes(bias)[CHOSEN], bias[CHOSEN])
    for popularity in (np.ones(I, dtype=np.int64), np.zeros(I, dtype=np.int64)):  # none is new, or all are
        same = ItemSide(I, 6, ItemSideConfig("patch"), popularity).head
        assert torch.equal(same.classes(bias), bias)


@pytest.mark.parametrize("width", [64, 576])
def test_an_aligned_update_moves_no_logit_far(width):
    """The worst first step of AdamW at 1e-3: every entry moves by that, in the direction of one state and patch."""
    random = torch.Generator().manual_seed(0)
    head = make_side(ItemSideConfig("patch"), width=width, trained=False).head
    hidden, patches = (torch.randn(rows, width, generator=random) for rows in (1, I))
    hidden, patches = hidden * 8, patches * 0.02  # as large and as small as in trained models
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.0)
    before = head.scores(hidden, patches).detach()
    (-head.scores(hidden, patches).log_softmax(dim=1)[0, 2]).backward()
    optimizer.step()
    moved = (head.scores(hidden, patches) - before).abs().max()
    assert 0.01 < moved.item() < 2e-3 * width


def test_under_autocast_computed_weights_get_float32_gradients():
    random = torch.Generator().manual_seed(0)
    head = make_side(ItemSideConfig("patch")).head
    hidden, patches = (torch.randn(rows, 6, generator=random).requires_grad_() for rows in (1, I))
    inputs = [hidden, patches, *head.parameters()]

    def loss():
        return summed_cross_entropy(head.states(hidden), *head.weight_and_bias(patches), labels_of((0, 3, 1)))

    exact = torch.autograd.grad(loss(), inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.autograd.grad(loss(), inputs)
    for half, full in zip(found, exact, strict=True):
        assert half.dtype == torch.float32
        assert float((half - full).norm() / full.norm()) < 0.05


# On disk


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_what_was_saved_is_loaded_bit_for_bit(tmp_path, config):
    saved, loaded = make_side(config, seed=1), make_side(config, seed=2)
    saved.save(tmp_path / "items.safetensors", "abc")
    loaded.load(tmp_path / "items.safetensors")
    state = loaded.state_dict()
    assert state.keys() == saved.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in saved.state_dict().items())
    known = read_metadata(tmp_path / "items.safetensors")
    assert known == {"table": config.table or "none", "num_items": str(I), "fingerprint": "abc"}


def test_equal_items_are_equal_bytes(tmp_path):
    side = make_side(CONFIGS[0])
    for number in range(20):  # keys in random order would agree this often by no chance
        side.save(tmp_path / str(number), "abc")
    assert len({(tmp_path / str(number)).read_bytes() for number in range(20)}) == 1


def test_files_with_a_key_for_each_fact_are_read_as_before(tmp_path):
    saved, loaded = make_side(CONFIGS[0], seed=1), make_side(CONFIGS[0], seed=2)
    known = {"table": CONFIGS[0].table or "none", "num_items": str(I), "fingerprint": "abc"}
    save_file({name: tensor.contiguous() for name, tensor in saved.state_dict().items()}, tmp_path / "items", known)
    assert read_metadata(tmp_path / "items") == known
    loaded.load(tmp_path / "items")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in saved.state_dict().items())


def test_tied_items_have_one_vector_for_input_and_row(tmp_path):
    side = make_side(ItemSideConfig("tied", item_vectors=True))
    assert side.vectors is None
    assert [name for name, _ in side.named_parameters()] == ["head.projection", "head.free", "head.prior_scale"]
    torch.testing.assert_close(side.all_vectors(), side.head.free * 6**0.5)
    rows = side.head.weight_and_bias(torch.zeros(I, 6))[0]
    torch.testing.assert_close(rows, side.head.free)
    side.save(tmp_path / "items")
    grown = make_side(ItemSideConfig("tied", item_vectors=True), num_items=I + 1, trained=False)
    grown.load(tmp_path / "items")
    assert not grown.all_vectors()[I].any()  # an item that joins later is its patch alone


def test_items_that_join_a_catalog_are_ranked_by_their_text(tmp_path):
    saved = make_side(ItemSideConfig("patch", item_vectors=True))
    saved.save(tmp_path / "items")
    grown = make_side(ItemSideConfig("patch", item_vectors=True), num_items=I + 2, trained=False)
    grown.load(tmp_path / "items")
    random = torch.Generator().manual_seed(0)
    hidden, patches = torch.randn(2, 6, generator=random), torch.randn(I + 2, 6, generator=random)
    scores = grown.head.scores(hidden, patches)
    torch.testing.assert_close(scores[:, :I], saved.head.scores(hidden, patches[:I]))
    alike = functional.normalize(patches[I:]) * 6**0.5
    by_text = functional.normalize(hidden) * 6**0.5 @ (alike @ saved.head.projection.T / 6).T
    never = saved.head.prior_scale * float(PRIOR[~CHOSEN][0])
    torch.testing.assert_close(scores[:, I:], by_text + never)
    assert torch.equal(grown.vectors[:I], saved.vectors)
    assert not grown.vectors[I:].any()


@pytest.mark.parametrize("max_nodes", [1, 12, 2048])
def test_states_over_texts_are_means_of_each_read_alone(backbone, encoder, max_nodes):
    found = backbone.text_states(encoder, max_nodes=max_nodes)
    head = encoder.prompt.head
    for item in range(I):
        tokens = torch.from_numpy(np.concatenate([head, encoder.texts.of(item)]))[None]
        with torch.no_grad():
            states = backbone.model.base_model(input_ids=tokens).last_hidden_state[0]
        torch.testing.assert_close(found[item], states[len(head) :].mean(0), rtol=1e-4, atol=1e-4)


def test_a_table_of_states_scores_by_them_keeps_them_and_takes_new_ones_for_new_items(tmp_path):
    config, random = ItemSideConfig("patch", encoder="llm"), torch.Generator().manual_seed(0)
    saved, plain = make_side(config), make_side(ItemSideConfig("patch"))
    states, hidden = torch.randn(I + 1, 6, generator=random), torch.randn(2, 6, generator=random)
    saved.texts.copy_(states[:I])
    assert not saved.reads_patches
    torch.testing.assert_close(saved.head.scores(hidden, None), plain.head.scores(hidden, states[:I]))
    saved.save(tmp_path / "items")
    grown = make_side(config, num_items=I + 1, trained=False)
    grown.texts.copy_(states * torch.tensor([0.0] * I + [1.0])[:, None])
    grown.load(tmp_path / "items")
    assert torch.equal(grown.texts, states)


@pytest.mark.parametrize(
    ("saved", "wanted", "message"),
    [
        ({"config": ItemSideConfig("free")}, {"config": ItemSideConfig("free"), "num_items": I + 1}, "--table patch"),
        ({"config": ItemSideConfig("free")}, {"config": ItemSideConfig("patch")}, "--table"),
        ({"config": ItemSideConfig("text")}, {"config": ItemSideConfig("patch")}, "--table"),
        ({"config": ItemSideConfig("patch")}, {"config": ItemSideConfig("patch", True)}, "without item vectors"),
        (
            {"config": ItemSideConfig("patch")},
            {"config": ItemSideConfig("patch", encoder="llm")},
            "--item-encoder",
        ),
        ({"config": ItemSideConfig("patch"), "width": 8}, {"config": ItemSideConfig("patch")}, "hidden size"),
        ({"config": ItemSideConfig("patch"), "num_items": I + 1}, {"config": ItemSideConfig("patch")}, "only grow"),
    ],
)
def test_items_of_another_run_are_refused_in_one_line(tmp_path, saved, wanted, message):
    make_side(**saved).save(tmp_path / "items")
    with pytest.raises(UsageError, match=message) as caught:
        make_side(**wanted).load(tmp_path / "items")
    assert "\n" not in str(caught.value)


def test_a_torn_file_is_corrupt(tmp_path):
    side = make_side(ItemSideConfig("patch"))
    side.save(tmp_path / "items")
    whole = (tmp_path / "items").read_bytes()
    for torn in (whole[: len(whole) // 2], b""):
        (tmp_path / "items").write_bytes(torn)
        with pytest.raises(CorruptError):
            side.load(tmp_path / "items")
    with pytest.raises(CorruptError):
        side.load(tmp_path / "none")


# In the backbone

HISTORY = History(np.array([0, 1, 2, 3, 1, 4]))
LAYOUT = Layout.of([(0, 3, Grain.SESSION), (3, 4, Grain.TEXT), (4, 6, Grain.ITEM)])


def slow_inputs(backbone, encoder):
    """The prompt of HISTORY under LAYOUT, position by position."""
    weight, vectors, prompt = backbone.embedding, backbone.items.vectors, encoder.prompt
    if backbone.items.head is not None and backbone.items.head.table == "tied":
        vectors = backbone.items.head.free * backbone.embedding.shape[1] ** 0.5

    def item(number):
        patch = torch.stack([weight[token] for token in encoder.texts.of(number)]).mean(0)
        return patch if vectors is None else patch + vectors[number]

    separator = weight[prompt.separator]
    rows = [weight[token] for token in prompt.head]
    rows += [(item(0) + item(1) + item(2)) / 3, separator]
    rows += [*(weight[token] for token in encoder.titles.of(3)), separator]
    rows += [item(1), separator, item(4), separator]
    return torch.stack([*rows, *(weight[token] for token in prompt.tail)])


def prompt_batch(backbone, encoder):
    forest, (nodes,) = grow([encoder.prompt_path(HISTORY, LAYOUT)])
    return backbone.batch(encoder, [Extension(forest)]), nodes


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_vectors_are_added_to_item_patches_and_averaged_in_session_patches(backbone, encoder, config):
    with_items(backbone, config)
    own = encoder.fresh()
    batch, nodes = prompt_batch(backbone, own)
    found, expected = backbone.embed(batch)[nodes], slow_inputs(backbone, own)
    torch.testing.assert_close(found, expected)
    parameters = [backbone.embedding]
    if backbone.items.adds_vectors:
        parameters.append(backbone.items.head.free if config.table == "tied" else backbone.items.vectors)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), parameters),
        torch.autograd.grad((expected * weights).sum(), parameters),
    )


def test_vectors_in_a_forest_without_patches_change_nothing(backbone, encoder):
    with_items(backbone, ItemSideConfig(None, item_vectors=True))
    forest, _ = grow([np.array([7, 8, 9])])
    assert torch.equal(backbone.embed(backbone.batch(encoder, [Extension(forest)])), backbone.embedding[[7, 8, 9]])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@torch.no_grad()
def test_what_is_remembered_for_ranking_changes_nothing_and_costs_nothing(backbone, encoder, config, monkeypatch):
    with_items(backbone, config)
    own = encoder.fresh()
    batch, _ = prompt_batch(backbone, own)
    hidden = backbone.hidden(batch)
    logits = None if config.table is None else backbone.item_logits(hidden, own)
    backbone.remember_items(encoder)
    batch, _ = prompt_batch(backbone, own)
    assert batch.table is not None
    assert batch.items is None
    torch.testing.assert_close(backbone.hidden(batch), hidden)
    if logits is not None:
        monkeypatch.setattr(type(backbone.items.head), "weight_and_bias", lambda *_: pytest.fail("computed again"))
        torch.testing.assert_close(backbone.item_logits(hidden, own), logits)


def test_what_is_remembered_has_no_gradient_and_goes_with_the_embeddings(backbone, encoder):
    with_items(backbone, ItemSideConfig("patch"))
    backbone.remember_items(encoder)
    hidden = torch.randn(2, backbone.embedding.shape[1])
    assert backbone.item_logits(hidden, encoder).requires_grad
    with torch.no_grad():
        before = backbone.item_logits(hidden, encoder)
        backbone.model.get_input_embeddings().weight.data = backbone.embedding.flip(0).clone()
        assert not torch.allclose(backbone.item_logits(hidden, encoder), before)


def test_a_head_over_more_items_than_tokens_is_remembered_too(tiny_folder, backbone):
    number = backbone.vocab_size + 1
    large = make_encoder(tiny_folder, [f"title {n}" for n in range(number)], PromptConfig(), backbone.vocab_size)
    with_items(backbone, ItemSideConfig("patch", item_vectors=True), num_items=number)
    with torch.no_grad():
        hidden = torch.randn(2, backbone.embedding.shape[1])
        expected = backbone.item_logits(hidden, large)
        backbone.remember_items(large)
        torch.testing.assert_close(backbone.item_logits(hidden, large), expected)
        batch = backbone.batch(large, [Extension(grow([np.array([backbone.vocab_size + 7])])[0])])
        assert batch.table is None
        patch = backbone.embedding[large.titles.of(7)].mean(0) + backbone.items.vectors[7]
        torch.testing.assert_close(backbone.embed(batch)[0], patch)


def test_patches_may_be_made_of_other_texts_than_titles(tiny_folder, backbone, encoder):
    texts = [f"{title} (19{80 + number})" for number, title in enumerate(TITLES)]
    other = make_encoder(tiny_folder, texts, PromptConfig(), backbone.vocab_size)
    both = PathEncoder(encoder.prompt, encoder.titles, backbone.vocab_size, other.titles).fresh()
    backbone.items = make_side(ItemSideConfig(None), width=backbone.embedding.shape[1])
    batch, nodes = prompt_batch(backbone, both)
    torch.testing.assert_close(backbone.embed(batch)[nodes], slow_inputs(backbone, both))
    mean = torch.stack([backbone.embedding[other.titles.of(item)].mean(0) for item in range(I)])
    torch.testing.assert_close(backbone.item_patches(both), mean)
    assert both.answer_path(1).tolist() == encoder.answer_path(1).tolist()
    with torch.no_grad():
        backbone.remember_items(both)
        batch, nodes = prompt_batch(backbone, both)
        assert batch.table is not None
        torch.testing.assert_close(backbone.embed(batch)[nodes], slow_inputs(backbone, both))


@pytest.mark.parametrize("table", ["tied", "patch", "free"])
@pytest.mark.parametrize("grad", [True, False])
def test_one_pass_gives_both_losses(backbone, encoder, table, grad):
    with_items(backbone, ItemSideConfig(table, item_vectors=True))
    batch, nodes = prompt_batch(backbone, encoder.fresh())
    titles, items = labels_of((3, 9, 1), (int(nodes[-1]), 7, 2)), labels_of((int(nodes[-1]), 3, 1))
    with torch.set_grad_enabled(grad):
        both = backbone(batch, titles, items)
        assert both.shape == (2,)
        assert torch.equal(both[0], backbone(batch, titles)[0])
        assert torch.equal(both[1], backbone(batch, None, items)[1])
        assert backbone(batch, titles)[1] == 0
        assert backbone(batch, None, items)[0] == 0
        hidden = backbone.hidden(batch)
        logits = backbone.item_logits(hidden, encoder)
        if grad and table != "free":  # what nobody chose is no class while it learns
            logits = logits.masked_fill(torch.from_numpy(~CHOSEN), -torch.inf)
        expected = -logits.log_softmax(dim=1)[nodes[-1], 3]
        torch.testing.assert_close(both[1], expected)
        assert both.requires_grad == grad
    if grad:
        both[1].backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in backbone.items.parameters())


def test_items_are_parameters_of_the_backbone_and_not_of_the_exported_model(backbone, tmp_path):
    names = set(backbone.model.state_dict())
    with_items(backbone, ItemSideConfig("patch", item_vectors=True))
    assert set(backbone.model.state_dict()) == names
    own = {name for name, _ in backbone.named_parameters() if name.startswith("items.")}
    assert own == {"items.vectors", *(f"items.head.{name}" for name in ("projection", "free", "prior_scale"))}
    backbone.save(tmp_path)
    assert set(Backbone.load(tmp_path, name="again", device="cpu").model.state_dict()) == names


# Fewer layers

SMALL = {"vocab_size": 263, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
MODELS = {
    "Llama": SMALL | {"num_hidden_layers": 3, "num_key_value_heads": 2},
    "Qwen3": SMALL | {"num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 8},
    "GPT2": {"vocab_size": 263, "n_embd": 32, "n_layer": 3, "n_head": 4},
}


@pytest.mark.parametrize("name", MODELS)
def test_the_first_layers_compute_what_a_model_of_so_many_layers_would(tiny_folder, tmp_path, name):
    import transformers

    torch.manual_seed(0)
    kind = f"{name}LMHead" if name == "GPT2" else f"{name}ForCausal"
    model = getattr(transformers, f"{kind}Model" if name == "GPT2" else f"{kind}LM")
    whole = model(getattr(transformers, f"{name}Config")(**MODELS[name])).eval()
    tokens = torch.tensor([[7, 9, 8]])
    with torch.no_grad():
        middle = whole.base_model(tokens, output_hidden_states=True).hidden_states[1]
        norm = whole.base_model.ln_f if name == "GPT2" else whole.base_model.norm
        expected = norm(middle)[0]  # after the first layer
        backbone = Backbone(whole, name, tiny_folder)
        backbone.keep_layers(1)
        backbone.check_forest()
        batch = backbone._single_tokens(Extension(grow([tokens[0].numpy()])[0]))
        torch.testing.assert_close(backbone.hidden(batch), expected)
        backbone.save(tmp_path / "cut")
        again = Backbone.load(tmp_path / "cut", name=name, device="cpu")
        assert again.model.config.num_hidden_layers == 1
        assert torch.equal(again.hidden(batch), backbone.hidden(batch))


@pytest.mark.parametrize("number", [0, 3])
def test_layers_that_are_not_there_cannot_be_kept(backbone, number):
    with pytest.raises(UsageError, match=rf"--layers {number}: tiny-random has 2; take 1 to 2"):
        backbone.keep_layers(number)


def test_all_layers_may_be_kept(backbone, tiny):
    backbone.keep_layers(2)
    batch = tiny._single_tokens(Extension(grow([np.array([7, 9])])[0]))
    with torch.no_grad():
        assert torch.equal(backbone.hidden(batch), tiny.hidden(batch))
