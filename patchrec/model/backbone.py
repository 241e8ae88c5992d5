"""The backbone: any Hugging Face causal language model, run over token forests.

Shapes: N nodes of a forest, D hidden size, V vocabulary, n supervised nodes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.errors import InputError, UsageError
from patchrec.model.forest import Forest
from patchrec.model.patching import Bags, PathEncoder
from patchrec.model.tokenizer import load_tokenizer, quiet, read_config


@dataclass(frozen=True, slots=True, eq=False)
class ForestBatch:
    """A forest ready for the device.

    Attributes:
        token_ids, weights: (total,) all bags. offsets: (N,) where each begins.
        depth: (N,) position ids. end: (N,) subtree ends, the whole attention mask.
    """

    token_ids: Tensor
    offsets: Tensor
    weights: Tensor
    depth: Tensor
    end: Tensor

    @classmethod
    def of(cls, encoder: PathEncoder, forest: Forest, device: torch.device) -> "ForestBatch":
        """Compile a forest."""
        bags: Bags = encoder.bags(forest.keys)
        return cls(
            torch.from_numpy(bags.token_ids).to(device),
            torch.from_numpy(bags.offsets).to(device),
            torch.from_numpy(bags.weights.astype(np.float32)).to(device),
            torch.from_numpy(forest.depth).to(device),
            torch.from_numpy(forest.end).to(device),
        )

    def __len__(self) -> int:
        return len(self.depth)

    def mask(self) -> Tensor:
        """(N, N) True where row i attends to column j: `j <= i < end[j]`."""
        nodes = torch.arange(len(self), device=self.end.device)
        return (nodes[None, :] <= nodes[:, None]) & (nodes[:, None] < self.end[None, :])


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A forest already run, with its keys and values, for continuations to hang under.

    Attributes:
        layers: Key and value of each layer, (1, heads, N, head size) each.
        hidden: (N, D) last hidden states.
    """

    forest: Forest
    layers: list[tuple[Tensor, Tensor]]
    hidden: Tensor


class Backbone(nn.Module):
    """A causal language model over forests. Its `forward` is what training wraps and calls."""

    def __init__(self, model: Any, name: str, folder: Path) -> None:
        super().__init__()
        self.model = model
        self.name = name
        self.folder = folder

    @classmethod
    def load(
        cls, folder: Path, *, name: str, dtype: torch.dtype = torch.float32, device: str | None = None
    ) -> "Backbone":
        """Read a model folder (safetensors only, no code of its own).

        Raises:
            NotFoundError: No such folder. InputError: Not a causal language model we can read.
            UsageError: The architecture cannot run a forest.
        """
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM

        quiet()
        refuse_unsafe(folder)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True, trust_remote_code=False,
                use_safetensors=True,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{folder} cannot be read as a causal language model: {first}") from error
        backbone = cls(model, name, folder)
        backbone.make_room(len(load_tokenizer(folder)))
        backbone.to(device or best_device()).eval()
        backbone.check_forest()
        return backbone

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    @property
    def embedding(self) -> Tensor:
        """(V, D) input embeddings."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight

    @property
    def vocab_size(self) -> int:
        """V, rows of the embedding (a tokenizer may use fewer)."""
        return int(self.embedding.shape[0])

    def tokenizer(self) -> Any:
        """A tokenizer of its own, new at each call (flags of tokenizers are sticky)."""
        return load_tokenizer(self.folder)

    @torch.no_grad()
    def make_room(self, num_tokens: int) -> None:
        """Give every token of the tokenizer an embedding: new rows are the mean of the old ones."""
        old = self.vocab_size
        if num_tokens <= old:
            return
        self.model.resize_token_embeddings(num_tokens, mean_resizing=False)
        for table in (self.model.get_input_embeddings().weight, self.model.get_output_embeddings().weight):
            table[old:] = table[:old].mean(dim=0)

    def batch(self, encoder: PathEncoder, forest: Forest) -> ForestBatch:
        """Compile a forest for this backbone's device."""
        return ForestBatch.of(encoder, forest, self.device)

    def embed(self, batch: ForestBatch) -> Tensor:
        """(N, D) inputs: one `embedding_bag` for all positions of all grains."""
        weight = self.embedding
        return functional.embedding_bag(
            batch.token_ids, weight, batch.offsets, mode="sum", per_sample_weights=batch.weights.to(weight.dtype)
        )

    def hidden(self, batch: ForestBatch) -> Tensor:
        """(N, D) last hidden states of a forest, differentiable."""
        output = self.model.base_model(
            inputs_embeds=self.embed(batch)[None],
            attention_mask=batch.mask()[None, None],
            position_ids=batch.depth[None],
            use_cache=False,
        )
        states: Tensor = output.last_hidden_state[0]
        return states

    def logits(self, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
        """(n, V) logits in float32 of (n, D) hidden states, or (n, m) of m tokens alone, computed in float32."""
        head = self.model.get_output_embeddings()
        if tokens is None:
            scores: Tensor = head(hidden)
            return scores.float()
        bias = None if getattr(head, "bias", None) is None else head.bias[tokens].float()
        return functional.linear(hidden.float(), head.weight[tokens].float(), bias)

    def forward(self, batch: ForestBatch, nodes: Tensor) -> Tensor:
        """(n, V) float32 logits at (n,) supervised nodes; nowhere else are any computed."""
        return self.logits(self.hidden(batch)[nodes])

    @torch.no_grad()
    def prefill(self, encoder: PathEncoder, forest: Forest) -> Prefix:
        """Run a forest and keep its keys and values."""
        from transformers import DynamicCache

        batch = self.batch(encoder, forest)
        cache = DynamicCache()
        output = self.model.base_model(
            inputs_embeds=self.embed(batch)[None],
            attention_mask=batch.mask()[None, None],
            position_ids=batch.depth[None],
            past_key_values=cache,
            use_cache=True,
        )
        layers = [(layer.keys, layer.values) for layer in cache.layers]
        return Prefix(forest, layers, output.last_hidden_state[0])

    @torch.no_grad()
    def extend(self, prefix: Prefix, encoder: PathEncoder, forest: Forest, node: int) -> Tensor:
        """(N2, D) hidden states of a second forest hung under one node of a prefix, which stays as it is."""
        from transformers import DynamicCache

        batch = self.batch(encoder, forest)
        cache = DynamicCache()
        above = torch.from_numpy(np.flatnonzero(prefix.forest.ancestors(node))).to(self.device)
        for index, (keys, values) in enumerate(prefix.layers):
            cache.update(keys[:, :, above], values[:, :, above], index)
        mask = functional.pad(batch.mask(), (len(above), 0), value=True)
        output = self.model.base_model(
            inputs_embeds=self.embed(batch)[None],
            attention_mask=mask[None, None],
            position_ids=(batch.depth + int(prefix.forest.depth[node]) + 1)[None],
            past_key_values=cache,
            use_cache=True,
        )
        states: Tensor = output.last_hidden_state[0]
        return states

    @torch.no_grad()
    def check_forest(self) -> None:
        """Hold the architecture to the forest's promise on five tokens.

        Raises:
            UsageError: A node's logits differ from those of its path alone through the model's own forward pass.
        """
        tokens = torch.tensor([3, 5, 4, 6, 3], device=self.device) % self.vocab_size
        steps = torch.arange(5, device=self.device)
        end = torch.tensor([5, 3, 3, 5, 5], device=self.device)  # paths 0-1-2 and 0-3-4
        depth = torch.tensor([0, 1, 2, 1, 2], device=self.device)
        tree = ForestBatch(tokens, steps, torch.ones(5, device=self.device), depth, end)
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        if window:
            raise UsageError(
                f"{self.name}: some of its layers see {window} tokens only, which a forest's mask does not do; "
                "choose a model with full attention, such as a Llama or Qwen"
            )
        try:
            branch = self(tree, torch.tensor([4], device=self.device))[0]
            alone = self.model(input_ids=tokens[[0, 3, 4]][None], use_cache=False).logits[0, -1].float()
        except (TypeError, AttributeError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"{self.name}: {self.model.config.model_type} models cannot run a token forest ({error}); "
                "choose one with plain attention, such as a Llama or Qwen"
            ) from error
        tolerance = 1e-3 if self.embedding.dtype == torch.float32 else 0.25
        if not torch.allclose(branch, alone, atol=tolerance * max(1.0, float(alone.abs().max())), rtol=0):
            raise UsageError(
                f"{self.name}: {self.model.config.model_type} models do not keep a token forest's branches apart; "
                "choose one with plain attention, such as a Llama or Qwen"
            )

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), configuration and tokenizer into a folder."""
        quiet()
        self.model.save_pretrained(folder)
        self.tokenizer().save_pretrained(folder)


def refuse_unsafe(folder: Path) -> None:
    """Refuse a model folder that needs pickle or code of its own.

    Raises:
        NotFoundError: No such folder. InputError: Unsafe contents.
    """
    if "auto_map" in read_config(folder):
        raise InputError(f"{folder} wants to run code of its own (auto_map), which patchrec never does")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} has no safetensors weights; patchrec reads no pickled weights (.bin, .pt)")


def best_device() -> str:
    """The GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def fast_dtype() -> torch.dtype:
    """bfloat16 where the hardware computes in it (GPU; CPU with AVX512-BF16 or AMX), else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return torch.bfloat16 if any(getattr(torch.cpu, check, bool)() for check in checks) else torch.float32
