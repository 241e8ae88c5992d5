"""The backbone over forests: each node equals its path alone, with and without the cache."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.config import PromptConfig
from patchrec.errors import InputError, NotFoundError, UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import ITEM_MARKER, SESSION_MARKER
from patchrec.model.pull import count_parameters, locate
from patchrec.model.tokenizer import load_tokenizer, make_encoder, tokenizer_fingerprint, vocab_size

TITLES = ("Toy Story", "Alien", "Aliens", "M")


@pytest.fixture(scope="module")
def encoder(tiny_folder: Path, tiny: Backbone) -> PathEncoder:
    return make_encoder(tiny_folder, TITLES, PromptConfig(), tiny.vocab_size)


PATCH = 263  # after 261 tokens and the two markers: the first item patch
paths_of_keys = st.lists(
    st.lists(st.sampled_from([7, 8, 9, PATCH, PATCH + 3]), min_size=1, max_size=9), min_size=1, max_size=6
)


def test_every_backbone_has_the_patch_markers_and_room_for_them(tiny_folder: Path, tiny: Backbone) -> None:
    tokenizer = tiny.tokenizer()
    assert {ITEM_MARKER, SESSION_MARKER} <= set(tokenizer.get_added_vocab())
    assert tiny.vocab_size == len(tokenizer) == vocab_size(tiny_folder) == PATCH
    torch.testing.assert_close(tiny.embedding[PATCH - 1], tiny.embedding[: PATCH - 2].mean(0))


def test_a_saved_tokenizer_keeps_its_fingerprint(tiny: Backbone, tmp_path: Path) -> None:
    tiny.save(tmp_path)
    assert tokenizer_fingerprint(load_tokenizer(tmp_path)) == tokenizer_fingerprint(tiny.tokenizer())


def alone(backbone: Backbone, encoder: PathEncoder, path: np.ndarray) -> torch.Tensor:
    """Hidden states of one path by the model's own plain forward pass: no tree, no mask of ours, no cache."""
    rows = []
    for key in path:
        tokens = encoder.titles.of(encoder.items_of(int(key))[0]) if key >= backbone.vocab_size else [int(key)]
        rows.append(torch.stack([backbone.embedding[token] for token in tokens]).mean(0))
    return backbone.model.base_model(inputs_embeds=torch.stack(rows)[None], use_cache=False).last_hidden_state[0]


@given(paths_of_keys)
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_every_node_equals_its_path_run_alone(encoder: PathEncoder, tiny: Backbone, paths: list[list[int]]) -> None:
    arrays = [np.array(path) for path in paths]
    forest, nodes = grow(arrays)
    hidden = tiny.hidden(tiny.batch(encoder, [Extension(forest)]))
    for array, along in zip(arrays, nodes, strict=True):
        torch.testing.assert_close(hidden[along], alone(tiny, encoder, array), atol=1e-5, rtol=1e-4)


@given(paths_of_keys, paths_of_keys, st.data())
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_a_forest_hung_under_a_cached_node_equals_the_whole_path(
    encoder: PathEncoder, tiny: Backbone, prompts: list[list[int]], answers: list[list[int]], data: st.DataObject
) -> None:
    prompt_forest, prompt_nodes = grow([np.array(path) for path in prompts])
    answer_forest, answer_nodes = grow([np.array(path) for path in answers])
    chosen = data.draw(st.integers(0, len(prompts) - 1))
    _, context = tiny.prefill(encoder, prompt_forest)
    for keep in (True, False):  # the context stays as it is
        extension = Extension.at(answer_forest, context, int(prompt_nodes[chosen][-1]))
        hidden, _ = tiny.extend(encoder, [extension], keep=keep)
        for answer, along in zip(answers, answer_nodes, strict=True):
            whole = alone(tiny, encoder, np.array(prompts[chosen] + answer))
            torch.testing.assert_close(hidden[along], whole[len(prompts[chosen]) :], atol=1e-5, rtol=1e-4)


@given(paths_of_keys)
@settings(max_examples=15, deadline=None)
@torch.no_grad()
def test_item_patches_computed_once_change_nothing(
    encoder: PathEncoder, tiny_folder: Path, paths: list[list[int]]
) -> None:
    plain, remembering = (Backbone.load(tiny_folder, name="tiny", device="cpu") for _ in range(2))
    remembering.remember_items(encoder)
    own = encoder.fresh()
    history = History(np.array([0, 1, 2, 3, 0]))
    session = own.prompt_path(history, Layout.of([(0, 3, Grain.SESSION), (3, 5, Grain.ITEM)]))
    forest, _ = grow([session, *map(np.array, paths)])
    expected = plain.embed(plain.batch(own, [Extension(forest)]))
    torch.testing.assert_close(remembering.embed(remembering.batch(own, [Extension(forest)])), expected)
    assert torch.equal(remembering.embedding, plain.embedding)


def test_a_catalog_larger_than_the_vocabulary_is_looked_up_token_by_token(tiny_folder: Path) -> None:
    backbone = Backbone.load(tiny_folder, name="tiny", device="cpu")
    titles = [f"title {number}" for number in range(backbone.vocab_size + 1)]
    large = make_encoder(tiny_folder, titles, PromptConfig(), backbone.vocab_size)
    backbone.remember_items(large)
    forest, _ = grow([np.array([backbone.vocab_size + 7])])
    assert backbone.batch(large, [Extension(forest)]).table is None


@torch.no_grad()
def test_attention_skips_what_no_row_of_a_tile_sees(encoder: PathEncoder, tiny: Backbone) -> None:
    """Ten long prompts that share nothing cost ten triangles, not one square."""
    paths = [np.array([first, *([7] * 199)]) for first in range(10, 20)]
    forest, _ = grow(paths)
    assert tiny.batch(encoder, [Extension(forest)]).visibility.num_pairs < 10 * 200 * 200 * 1.5


def test_logits_are_those_of_the_model_s_own_forward_pass(encoder: PathEncoder, tiny: Backbone) -> None:
    tokens = np.array([7, 9, 8, 7])
    forest, (nodes,) = grow([tokens])
    with torch.no_grad():
        ours = tiny.logits(tiny.hidden(tiny.batch(encoder, [Extension(forest)]))[nodes])
        theirs = tiny.model(input_ids=torch.from_numpy(tokens)[None]).logits[0]
    torch.testing.assert_close(ours, theirs)


def test_a_saved_backbone_loads_with_equal_weights(tiny: Backbone, tmp_path: Path) -> None:
    tiny.save(tmp_path)
    again = Backbone.load(tmp_path, name="again", device="cpu")
    for before, after in zip(tiny.parameters(), again.parameters(), strict=True):
        assert torch.equal(before, after)


def test_tiny_random_is_the_same_model_every_time(tiny: Backbone, tmp_path: Path) -> None:
    again = Backbone.load(locate("tiny-random", tmp_path).folder, name="again", device="cpu")
    assert torch.equal(tiny.embedding, again.embedding)


def test_parameters_are_counted_without_loading(tiny_folder: Path, tiny: Backbone) -> None:
    unique = {id(parameter): parameter.numel() for parameter in tiny.parameters()}
    markers = 2 * tiny.embedding.shape[1]
    assert count_parameters(tiny_folder) + markers == sum(unique.values())


def test_an_unknown_backbone_is_refused_with_a_guess(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'smollm2-135m'"):
        locate("smollm-135m", tmp_path)


def test_pickled_weights_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(InputError, match="no pickled weights"):
        Backbone.load(tmp_path / "model", name="pickled")


def test_a_model_with_code_of_its_own_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(InputError, match="code of its own"):
        Backbone.load(tmp_path / "model", name="evil")


def test_a_torn_weight_file_is_an_input_error(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError):
        Backbone.load(tmp_path / "model", name="torn")


def test_a_broken_configuration_is_an_input_error(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    (tmp_path / "model" / "config.json").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match=r"config\.json"):
        Backbone.load(tmp_path / "model", name="broken")


def test_weights_that_are_no_safetensors_are_an_input_error(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match=r"model.safetensors"):
        locate(str(tmp_path / "model"), tmp_path)


def test_a_model_with_sliding_window_attention_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    shutil.copytree(tiny_folder, tmp_path / "model")
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    MistralForCausalLM(MistralConfig(vocab_size=261, num_key_value_heads=2, sliding_window=4, **small)).save_pretrained(
        tmp_path / "model"
    )
    with pytest.raises(UsageError, match="see 4 tokens only"):
        Backbone.load(tmp_path / "model", name="mistral")


SMALL = {
    "vocab_size": 263,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
GROUPED = SMALL | {"num_key_value_heads": 2}
ARCHITECTURES = {
    "Llama": GROUPED,
    "Qwen2": GROUPED,
    "Qwen3": GROUPED | {"head_dim": 8},
    "Mistral": GROUPED | {"sliding_window": None},
    "Gemma": GROUPED | {"head_dim": 8},  # scales its embeddings
    "Phi3": GROUPED | {"pad_token_id": 0},
    "Olmo2": GROUPED,
    "Granite": GROUPED,
    "GPTNeoX": SMALL,
    "GPT2LMHead": {"vocab_size": 263, "n_embd": 32, "n_layer": 2, "n_head": 4},
}


def model_of(tiny_folder: Path, folder: Path, name: str, config: dict[str, int | None]) -> Path:
    """A small random model of an architecture, with the tiny tokenizer."""
    import transformers

    kind = getattr(transformers, name.removesuffix("LMHead") + "Config")
    model = getattr(transformers, f"{name}Model" if name.endswith("LMHead") else f"{name}ForCausalLM")
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    model(kind(**config)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_with_plain_attention_run_forests(tiny_folder: Path, tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    folder = model_of(tiny_folder, tmp_path / name, name, ARCHITECTURES[name])
    Backbone.load(folder, name=name, device="cpu")  # which holds a forest against the model's own forward pass


@pytest.mark.parametrize(
    ("name", "config"),
    [("StableLm", GROUPED), ("Mamba", {"vocab_size": 263, "hidden_size": 32, "num_hidden_layers": 2})],
)
def test_other_architectures_are_refused(tiny_folder: Path, tmp_path: Path, name: str, config: dict[str, int]) -> None:
    folder = model_of(tiny_folder, tmp_path / name, name, config)
    with pytest.raises((UsageError, InputError), match=name.lower() if name == "StableLm" else name):
        Backbone.load(folder, name=name, device="cpu")
