"""The built-in kinds of recommender, registered through the same entry point as anyone's. One file a family."""

from collections.abc import Iterable

from patchrec.hookspecs import hookimpl
from patchrec.recommender import Kind


@hookimpl
def patchrec_recommenders() -> Iterable[Kind]:
    """Every built-in kind; what is heavy is imported when one is fitted or loaded."""
    from patchrec.recommenders import blend, counts, esasrec, language, llamarec, predictions, sasrec

    return [*language.KINDS, llamarec.KIND, *counts.KINDS, sasrec.KIND, esasrec.KIND, blend.KIND, predictions.KIND]
