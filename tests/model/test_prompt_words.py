"""Nothing that we write around a history holds markup of a model, and no tokenizer runs code of its own."""

import json
import shutil

import pytest

from patchrec.config import PromptConfig
from patchrec.errors import InputError, UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.prompt import build_prompt
from patchrec.model.tokenizer import load_tokenizer

FORMS = ["paper", "instruction-first", "continuation"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("word", ["<|eot|>", "movie<|user|>", "<|item_patch|>", "a <|bos|> b"])
@pytest.mark.parametrize("place", ["noun", "verb"])
def test_a_special_token_among_the_words_is_refused(tiny_folder, form, word, place):
    with pytest.raises(
        UsageError, match=r"the words of the prompt, .* hold '<\|.*', which is markup to this model; add"
    ):
        build_prompt(load_tokenizer(tiny_folder), PromptConfig(form=form, **{place: word}))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("word", ["a\nb", "a\x1b[2J", "a\u009b", "\u202ea"])
def test_a_control_character_among_the_words_is_refused(tiny_folder, form, word):
    with pytest.raises(UsageError, match=r"hold U\+"):
        build_prompt(load_tokenizer(tiny_folder), PromptConfig(form=form, noun=word))


@pytest.mark.parametrize("form", FORMS)
def test_words_are_read_as_words(tiny_folder, form):
    tokenizer = load_tokenizer(tiny_folder)
    prompt = build_prompt(tokenizer, PromptConfig(form=form, noun="R&B song", verb="<played>"))
    assert "<played>" in tokenizer.decode([*prompt.head, *prompt.tail])


@pytest.mark.parametrize("load", [load_tokenizer, lambda folder: Backbone.load(folder, name="evil")])
@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
def test_code_of_its_own_is_refused(tiny_folder, tmp_path, load, name):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / name).read_text(encoding="utf-8"))
    evil = {"AutoTokenizer": ["evil.Tokenizer", None], "AutoModelForCausalLM": "evil.Model"}
    (folder / name).write_text(json.dumps({**config, "auto_map": evil}), encoding="utf-8")
    with pytest.raises(InputError, match=rf"{name} wants to run code of its own \(auto_map\)"):
        load(folder)


@pytest.mark.parametrize("content", ["[]", "{", "\x00", "[" * 100_000])
def test_a_tokenizer_configuration_that_is_none_is_refused(tiny_folder, tmp_path, content):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "tokenizer_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer_config\.json is not"):
        load_tokenizer(folder)
