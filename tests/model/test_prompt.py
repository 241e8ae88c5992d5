"""The prompt: fixed, with one BOS, and ended by the model's own end of turn."""

from pathlib import Path
from typing import get_args

import pytest

from patchrec.config import PromptConfig, PromptForm
from patchrec.model.prompt import build_prompt
from patchrec.model.tokenizer import load_tokenizer

FORMS = get_args(PromptForm)

# Shortened from the shape of templates in use: one that writes today's date unless it is told one.
DATED = (
    "{{ bos_token }}{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{{ date_string }}{% for m in messages %}<|user|>{{ m.content }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize("form", FORMS)
def test_a_prompt_begins_with_exactly_one_bos(tiny_folder: Path, form: str) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    prompt = build_prompt(tokenizer, PromptConfig(form=form))
    whole = [*prompt.head.tolist(), *prompt.tail.tolist()]
    assert whole[0] == tokenizer.bos_token_id
    assert whole.count(tokenizer.bos_token_id) == 1


def test_a_chat_answer_ends_with_the_end_of_turn_token(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    prompt = build_prompt(tokenizer, PromptConfig(form="paper"))
    assert prompt.end == tokenizer.convert_tokens_to_ids("<|eot|>")


def test_a_continuation_ends_a_title_with_the_separator(tiny_folder: Path) -> None:
    prompt = build_prompt(load_tokenizer(tiny_folder), PromptConfig(form="continuation"))
    assert prompt.end == prompt.separator
    assert len(prompt.tail) == 0


def test_the_paper_s_form_puts_the_request_after_the_history(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    after = build_prompt(tokenizer, PromptConfig(form="paper", noun="movie"))
    before = build_prompt(tokenizer, PromptConfig(form="instruction-first", noun="movie"))
    assert "one movie" in tokenizer.decode(after.tail)
    assert "one movie" in tokenizer.decode(before.head)
    assert len(before.tail) < len(after.tail)


def test_a_template_s_date_is_pinned(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    tokenizer.chat_template = DATED
    head = tokenizer.decode(build_prompt(tokenizer, PromptConfig(form="paper")).head)
    assert head.startswith("<|bos|>26 Jul 2024")


def test_a_model_without_a_chat_template_gets_plain_lines(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    tokenizer.chat_template = None
    prompt = build_prompt(tokenizer, PromptConfig(form="paper"))
    assert prompt.end == tokenizer.eos_token_id
    assert tokenizer.decode(prompt.tail).endswith("\n")


def test_every_part_of_a_prompt_moves_its_fingerprint(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    prints = {
        build_prompt(tokenizer, PromptConfig(form=form, noun=noun, separators=separators)).fingerprint
        for form in FORMS
        for noun in ("movie", "book")
        for separators in ("all", "titles")
    }
    assert len(prints) == len(FORMS) * 4


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("movie", "Movies"), ("story", "Stories"), ("box", "Boxes"), ("toy", "Toys"), ("dish", "Dishes")],
)
def test_nouns_are_put_in_the_plural(tiny_folder: Path, noun: str, plural: str) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    prompt = build_prompt(tokenizer, PromptConfig(form="continuation", noun=noun))
    assert tokenizer.decode(prompt.head).startswith(f"<|bos|>{plural} a user has chosen")


def test_a_template_without_a_system_turn_gets_its_text_in_the_user_s(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer.chat_template = refusal + tokenizer.chat_template
    head = tokenizer.decode(build_prompt(tokenizer, PromptConfig(form="paper", noun="movie")).head)
    assert head.startswith("<|bos|><|user|>You recommend movies.\nHere are")
