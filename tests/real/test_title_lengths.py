"""How long real titles are, in the tokens of a real model."""

from pathlib import Path

import pytest

from patchrec.config import PromptConfig
from patchrec.model.titles import TitleTokens
from patchrec.model.tokenizer import load_tokenizer, shortened
from patchrec.operations.backbones import find_backbone
from patchrec.operations.demo import DATA, Demo
from patchrec.operations.training.defaults import MAX_TITLE_TOKENS
from patchrec.reporting import SILENT
from patchrec.store import Store

pytestmark = pytest.mark.real


def test_no_title_of_movielens_is_beyond_the_default(home: Path, shown: Demo) -> None:
    with Store.open(home) as store:
        titles = store.datasets.load(DATA).catalog.titles
        folder = find_backbone(store, "smollm2-135m", SILENT).folder
    tokens = TitleTokens.encode(load_tokenizer(folder), titles)
    config = PromptConfig(max_title_tokens=MAX_TITLE_TOKENS, long_titles="refuse")
    assert shortened(tokens, titles, config) is tokens
    assert tokens.lengths.max() == 18
