"""What the ranking benchmarks measure on: a data set, a backbone and real prompts of test targets.

The prompt is the paper's (chat, the instruction after the history) with sliding windows. No item is left out of a
ranking, so that every search here has the same candidates as one that knows no users.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from patchrec.config import PromptConfig, ScoreName, StrategyConfig
from patchrec.data.histories import Dataset, Example
from patchrec.evaluation.evaluate import sample_examples
from patchrec.history import History, IntArray
from patchrec.layout import Layout
from patchrec.model.backbone import Backbone
from patchrec.model.tokenizer import make_encoder
from patchrec.operations.backbones import find_backbone
from patchrec.plugins import plan_for
from patchrec.ranking.items import precedence
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.scorer import TitleScorer
from patchrec.recommender import Query
from patchrec.reporting import Silent
from patchrec.store import Store
from patchrec.strategy import Planner

KINDS = {
    "vanilla": StrategyConfig(name="vanilla"),
    "PFT-S L=5": StrategyConfig(name="pft-s", options={"L": 5}),
    "PFT-S L=20": StrategyConfig(name="pft-s", options={"L": 20}),
}
NOTHING: IntArray = np.empty(0, dtype=np.int64)
NO_LIMIT = 1 << 40  # a batch of a benchmark is one batch, however large


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured.

    Attributes:
        users: Prompts of a row.
        batch: Prompts run together.
        repeats: Rounds in which what is compared takes turns.
        beam_repeats: Rounds of them that the beam search takes part in.
        k: Length of a ranking, and beams.
        K: History length, where not said otherwise.
        overlap: Prompts of a row whose exact titles are compared with what the beam search found.
        long_data: Data set of the section on long histories.
        long_users: Its users.
        long_repeats: Rounds with whole histories.
        min_interactions: What these have at least.
        sizes: Titles of the generated catalogs.
        cache: Where encoded catalogs are kept.
        run: A fine-tuned run; None takes the newest.
        targets: Of a user, at most, in the section on evaluations.
    """

    users: int = 8
    batch: int = 4
    repeats: int = 3
    beam_repeats: int = 1
    overlap: int = 4
    k: int = 20
    K: int = 100
    long_data: str = "ml-1m"
    long_users: int = 2
    long_repeats: int = 1
    min_interactions: int = 500
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    seed: int = 0
    cache: Path | None = None
    run: str | None = None
    targets: int = 24


@dataclass(frozen=True, slots=True, eq=False)
class LaidOut(History):
    """A history that is laid out beforehand, so that planning is in no time that is measured."""

    layout: Layout = field(default_factory=lambda: Layout(()))

    @classmethod
    def of(cls, history: History, planner: Planner) -> "LaidOut":
        """Plan a history."""
        return cls(history.items, history.timestamps, history.start, history.anchored, planner.plan(history))


class AsLaidOut:
    """What takes a strategy's place where histories are laid out beforehand."""

    def plan(self, history: LaidOut) -> Layout:
        """The layout it has."""
        return history.layout


@dataclass(frozen=True)
class Bench:
    """A data set and an untrained backbone, made ready."""

    store: Store
    dataset: Dataset
    folder: Path
    scorer: TitleScorer
    settings: Settings

    @classmethod
    def open(cls, store: Store, data: str, backbone: str, settings: Settings) -> "Bench":
        """Load both from a store."""
        dataset = store.datasets.load(data)
        folder = find_backbone(store, backbone).folder
        return cls._of(store, dataset, folder, Backbone.load(folder, name=backbone), settings)

    @classmethod
    def _of(cls, store: Store, dataset: Dataset, folder: Path, model: Backbone, settings: Settings) -> "Bench":
        prompt = PromptConfig(form="paper", noun=dataset.noun, verb=dataset.verb)
        encoder = make_encoder(folder, dataset.catalog.titles, prompt, model.vocab_size)
        bench = cls(store, dataset, folder, TitleScorer.of(model, encoder), settings)
        bench.remember_items()
        return bench

    def on(self, data: str) -> "Bench":
        """The same model with another data set, whose item patches the model then has in place of these."""
        if data == self.dataset.name:
            return self
        dataset = self.store.datasets.load(data)
        return self._of(self.store, dataset, self.folder, self.scorer.backbone, self.settings)

    def remember_items(self) -> None:
        """Have the catalog's item patches computed, as ranking with a run does."""
        self.scorer.backbone.remember_items(self.scorer.encoder)

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on the processor."""
        return self.scorer.backbone.device.type == "cpu"

    @cached_property
    def ranker(self) -> LanguageRecommender:
        """Ranks the data set's items with the score `catalog`."""
        return ranker_of(self.scorer, precedence(self.dataset.popularity), self.dataset.catalog.titles)

    def batches(self, kind: str) -> list[list[Query]]:
        """Test prompts of a kind (`KINDS`) in batches of like length, long ones first."""
        examples = self.dataset.examples("test", self.settings.K)
        queries = [self.query(example, plan_for(KINDS[kind])) for example in self.sample(examples)]
        return self.in_batches(queries, self.ranker)

    def sample(self, examples: Sequence[Example]) -> list[Example]:
        """The targets of every row: the same ones for the same seed."""
        return sample_examples(examples, self.settings.users, self.settings.seed)

    def query(self, example: Example, planner: Planner) -> Query:
        """What is asked for one target."""
        return Query(LaidOut.of(self.dataset.history(example), planner), NOTHING)

    def in_batches(self, queries: Sequence[Query], ranker: LanguageRecommender) -> list[list[Query]]:
        """Put prompts of like length together."""
        ordered = sorted(queries, key=lambda query: -length(ranker, query))
        size = self.settings.batch
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def ranker_of(scorer: TitleScorer, place: IntArray, titles: Sequence[str]) -> LanguageRecommender:
    """What ranks by titles, however large a batch is."""
    return LanguageRecommender(scorer.backbone, scorer.encoder, AsLaidOut(), place, titles, scorer, max_tokens=NO_LIMIT)


def length(ranker: LanguageRecommender, query: Query) -> int:
    """Positions of a prompt."""
    return int(ranker.lengths([query])[0])


def with_score(ranker: LanguageRecommender, score: ScoreName) -> LanguageRecommender:
    """The same ranker with another score."""
    return replace(ranker, scorer=replace(ranker.scorer, score=score))


def whole(ranker: LanguageRecommender) -> LanguageRecommender:
    """The same ranker, scoring every title."""
    return replace(ranker, search="whole")


class Telling(Silent):
    """Says what was picked, and nothing else."""

    def picked(self, what: str, value: str, why: str) -> None:
        """Say what a default chose."""
        tell(f"  {what} {value}: {why}")


def tell(message: str) -> None:
    """Say what is being done; results alone go to stdout."""
    print(message, file=sys.stderr, flush=True)
