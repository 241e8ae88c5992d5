"""The contract of everything that ranks: questions in, log-probabilities of all items or exact rankings out.

A language model with titles or an item head, SASRec, a table of counts, a plugin's own model: each is a `Recommender`.
Evaluating, recommending, comparing and serving ask it these questions and never which kind it is. A `Kind` is a named
way to make one: its options, how it is fitted and how it is loaded. No torch here.

Shapes: B queries, I items of the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from patchrec.errors import PluginError, UsageError
from patchrec.options import Options, bind, check_named, label
from patchrec.reporting import SILENT, Reporter

if TYPE_CHECKING:  # NumPy too takes a tenth of a second that `patchrec --help` must not wait for
    from pathlib import Path

    from patchrec.config import HistoryConfig, RunConfig, ScoreName
    from patchrec.data.histories import Dataset, Example
    from patchrec.history import BoolArray, FloatArray, History, IntArray
    from patchrec.training.learner import Learner

Level = Literal["item", "title"]
Search = Literal["best-first", "whole"]


def nothing() -> IntArray:
    """(0,) items."""
    import numpy as np

    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What one ranking is asked after.

    Attributes:
        history: What the user did, cut to the window that the run was fitted with.
        seen: Items left out of this ranking; empty keeps all.
        user: Neighbouring queries of one user may be run together; None is nobody's neighbour.
    """

    history: History
    seen: IntArray = field(default_factory=nothing)
    user: int | None = None

    @classmethod
    def of(cls, dataset: Dataset, example: Example, *, keep_seen: bool = False) -> Query:
        """What is asked after the history of an example.

        Args:
            dataset: Where it is from.
            example: A target, which may be one past the user's last item.
            keep_seen: Rank what the user has had, too.
        """
        return cls(dataset.history(example), nothing() if keep_seen else dataset.seen(example), example.user)


@dataclass(frozen=True, slots=True)
class Cost:
    """What scoring all items after one query took.

    Attributes:
        positions: Positions run through a model for it; those that it shares with an earlier query count there.
        beside: Of these, the ones after its prompt: candidates' titles.
        flops: Floating-point operations of them, a multiplication and an addition counted as two; attention left out.
        seconds: Wall time, with an equal share of what ran for several.
        length: Positions of its whole prompt; 0 where there is no prompt.
        text_length: The same with every item as text. around: Of either, the positions around the history.
    """

    positions: int = 0
    beside: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    length: int = 0
    text_length: int = 0
    around: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """All items after one query.

    Attributes:
        log_probs: (I,) what ranks, nats, higher is better: of each item, or of its title (`Recommender.level`).
        cost: What it took.
    """

    log_probs: FloatArray
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One line of a ranking; a higher score is better.

    Attributes:
        rank: 1-based.
        item: Catalog index.
        score: What ranks, nats.
        probability: Of the item among all items, or of its title among all titles (`Recommender.level`); None where
            the score is not normalised over them.
    """

    rank: int
    item: int
    title: str
    score: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """Why a ranking is exact: nothing that was left open can score above its last title.

    Attributes:
        search: `best-first` or `whole`.
        kth_score: Score of the last title that the ranking needed; None where candidates ran out before k.
        best_open_bound: Best score that anything not looked at could have; None where nothing was left open.
        num_expanded: Trie nodes whose children were scored.
        num_titles: Titles whose score is known (with a candidate, where the search is best-first).
        num_tokens: Positions run through the model after the prompt.
        num_rounds: Forward passes that they took.
        retrieved: How many items an item head proposed, where the search was among them alone; None: among all.
    """

    search: str
    kth_score: float | None
    best_open_bound: float | None
    num_expanded: int
    num_titles: int
    num_tokens: int
    num_rounds: int
    retrieved: int | None = None

    @property
    def holds(self) -> bool:
        """Whether the k-th score is at least every open bound."""
        if self.best_open_bound is None:
            return True
        return self.kth_score is not None and self.kth_score >= self.best_open_bound


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best items, and why there are fewer than asked for where there are (else None).

    Attributes:
        certificate: Why it is exact, where a search found it; scores of all items need none.
    """

    recommendations: tuple[Recommendation, ...]
    shortfall: str | None = None
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """As many items after one query as say where a target stands, up to a limit.

    What is left out stands behind the target and behind the best `top` items that were not seen, or so many are here
    that the target stands beyond the limit, whether seen items compete or not.

    Attributes:
        items: (n,) catalog indices, in no order; the target and all that share its title are among them.
        log_probs: (n,) what ranks, nats.
        log_prob: Log-probability of the target's title, nats; None where it would take scores of all items.
        is_whole: Whether these are all items, with the log-probabilities of `Scores`.
        cost: What it took.
        certificate: Why nothing left out belongs to the best of the items not seen.
    """

    items: IntArray
    log_probs: FloatArray
    log_prob: float | None = None
    is_whole: bool = False
    cost: Cost = Cost()
    certificate: Certificate | None = None

    @classmethod
    def among_all(cls, scores: Scores) -> Located:
        """All items with their scores."""
        import numpy as np

        items = np.arange(len(scores.log_probs), dtype=np.int64)
        return cls(items, scores.log_probs, is_whole=True, cost=scores.cost)


class Recommender(Protocol):
    """A fitted model with a catalog. Its answers depend on the query alone, not on what else is asked."""

    @property
    def level(self) -> Level:
        """What a log-probability is of: each item, or its title, which several items may share."""
        ...

    @property
    def score(self) -> ScoreName:
        """Name of what ranks."""
        ...

    @property
    def device(self) -> str:
        """What it runs on, such as "cpu"."""
        ...

    def score_each(self, queries: Sequence[Query]) -> Iterator[tuple[int, Scores]]:
        """Score all items after each query, in any order, with the number of the query."""
        ...

    def rank_each(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None
    ) -> Iterator[tuple[int, Ranking]]:
        """The exact best k items after each query, in any order, with the number of the query.

        Args:
            queries: What is asked; seen items are left out.
            k: How many items.
            allowed: (I,) items that may be ranked at all; None allows the whole catalog.

        Raises:
            UsageError: k is below 1.
        """
        ...

    def lengths(self, queries: Sequence[Query]) -> IntArray:
        """(B,) about how much each query costs, in positions, so that like ones can go together."""
        ...

    def facts(self) -> dict[str, float | None]:
        """What is true of every query, for the costs of an evaluation, such as an analytic compression ratio."""
        ...


@runtime_checkable
class Locator(Protocol):
    """A recommender that finds where a target stands without scoring all items."""

    def locate_each(
        self, queries: Sequence[Query], targets: Sequence[int], limit: int, *, top: int
    ) -> Iterator[tuple[int, Located]]:
        """What says where the target of each query stands, in any order, with the number of the query.

        Args:
            queries: What is asked; seen items compete, and are left out of `top` alone.
            targets: (B,) catalog index of each one's target.
            limit: Ranks up to this are wanted exactly, among items and among titles, seen ones dropped and kept.
            top: So many of the best items that were not seen are wanted, 0 to `limit`.
        """
        ...


@runtime_checkable
class Lender(Protocol):
    """A recommender that may have vectors of items, which another run can begin with (`Kind.vectors_of`)."""

    def item_vectors(self) -> FloatArray | None:
        """(F, W) of the items that it learned from, the first of the catalog; None where it has none."""
        ...


def locate_each(
    recommender: Recommender, queries: Sequence[Query], targets: Sequence[int], limit: int, *, top: int
) -> Iterator[tuple[int, Located]]:
    """Locate targets by any recommender (see `Locator`); one that cannot scores all items."""
    if isinstance(recommender, Locator):
        yield from recommender.locate_each(queries, targets, limit, top=top)
        return
    for number, scores in recommender.score_each(queries):
        yield number, Located.among_all(scores)


@runtime_checkable
class Grouping(Protocol):
    """A recommender that sees parts of a history as one, such as sessions."""

    def units(self, query: Query) -> list[slice]:
        """Half-open ranges of the history that it sees as one each, oldest first; the others it does not see."""
        ...


def units(recommender: Recommender, query: Query) -> list[slice]:
    """What of a query's history can be left out on its own: what `Grouping` says, else each item."""
    if isinstance(recommender, Grouping):
        return recommender.units(query)
    return [slice(item, item + 1) for item in range(len(query.history))]


def rank(
    recommender: Recommender, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None
) -> list[Ranking]:
    """The exact best k items after each query, in the queries' order (see `Recommender.rank_each`)."""
    return [ranking for _, ranking in sorted(recommender.rank_each(queries, k, allowed=allowed), key=lambda p: p[0])]


def log_probs(recommender: Recommender, queries: Sequence[Query]) -> FloatArray:
    """(B, I) log-probabilities of all items (of their titles, as `level` says) after each query, in their order."""
    import numpy as np

    each = sorted(recommender.score_each(queries), key=lambda pair: pair[0])
    return np.array([scores.log_probs for _, scores in each])


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Another run's recommender, which a blend mixes or a kind reads.

    Attributes:
        recommender: What answers.
        weight: Of its log-probability in a blend.
        history: How it wants histories cut.
    """

    recommender: Recommender
    weight: float
    history: HistoryConfig


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """What a recommender is fitted to.

    Attributes:
        config: Everything that determines the result.
        dataset: Its train split is learned from.
        start: Folder of the weights that it begins with; None where it begins with none.
        validation: Targets to measure on the way; none where the run does not validate.
        parts: The recommenders of other runs that the kind reads (`Kind.reads`), in that order.
        report: Where notes go.
        starts: Folders of further models that it begins with, by role (`Options.backbones`).
        vectors: (I, W) of other runs' items by the option that names the run (`Kind.vectors_of`); zeros where
            that run does not know an item.
    """

    config: RunConfig
    dataset: Dataset
    start: Path | None = None
    validation: Sequence[Example] = ()
    parts: tuple[Part, ...] = ()
    report: Reporter = SILENT
    starts: Mapping[str, Path] = field(default_factory=dict)
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A fitted recommender on disk, and what it is wanted for.

    Attributes:
        config: What it was fitted with.
        dataset: Whose items it shall rank.
        folder: Of its checkpoint, verified; None where nothing was learned.
        start: Folder of the weights that it begins with; None also where the run has weights of its own and the model
            that it began with is gone.
        score: What it shall rank by; None: what its configuration says.
        item_weight: Of the item head's log-probability in a mixture; None: what its configuration says.
        search: `best-first` stops with a proof, `whole` scores everything.
        max_tokens: Positions run at a time; None chooses from free memory.
        retrieve: The item head proposes so many items, and only they are searched; None searches all.
        parts: The recommenders that a blend mixes, or that the kind reads (`Kind.reads`), in that order.
        starts: Of further models, by role, where nothing was learned yet.
        cache: Folder for what is dear to make again; `stamp` says what it depends on.
        report: Where notes go.
    """

    config: RunConfig
    dataset: Dataset
    folder: Path | None = None
    start: Path | None = None
    score: ScoreName | None = None
    item_weight: float | None = None
    search: Search = "best-first"
    max_tokens: int | None = None
    retrieve: int | None = None
    parts: tuple[Part, ...] = ()
    starts: Mapping[str, Path] = field(default_factory=dict)
    cache: Path | None = None
    stamp: Mapping[str, str] = field(default_factory=dict)
    report: Reporter = SILENT


@dataclass(frozen=True, slots=True)
class Kind:
    """A named way to recommend. Whatever is heavy is imported inside its functions.

    Attributes:
        name: Lower case with hyphens, unique among all plugins, such as "item-knn".
        summary: One line for listings.
        learner: `learner(fitting) -> Learner`: what the one training loop drives.
        load: `load(saved) -> Recommender`.
        export: `export(saved, folder)`: write what other programs read, and give what `patchrec.json` says of it.
        fingerprints: `fingerprints(saved)`: what besides data set and split must be the same whenever a run is used
            again, by name; None: nothing.
        options: The model whose fields are the kind's options.
        settle: `settle(options, dataset, report) -> options`: fills in options that depend on the data set before a run
            is made, and tells what it picked; None: none do.
        training: Defaults of its training settings; None where nothing is learned by gradient.
        shape: Defaults of how its histories are cut (`K`, `windows`) and of its prompt (`form`, `separators`).
        defaults_from: Where these two come from, in words that a new run prints beside what it picked, such as
            "measured for sasrec", "as in its paper" or "a guess"; empty: they are told as the kind's own.
        scores: What it can rank by, the default first.
        is_head: Whether it is a head of a language model, trained with `finetune --head`; else it is a baseline.
        mixes: Whether it mixes the answers of other runs (`Saved.parts`), made with `patchrec blend`.
        reads: Options that name a run each, whose answers it reads (`Fitting.parts`, `Saved.parts`); one such run may
            not be of a kind that reads others.
        vectors_of: Options that may name a run each, whose item vectors it begins with (`Fitting.vectors`). They are
            for its checkpoint to keep: once fitted it needs that run no more.
        shows: Option that says how many of the newest items of a history a strategy lays out; None: all.
        answers: Whether a run of it can be asked; else it holds what another system answered (`patchrec eval
            --predictions`), to be compared and nothing else.
        empty_history: Whether its answer to an empty history means something; else a user without one gets what is
            popular.
        source: The paper.
        backbone: Of a baseline: whether it begins with the weights of a model (`--backbone`), which its run's
            configuration then names. One that `scratch` among its options makes of random weights begins with none.
        start: The backbone that it begins with where none is named; None: one has to be named where it is required.
    """

    name: str
    summary: str
    learner: Callable[[Fitting], Learner]
    load: Callable[[Saved], Recommender]
    export: Callable[[Saved, Path], Mapping[str, Any]]
    fingerprints: Callable[[Saved], Mapping[str, str]] | None = None
    options: type[Options] = Options
    settle: Callable[[Any, Dataset, Reporter], Options] | None = None
    training: Mapping[str, Any] | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)
    defaults_from: str = ""
    scores: tuple[ScoreName, ...] = ("item",)
    is_head: bool = False
    mixes: bool = False
    reads: tuple[str, ...] = ()
    vectors_of: tuple[str, ...] = ()
    shows: str | None = None
    answers: bool = True
    empty_history: bool = False
    source: str = ""
    backbone: Literal["none", "optional", "required"] = "none"
    start: str | None = None

    def __post_init__(self) -> None:
        check_named("recommender", self.name, self.summary, self.options)
        if not all(callable(own) for own in (self.learner, self.load, self.export)):
            raise PluginError(f"recommender {self.name!r}: learner, load and export must be functions")

    def bind(self, values: Mapping[str, object] | None = None) -> BoundKind:
        """Check option values and return the kind ready to fit or load. A value of None counts as not given.

        Raises:
            UsageError: An unknown option or a value out of range; the message names the choices.
        """
        called = self.name if self.mixes else f"{self.what} {self.name}"
        return BoundKind(self, bind(called, self.options, values))

    @property
    def is_baseline(self) -> bool:
        """Whether `patchrec baseline` fits it."""
        return not self.is_head and not self.mixes and self.answers

    @property
    def what(self) -> str:
        """What it is called on the command line."""
        return "head" if self.is_head else "baseline"


@dataclass(frozen=True, slots=True)
class BoundKind:
    """A kind with its option values."""

    kind: Kind
    options: Options

    def settled(self, dataset: Dataset, report: Reporter) -> BoundKind:
        """The same with the options filled in that depend on the data set (see `Kind.settle`).

        Raises:
            UsageError: A value that does not fit the data set.
        """
        settle = self.kind.settle
        return self if settle is None else BoundKind(self.kind, settle(self.options, dataset, report))

    @property
    def label(self) -> str:
        """Name, and options that are not the default, for tables, such as "sasrec layers=3"."""
        return label(self.kind.name, self.options, numbers=False)

    @property
    def training(self) -> Mapping[str, Any] | None:
        """Defaults of its training settings, with those that follow from its options (`Options.settings`)."""
        return None if self.kind.training is None else {**self.kind.training, **self.options.settings}

    @property
    def is_scratch(self) -> bool:
        """Whether it takes random weights in place of a backbone's (`ScratchOptions`)."""
        return bool(getattr(self.options, "scratch", False))


class Counted(Protocol):
    """A model of counts: fitted in one look at the train split, without gradients. See `counted_kind`."""

    def fit(self, dataset: Dataset) -> None:
        """Count the train split."""
        ...

    def arrays(self) -> dict[str, Any]:
        """Everything that was counted, by name, as NumPy arrays."""
        ...

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` gave."""
        ...

    def log_probs(self, queries: Sequence[Query]) -> FloatArray:
        """(B, I) log-probability of every item that was there when it was fitted; each row sums to 1."""
        ...


def refuse_unasked(kind: Kind, run: str) -> None:
    """Refuse to ask a run that holds another system's lists.

    Raises:
        UsageError: The message says what can be done with it.
    """
    if not kind.answers:
        raise UsageError(
            f"run {run} holds lists of another system, which answer nothing else; compare it with `patchrec runs "
            "compare`, or choose another run from `patchrec runs ls`"
        )


def refuse_retrieval(kind: Kind, score: ScoreName, run: str) -> None:
    """Refuse two stages where there is no item head that proposes, or where it ranks itself.

    Raises:
        UsageError: The message says which runs can.
    """
    if kind.scores[1:] and "item" in kind.scores and score != "item":
        return
    has = "ranks by its item scores alone" if score == "item" else "has no item head that could propose"
    raise UsageError(f"--retrieve: run {run} {has}; drop it, or take a run of `patchrec finetune --head both`")


def refuse_score(kind: Kind, score: ScoreName | None, run: str) -> None:
    """Refuse a score that a kind does not have.

    Raises:
        UsageError: The message names the choices.
    """
    if score is not None and score not in kind.scores:
        raise UsageError(
            f"run {run} is of kind {kind.name}, which has no score {score!r}; choices: {', '.join(kind.scores)}"
        )
