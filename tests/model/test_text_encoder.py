"""Vectors of texts by T5, BERT and a causal model: the mean of the states, whatever stands beside a text."""

from pathlib import Path
from typing import Any

import pytest
import torch
from text_models import make_encoder_folder
from transformers import AutoModel, AutoTokenizer, T5EncoderModel

from patchrec.errors import InputError
from patchrec.model.pull import locate
from patchrec.model.scratch import make_scratch, word_tokenizer
from patchrec.model.start_files import start_files
from patchrec.model.text_encoder import TextEncoder, load_encoder, text_tokens

TITLES = ("Alien", "Alien 3: the return", "Heat </s> <unk>", "Up! Up! And away", "Ран")
FAMILIES = ("t5", "bert", "causal")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("encoders")
    made = {name: make_encoder_folder(base / name, name, TITLES) for name in ("t5", "bert")}
    return {**made, "causal": locate("tiny-random", base / "pulled").folder}


def slow_vector(folder: Path, title: str) -> torch.Tensor:
    """One title alone, by the model as transformers reads it."""
    config = AutoModel.from_pretrained(folder).config
    model = (T5EncoderModel if config.model_type == "t5" else AutoModel).from_pretrained(folder).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    bare = tokenizer(title, add_special_tokens=False, split_special_tokens=True).input_ids
    whole = tokenizer("a").input_ids
    at = whole.index(tokenizer("a", add_special_tokens=False).input_ids[0])
    ids = torch.tensor([[*whole[:at], *bare, *whole[at + 1 :]]])
    with torch.no_grad():
        vector: torch.Tensor = model(input_ids=ids).last_hidden_state[0].mean(dim=0)
    return vector


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_has_the_mean_of_its_states_whatever_stands_beside_it(
    folders: dict[str, Path], family: str, trained: bool
) -> None:
    encoder = TextEncoder(folders[family], TITLES, len(TITLES), trained=trained, is_new=True).eval()
    expected = torch.stack([slow_vector(folders[family], title) for title in TITLES])
    torch.testing.assert_close(encoder.all(), expected, rtol=1e-4, atol=1e-5)
    asked = torch.tensor([3, 0, 3])
    torch.testing.assert_close(encoder(asked), expected[asked], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_has_all_that_makes_it_again(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    """Files and weights; a title that came later is read by the weights kept."""
    whole = TextEncoder(folders[family], TITLES, len(TITLES), trained=False, is_new=True).eval()
    fitted = TextEncoder(folders[family], TITLES[:3], 3, trained=False, is_new=True)
    for name, content in fitted.files.items():
        (tmp_path / name).write_bytes(content)
    assert not list(tmp_path.glob("*.safetensors"))
    again = TextEncoder(tmp_path, TITLES, 3, trained=False, is_new=False)
    again.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(again.eval().all(), whole.all())
    torch.testing.assert_close(again(torch.tensor([1, 4])), whole.all()[[1, 4]])


def test_only_the_texts_asked_for_are_read_where_the_model_learns(folders: dict[str, Path]) -> None:
    encoder = TextEncoder(folders["t5"], TITLES, len(TITLES), trained=True, is_new=True)
    read: list[tuple[int, ...]] = []
    encoder.model.register_forward_pre_hook(
        lambda _, __, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    vectors = encoder(torch.tensor([2, 0, 2, 2]))
    assert vectors.shape == (4, 16)
    assert [rows for rows, _ in read] == [2]
    vectors.sum().backward()
    assert all(own.grad is not None for own in encoder.model.parameters() if own.requires_grad)


def test_a_frozen_model_learns_nothing_and_drops_nothing_out(folders: dict[str, Path]) -> None:
    encoder = TextEncoder(folders["bert"], TITLES, 3, trained=False, is_new=True).train()
    assert not [own for own in encoder.parameters() if own.requires_grad]
    torch.testing.assert_close(encoder.all(), encoder.all(), rtol=0, atol=0)


def test_titles_are_data_in_front_of_every_model(folders: dict[str, Path]) -> None:
    ids, lengths = text_tokens(folders["t5"], TITLES, 64)
    tokenizer = AutoTokenizer.from_pretrained(folders["t5"])
    row = ids[2, : lengths[2]].tolist()
    assert row.count(tokenizer.eos_token_id) == 1  # the model's own, at the end
    assert row[-1] == tokenizer.eos_token_id
    short, cut = text_tokens(folders["t5"], TITLES, 2)
    assert (short.shape[1], cut.max()) == (3, 3)


def test_weights_that_are_missing_are_no_encoder(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "torn"
    folder.mkdir()
    for name, content in start_files(folders["t5"]).items():
        (folder / name).write_bytes(content)
    held = load_file(folders["t5"] / "model.safetensors")
    save_file({"shared.weight": held["shared.weight"]}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="lacks weights of a text encoder, such as encoder"):
        load_encoder(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="reads no pickled weights"):
        load_encoder(folder)


def test_words_of_a_catalog_make_the_same_tokenizer_every_time(tmp_path: Path) -> None:
    one, other = (word_tokenizer(TITLES) for _ in range(2))
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
    assert one.tokenize("ALIEN away, never") == ["alien", "away", "<unk>", "<unk>"]
    make_scratch(tmp_path, TITLES, d_model=8, num_heads=1, d_kv=8, d_ff=8, num_layers=1)
    model = load_encoder(tmp_path)
    assert model.config.vocab_size == len(one)
    assert model.config.num_layers == 1
