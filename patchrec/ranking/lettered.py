"""Two stages: another recommender retrieves candidates, and a language model ranks them by their letters.

The result is a distribution over all items. Outside the candidates it is the retriever's. Each candidate keeps as much
as the likeliest item outside has, and what the candidates have beyond that is shared out by the softmax over their
letters. So candidates come first, in the language model's order, then all others in the retriever's. Where the
retriever does not tell candidates from others, a thousandth of their probability is shared out all the same, and all is
normalised anew.

Candidates are the retriever's best of those that may be ranked: what was seen, or is filtered out, is none.

Source: Yue et al., "LlamaRec: Two-Stage Recommendation using Large Language Models for Ranking", 2023, which ranks the
candidates and gives nothing for the rest.

Shapes: I items, n candidates, L letters, B queries.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter

import numpy as np
import torch

from patchrec.config import ScoreName
from patchrec.data.catalog import Catalog
from patchrec.errors import CheckFailedError, UsageError
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.letters import Letters
from patchrec.model.memory import memory_errors
from patchrec.model.patching import PathEncoder
from patchrec.ranking.blend import BlendRecommender
from patchrec.ranking.compression import all_text
from patchrec.ranking.dense import dense_ranking
from patchrec.recommender import Cost, Level, Part, Query, Ranking, Scores
from patchrec.strategy import Planner

MAX_NODES = 2048  # positions of one forward pass, or one prompt
_BLOCK = 64  # queries that the retriever is asked at a time
_LEAST = 1e-3  # of the candidates' probability that letters share out, however flat the retriever is


@dataclass(frozen=True, eq=False)
class Retriever:
    """What chooses candidates: the best items of another recommender.

    Attributes:
        part: It, with the window that it wants histories cut to.
        catalog: Whose items.
        place: (I,) order among equal scores (`precedence`).
        count: How many.
    """

    part: Part
    catalog: Catalog
    place: IntArray
    count: int

    def ask(self, queries: Sequence[Query]) -> list[tuple[Scores, IntArray]]:
        """What it says of all items after each query, and (n,) the best of those not seen, best first."""
        return [(scores, self._best(scores.log_probs, queries[number].seen)) for number, scores in self._each(queries)]

    def _each(self, queries: Sequence[Query]) -> list[tuple[int, Scores]]:
        return sorted(self._alone.score_each(queries), key=lambda pair: pair[0])

    @cached_property
    def _alone(self) -> BlendRecommender:
        """It alone: log-probabilities of items, normalised, after the history that its own window would have cut."""
        return BlendRecommender([replace(self.part, weight=1.0)], self.catalog, self.place)

    def _best(self, log_probs: FloatArray, seen: IntArray) -> IntArray:
        own = log_probs.copy()
        own[seen] = -np.inf
        count = min(self.count, int(np.count_nonzero(own > -np.inf)))
        if count == 0:
            return np.empty(0, dtype=np.int64)
        items = np.flatnonzero(own >= np.partition(own, len(own) - count)[len(own) - count])
        return items[np.lexsort((self.place[items], -own[items]))[:count]].astype(np.int64)


@dataclass(eq=False)
class LetteredRecommender:
    """A language model that ranks what a retriever found.

    Attributes:
        backbone: The model, as it is.
        encoder: A lettered prompt, and titles.
        planner: Lays histories out.
        letters: By which candidates are named.
        retriever: Chooses the candidates.
        max_nodes: Positions of one forward pass.
    """

    backbone: Backbone
    encoder: PathEncoder
    planner: Planner
    letters: Letters
    retriever: Retriever
    max_nodes: int = MAX_NODES

    level: Level = "item"
    score: ScoreName = "letters"

    @property
    def device(self) -> str:
        """Where the model is."""
        return self.backbone.device.type

    def score_each(self, queries: Sequence[Query]) -> Iterator[tuple[int, Scores]]:
        """See `Recommender.score_each`; in the queries' order. What was seen is no candidate.

        Raises:
            CheckFailedError: The model's scores are not numbers. OutOfResourcesError: A prompt does not fit in memory.
        """
        for start in range(0, len(queries), _BLOCK):
            own = queries[start : start + _BLOCK]
            found = self.retriever.ask(own)
            answers = self._answers(own, [items for _, items in found])
            for number, (query, (known, items)) in enumerate(zip(own, found, strict=True)):
                chosen, cost = answers[number]
                shared = shared_out(known.log_probs, items, query.seen, chosen)
                yield start + number, Scores(shared, _with(cost, known.cost))

    def rank_each(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None
    ) -> Iterator[tuple[int, Ranking]]:
        """See `Recommender.rank_each`. What is not allowed is no candidate, as if it had been seen."""
        if k < 1:
            raise UsageError(f"k must be at least 1, got {k!r}")
        asked = list(queries)
        if allowed is not None:
            barred = np.flatnonzero(~allowed)
            asked = [replace(query, seen=np.union1d(query.seen, barred)) for query in queries]
        for number, scores in self.score_each(asked):
            yield (
                number,
                dense_ranking(
                    scores.log_probs, queries[number].seen, k, allowed, self.retriever.place,
                    self.retriever.catalog.titles,
                ),
            )  # fmt: skip

    def lengths(self, queries: Sequence[Query]) -> IntArray:
        """See `Recommender.lengths`: the prompt, and as much for candidates as average titles take."""
        per_line = 2 + len(self.letters.mark) + float(self.encoder.titles.lengths.mean())
        beside = round(self.retriever.count * per_line)
        found = [
            beside + self.encoder.num_positions(query.history, self.planner.plan(query.history)) for query in queries
        ]
        return np.array(found, dtype=np.int64)

    def facts(self) -> dict[str, float | None]:
        """See `Recommender.facts`."""
        return {}

    def asked(self, query: Query) -> IntArray:
        """Keys of the whole prompt after a query, by its encoder: history and candidates."""
        ((_, items),) = self.retriever.ask([query])
        return self._path(self.encoder, query, items)

    def _path(self, encoder: PathEncoder, query: Query, items: IntArray) -> IntArray:
        prompt = encoder.prompt_path(query.history, self.planner.plan(query.history))
        return np.concatenate([prompt, self.letters.listed(encoder.prompt, encoder.titles, items)])

    def _answers(self, queries: Sequence[Query], items: Sequence[IntArray]) -> list[tuple[FloatArray, Cost]]:
        """For each query the (n,) log-probabilities of its candidates among themselves, and what they took."""
        answers: list[tuple[FloatArray, Cost]] = [(np.empty(0), Cost())] * len(queries)
        group: list[int] = []
        paths: list[IntArray] = []
        encoder = self.encoder.fresh()
        for number, (query, own) in enumerate(zip(queries, items, strict=True)):
            if not len(own):
                continue
            path = self._path(encoder, query, own)
            if paths and sum(map(len, paths)) + len(path) > self.max_nodes:
                self._run(encoder, queries, items, group, paths, answers)
                group, paths = [], []
            group.append(number)
            paths.append(path)
        if paths:
            self._run(encoder, queries, items, group, paths, answers)
        return answers

    def _run(
        self,
        encoder: PathEncoder,
        queries: Sequence[Query],
        items: Sequence[IntArray],
        group: Sequence[int],
        paths: Sequence[IntArray],
        answers: list[tuple[FloatArray, Cost]],
    ) -> None:
        """Answer some queries in one forward pass."""
        begun = perf_counter()
        forest, nodes = grow(paths)
        with memory_errors(f"{len(forest):,} positions of prompts", "take a lower --recent, or fewer --candidates"):
            hidden, _ = self.backbone.extend(encoder, [Extension(forest)], keep=False)
            last = torch.tensor([int(path[-1]) for path in nodes], device=hidden.device)
            tokens = torch.from_numpy(self.letters.tokens).to(hidden.device)
            with torch.no_grad():
                logits = self.backbone.logits(hidden[last], tokens).double().cpu().numpy()  # (B, L)
        if not np.isfinite(logits).all():
            raise CheckFailedError(
                f"{self.backbone.name}: the scores of {np.count_nonzero(~np.isfinite(logits)):,} letters are not "
                "numbers; its weights are damaged or training diverged: rank with an earlier checkpoint or another run"
            )
        seconds = (perf_counter() - begun) / len(group)
        ran = np.zeros(len(forest), dtype=np.bool_)
        for number, path, row in zip(group, nodes, logits, strict=True):
            own = row[: len(items[number])]
            fresh = int(np.count_nonzero(~ran[path]))
            ran[path] = True
            cost = self._cost(queries[number], len(path), fresh, seconds)
            answers[number] = np.asarray(own - np.logaddexp.reduce(own), dtype=np.float64), cost

    def _cost(self, query: Query, length: int, fresh: int, seconds: float) -> Cost:
        """What a query took: `fresh` of the `length` positions of its path were run for it."""
        prompt = self.encoder.num_positions(query.history, self.planner.plan(query.history))
        products = int(self.backbone.embedding.shape[1]) * len(self.letters.tokens)
        return Cost(
            positions=fresh,
            beside=length - prompt,
            flops=fresh * self.backbone.flops_per_position + 2 * products,
            seconds=seconds,
            length=prompt,
            text_length=self.encoder.num_positions(query.history, all_text(len(query.history))),
            around=len(self.encoder.prompt.head) + len(self.encoder.prompt.tail),
        )


def shared_out(known: FloatArray, items: IntArray, seen: IntArray, chosen: FloatArray) -> FloatArray:
    """(I,) log-probabilities of all items where a language model shares out what the candidates have.

    Args:
        known: (I,) the retriever's.
        items: (n,) candidates, its best of those not seen.
        seen: Items that are no candidates.
        chosen: (n,) log-probabilities of the candidates among themselves.
    """
    if not len(items):
        return known
    others = known.copy()
    others[items] = -np.inf
    others[seen] = -np.inf
    most = float(others.max(initial=-np.inf))
    mass = float(np.exp(np.logaddexp.reduce(known[items])))
    floor = float(np.exp(most))
    beyond = max(mass - len(items) * floor, _LEAST * mass)
    shared = known.copy()
    shared[items] = np.logaddexp(most, np.log(beyond) + chosen)
    return np.asarray(shared - np.logaddexp.reduce(shared), dtype=np.float64)


def _with(cost: Cost, before: Cost) -> Cost:
    """What a query took in both stages; lengths are those of the language model's prompt."""
    return replace(
        cost,
        positions=cost.positions + before.positions,
        flops=cost.flops + before.flops,
        seconds=cost.seconds + before.seconds,
    )
