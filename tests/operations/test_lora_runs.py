"""LoRA through the store: adapters train, rank and export as runs do; without peft one line says what is missing."""

from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import pytest

from patchrec.errors import UsageError
from patchrec.model import lora
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import card_facts, export_run
from patchrec.operations.exporting.model_card import model_card
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import finetune, pretrain
from patchrec.store import Store

TINY = {"data": "walkers", "backbone": "tiny-random", "batch_size": 20}
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="LoRA is the extra patchrec[peft]")


def test_without_peft_one_line_says_what_to_install(home, monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(lora, "version", absent)
    with pytest.raises(UsageError, match=r'pip install "patchrec\[peft\]"'):
        pretrain(**TINY, lora_rank=2, home=home)
    with Store.open(home) as store:
        assert store.runs.names() == []


def test_a_run_goes_on_with_its_own_rank(home):
    with pytest.raises(UsageError, match="drop --lora-rank"):
        pretrain(resume="pretrain-1", lora_rank=4, home=home)


@needs_peft
def test_adapters_learn_at_ten_times_the_default_rate(home):
    runs = [finetune(strategy="vanilla", **TINY, **more, max_steps=1, home=home).run for more in ({}, {"lora_rank": 2})]
    with Store.open(home) as store:
        plain, adapted = (store.runs.get(run).config.training.learning_rate for run in runs)
    assert adapted == 10 * plain


@needs_peft
def test_both_stages_with_adapters_rank_and_export_as_plain_models(home, tmp_path):
    from transformers import AutoModelForCausalLM

    first = pretrain(**TINY, lora_rank=2, max_steps=1, home=home).run
    run = finetune(
        strategy="pft-s", options={"L": 3}, data="walkers", batch_size=20, lora_rank=4, max_steps=2, home=home
    )
    assert evaluate(run.run, limit=3, home=home).num_targets == 3
    assert recommend(user="u3", run=run.run, k=3, home=home).ranking
    files = export_run(run.run, tmp_path / "out", home=home).files
    assert "adapters.safetensors" not in files
    _, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading.values())
    with Store.open(home) as store:
        assert store.runs.get(run.run).parent == first
        card = model_card(card_facts(store, store.runs.get(run.run)))
    assert "LoRA adapters of rank 2 and 4 trained and merged" in card
    assert "- lora\n" in card
