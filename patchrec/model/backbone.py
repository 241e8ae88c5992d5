"""The backbone: any Hugging Face causal language model, run over token forests.

Shapes: N nodes of a forest, D hidden size, V vocabulary, n nodes of some, I items of a catalog.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.errors import InputError, UsageError
from patchrec.history import IntArray
from patchrec.model.attention import Context, Extension, KeysValues, Visibility, mask_bytes, register
from patchrec.model.forest import Forest, grow
from patchrec.model.item_head import ItemSide
from patchrec.model.loss import Labels, summed_cross_entropy
from patchrec.model.patching import Bags, PathEncoder
from patchrec.model.positions import Positions
from patchrec.model.pulled_files import refuse_damaged
from patchrec.model.titles import TitleTokens
from patchrec.model.tokenizer import load_tokenizer, quiet, read_config, refuse_code, shared_tokenizer
from patchrec.model.transfer import on_device

_LARGE = 8192  # nodes of a pass below which no mask is large
BagTensors = tuple[Tensor, Tensor, Tensor]  # rows (total,), offsets (N,) and weights (total,) of bags on a device


@dataclass(frozen=True, slots=True, eq=False)
class ForestBatch:
    """Forests ready for the device, to be run in one pass.

    Attributes:
        rows, weights: (total,) all bags. offsets: (N,) where each begins.
        depth: (N,) position ids.
        visibility: What each node attends to.
        table: What `rows` are rows of; None: the token embeddings.
        items: Bags of items whose input vectors are added; None where there are none, or the table has them.
        catalog: Bags of the patches of all items; None where no head reads them.
    """

    rows: Tensor
    offsets: Tensor
    weights: Tensor
    depth: Tensor
    visibility: Visibility
    table: Tensor | None = None
    items: BagTensors | None = None
    catalog: BagTensors | None = None

    def __len__(self) -> int:
        return len(self.depth)


@dataclass(frozen=True, slots=True, eq=False)
class _Remembered:
    """What is computed once for ranking, from weights that stay as they are.

    Attributes:
        texts: Of the catalog.
        place: Address of the token embeddings, which tells when they are replaced or moved.
        table: (V + I, D) them, and below them the input of every item patch; None: not remembered.
        head: (I, D) weight and (I,) bias of the item head; None where there is none.
    """

    texts: TitleTokens
    place: int
    table: Tensor | None
    head: tuple[Tensor, Tensor | None] | None


class Backbone(nn.Module):
    """A causal language model over forests. Its `forward` is what training wraps and calls.

    Attributes:
        model: The language model as it is.
        name: Of the backbone.
        folder: Where it was read from.
        items: What it knows of a catalog's items besides their tokens, where it knows any; no part of `model`.
        dropout: Share of the inputs that training leaves out (see `drop`).
        products: Multiplications that logits took so far, of whatever head.
    """

    def __init__(self, model: Any, name: str, folder: Path) -> None:
        super().__init__()
        self.model = model
        self.name = name
        self.folder = folder
        self.items: ItemSide | None = None
        self.dropout = 0.0
        self.products = 0
        self._remembered: _Remembered | None = None
        self._catalog: tuple[TitleTokens, BagTensors] | None = None

    @classmethod
    def load(
        cls, folder: Path, *, name: str, dtype: torch.dtype = torch.float32, device: str | None = None
    ) -> "Backbone":
        """Read a model folder (safetensors only, no code of its own).

        Raises:
            NotFoundError: No such folder. InputError: Not a causal language model we can read.
            UsageError: The architecture cannot run a forest.
        """
        from transformers import AutoModelForCausalLM

        from patchrec.model.memory import is_out_of_memory  # which knows backbones itself

        quiet()
        refuse_unsafe(folder)
        refuse_damaged(folder)
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True, trust_remote_code=False,
                use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
        except Exception as error:  # whatever a configuration leads to
            if is_out_of_memory(error):
                raise
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{folder} cannot be read as a causal language model: {first}") from error
        _refuse_misfits(folder, found)
        backbone = cls(model, name, folder)
        backbone.make_room(len(shared_tokenizer(folder)))
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

    def keep_layers(self, num_layers: int) -> None:
        """Drop all layers but the first ones.

        Raises:
            UsageError: There are fewer.
        """
        config = self.model.config.get_text_config()
        total = int(config.num_hidden_layers)
        if not 1 <= num_layers <= total:
            raise UsageError(f"--layers {num_layers}: {self.name} has {total}; take 1 to {total}")
        del self.layers[num_layers:]
        for key, value in list(vars(config).items()):
            if "layer" in key and isinstance(value, list) and len(value) == total:  # such as layer_types
                setattr(config, key, value[:num_layers])
        config.num_hidden_layers = num_layers

    @property
    def flops_per_position(self) -> float:
        """Two for each weight that a position passes through; embeddings are looked up, not multiplied."""
        table = self.embedding
        return 2.0 * sum(int(weight.numel()) for weight in self.model.base_model.parameters() if weight is not table)

    @property
    def layers(self) -> nn.ModuleList:
        """The layers, first to last, whatever the architecture calls them.

        Raises:
            UsageError: It has no list of them.
        """
        count = int(self.model.config.get_text_config().num_hidden_layers)
        for part in self.model.base_model.modules():
            if isinstance(part, nn.ModuleList) and len(part) == count:
                return part
        raise UsageError(
            f"{self.name}: its {count} layers are no list; drop --layers, --dropout and --layer-decay for this model"
        )

    def drop(self, share: float) -> None:
        """Leave out a share of the inputs, and of what each layer adds to its own, in forward passes of training.

        A node of a forest is run once, so all paths through it miss the same. Called once, with a share above 0.
        """
        self.dropout = share
        for layer in self.layers:
            layer.register_forward_hook(self._without_a_share)

    def _without_a_share(self, layer: nn.Module, given: tuple[Any, ...], states: Any) -> Any:
        """What a layer gives, with dropout on its own part of it."""
        if not layer.training:
            return states
        before, after = given[0], states[0] if isinstance(states, tuple) else states
        dropped = before + functional.dropout(after - before, self.dropout)
        return (dropped, *states[1:]) if isinstance(states, tuple) else dropped

    @torch.no_grad()
    def remember_items(self, encoder: PathEncoder) -> None:
        """Compute once what ranking asks of a catalog's items again and again: their patches, and rows of the head.

        Patches become rows below the token embeddings, with the input vectors added, for `batch` to look up; not where
        a catalog has more items than the model has tokens: they would outgrow the embeddings.

        Whoever changes the weights calls this again.
        """
        fits, head = len(encoder.texts) <= self.vocab_size, None if self.items is None else self.items.head
        patches = self.item_patches(encoder) if fits or self._reads_patches else None
        table = None
        if fits:
            assert patches is not None
            vectors = None if self.items is None else self.items.all_vectors()
            table = torch.cat([self.embedding, patches if vectors is None else patches + vectors.to(patches.dtype)])
            self.model.get_input_embeddings().weight.data = table[: self.vocab_size]  # so that they are there once
        rows = None if head is None else head.weight_and_bias(patches)
        self._remembered = _Remembered(encoder.texts, self.embedding.data_ptr(), table, rows)

    def _remembered_of(self, encoder: PathEncoder) -> _Remembered | None:
        """What was computed for an encoder's catalog: it has no gradient, and goes with the embeddings it is of."""
        known = self._remembered
        if known is None or encoder.texts is not known.texts or torch.is_grad_enabled():
            return None
        return known if known.place == self.embedding.data_ptr() else None

    def batch(self, encoder: PathEncoder, extensions: Sequence[Extension], *, keep: bool = False) -> ForestBatch:
        """Compile forests for this backbone's device; `keep` keeps their keys and values."""
        known = self._remembered_of(encoder)
        table = None if known is None else known.table
        keys = np.concatenate([extension.forest.keys for extension in extensions])
        depth = np.concatenate([extension.depth for extension in extensions])
        self._refuse_beyond(depth)
        if len(keys) > _LARGE:
            self._refuse_masks(extensions)
        added = self.items is not None and self.items.adds_vectors and table is None
        return ForestBatch(
            *_tensors(encoder.bags(keys, item_rows=table is not None), self.device),
            on_device(depth, self.device),
            Visibility.of(extensions, self.device, keep=keep, config=self.model.config),
            table,
            _tensors(encoder.item_bags(keys), self.device) if added else None,
            self._catalog_of(encoder) if self._reads_patches else None,
        )

    def _refuse_beyond(self, depth: IntArray) -> None:
        """Refuse position ids that the model has no vector for.

        Raises:
            UsageError: There are some.
        """
        most, deepest = self.positions.most, int(depth.max(initial=-1))
        if self.positions.learned and most is not None and deepest >= most:
            raise UsageError(
                f"a prompt with its answer has {deepest + 1:,} positions or more, and {self.name} has {most:,}; give a "
                "shorter history (--K), or a strategy that compresses more"
            )

    def _refuse_masks(self, extensions: Sequence[Extension]) -> None:
        """Refuse forests whose masks alone are more than what is free: the system would end us, not say so.

        Raises:
            MemoryError: They are.
        """
        from patchrec.model.memory import free_memory

        wanted = sum(mask_bytes(extension.forest, self.device) for extension in extensions)
        free = free_memory(self.device)
        if wanted > free:
            raise MemoryError(f"masks of {wanted / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free")

    @cached_property
    def positions(self) -> Positions:
        """How many positions the model has."""
        return Positions.of(self.model)

    @property
    def _reads_patches(self) -> bool:
        return self.items is not None and self.items.reads_patches

    def _catalog_of(self, encoder: PathEncoder) -> BagTensors:
        """Bags of the patches of a catalog, made once."""
        if self._catalog is None or self._catalog[0] is not encoder.texts or self._catalog[1][0].device != self.device:
            bags = encoder.bags(self.vocab_size + np.arange(len(encoder.texts)))
            self._catalog = encoder.texts, _tensors(bags, self.device)
        return self._catalog[1]

    def item_patches(self, encoder: PathEncoder) -> Tensor:
        """(I, D) mean token embeddings of the items' texts, without their input vectors; differentiable."""
        return self._bag(self.embedding, *self._catalog_of(encoder))

    @torch.no_grad()
    def text_states(self, encoder: PathEncoder, *, max_nodes: int = 2048) -> Tensor:
        """(I, D) mean last hidden states over the tokens of each item's text, read after what every prompt begins with.

        Args:
            encoder: Knows the texts.
            max_nodes: Tokens of one pass; texts that begin alike share them.
        """
        head, texts = encoder.prompt.head, encoder.texts
        states = torch.zeros(len(texts), self.embedding.shape[1])
        size = max(1, max_nodes // (int(texts.lengths.max()) + len(head)))
        for start in range(0, len(texts), size):
            numbers = range(start, min(start + size, len(texts)))
            forest, nodes = grow([np.concatenate([head, texts.of(number)]) for number in numbers])
            hidden, _ = self.extend(encoder, [Extension(forest)], keep=False)
            for number, path in zip(numbers, nodes, strict=True):
                states[number] = hidden[torch.from_numpy(path[len(head) :]).to(hidden.device)].float().mean(dim=0).cpu()
        return states

    def item_logits(self, hidden: Tensor, encoder: PathEncoder) -> Tensor:
        """(n, I) logits of the item head in float32, of (n, D) hidden states where an answer begins."""
        assert self.items is not None
        assert self.items.head is not None
        self.products += hidden.numel() * len(encoder.texts)
        known = self._remembered_of(encoder)
        if known is not None and known.head is not None:
            return self.items.head.scores_by(hidden, *known.head)
        return self.items.head.scores(hidden, self.item_patches(encoder) if self._reads_patches else None)

    def embed(self, batch: ForestBatch) -> Tensor:
        """(N, D) inputs: one `embedding_bag` for all positions of all grains, and one for the vectors of items."""
        table = self.embedding if batch.table is None else batch.table
        inputs = self._bag(table, batch.rows, batch.offsets, batch.weights)
        if batch.items is not None:
            assert self.items is not None
            inputs = inputs + self.items.added(*batch.items).to(inputs.dtype)
        return inputs * float(getattr(self.model.get_input_embeddings(), "scalar_embed_scale", 1.0))  # Gemma's

    @staticmethod
    def _bag(table: Tensor, rows: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        return functional.embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights.to(table.dtype))

    def hidden(self, batch: ForestBatch) -> Tensor:
        """(N, D) last hidden states, differentiable where keys and values are not kept."""
        nothing = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.device)  # a mask made ready is not made anew
        inputs = functional.dropout(self.embed(batch), self.dropout, self.training)
        output = self.model.base_model(
            inputs_embeds=inputs[None],
            attention_mask=nothing,
            position_ids=batch.depth[None],
            use_cache=False,
            visibility=batch.visibility,
        )
        states: Tensor = output.last_hidden_state[0]
        return states

    def logits(self, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
        """(n, V) logits in float32 of (n, D) hidden states, or (n, m) of m tokens alone, computed in float32."""
        head = self.model.get_output_embeddings()
        self.products += hidden.numel() * (len(head.weight) if tokens is None else len(tokens))
        if tokens is None:
            scores: Tensor = head(hidden)
            return scores.float()
        bias = None if getattr(head, "bias", None) is None else head.bias[tokens].float()
        return functional.linear(hidden.float(), head.weight[tokens].float(), bias)

    def forward(self, batch: ForestBatch, titles: Labels | None, items: Labels | None = None) -> Tensor:
        """(2,) cross-entropies (nats, float32) of one pass; logits exist at labelled nodes alone.

        Args:
            batch: One pass.
            titles: What the model's own head is asked for, summed over; None: 0.
            items: What the item head is asked for, summed over; None: 0.
        """
        hidden = self.hidden(batch)
        losses = [torch.zeros((), device=self.device)] * 2
        if titles is not None:
            head = self.model.get_output_embeddings()
            states = hidden[on_device(titles.nodes, self.device)]
            losses[0] = summed_cross_entropy(states, head.weight, getattr(head, "bias", None), titles)
        if items is not None:
            assert self.items is not None
            assert self.items.head is not None
            patches = None if batch.catalog is None else self._bag(self.embedding, *batch.catalog)
            states = self.items.head.states(hidden[on_device(items.nodes, self.device)])
            weight, bias = self.items.head.weight_and_bias(patches)
            bias = self.items.head.classes(bias) if torch.is_grad_enabled() else bias
            losses[1] = summed_cross_entropy(states, weight, bias, items)
        return torch.stack(losses)

    def prefill(self, encoder: PathEncoder, forest: Forest) -> tuple[Tensor, Context]:
        """(N, D) last hidden states of a forest, and the context it makes for others to hang under."""
        hidden, (context,) = self.extend(encoder, [Extension(forest)])
        return hidden, context

    @torch.no_grad()
    def extend(
        self, encoder: PathEncoder, extensions: Sequence[Extension], *, keep: bool = True
    ) -> tuple[Tensor, list[Context]]:
        """Run forests under what was run before, all in one pass.

        Args:
            encoder: The one that made the keys of all of them.
            extensions: The forests and their contexts, which stay as they are.
            keep: Whether the new positions shall be contexts too; if not, there are none.

        Returns:
            (N, D) last hidden states, extension after extension, and for each its context with the new positions.
        """
        batch = self.batch(encoder, extensions, keep=keep)
        hidden = self.hidden(batch)
        kept = batch.visibility.kept
        if kept is None:
            return hidden, []
        return hidden, [
            _grown(e, kept, block.rows) for e, block in zip(extensions, batch.visibility.blocks, strict=True)
        ]

    @torch.no_grad()
    def check_forest(self) -> None:
        """Hold the architecture to the forest's promise on five tokens.

        Raises:
            UsageError: A node's logits differ from those of its path alone through the model's own forward pass.
            InputError: Its weights are not finite.
        """
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        window = window or getattr(config, "attention_chunk_size", None)
        if window:
            raise UsageError(
                f"{self.name}: some of its layers see {window} tokens only, which a forest's mask does not do; "
                "choose a model with full attention, such as a Llama or Qwen"
            )
        try:
            self.model.set_attn_implementation(register())
            branch = self._branch([3], [[5, 4], [6, 3]])
            tokens = torch.tensor([[3, 6, 3]], device=self.device) % self.vocab_size
            alone = self.model(input_ids=tokens, use_cache=False).logits[0, -1].float()
        except (TypeError, AttributeError, RuntimeError, ValueError, KeyError) as error:
            raise UsageError(
                f"{self.name}: {self.model.config.model_type} models cannot run a token forest ({error}); "
                "choose one with plain attention, such as a Llama or Qwen"
            ) from error
        tolerance = 1e-3 if self.embedding.dtype == torch.float32 else 0.25
        if not torch.allclose(branch, alone, atol=tolerance * max(1.0, float(alone.abs().max())), rtol=0):
            self._refuse_no_numbers()
            raise UsageError(
                f"{self.name}: {self.model.config.model_type} models do not keep a token forest's branches apart; "
                "choose one with plain attention, such as a Llama or Qwen"
            )

    def _refuse_no_numbers(self) -> None:
        """Refuse weights that are NaN or infinite: they compare with nothing, whatever the architecture.

        Raises:
            InputError: Names the first.
        """
        for name, weight in self.model.named_parameters():
            if not torch.isfinite(weight).all():
                raise InputError(
                    f"{self.name}: its weights are not finite (NaN or infinity in {name}); get them again, or name "
                    "another model"
                )

    def _branch(self, stem: list[int], branches: list[list[int]]) -> Tensor:
        """(V,) logits at the end of the last of some branches, run under the keys and values of their stem."""
        trunk, _ = grow([np.array(stem)])
        tree, nodes = grow([np.array(branch) for branch in branches])
        first = self._single_tokens(Extension(trunk), keep=True)
        self.hidden(first)
        kept = first.visibility.kept
        assert kept is not None
        context = _grown(Extension(trunk), kept, slice(0, len(trunk)))
        second = self._single_tokens(Extension.at(tree, context, len(trunk) - 1))
        return self.logits(self.hidden(second)[int(nodes[-1][-1])])

    def _single_tokens(self, extension: Extension, *, keep: bool = False) -> ForestBatch:
        """A forest whose keys are tokens, compiled without an encoder."""
        keys = torch.from_numpy(extension.forest.keys).to(self.device) % self.vocab_size
        return ForestBatch(
            keys,
            torch.arange(len(keys), device=self.device),
            torch.ones(len(keys), device=self.device),
            torch.from_numpy(extension.depth).to(self.device),
            Visibility.of([extension], self.device, keep=keep),
        )

    def end_with(self, token: int) -> None:
        """Let `generate` of a saved model end with a token, whatever its chat ended with."""
        settings = self.model.generation_config
        settings.eos_token_id = token
        settings._from_model_config = False  # else `generate` takes the model's own token again

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """Write weights (safetensors; its own, or others in their place), configuration and tokenizer into a folder."""
        quiet()
        self.model.save_pretrained(folder, state_dict=weights)
        self.tokenizer().save_pretrained(folder)


def _tensors(bags: Bags, device: torch.device) -> BagTensors:
    """Rows, offsets and weights on a device."""
    weights = bags.weights.astype(np.float32)
    return on_device(bags.rows, device), on_device(bags.offsets, device), on_device(weights, device)


def _grown(extension: Extension, kept: KeysValues, rows: slice) -> Context:
    """The context of an extension that has run."""
    if extension.context is None or extension.under is None:
        return Context(((kept, rows),), extension.forest.parent, extension.forest.depth)
    return extension.context.extended(kept, rows, extension.forest, extension.under)


def refuse_unsafe(folder: Path) -> None:
    """Refuse a model folder that needs pickle or code of its own.

    Raises:
        NotFoundError: No such folder. InputError: Unsafe contents.
    """
    read_config(folder)
    refuse_code(folder)
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} has no safetensors weights; patchrec reads no pickled weights (.bin, .pt)")


def _refuse_misfits(folder: Path, found: Mapping[str, Any]) -> None:
    """Refuse weights of another shape than the configuration says, or none: those would be random numbers.

    Args:
        folder: Of the model.
        found: What reading it reported.

    Raises:
        InputError: In one line, with the first of them.
    """
    misfits = sorted(found["mismatched_keys"])
    if misfits:
        name, stored, wanted = misfits[0]
        raise InputError(
            f"{folder}: {len(misfits)} weights are not of the shape that its config.json says, such as {name} "
            f"({list(stored)}, not {list(wanted)}); put the configuration of these weights beside them"
        )
    missing = sorted(found["missing_keys"])
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} weights that its config.json asks for are not there, such as {missing[0]}; put "
            "the configuration of these weights beside them, or all of its weights"
        )


def best_device() -> str:
    """The GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def fast_dtype() -> torch.dtype:
    """bfloat16 where the hardware computes in it (GPU; CPU with AVX512-BF16 or AMX), else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return torch.bfloat16 if any(getattr(torch.cpu, check, bool)() for check in checks) else torch.float32
