"""Metrics that an evaluation did not store, from the ranks that it did: any cut-off of any of them."""

import re
from collections.abc import Iterable, Sequence

from patchrec.evaluation.rows import metric_rows
from patchrec.store.evaluations import MetricRow, RankingRow

CUT = re.compile(r"\b(?:hr|ndcg|mrr)@([1-9][0-9]{0,8})\b")
RANKED = re.compile(rf"{CUT.pattern}|\bmrr\b")


def cut_offs(*texts: str | None) -> list[str]:
    """Metrics with a cut-off that some texts name, in their order: "hr@20 < 0.15" names `hr@20`."""
    return list(dict.fromkeys(found.group() for text in texts if text for found in CUT.finditer(text)))


def of_ranks(*texts: str | None) -> list[str]:
    """Metrics of ranks that some texts name, with a cut-off or, like `mrr`, without one."""
    return list(dict.fromkeys(found.group() for text in texts if text for found in RANKED.finditer(text)))


def is_known(name: str, exact_to: int | None) -> bool:
    """Whether ranks that are exact up to a limit (None: all are) give a metric of ranks."""
    k = name.partition("@")[2]
    return exact_to is None or (k.isdecimal() and int(k) <= exact_to)


def with_metrics(
    stored: Sequence[MetricRow], rows: Sequence[RankingRow], names: Iterable[str], exact_to: int | None = None
) -> list[MetricRow]:
    """Metrics over all targets with those that are missing, and their intervals, as an evaluation would have them.

    Args:
        stored: Of an evaluation.
        rows: Its rankings.
        names: What there shall be; one that has no cut-off, or one beyond `exact_to`, cannot be derived and stays away.
        exact_to: Ranks beyond this are not known; None: all are.
    """
    have = {row.name for row in stored}
    missing = [name for name in names if name not in have and CUT.fullmatch(name) and is_known(name, exact_to)]
    if not missing:
        return list(stored)
    ks = sorted({int(name.partition("@")[2]) for name in missing})
    return [*stored, *(row for row in metric_rows(rows, ks, exact_to=exact_to) if row.name in missing)]
