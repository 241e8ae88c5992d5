"""Tokenizers are read once where the same files are, and no use changes what another reads."""

import shutil

import numpy as np

from patchrec.config import PromptConfig
from patchrec.model.prompt import build_prompt
from patchrec.model.titles import markup_of
from patchrec.model.tokenizer import encode_titles, load_tokenizer, make_encoder, shared_tokenizer


def test_one_object_serves_all_folders_with_the_same_files(tiny_folder, tmp_path):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    shared = shared_tokenizer(tiny_folder)
    assert shared_tokenizer(copy) is shared
    assert load_tokenizer(copy) is not shared
    (copy / "tokenizer_config.json").write_text((copy / "tokenizer_config.json").read_text() + "\n")
    assert shared_tokenizer(copy) is not shared


def test_titles_read_letter_by_letter_leave_markup_whole_in_prompts(tiny_folder):
    markup, token = min(markup_of(shared_tokenizer(tiny_folder)).items())
    prompt = build_prompt(shared_tokenizer(tiny_folder), PromptConfig(form="continuation"))
    titles = encode_titles(tiny_folder, [f"a{markup}b"], prompt)
    assert token not in titles.of(0)
    assert shared_tokenizer(tiny_folder)(markup, add_special_tokens=False).input_ids == [token]
    assert np.array_equal(encode_titles(tiny_folder, [f"a{markup}b"], prompt).of(0), titles.of(0))
    encoder = make_encoder(tiny_folder, ["Alien"], PromptConfig(), 300)
    assert encoder.prompt.fingerprint == build_prompt(load_tokenizer(tiny_folder), PromptConfig()).fingerprint
