"""T5 over items' paths: a history as text with paths in it, the next item's path as the answer. P5, POD and LightLM.

T5's encoder sees all of a text at once, so a history is run for each target alone, with nothing after it: rows with
several targets are cut into as many. An encoder whose tokens see only what came before them runs a row once.

Ranking is exact: the decoder runs every path that leads to a choice, several in a row that do not see each other, and
an item's log-probability is that of its path among the paths that there are.

Shapes: B rows, n texts, L items, D tokens of a path, T tokens of a text, S size of states, M answers to a text,
I items, G choices, A tokens of choices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.history import IntArray
from patchrec.model.item_batch import ItemBatch
from patchrec.model.item_index import NOTHING
from patchrec.model.item_paths import ItemPaths

_TOKENS = 1 << 14  # of texts that are run together
_SCORES = 1 << 24  # held at a time: 64 MiB
_RUN_TOKENS = 512  # of the decoder in one pass: they attend to each other, if only to be masked


@dataclass(frozen=True, slots=True)
class Frames:
    """What stands around a history.

    Attributes:
        texts: Tokens before and after it, one pair of which is drawn for each text in training.
        answering: Which of them asks, once trained.
        num_prompts: Vectors in front of it all, trained as they are.
    """

    texts: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    answering: int = 0
    num_prompts: int = 0


class Texts(NamedTuple):
    """Histories and what is asked of them.

    Attributes:
        items: (n, L), anything after a history's end.
        lengths: (n,).
        places: (n, M) after how many items each answer is wanted.
        targets: (n, M) the items that came, -1 where nothing is asked.
    """

    items: Tensor
    lengths: Tensor
    places: Tensor
    targets: Tensor

    def take(self, some: Tensor) -> "Texts":
        """Some of them, as long as the longest."""
        items, lengths, places, targets = (part[some] for part in self)
        return Texts(items[:, : int(lengths.max())], lengths, places, targets)


class Encoded(NamedTuple):
    """Texts that were run.

    Attributes:
        states: (n, T, S). kept: (n, T) whether there is a token.
        words: (n, T) how many items had begun at each token; 0 before the history and after it.
    """

    states: Tensor
    kept: Tensor
    words: Tensor

    def seen(self, places: Tensor) -> Tensor:
        """(n, M, T) what each answer may see: all around the history, and the items before its place."""
        return self.kept[:, None] & (self.words[:, None] <= places[:, :, None])


class GenerativeItems(nn.Module):
    """A T5 encoder over a history's paths, and a T5 decoder or an item head that answers.

    Source: Geng et al., "Recommendation as Language Processing (RLP): A Unified Pretrain, Personalized Prompt & Predict
    Paradigm (P5)", RecSys 2022: T5, and whole-word embeddings, one vector for all tokens of an item, by its place.
    Places are counted from the newest item, which tells more of the next one than the oldest. There is no user: what is
    not in the history says nothing. One task, the next item. The softmax of the loss is over the tokens that go on to
    an item, not over all: what is learned is what is ranked. Without a decoder a layer over all items reads the mean of
    the encoder's states (Wang et al., "Rethinking Large Language Model Architectures for Sequential Recommendations",
    2024, their P5 without decoding).

    An encoder of which tokens see only what came before them is ours, for a tenth of the work. There places are counted
    from the oldest item, and the decoder begins with the newest token's state, as nothing else tells it which that is.
    """

    before: Tensor
    after: Tensor

    def __init__(
        self,
        body: Any,
        table: IntArray,
        max_items: int,
        frames: Frames,
        *,
        past: bool = False,
        beam: int | None = None,
    ) -> None:
        """Draw weights from torch's global generator.

        Args:
            body: A T5; without a decoder an item head answers (see `patchrec.model.t5_body`).
            table: (I, D) the path of every item, filled up with 0.
            max_items: Longest history.
            frames: What stands around histories; nothing after them where `past` is set.
            past: Whether the encoder's tokens see only items before them, and their own.
            beam: Answers are those of a beam search of this width; None: exact.
        """
        super().__init__()
        self.paths, self.frames, self.past, self.beam = ItemPaths(table), frames, past, beam
        self.body = body
        width, decoder = body.config.d_model, hasattr(body, "decoder")
        self.places = nn.Embedding(max_items + 1, width)  # 0: around the history
        self.prompts = nn.Parameter(torch.randn(frames.num_prompts, width)) if frames.num_prompts else None
        with torch.no_grad():  # as large as what they are added to and stand beside
            for own in (self.places.weight, self.prompts):
                if own is not None:
                    own.mul_(body.shared.weight.std())
        self.head = None if decoder else nn.Linear(width, len(table))
        before, after = (_padded([text[side] for text in frames.texts]) for side in (0, 1))
        self.register_buffer("before", before, persistent=False)
        self.register_buffer("after", after, persistent=False)

    def loss(self, batch: ItemBatch) -> Tensor:
        """Negative log-probability of the targets, in nats, summed; none is seen by its own answer."""
        total = self.places.weight.sum() * 0.0
        for _, texts in self._blocks(self._asked(batch)):
            choice = torch.randint(len(self.frames.texts), texts.lengths.shape, device=texts.lengths.device)
            total = total - self._log_prob(self._encode(texts, choice), texts).sum()
        return total

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1.

        With a beam, items that it did not find share what it left evenly, below all that it found.
        """
        lengths = batch.lengths - 1
        every = Texts(batch.items[:, 1:], lengths, lengths[:, None], torch.full_like(lengths[:, None], -1))
        found = torch.empty(len(lengths), len(self.paths.paths), device=lengths.device)
        for some, texts in self._blocks(every):
            choice = torch.full_like(texts.lengths, self.frames.answering)
            found[some] = self._log_probs(self._encode(texts, choice), texts.places)
        return found

    def cost_of(self, num_items: int) -> tuple[int, float]:
        """Positions run for a history of so many items, and their floating-point operations, attention left out.

        Paths count with their mean length. The decoder runs all that leads to choices; its keys and values of the text
        are made once.
        """
        asking = self.frames.texts[self.frames.answering]
        path = float((self.paths.paths != NOTHING).sum()) / len(self.paths.paths)
        text = self.frames.num_prompts + sum(map(len, asking)) + round(path * num_items)
        flops = 2.0 * text * _weights(self.body.encoder.block)
        if self.head is not None:
            return text, flops + 2.0 * self.head.weight.numel()
        cross = [block.layer[1].EncDecAttention for block in self.body.decoder.block]
        of_text = sum(own.k.weight.numel() + own.v.weight.numel() for own in cross)
        spelled = self.paths.runs.numel()
        flops += 2.0 * (text * of_text + spelled * (_weights(self.body.decoder.block) - of_text))
        return text + spelled, flops + 2.0 * self.paths.open.numel() * self.body.config.d_model

    def _asked(self, batch: ItemBatch) -> Texts:
        """What is to be learned: rows as they are where tokens see only the past, else a text for each target."""
        assert batch.targets is not None, "nothing to learn from"
        if not self.past:
            rows, lengths = (batch.targets >= 0).nonzero(as_tuple=True)
            targets = batch.targets[rows, lengths]
            return Texts(batch.items[rows, 1:], lengths, lengths[:, None], targets[:, None])
        order = (batch.targets < 0).to(torch.uint8).argsort(dim=1, stable=True)
        return Texts(batch.items[:, 1:], batch.lengths - 1, order, batch.targets.gather(1, order))

    def _blocks(self, texts: Texts) -> Iterator[tuple[Tensor, Texts]]:
        """Texts of about one length together, with their numbers."""
        order = texts.lengths.argsort(stable=True)
        around = self.frames.num_prompts + self.before.shape[1] + self.after.shape[1] + 1
        start = 0
        while start < len(order):
            stop, longest = start + 1, 0
            for stop in range(start + 1, len(order) + 1):
                longest = int(texts.lengths[order[stop - 1]])
                if (stop - start) * (around + longest * self.paths.paths.shape[1]) > _TOKENS:
                    break
            yield order[start:stop], texts.take(order[start:stop])
            start = stop

    def _encode(self, texts: Texts, choice: Tensor) -> Encoded:
        """Run texts; `choice` (n,) says which words stand around each."""
        count, longest = texts.items.shape
        places = torch.arange(1, longest + 1, device=choice.device)
        known = places <= texts.lengths[:, None]
        spelled = self.paths.paths[texts.items.where(known, 0)] * known[:, :, None]  # (n, L, D)
        words = places[None, :, None].expand_as(spelled).reshape(count, -1)
        before, after = self.before[choice], self.after[choice]
        tokens = torch.cat([before, spelled.reshape(count, -1), after], dim=1)
        words = torch.cat([torch.zeros_like(before), words, torch.zeros_like(after)], dim=1)
        # gaps go to the end: what is near in the text shall be near
        kept = tokens != NOTHING
        order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)[:, : max(1, int(kept.sum(dim=1).max()))]
        tokens, words, kept = tokens.gather(1, order), words.gather(1, order), kept.gather(1, order)
        places = words if self.past else (texts.lengths[:, None] + 1 - words).where(words > 0, 0)
        inputs = self.body.shared(tokens) + self.places(places * kept)
        if self.prompts is not None:
            inputs = torch.cat([self.prompts.expand(count, -1, -1), inputs], dim=1)
            words = functional.pad(words, (len(self.prompts), 0))
            kept = functional.pad(kept, (len(self.prompts), 0), value=True)
        mask = kept
        if self.past:
            mask = (kept[:, None] & (words[:, None] <= words[:, :, None]))[:, None]
        states: Tensor = self.body.encoder(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        return Encoded(states, kept, words)

    def _log_prob(self, encoded: Encoded, texts: Texts) -> Tensor:
        """(m,) log-probability of the targets that are asked for."""
        answers = int((texts.targets >= 0).sum(dim=1).max())
        places, targets = texts.places[:, :answers], texts.targets[:, :answers]
        asked = targets >= 0
        if self.head is not None:
            return self._by_head(encoded, places)[asked].gather(1, targets[asked][:, None])[:, 0]
        paths = self.paths.paths[targets.clamp(min=0)][:, :, :-1]  # (n, M, D - 1)
        decoded = self._decode(encoded, functional.pad(paths, (1, 0), value=NOTHING), places)
        return self.paths.step_log_probs(targets[asked], self._score(decoded[asked]))

    def _log_probs(self, encoded: Encoded, places: Tensor) -> Tensor:
        """(n, I) log-probability of every item, each text asked at its (n, 1) place."""
        if self.head is not None:
            return self._by_head(encoded, places)[:, 0]
        size = max(1, _SCORES // max(self.paths.open.numel(), self.paths.step_choice.numel()))
        pieces = []
        for start in range(0, len(places), size):
            own = slice(start, start + size)
            logits = self._choices(Encoded(*(part[own] for part in encoded)), places[own])
            pieces.append(self._ranked(self.paths.choice_log_probs(logits)))
        return torch.cat(pieces)

    def _ranked(self, steps: Tensor) -> Tensor:
        """(n, I) log-probabilities of (n, I, D) those of steps: all of them, or what a beam finds."""
        log_probs = steps.sum(dim=-1)
        if self.beam is None:
            return log_probs
        found = self.paths.beam(steps, self.beam)
        left = (1 - log_probs.exp().where(found, 0.0).sum(dim=-1)).clamp(min=1e-9) / (~found).sum(dim=-1).clamp(min=1)
        least = log_probs.where(found, torch.inf).min(dim=-1).values
        rest = torch.minimum(left.log(), least - 1e-3)
        return log_probs.where(found, rest[:, None]).log_softmax(dim=-1)

    def _choices(self, encoded: Encoded, places: Tensor) -> Tensor:
        """(n, G, A) scores at all choices: every run that leads to one, some at a time."""
        pieces = []
        for runs in torch.split(self.paths.runs, max(1, _RUN_TOKENS // self.paths.runs.shape[1])):
            tokens = runs.expand(len(places), -1, -1)  # (n, M, D)
            pieces.append(self._decode(encoded, tokens, places.expand(-1, len(runs))).flatten(1, 2))
        return self._score(torch.cat(pieces, dim=1)[:, self.paths.at])

    def _decode(self, encoded: Encoded, tokens: Tensor, places: Tensor) -> Tensor:
        """(n, M, D, S) states after (n, M, D) tokens, each answer at its (n, M) place of the text.

        Answers stand in a row, each seeing itself alone. T5 knows distances only, which are right within each.
        """
        count, answers, depth = tokens.shape
        own = torch.arange(answers * depth, device=tokens.device)
        mask = (own[:, None] // depth == own // depth) & (own[:, None] >= own)
        seen, inputs = encoded.seen(places), self.body.shared(tokens)
        if self.past:  # nothing else tells which of the tokens that it sees is the newest
            newest = (seen * torch.arange(1, seen.shape[2] + 1, device=seen.device)).argmax(dim=2)
            states = encoded.states[torch.arange(count, device=seen.device)[:, None], newest]  # (n, M, S)
            inputs = inputs + functional.pad(states[:, :, None], (0, 0, 0, depth - 1))
        decoded: Tensor = self.body.decoder(
            inputs_embeds=inputs.reshape(count, answers * depth, -1),
            attention_mask=mask.expand(count, 1, -1, -1),
            encoder_hidden_states=encoded.states,
            encoder_attention_mask=seen.repeat_interleave(depth, dim=1)[:, None],
        ).last_hidden_state
        return decoded.view(count, answers, depth, -1)

    def _score(self, decoded: Tensor) -> Tensor:
        """(..., A) scores of tokens that can follow (..., S) states; T5's embeddings are the head."""
        head = self.body.shared.weight[self.paths.alphabet]
        scale = head.shape[1] ** -0.5 if self.body.config.scale_decoder_outputs else 1.0
        return functional.linear(decoded * scale, head)

    def _by_head(self, encoded: Encoded, places: Tensor) -> Tensor:
        """(n, M, I) log-probabilities by the item head, of the mean of the states that each answer may see."""
        assert self.head is not None
        seen = encoded.seen(places).to(encoded.states.dtype)
        mean = seen @ encoded.states / seen.sum(dim=-1, keepdim=True)  # (n, M, S)
        logits: Tensor = self.head(mean)
        return logits.log_softmax(dim=-1)


def _weights(part: nn.Module) -> int:
    """Weights of matrices."""
    return sum(own.numel() for own in part.parameters() if own.ndim > 1)


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """(n, longest) tokens, filled up with 0."""
    longest = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[NOTHING] * (longest - len(row))] for row in rows], dtype=torch.int64)
