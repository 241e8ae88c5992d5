"""The exact log-probability of every title of a catalog for one prompt.

The title trie hangs under the prompt's last position, on the prompt's keys and values, so tokens that titles share run
once. Two scores (design, "Scores"):

- `joint`: log P(title + end | prompt), every step over the whole vocabulary.
- `catalog`: every step over the trie's children alone. It is a proper distribution over titles, and a node with one
  child costs nothing: only nodes with a branching at or below them are run.

Shapes: N nodes, C children, D hidden size, V vocabulary, n parents.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from patchrec.config import ScoreName
from patchrec.errors import CheckFailedError
from patchrec.history import FloatArray, IntArray
from patchrec.model.backbone import Backbone, Prefix
from patchrec.model.forest import grow
from patchrec.model.patching import PathEncoder
from patchrec.ranking.trie import ROOT, TitleTrie

MAX_NODES = 1024  # nodes of one forward pass
_MAX_LOGITS = 1 << 25  # logits held at a time: 128 MiB in float32


@dataclass(frozen=True, slots=True, eq=False)
class TitleScorer:
    """A model with a catalog: gives every distinct title its log-probability.

    Attributes:
        backbone: The model.
        encoder: Prompt and titles.
        trie: The catalog's titles.
        score: `catalog` or `joint`.
        max_nodes: Trie nodes of one forward pass, which bounds memory.
    """

    backbone: Backbone
    encoder: PathEncoder
    trie: TitleTrie
    score: ScoreName = "catalog"
    max_nodes: int = MAX_NODES

    @classmethod
    def of(cls, backbone: Backbone, encoder: PathEncoder, score: ScoreName = "catalog") -> "TitleScorer":
        """Build the trie of an encoder's titles."""
        return cls(backbone, encoder, TitleTrie.build(encoder.titles, encoder.prompt.end), score)

    def for_encoder(self, encoder: PathEncoder) -> "TitleScorer":
        """The same with another encoder of the same catalog (one that remembers other sessions)."""
        return replace(self, encoder=encoder)

    @property
    def tokens(self) -> int:
        """Positions run through the model for one prompt, the prompt itself not counted."""
        return sum(len(piece.forest) for piece in self.trie.pieces(self.score, self.max_nodes))

    def score_prompt(self, path: IntArray) -> FloatArray:
        """(num_titles,) log-probability of every title after one prompt, given by its (P,) keys."""
        forest, nodes = grow([path])
        return self.score_titles(self.backbone.prefill(self.encoder, forest), int(nodes[0][-1]))

    @torch.no_grad()
    def score_titles(self, prefix: Prefix, node: int) -> FloatArray:
        """(num_titles,) log-probability of every title after one of several prompts already run.

        Args:
            prefix: A forest of prompts.
            node: The prompt's last position in it.

        Raises:
            CheckFailedError: The model's logits are not numbers.
        """
        steps = np.zeros(len(self.trie.forest))  # log-probability of each node given its parent
        first = self.trie.parents(self.score)[:1]
        if first.tolist() == [ROOT]:
            self._score_children(first, prefix.hidden[node][None], steps)
        for piece in self.trie.pieces(self.score, self.max_nodes):
            hidden = self.backbone.extend(prefix, self.encoder, piece.forest, node)  # (N, D)
            self._score_children(piece.parents, hidden[torch.from_numpy(piece.rows).to(hidden.device)], steps)
        log_probs = np.add.reduceat(steps[self.trie.path_nodes], self.trie.path_starts)
        if np.isnan(log_probs).any():
            raise CheckFailedError(
                f"{self.backbone.name}: the scores of {np.count_nonzero(np.isnan(log_probs))} titles are not numbers; "
                "its weights are damaged or training diverged: rank with an earlier checkpoint or another run"
            )
        return log_probs

    def _score_children(self, parents: IntArray, hidden: Tensor, steps: FloatArray) -> None:
        """Write the log-probability of every child of `parents`, whose hidden states are (n, D), into `steps`."""
        block = max(1, _MAX_LOGITS // self.backbone.vocab_size)
        for start in range(0, len(parents), block):
            states = hidden[start : start + block]
            children, counts = self.trie.children(parents[start : start + block])
            tokens = self.trie.forest.keys[children]
            rows = np.repeat(np.arange(len(counts)), counts)
            if self.score == "joint":
                logits = self.backbone.logits(states)  # (n, V)
                chosen = _pick(logits, rows, tokens)
                totals = logits.logsumexp(dim=1).double().cpu().numpy()
            else:
                distinct, columns = np.unique(tokens, return_inverse=True)
                logits = self.backbone.logits(states, torch.from_numpy(distinct).to(states.device))
                chosen = _pick(logits, rows, columns)
                totals = _log_sum_exp(chosen, counts)
            steps[children] = chosen - np.repeat(totals, counts)


def _pick(logits: Tensor, rows: IntArray, columns: IntArray) -> FloatArray:
    """(C,) logits at C places."""
    at = torch.from_numpy(rows).to(logits.device), torch.from_numpy(columns).to(logits.device)
    picked: FloatArray = logits[at].double().cpu().numpy()
    return picked


def _log_sum_exp(values: FloatArray, counts: IntArray) -> FloatArray:
    """(n,) log of the sum of exp over consecutive groups of `counts` values, none of them empty."""
    starts = np.cumsum(counts) - counts
    largest = np.maximum.reduceat(values, starts)
    total: FloatArray = np.log(np.add.reduceat(np.exp(values - np.repeat(largest, counts)), starts)) + largest
    return total
