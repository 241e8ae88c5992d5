"""The search that others use: transformers' constrained beam search with KV cache, on the same prompts and trie.

Its score is `joint`: transformers takes the log-softmax over the whole vocabulary first and takes out the forbidden
tokens afterwards, so nothing is normalised over the allowed ones. With `length_penalty=0` a score is the plain sum, and
then its default stopping rule is exact: scores only fall, so a beam below the worst finished one cannot come back.

What it needs is prepared before it is timed: the prompts' input vectors, and the allowed tokens of every prefix as
tensors, found by one dictionary look-up.

Shapes: B prompts, P positions of the longest, D hidden size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.ranking.scorer import TitleScorer
from patchrec.ranking.trie import TitleTrie
from patchrec.recommender import Query

Prefix = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """Prompts as one batch, padded on the left.

    Attributes:
        inputs: (B, P, D) vectors: patches are no tokens.
        mask: (B, P) 1 where a prompt is, 0 where padding is.
    """

    inputs: Tensor
    mask: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, scorer: TitleScorer, queries: Sequence[Query]) -> "Padded":
        """Embed some prompts."""
        encoder, backbone = scorer.encoder.fresh(), scorer.backbone
        each = []
        for query in queries:
            forest, _ = grow([encoder.prompt_path(query.history, query.history.layout)])
            each.append(backbone.embed(backbone.batch(encoder, [Extension(forest)])))
        padded = torch.nn.utils.rnn.pad_sequence(each, batch_first=True, padding_side="left")
        ones = [torch.ones(len(vectors), dtype=torch.long, device=backbone.device) for vectors in each]
        return cls(padded, torch.nn.utils.rnn.pad_sequence(ones, batch_first=True, padding_side="left"))


@dataclass(frozen=True, slots=True, eq=False)
class BeamSearch:
    """A beam search over the titles of a catalog.

    Attributes:
        allowed: Tokens that may follow each prefix of a title.
        titles: Titles by their tokens, the end token included.
        end: The token that ends a title.
        longest: Tokens of the longest title, with its end.
    """

    backbone: Backbone
    allowed: dict[Prefix, Tensor]
    titles: dict[Prefix, int]
    end: int
    longest: int

    @classmethod
    def of(cls, scorer: TitleScorer) -> "BeamSearch":
        """Prepare the prefixes of a scorer's trie."""
        following, titles = prefixes(scorer.trie)
        device = scorer.backbone.device
        allowed = {prefix: torch.tensor(tokens, device=device) for prefix, tokens in following.items()}
        end = scorer.encoder.prompt.end
        return cls(scorer.backbone, allowed, titles, end, max(map(len, titles)))

    def run(self, prompts: Padded, num_beams: int, *, max_tokens: int | None = None) -> list[list[tuple[int, float]]]:
        """For each prompt the titles it ends with and their scores, best first.

        Args:
            num_beams: Beams, and titles asked for.
            max_tokens: Tokens of an answer at most; None allows the longest title.
        """
        finished = torch.tensor([self.end], device=prompts.mask.device)  # a beam that ran out of titles can only end

        def allowed(_: int, answer: Tensor) -> Tensor:
            return self.allowed.get(tuple(answer.tolist()), finished)

        with own_attention(self.backbone.model) as model:
            found = model.generate(
                inputs_embeds=prompts.inputs,
                attention_mask=prompts.mask,
                prefix_allowed_tokens_fn=allowed,
                num_beams=num_beams,
                num_return_sequences=num_beams,
                max_new_tokens=max_tokens or self.longest,
                length_penalty=0.0,
                early_stopping=False,
                do_sample=False,
                use_cache=True,
                eos_token_id=self.end,
                pad_token_id=self.end,
                return_dict_in_generate=True,
                output_scores=True,
            )
        pairs = zip(found.sequences.tolist(), found.sequences_scores.tolist(), strict=True)
        ends = [(self._title(answer), score) for answer, score in pairs]
        starts = range(0, len(ends), num_beams)
        return [
            [(title, score) for title, score in ends[start : start + num_beams] if title is not None]
            for start in starts
        ]

    def _title(self, answer: list[int]) -> int | None:
        """The title of an answer; None where it is none (fewer titles than beams, or cut off)."""
        if self.end not in answer:
            return None
        return self.titles.get(tuple(answer[: answer.index(self.end) + 1]))


@contextmanager
def own_attention(model: Any) -> Iterator[Any]:
    """A model with transformers' attention in place of ours, and back."""
    before = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    try:
        yield model
    finally:
        model.set_attn_implementation(before)


def prefixes(trie: TitleTrie) -> tuple[dict[Prefix, list[int]], dict[Prefix, int]]:
    """The tokens that may follow each prefix of a title, and the number of each whole title."""
    following: dict[Prefix, list[int]] = {}
    titles: dict[Prefix, int] = {}
    path: list[int] = []
    nodes = zip(trie.forest.keys.tolist(), trie.forest.depth.tolist(), trie.forest.end.tolist(), strict=True)
    for node, (token, depth, stop) in enumerate(nodes):
        del path[depth:]
        following.setdefault(tuple(path), []).append(token)
        path.append(token)
        if stop == node + 1:
            titles[tuple(path)] = len(titles)
    return following, titles
