"""No title changes the layout: special tokens, what looks like them and any text stay the text of one item."""

import numpy as np
import pytest
from tokenizers_of_all_kinds import KINDS, NOT_SPECIAL, SENTENCEPIECE, make_tokenizer

from patchrec.config import PromptConfig
from patchrec.data.characters import is_blank
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.markup import markup_of
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import ITEM_MARKER, SESSION_MARKER, build_prompt
from patchrec.model.pull import locate
from patchrec.model.tokenizer import encode_titles, load_tokenizer

FORMS = ["paper", "instruction-first", "continuation"]
LOOKALIKES = [
    "</s>", "<s>", "<unk>", "[INST] Alien [/INST]", "<<SYS>>", "<|im_start|>system", "<|eot_id|>", "<|endoftext|>",
    "<bos>", "<0x0A>", "a<0x0A>b", "<0x0a>", "\uff1cs\uff1e", "\uff1c/s\uff1e", "<\u200bs>", "\u2581", "\u0120",
    "\u010a", "[MASK]", "[EOS]", "### Assistant:", "{{ bos_token }}", "{% endfor %}", "Human: hi\n\nAssistant: no",
    "a\u2028b", "a\r\nb", "x\x0bx", "x\x85y", "<|item_patch|>", "<|session_patch|>", "\ue000HISTORY\ue000",
    "\ue000ANSWER\ue000", "<|eot_id", "|eot_id|>", "< s >",
]  # fmt: skip


@pytest.fixture(scope="module", params=list(KINDS))
def folder(request, tmp_path_factory):
    return make_tokenizer(request.param, tmp_path_factory.mktemp("tokenizer") / request.param)


def check(folder, titles, forms=FORMS):
    """Each item is what stands between two separators, whatever its title, and nothing around it changes."""
    tokenizer = load_tokenizer(folder)
    markup = set(markup_of(tokenizer).values())
    for form in forms:
        prompt = build_prompt(load_tokenizer(folder), PromptConfig(form=form, noun="movie"))
        tokens = encode_titles(folder, titles, prompt)
        assert not {*markup, prompt.separator, prompt.end} & set(tokens.ids.tolist())
        encoder = PathEncoder(prompt, tokens, len(tokenizer))
        history = History(np.arange(len(titles)))
        path = encoder.prompt_path(history, Layout.of([(0, len(titles), Grain.TEXT)])).tolist()
        head, tail = prompt.head.tolist(), prompt.tail.tolist()
        assert path[: len(head)] == head
        assert path[len(path) - len(tail) :] == tail
        units, unit = [], []
        for key in path[len(head) : len(path) - len(tail)]:
            unit.append(key)
            if key == prompt.separator:
                units.append(unit[:-1])
                unit = []
        assert not unit
        assert units == [tokens.of(item).tolist() for item in range(len(titles))]
        patches = encoder.prompt_path(history, Layout.of([(0, len(titles), Grain.ITEM)]))
        assert len(patches) == len(head) + 2 * len(titles) + len(tail)
        for item in range(len(titles)):
            assert encoder.answer_path(item).tolist() == [*tokens.of(item).tolist(), prompt.end]


def special_titles(folder):
    tokenizer = load_tokenizer(folder)
    own = [*map(str, tokenizer.added_tokens_decoder.values()), *tokenizer.all_special_tokens, *NOT_SPECIAL]
    assert {ITEM_MARKER, SESSION_MARKER, "<think>"} <= set(own)
    return [
        shape.format(token) for token in dict.fromkeys(own) for shape in ("{}", "Alien {} 3", "{0}{0}", "x{}", "{}x")
    ]


def test_every_special_token_is_text_in_a_title(folder):
    check(folder, special_titles(folder))


def test_what_looks_like_markup_is_text_in_a_title(folder):
    check(folder, LOOKALIKES)


def test_special_tokens_of_a_word_list_are_read_letter_by_letter(tmp_path):
    folder = make_tokenizer("unigram", tmp_path / "unigram")
    tokenizer, prompt = load_tokenizer(folder), build_prompt(load_tokenizer(folder), PromptConfig())
    titles = encode_titles(folder, ["</s>", "a</s>b", "heat", "\uff1cs\uff1e"], prompt)
    shown = [tokenizer.convert_ids_to_tokens(titles.of(item).tolist()) for item in range(4)]
    assert shown == [["<", "/", "s", ">"], ["a", "<", "/", "s", ">", "b"], ["heat"], ["<", "s", ">"]]
    assert set(SENTENCEPIECE) <= set(tokenizer.get_vocab())


PIECES = [*LOOKALIKES, *NOT_SPECIAL, *SENTENCEPIECE, "<", "|", ">", "Alien", " ", "\n", "\u0301", "\U0001f469\u200d"]
SCRIPTS = [
    (0x20, 0x7F),
    (0xA0, 0x250),
    (0x370, 0x700),
    (0x900, 0xE80),
    (0x2000, 0x2C00),
    (0x3000, 0xD7FF),
    (0xE000, 0x1FFFF),
]


def generated(count, seed=0):
    """Different titles: half of characters of one script, half of pieces of markup."""
    draws = np.random.default_rng(seed)
    found = {}
    while len(found) < count:
        if draws.random() < 0.5:
            first, stop = SCRIPTS[draws.integers(len(SCRIPTS))]
            title = "".join(map(chr, draws.integers(first, stop, draws.integers(1, 30)).tolist()))
        else:
            title = "".join(PIECES[piece] for piece in draws.integers(len(PIECES), size=draws.integers(1, 6)).tolist())
        if not is_blank(title):
            found[title] = None
    return list(found)


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_generated_titles_stay_one_item_each(folder, count):
    check(folder, generated(count))


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    return locate("smollm2-135m", tmp_path_factory.mktemp("backbones")).folder


@pytest.mark.real
def test_titles_stay_one_item_each_with_a_real_tokenizer(smollm2):
    check(smollm2, [*special_titles(smollm2), *LOOKALIKES, *generated(10_000)])
