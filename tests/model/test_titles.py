"""Title tokens: titles stay text whatever they look like."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.config import PromptConfig
from patchrec.errors import InputError
from patchrec.model.prompt import build_prompt
from patchrec.model.titles import TitleTokens
from patchrec.model.tokenizer import load_tokenizer

LOOKALIKES = ["<|eot|>", "<|bos|>", "<|user|>", "A <|assistant|> B", "<|item_patch|>", "</s>", "[INST]", "{{ x }}"]


@pytest.mark.parametrize("title", LOOKALIKES)
def test_a_title_that_looks_like_a_control_token_stays_text(tiny_folder: Path, title: str) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    ids = TitleTokens.encode(load_tokenizer(tiny_folder), [title]).of(0)
    assert not set(ids.tolist()) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids) == title


@given(title=st.text(min_size=1).filter(str.strip))
def test_no_title_holds_a_token_that_structures_the_prompt(tiny_folder: Path, title: str) -> None:
    prompt = build_prompt(load_tokenizer(tiny_folder), PromptConfig())
    ids = TitleTokens.encode(load_tokenizer(tiny_folder), [title], (prompt.separator, prompt.end)).of(0)
    assert len(ids) > 0


def test_a_line_break_in_a_title_becomes_a_space(tiny_folder: Path) -> None:
    broken, plain = TitleTokens.encode(load_tokenizer(tiny_folder), ["Alien\r\n3", "Alien 3"]).of(0), None
    plain = TitleTokens.encode(load_tokenizer(tiny_folder), ["Alien 3"]).of(0)
    assert broken.tolist() == plain.tolist()


@given(titles=st.lists(st.text(min_size=1).filter(str.strip), max_size=7), block=st.integers(1, 8))
def test_titles_encoded_in_blocks_are_those_encoded_at_once(tiny_folder: Path, titles: list[str], block: int) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    at_once, in_blocks = TitleTokens.encode(tokenizer, titles), TitleTokens.encode(tokenizer, titles, block=block)
    assert at_once.ids.tolist() == in_blocks.ids.tolist()
    assert at_once.offsets.tolist() == in_blocks.offsets.tolist()


@pytest.mark.parametrize("block", [1, 2, 5])
def test_the_first_title_at_fault_is_named_whatever_the_block(tiny_folder: Path, block: int) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    letter = tokenizer("x", add_special_tokens=False).input_ids[0]
    with pytest.raises(InputError, match="'box'"):
        TitleTokens.encode(tokenizer, ["Alien", "box", "Heat", "axe"], reserved=[letter], block=block)
    with pytest.raises(InputError, match="'' has no tokens"):
        TitleTokens.encode(tokenizer, ["box", "Alien", "Heat", ""], reserved=[letter], block=block)


def test_a_title_without_tokens_is_refused_by_name(tiny_folder: Path) -> None:
    with pytest.raises(InputError, match="''"):
        TitleTokens.encode(load_tokenizer(tiny_folder), ["Alien", ""])


def test_a_reserved_token_in_a_title_is_refused_by_name(tiny_folder: Path) -> None:
    letter = load_tokenizer(tiny_folder)("x", add_special_tokens=False).input_ids[0]
    with pytest.raises(InputError, match="'box'"):
        TitleTokens.encode(load_tokenizer(tiny_folder), ["Alien", "box"], reserved=[letter])
