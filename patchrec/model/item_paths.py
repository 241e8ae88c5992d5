"""A catalog as a trie of token paths: log-probabilities of all items from scores of a node's children, all exact.

The trie is small: a path is a few tokens, and only nodes with several children leave a choice. Scores of the choices
at all of them, each normalised over the node's children, are a distribution over the items.

Shapes: I items, D tokens of the longest path, N nodes, G nodes with several children ("choices"), A tokens that any
choice has, n rows, R runs (paths that lead to a choice, none of which begins another).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchrec.history import BoolArray, IntArray
from patchrec.model.forest import grow
from patchrec.model.item_index import NOTHING

_NONE = -1


class ItemPaths(nn.Module):
    """The path of every item, kept with a model's weights: what it learned is of these paths and no others.

    Attributes:
        paths: (I, D) tokens, 0 after a path's end.
        runs: (R, D) tokens that lead to choices; the first of each is the start, 0.
        at: (G,) where in the flattened runs each choice is made.
        alphabet: (A,) tokens of choices, ascending.
        open: (G, A) which of them each choice has.
        step_choice: (I, D) the choice that each token of a path answers, -1 where there is none.
        step_token: (I, D) that token's place in the alphabet.
        step_node: (I, D) a number for each path so far; after a path's end its last.
    """

    paths: Tensor
    runs: Tensor
    at: Tensor
    alphabet: Tensor
    open: Tensor
    step_choice: Tensor
    step_token: Tensor
    step_node: Tensor

    def __init__(self, table: IntArray) -> None:
        """Take (I, D) paths, of which none begins another."""
        super().__init__()
        self.register_buffer("paths", torch.from_numpy(table))
        self._derive(table)

    def _derive(self, table: IntArray) -> None:
        for name, array in derived(table).items():
            self.register_buffer(name, torch.from_numpy(array).to(self.paths.device), persistent=False)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        stored = state_dict.get(f"{prefix}paths")
        if stored is not None and len(stored) == len(self.paths):  # as long as they were, whatever was made here
            self.paths = stored.clone().to(self.paths.device)
            self._derive(stored.cpu().numpy())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def step_log_probs(self, items: Tensor, logits: Tensor) -> Tensor:
        """(n,) log-probability of items.

        Args:
            items: (n,).
            logits: (n, D, A) scores of the alphabet at each step of the item's path.
        """
        choice, token = self.step_choice[items], self.step_token[items]
        asked = choice != _NONE
        own, allowed = logits[asked], self.open[choice[asked]]  # (m, A)
        steps = own.masked_fill(~allowed, -torch.inf).log_softmax(dim=-1).gather(1, token[asked][:, None])[:, 0]
        return logits.new_zeros(choice.shape).masked_scatter(asked, steps).sum(dim=-1)

    def choice_log_probs(self, logits: Tensor) -> Tensor:
        """(n, I, D) log-probability of each step of every item's path, of (n, G, A) scores at all choices."""
        steps = logits.masked_fill(~self.open, -torch.inf).log_softmax(dim=-1)
        taken = steps[:, self.step_choice.clamp(min=0), self.step_token]
        return taken.masked_fill(self.step_choice == _NONE, 0)

    def beam(self, steps: Tensor, width: int) -> Tensor:
        """(n, I) which items a beam search ends with: at each token the best `width` paths go on.

        Args:
            steps: (n, I, D) what `choice_log_probs` gave.
            width: Of the beam; paths that are complete keep their place in it.
        """
        alive = torch.ones(steps.shape[:2], dtype=torch.bool, device=steps.device)
        scores = steps.cumsum(dim=-1)
        for depth in range(steps.shape[2]):
            _, first, of_item = np.unique(
                self.step_node[:, depth].cpu().numpy(), return_index=True, return_inverse=True
            )
            some = torch.from_numpy(first).to(steps.device)  # an item of each path so far
            so_far = scores[:, some, depth].masked_fill(~alive[:, some], -torch.inf)
            best = so_far.topk(min(width, len(first)), dim=-1)
            kept = torch.zeros_like(so_far, dtype=torch.bool).scatter(1, best.indices, best.values > -torch.inf)
            alive = kept[:, torch.from_numpy(of_item).to(steps.device)]
        return alive


def derived(table: IntArray) -> dict[str, IntArray | BoolArray]:
    """Everything of `ItemPaths` that follows from its (I, D) paths."""
    lengths = (table != NOTHING).sum(axis=1)
    forest, nodes = grow([row[:length] for row, length in zip(table, lengths, strict=True)])
    root = len(forest)  # stands behind all nodes
    parents = np.where(forest.parent < 0, root, forest.parent)
    several = np.bincount(parents, minlength=root + 1) > 1
    several[root] = True  # an only item is a choice of one
    choices = np.flatnonzero(several)
    number = np.full(root + 1, _NONE, dtype=np.int64)
    number[choices] = np.arange(len(choices))
    children = np.flatnonzero(number[parents] != _NONE)
    alphabet = np.unique(forest.keys[children])
    is_open = np.zeros((len(choices), len(alphabet)), dtype=np.bool_)
    is_open[number[parents[children]], np.searchsorted(alphabet, forest.keys[children])] = True

    step_choice, step_token, step_node = np.full_like(table, _NONE), np.zeros_like(table), np.zeros_like(table)
    for item, own in enumerate(nodes):
        step_choice[item, : len(own)] = number[parents[own]]
        step_node[item, : len(own)], step_node[item, len(own) :] = own, own[-1]
    asked = step_choice != _NONE
    step_token[asked] = np.searchsorted(alphabet, table[asked])

    # a choice below another is met on the way to it: only the last ones need a run of their own
    met = np.zeros(root + 1, dtype=np.bool_)
    runs: list[list[int]] = []
    at = np.zeros(len(choices), dtype=np.int64)
    for choice in choices[::-1]:  # the root is first, then children before their parents
        if choice == root or met[choice]:
            continue
        way = [int(choice)]
        while parents[way[-1]] != root:
            way.append(int(parents[way[-1]]))
        for place, node in enumerate(reversed(way), start=1):
            if number[node] != _NONE and not met[node]:
                at[number[node]] = len(runs) * table.shape[1] + place
            met[node] = True
        runs.append([NOTHING, *forest.keys[way[::-1]].tolist()])
    padded = np.full((max(1, len(runs)), table.shape[1]), NOTHING, dtype=np.int64)
    for row, run in enumerate(runs):
        padded[row, : len(run)] = run
    return {
        "runs": padded,
        "at": at,  # the root's choice is made at the start of the first run
        "alphabet": alphabet.astype(np.int64),
        "open": is_open,
        "step_choice": step_choice,
        "step_token": step_token,
        "step_node": step_node,
    }
