"""Section `search`: what the exact top k costs beyond the prompt, and against a constrained beam search of k."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks import cost
from benchmarks.beam import BeamSearch, Padded
from benchmarks.cost import BEAM, BEST_FIRST, PREFILL, WHOLE, Costs, ratio
from benchmarks.prompts import KINDS, Bench, length, tell, whole, with_score
from benchmarks.tables import Column, Section, Target
from patchrec.ranking.language import LanguageRecommender
from patchrec.recommender import Query, rank

BEYOND_PREFILL = {"vanilla": 1.3, "PFT-S L=5": 2.0, "PFT-S L=20": 2.0}
FASTER_THAN_BEAM = {"vanilla": 20.0, "PFT-S L=5": 10.0, "PFT-S L=20": 10.0}
WHOLE_BEYOND_PREFILL = 4.0  # of a PFT-S prompt

Overlaps = list[dict[str, Any]]


def search(bench: Bench) -> Iterator[Section]:
    """Exact search, the whole catalog and the beam search in turn, on the same prompts with the same weights."""
    beam = BeamSearch.of(bench.scorer)
    batches = {kind: bench.batches(kind) for kind in KINDS}
    costs: dict[str, Costs] = {kind: {} for kind in KINDS}
    overlaps: dict[str, Overlaps] = {kind: [] for kind in KINDS}
    # what the beam search loads at its first call; to warm it on every batch would take as long as to time it
    beam.run(Padded.of(bench.scorer, batches["PFT-S L=5"][-1][-1:]), 2, max_tokens=2)
    for number in range(len(batches["vanilla"])):
        for kind in KINDS:
            tell(f"  {kind}: batch {number + 1} of {len(batches[kind])}")
            found = _one_batch(bench, beam, batches[kind][number], costs[kind])
            left = bench.settings.overlap - len(overlaps[kind])
            overlaps[kind] += _compare(bench, batches[kind][number][:left], found)
    yield _cost_section(bench, costs, batches)
    yield _overlap_section(bench.settings.k, overlaps)


def _one_batch(bench: Bench, beam: BeamSearch, queries: Sequence[Query], costs: Costs) -> list[dict[int, float]]:
    """Time every method on a batch; what the beam search ended with for each prompt."""
    ranker, settings = bench.ranker, bench.settings
    padded = Padded.of(bench.scorer, queries)
    beams: list[list[tuple[int, float]]] = []

    def beam_search() -> None:
        beams[:] = beam.run(padded, settings.k)

    cost.add_batch(
        costs,
        {
            PREFILL: lambda: ranker.prefill(queries),
            BEST_FIRST: lambda: rank(ranker, queries, settings.k),
            WHOLE: lambda: rank(whole(ranker), queries, settings.k),
            BEAM: beam_search,
        },
        settings.repeats,
        rare={BEAM: settings.beam_repeats},
    )
    return [dict(found) for found in beams]


def _compare(bench: Bench, queries: Sequence[Query], beams: Sequence[Mapping[int, float]]) -> Overlaps:
    """Hold what the beam search found for the first prompts of a batch against the exact titles by both scores."""
    k = bench.settings.k
    by_joint = top_titles(with_score(bench.ranker, "joint"), queries, k)
    by_catalog = top_titles(bench.ranker, queries, k)
    return [
        {"beam": list(found), "joint": list(own), "catalog": list(other), "score_difference": _difference(found, own)}
        for found, own, other in zip(beams, by_joint, by_catalog, strict=False)
    ]


def top_titles(ranker: LanguageRecommender, queries: Sequence[Query], k: int) -> list[dict[int, float]]:
    """For each prompt the exact k best distinct titles with their scores; a ranking is of items, which share titles."""
    title_of_item = ranker.scorer.trie.title_of_item
    spare = len(title_of_item) - len(ranker.scorer.trie)
    found = []
    for ranking in rank(whole(ranker), queries, k + spare):
        titles = {int(title_of_item[line.item]): line.score for line in ranking.recommendations}
        found.append(dict(list(titles.items())[:k]))
    return found


def _difference(beam: Mapping[int, float], exact: Mapping[int, float]) -> float | None:
    """The largest difference in score of a title that both found."""
    both = beam.keys() & exact.keys()
    return max(abs(beam[title] - exact[title]) for title in both) if both else None


def _cost_section(
    bench: Bench, costs: Mapping[str, Costs], batches: Mapping[str, Sequence[Sequence[Query]]]
) -> Section:
    rows, targets = [], []
    for kind, own in costs.items():
        rows += cost.rows(kind, [length(bench.ranker, query) for batch in batches[kind] for query in batch], own)
        best, every = ratio(own[BEST_FIRST], own[PREFILL]), ratio(own[WHOLE], own[PREFILL])
        beam = ratio(own[BEAM], own[BEST_FIRST])
        targets.append(Target(f"{kind}: best-first / prefill", BEYOND_PREFILL[kind], best))
        targets.append(Target(f"{kind}: beam search / best-first", FASTER_THAN_BEAM[kind], beam, at_most=False))
        if kind != "vanilla":
            targets.append(Target(f"{kind}: whole catalog / prefill", WHOLE_BEYOND_PREFILL, every))
    s = bench.settings
    title = f"Search: top {s.k} of {len(bench.scorer.trie):,} titles (users {s.users}, batch {s.batch})"
    return Section(title, cost.COLUMNS, rows, targets, cost.NOTES)


def _overlap_section(k: int, overlaps: Mapping[str, Overlaps]) -> Section:
    """How many of the exact titles the beam search ended with."""
    rows = []
    for kind, prompts in overlaps.items():
        row: dict[str, Any] = {"kind": kind, "prompts": prompts}
        for score in ("joint", "catalog"):
            counts = [len(set(prompt["beam"]) & set(prompt[score])) for prompt in prompts]
            row |= {score: mean(counts), f"{score}_least": min(counts), f"{score}_most": max(counts)}
        differences = [p["score_difference"] for p in prompts if p["score_difference"] is not None]
        rows.append({**row, "difference": max(differences, default=None)})
    columns = (
        Column("prompts", "kind"),
        Column("of joint", "joint", ".1f"),
        Column("least", "joint_least", "d"),
        Column("most", "joint_most", "d"),
        Column("of catalog", "catalog", ".1f"),
        Column("score differs by", "difference", ".1e"),
    )
    notes = (
        "The beam search ranks by joint: transformers masks after its log-softmax over the whole vocabulary. Where "
        "both found a title, their scores differ as shown.",
    )
    return Section(f"Overlap: of the exact top {k}, how many the beam search of {k} found", columns, rows, (), notes)
