"""Models of random weights: their tokens spell everything, and the same seed makes the same files."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.errors import UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.made import FEWEST_TOKENS, TINY, Shape, is_made, make_model, make_tiny

TITLES = ("Toy Story", "Toy Story 2", "The Lion King", "The Lion in Winter", "Amélie", "Léon")
SHAPE = Shape(width=16, layers=1, heads=2, tokens=300)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "model"
    make_model(folder, SHAPE, TITLES, seed=3)
    return folder


@pytest.fixture(scope="module")
def tokenizer(made):
    return Backbone.load(made, name="made", device="cpu").tokenizer()


@given(st.text(max_size=40))
def test_any_text_is_spelled_and_read_back(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    whole = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert whole == text or any(token in text for token in tokenizer.all_special_tokens)


def test_titles_that_it_learned_from_take_few_tokens(tokenizer):
    lengths = [len(tokenizer(title, add_special_tokens=False).input_ids) for title in TITLES]
    assert max(lengths) <= 9
    assert lengths[0] < len(TITLES[0])
    assert len(tokenizer) <= SHAPE.tokens


def test_equal_seeds_make_equal_files_and_others_other_weights(made, tmp_path):
    make_model(tmp_path / "again", SHAPE, TITLES, seed=3)
    make_model(tmp_path / "other", SHAPE, TITLES, seed=4)
    assert digests(tmp_path / "again") == digests(made)
    differ = {name for name, digest in digests(tmp_path / "other").items() if digest != digests(made)[name]}
    assert differ == {"model.safetensors"}


def test_a_made_model_says_so_and_its_checkpoints_do(made, tmp_path):
    backbone = Backbone.load(made, name="made", device="cpu")
    assert is_made(backbone.model.config)
    backbone.save(tmp_path / "again")
    assert is_made(Backbone.load(tmp_path / "again", name="made", device="cpu").model.config)
    backbone.model.config.made_by = "others"
    assert not is_made(backbone.model.config)


def test_without_texts_every_byte_is_a_token(tmp_path):
    make_tiny(tmp_path / "tiny")
    tiny = Backbone.load(tmp_path / "tiny", name="tiny", device="cpu").tokenizer()
    assert tiny.vocab_size == FEWEST_TOKENS
    assert len(tiny("Léon", add_special_tokens=False).input_ids) == 5


@pytest.mark.parametrize("shape", [SHAPE, TINY, Shape(width=64, layers=3, heads=4, key_heads=1, inner=80, tokens=900)])
def test_files_are_about_as_large_as_is_said_beforehand(tmp_path, shape):
    make_model(tmp_path / "model", shape, [f"Film {number}" for number in range(900)])
    size = sum(path.stat().st_size for path in (tmp_path / "model").iterdir())
    assert 0.7 * shape.num_bytes < size <= shape.num_bytes


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (Shape(width=30, heads=4), r"--width 30 must be a multiple of twice --heads 4, .* take 32"),
        (Shape(tokens=100), f"--tokens 100: at least {FEWEST_TOKENS}"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_before_anything_is_written(tmp_path, shape, said):
    with pytest.raises(UsageError, match=said):
        make_model(tmp_path / "none", shape, TITLES)
    assert not (tmp_path / "none").exists()
