"""A tiny random Llama whose tokenizer merges titles: it lower-cases, and knows few words."""

from pathlib import Path

WORDS = ("alien", "heat", "up", "ran", "big", "fish", "it", "the", "a", "2", "3", "\n")


def make_merging(folder: Path, words: tuple[str, ...] = WORDS) -> Path:
    import torch
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(["[UNK]", "[BOS]", "[EOS]", *words])}
    lower = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    lower.normalizer = normalizers.Lowercase()
    lower.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex("\n"), "isolated")]
    )
    names = {"unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True,
        initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=lower, **names).save_pretrained(folder)
    return folder
