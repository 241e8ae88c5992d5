"""What a backbone knows of items besides their tokens: vectors added to their patches, and a head that scores them all.

The head stands at the node where an answer begins: one product of that node's last hidden state with a table of a row
for each item gives the logits of the whole catalog. Of four tables, three read the items' texts:

    row = P alike(patch) / D + free,    logit = alike(hidden) . row + s log((count + 1) / (total + I))

where `alike` divides by the root mean square.

Under `tied` an item has one vector: `free` of its row, times sqrt(D), is what is added to its patch in the input. It
begins at random: with a pretrained backbone in the input as long as a token's embedding, so that the patch is still
heard; with one of random weights, whose patches say nothing yet, as in models of identifiers. P begins at zero and s at
1. What an item is as an answer and what it says in a history are learned from both at once, which ranks best of what
was tried (docs/results.md).

Under `patch` vectors in the input and in the rows are two. P and `free` begin at zero, so that the head begins as the
popularity of the train split, and learns what to add to it. When all entries of P, or all of `free`, move by r in the
direction of a gradient, which is the most that a step of AdamW does, a logit moves by no more than D r, whatever the
backbone: that is what the division by D is for. `text` is the same without `free`: a row is what the text says, and
nothing is learned of an item alone.

An item that nobody chose yet is no class while the model learns (that it was not chosen says nothing where it was not
there), and is ranked as if it had been chosen as often as the typical item: its count + 1 is the geometric mean of the
others'. One that joins the catalog later has a row by its text at once.

With the encoder `llm` a patch is the mean of a language model's states over the item's text, read once. Under `text` it
stays what it is; else the free vector moves it.

`free` is a linear layer alone: a row is what was learned, and means nothing for an item that was not there.

Vectors in the input are free, or those of another run's items (`lent`): fixed, and projected to the hidden size.

Sources: Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018, for one vector in the input and in the
head, and Press and Wolf, "Using the output embedding to improve language models", EACL 2017; LITE-LLM4Rec (2024) for
`free`; Li et al., "E4SRec: An Elegant Effective Efficient Extensible Solution of Large Language Models for Sequential
Recommendation", 2023, for `lent`. There an item is its projected vector alone, among the words of a prompt; here the
vector is added to the item's patch, all vectors are brought to one scale, and the projection begins at zero, without a
bias.

Shapes: I items, D hidden size, W size of lent vectors, n states, N positions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.errors import CorruptError, UsageError
from patchrec.history import IntArray

Table = Literal["tied", "patch", "text", "free"]
ItemEncoder = Literal["tokens", "llm"]
_STD = 0.02  # of the rows of a free table at the start, and of tied vectors beside random weights
_EPSILON = 1e-12  # beside the mean square of a patch, which is 1e-6 and more in a trained model
_KNOWN = "patchrec"  # the one key of a file's metadata
_OF_ITEMS = (
    "vectors",
    "lent",
    "head.free",
    "head.prior",
    "head.texts",
)  # tensors with a row, or an entry, for each item


@dataclass(frozen=True, slots=True)
class ItemSideConfig:
    """What a backbone shall know of items.

    Attributes:
        table: Of the head; None: no head.
        item_vectors: Whether items have vectors that are added to their patches in the input; under `tied` they do.
        encoder: What the rows of a table that reads texts are made of: item patches as they are, or states read once.
        lent: W of the vectors where they are those of another run's items; None: they are free.
    """

    table: Table | None = "patch"
    item_vectors: bool = False
    encoder: ItemEncoder = "tokens"
    lent: int | None = None


class ItemHead(nn.Module):
    """A linear layer over all items. See `PatchHead` and `FreeHead`.

    Attributes:
        table: Which one.
        reads_patches: Whether its weight is made of item patches.
        free: (I, D) what is learned of each item on its own; None: nothing is.
    """

    table: Table
    reads_patches: bool
    free: nn.Parameter | None

    def weight_and_bias(self, patches: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(I, D) and (I,) of the linear layer in float32, differentiable.

        Args:
            patches: (I, D) item patches; None where the head does not read them.
        """
        raise NotImplementedError

    def classes(self, bias: Tensor | None) -> Tensor | None:
        """(I,) the bias while the model learns, differentiable; -inf for items that are no class then."""
        return bias

    def states(self, hidden: Tensor) -> Tensor:
        """(n, D) what the linear layer takes of (n, D) hidden states."""
        return hidden

    def scores(self, hidden: Tensor, patches: Tensor | None) -> Tensor:
        """(n, I) logits in float32 of (n, D) hidden states."""
        return self.scores_by(hidden, *self.weight_and_bias(patches))

    def scores_by(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The same with weight and bias at hand."""
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(self.states(hidden).float(), weight, bias)


class PatchHead(ItemHead):
    """Rows are projected item patches, plus own vectors; the bias is the popularity prior. States count by direction.

    Attributes:
        projection: (D, D) P.
        prior: (I,) log-probability of every item by its count, add-one smoothed; `unseen` where that is 0.
        unseen: (1,) that of the typical item, for new ones; of none where all are new.
        new: (I,) items that are no class while the model learns, by their count; None: there are none, or all are.
        prior_scale: (1,) s; no scalar, which a backbone split over processes cannot hold.
        texts: (I, D) states over the items' texts, fixed; None: rows are made of item patches.
    """

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        popularity: IntArray,
        *,
        table: Table = "patch",
        own_texts: bool = False,
        spread: float = _STD,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.table = table
        self.reads_patches = not own_texts
        self.texts: Tensor | None
        self.register_buffer("texts", torch.zeros(num_items, hidden_size) if own_texts else None)
        self.projection = nn.Parameter(torch.zeros(hidden_size, hidden_size))
        self.free = None
        if table != "text":
            self.free = nn.Parameter(_drawn(num_items, hidden_size, spread if table == "tied" else 0.0, seed))
        self.prior_scale = nn.Parameter(torch.ones(1))
        prior = np.log(popularity + 1.0) - np.log(popularity.sum() + num_items)
        chosen = popularity > 0
        typical = float(prior[chosen].mean()) if chosen.any() else float(-np.log(num_items))
        self.prior: Tensor
        self.register_buffer("prior", torch.from_numpy(np.where(chosen, prior, typical)).float())
        self.unseen: Tensor
        self.register_buffer("unseen", torch.tensor([typical], dtype=torch.float32))
        self.new: Tensor | None
        some = 0 < chosen.sum() < num_items
        self.register_buffer("new", torch.from_numpy(~chosen) if some else None, persistent=False)

    def weight_and_bias(self, patches: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `ItemHead.weight_and_bias`."""
        patches = patches if self.texts is None else self.texts
        assert patches is not None
        with torch.autocast(patches.device.type, enabled=False):  # few products beside those of a forward pass
            rows = functional.linear(_alike(patches), self.projection.float()) / patches.shape[1]
            if self.free is not None:
                rows = rows + self.free.float()
            return rows, self.prior_scale.float() * self.prior.float()

    def classes(self, bias: Tensor | None) -> Tensor | None:
        """See `ItemHead.classes`."""
        return bias if self.new is None or bias is None else bias.masked_fill(self.new, -torch.inf)

    def states(self, hidden: Tensor) -> Tensor:
        """See `ItemHead.states`."""
        return _alike(hidden)


class FreeHead(ItemHead):
    """Rows are free vectors, and there is no bias."""

    table = "free"
    reads_patches = False
    free: nn.Parameter

    def __init__(self, num_items: int, hidden_size: int, seed: int) -> None:
        super().__init__()
        self.free = nn.Parameter(_drawn(num_items, hidden_size, _STD, seed))

    def weight_and_bias(self, patches: Tensor | None) -> tuple[Tensor, None]:
        """See `ItemHead.weight_and_bias`."""
        return self.free.float(), None


def spread_beside(embedding: Tensor, *, made: bool) -> float:
    """Standard deviation that tied vectors begin with.

    Args:
        embedding: (V, D) the backbone's token embeddings.
        made: Whether they began at random too.
    """
    size = float(torch.linalg.vector_norm(embedding.detach(), dtype=torch.float32)) / embedding.numel() ** 0.5
    return _STD if made else size / embedding.shape[1] ** 0.5


def _drawn(num_items: int, hidden_size: int, spread: float, seed: int) -> Tensor:
    """(I, D) vectors to begin with, of a standard deviation; 0 draws nothing."""
    if not spread:
        return torch.zeros(num_items, hidden_size)
    random = torch.Generator().manual_seed(seed)
    return torch.randn(num_items, hidden_size, generator=random) * spread


def _alike(rows: Tensor) -> Tensor:
    """(n, D) rows in float32, each with root mean square 1."""
    return functional.rms_norm(rows.float(), rows.shape[-1:], eps=_EPSILON)


class ItemSide(nn.Module):
    """What a backbone knows of a catalog's items besides their tokens.

    Attributes:
        num_items: I.
        vectors: (I, D) added to item patches in the input, averaged in session patches; zeros at the start. None: there
            are none, they are lent, or they are the head's own (`tied`).
        lent: (I, W) of another run's items, fixed, to be filled in place; zeros for items that it does not know. None:
            vectors are free, or there are none.
        into: (D, W) projection of these, zero at the start.
        head: Scores all items.
    """

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        config: ItemSideConfig,
        popularity: IntArray,
        *,
        spread: float = _STD,
        seed: int = 0,
    ) -> None:
        """Make it as it is before training.

        Args:
            num_items: I.
            hidden_size: D of the backbone.
            config: What it shall have.
            popularity: (I,) train interactions of every item, for the prior.
            spread: Standard deviation of tied vectors at the start (`spread_beside`).
            seed: Fixes tied vectors and the rows of a free table, which alone are random.
        """
        super().__init__()
        self.num_items = num_items
        self.vectors: nn.Parameter | None = None
        self.into: nn.Parameter | None = None
        self.lent: Tensor | None
        self.register_buffer("lent", None if config.lent is None else torch.zeros(num_items, config.lent))
        if config.lent is not None:
            self.into = nn.Parameter(torch.zeros(hidden_size, config.lent))
        elif config.item_vectors and config.table != "tied":
            self.vectors = nn.Parameter(torch.zeros(num_items, hidden_size))
        self.head: ItemHead | None = None
        if config.table == "free":
            self.head = FreeHead(num_items, hidden_size, seed)
        elif config.table is not None:
            own_texts = config.encoder == "llm"
            self.head = PatchHead(
                num_items, hidden_size, popularity, table=config.table, own_texts=own_texts, spread=spread, seed=seed
            )

    @torch.no_grad()
    def take(self, lent: Tensor) -> None:
        """Fill `lent` by (I, W) vectors, brought to a mean square of 1 / W, whatever scale they were learned at."""
        assert self.lent is not None
        rows = lent[lent.any(dim=1)].float()
        scale = float(rows.pow(2).mean().sqrt()) if len(rows) else 0.0
        self.lent.copy_(lent / ((scale or 1.0) * lent.shape[1] ** 0.5))

    @property
    def adds_vectors(self) -> bool:
        """Whether items have vectors in the input."""
        return self._own is not None or self.lent is not None

    def added(self, rows: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        """(N, D) weighted sums of item vectors, as `embedding_bag` takes them; differentiable."""
        table = self._own if self.lent is None else self.lent
        assert table is not None
        sums = functional.embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights.to(table.dtype))
        return self._scale * sums if self.into is None else functional.linear(sums, self.into.to(sums.dtype))

    def all_vectors(self) -> Tensor | None:
        """(I, D) what is added to the patch of every item; None: nothing is."""
        if self.lent is not None and self.into is not None:
            return functional.linear(self.lent, self.into)
        return None if self._own is None else self._scale * self._own

    @property
    def _is_tied(self) -> bool:
        return self.head is not None and self.head.table == "tied"

    @property
    def _own(self) -> Tensor | None:
        """(I, D) free vectors of the input, where there are any."""
        return self.head.free if self.head is not None and self._is_tied else self.vectors

    @property
    def _scale(self) -> float:
        """What these are multiplied with in the input. Source of sqrt(D): Vaswani et al. 2017, section 3.4."""
        assert self._own is not None
        return float(self._own.shape[1]) ** 0.5 if self._is_tied else 1.0

    @property
    def texts(self) -> Tensor | None:
        """(I, D) states over the items' texts, to be filled in place; None where no head keeps any."""
        return self.head.texts if isinstance(self.head, PatchHead) else None

    @property
    def reads_patches(self) -> bool:
        """Whether a head needs the item patches of the whole catalog."""
        return self.head is not None and self.head.reads_patches

    def save(self, path: Path, fingerprint: str = "") -> None:
        """Write everything into one safetensors file.

        Args:
            path: The file.
            fingerprint: Of the catalog, kept beside the tensors for whoever reads them (`read_metadata`).
        """
        from safetensors.torch import save_file

        known = {"table": self._table, "num_items": str(self.num_items), "fingerprint": fingerprint}
        if self.lent is not None:
            known["lent"] = str(self.lent.shape[1])
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, path, {_KNOWN: json.dumps(known)})  # of several keys the order would be random

    def load(self, path: Path) -> None:
        """Take everything from a file, in place; items at the end of the catalog that it does not have begin anew.

        They have no vector of their own and the prior of an item that was never chosen: a head that reads patches ranks
        them by their text, by the states that `texts` holds of them now where it keeps such.

        Raises:
            CorruptError: It is no such file.
            UsageError: It is of other parts, of another backbone or a larger catalog, or its rows mean nothing for
                items that it does not have.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        known = read_metadata(path)
        try:
            saved = load_file(path)
            rows = int(known["num_items"])
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise CorruptError(f"{path} does not hold the items of a run") from error
        self._refuse_others(path, known["table"], rows, saved)
        self.load_state_dict({name: self._grown(name, tensor, saved) for name, tensor in saved.items()})

    @property
    def _table(self) -> str:
        return "none" if self.head is None else self.head.table

    def _refuse_others(self, path: Path, table: str, rows: int, saved: Mapping[str, Tensor]) -> None:
        own = self.state_dict()
        if table != self._table or saved.keys() != own.keys():
            raise UsageError(
                f"{path} holds an item table {table!r} {_vectors(saved)}, and {self._table!r} {_vectors(own)} is asked "
                "for; take the same --table, --item-vectors and --item-encoder, and --vectors, or start from a run "
                "without items"
            )
        if any(tensor.shape[1:] != own[name].shape[1:] for name, tensor in saved.items()):
            raise UsageError(
                f"{path} belongs to a backbone of another hidden size, or to vectors of another; take that backbone, "
                "and a run like that one for --vectors"
            )
        if rows > self.num_items:
            raise UsageError(
                f"{path} holds {rows:,} items, and this catalog has {self.num_items:,}; a catalog may only grow, at "
                "its end: take the one of that run with new items added"
            )
        if rows < self.num_items and table == "free":
            raise UsageError(
                f"table 'free' knows its {rows:,} items alone, and this catalog has {self.num_items:,}; train again on "
                "the larger catalog, or take a run with --table patch, which ranks new items by their text"
            )

    def _grown(self, name: str, saved: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        """A saved tensor with the rows of items that came later."""
        missing = self.num_items - len(saved)
        if name not in _OF_ITEMS or missing == 0:
            return saved
        if name == "head.texts":
            assert self.texts is not None
            return torch.cat([saved, self.texts[len(saved) :].to(saved)])
        if name == "head.prior":
            return torch.cat([saved, others["head.unseen"].expand(missing)])
        return torch.cat([saved, saved.new_zeros(missing, *saved.shape[1:])])


def read_metadata(path: Path) -> dict[str, str]:
    """What a file of `ItemSide.save` says of itself: `table` ("none" without a head), `num_items`, `fingerprint`.

    And `lent`, the size of another run's vectors, where it holds any.

    Raises:
        CorruptError: It is no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            known = dict(file.metadata() or {})
        return dict(json.loads(known[_KNOWN])) if _KNOWN in known else known  # earlier versions: a key for each fact
    except (OSError, SafetensorError, ValueError) as error:
        raise CorruptError(f"{path} does not hold the items of a run") from error


def _vectors(tensors: Mapping[str, Tensor]) -> str:
    if "lent" in tensors:
        return "with vectors of another run"
    return "with item vectors" if "vectors" in tensors else "without item vectors"
