"""The exact log-probability of titles after a prompt, and of a trie node's children after the node.

The title trie hangs under the prompt's last position, on the prompt's keys and values, so tokens that titles share run
once. Two scores (design, "Scores"):

- `joint`: log P(title + end | prompt), every step over the whole vocabulary.
- `catalog`: every step over the trie's children alone. It is a proper distribution over titles, and a node with one
  child costs nothing: only nodes with a branching at or below them are run.

A title's log-probability is that of each of its texts: where a tokenizer merges several, they share it evenly.

Shapes: N nodes, C children, D hidden size, V vocabulary, n parents.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from patchrec.config import ScoreName
from patchrec.errors import CheckFailedError
from patchrec.history import FloatArray, IntArray
from patchrec.model.attention import Context, Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.patching import PathEncoder
from patchrec.ranking.trie import ROOT, TitleTrie

MAX_NODES = 1024  # nodes of one forward pass
_MAX_LOGITS = 1 << 25  # logits held at a time: 128 MiB in float32


@dataclass(frozen=True, slots=True, eq=False)
class TitleScorer:
    """A model with a catalog: gives titles their log-probabilities.

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
        """Positions run through the model to score every title once, the prompt not counted."""
        return sum(len(piece.forest) for piece in self.trie.pieces(self.score, self.max_nodes))

    def score_prompt(self, path: IntArray) -> FloatArray:
        """(num_titles,) log-probability of a text of every title after one prompt, given by its (P,) keys."""
        forest, nodes = grow([path])
        hidden, context = self.backbone.prefill(self.encoder, forest)
        position = int(nodes[0][-1])
        return self.score_titles(context, position, hidden[position])

    @torch.no_grad()
    def score_titles(self, context: Context, position: int, hidden: Tensor) -> FloatArray:
        """(num_titles,) log-probability of a text of every title after one of several prompts already run.

        Args:
            context: The prompts.
            position: The prompt's last position in it.
            hidden: (D,) last hidden state there.

        Raises:
            CheckFailedError: The model's logits are not numbers.
        """
        steps = np.zeros(len(self.trie.forest))  # log-probability of each node given its parent
        first = self.trie.parents(self.score)[:1]
        if first.tolist() == [ROOT]:
            children, _, log_probs = self.child_log_probs(first, hidden[None])
            steps[children] = log_probs
        for piece in self.trie.pieces(self.score, self.max_nodes):
            extension = Extension.at(piece.forest, context, position)
            states, _ = self.backbone.extend(self.encoder, [extension], keep=False)  # (N, D)
            wanted = states[torch.from_numpy(piece.rows).to(states.device)]
            children, _, log_probs = self.child_log_probs(piece.parents, wanted)
            steps[children] = log_probs
        totals: FloatArray = np.add.reduceat(steps[self.trie.path_nodes], self.trie.path_starts)
        return totals + self.trie.log_shares

    @torch.no_grad()
    def root_log_probs(self, hidden: Tensor) -> tuple[IntArray, FloatArray]:
        """Log-probability of every first token after some prompts.

        Args:
            hidden: (B, D) last hidden states of the prompts.

        Returns:
            (C,) nodes of the first tokens and (B, C) log-probabilities.

        Raises:
            CheckFailedError: The model's logits are not numbers.
        """
        children, _ = self.trie.children(np.array([ROOT]))
        tokens = torch.from_numpy(self.trie.forest.keys[children].astype(np.int64)).to(hidden.device)
        if self.score == "joint":
            logits = self.backbone.logits(hidden)  # (B, V)
            log_probs = (logits[:, tokens] - logits.logsumexp(dim=1, keepdim=True)).double()
        else:
            log_probs = self.backbone.logits(hidden, tokens).double().log_softmax(dim=1)
        return children, self._checked(log_probs.cpu().numpy())

    @torch.no_grad()
    def child_log_probs(self, parents: IntArray, hidden: Tensor) -> tuple[IntArray, IntArray, FloatArray]:
        """Log-probability of every child of some nodes, given the node.

        Args:
            parents: (n,) trie nodes, ROOT among them or not.
            hidden: (n, D) their last hidden states.

        Returns:
            (C,) children, those of one parent together, (n,) how many each parent has, (C,) log-probabilities.

        Raises:
            CheckFailedError: The model's logits are not numbers.
        """
        children, counts = self.trie.children(parents)
        tokens = self.trie.forest.keys[children].astype(np.int64)
        stops = np.cumsum(counts)
        log_probs = np.empty(len(children))
        block = max(1, _MAX_LOGITS // self.backbone.vocab_size)
        for start in range(0, len(parents), block):
            own = slice(start, start + block)
            where = slice(int(stops[start] - counts[start]), int(stops[own][-1]))
            log_probs[where] = self._log_probs(hidden[own], tokens[where], counts[own])
        return children, counts, self._checked(log_probs)

    def _checked(self, log_probs: FloatArray) -> FloatArray:
        """Log-probabilities of steps that are numbers, none above 0: a bound must never rise along a path."""
        unsound = np.count_nonzero(~np.isfinite(log_probs))
        if unsound:
            raise CheckFailedError(
                f"{self.backbone.name}: the scores of {unsound:,} title tokens are not numbers; its weights are "
                "damaged or training diverged: rank with an earlier checkpoint or another run"
            )
        return np.minimum(log_probs, 0.0)  # rounding may put a sure step a hair above

    def _log_probs(self, states: Tensor, tokens: IntArray, counts: IntArray) -> FloatArray:
        """(C,) log-probabilities of the tokens that follow (n, D) states, `counts` of them each."""
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
        log_probs: FloatArray = chosen - np.repeat(totals, counts)
        return log_probs


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
