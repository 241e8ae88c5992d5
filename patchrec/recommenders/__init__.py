"""The built-in kinds of recommender, registered through the same entry point as anyone's. One file a family."""

from collections.abc import Iterable

from patchrec.hookspecs import hookimpl
from patchrec.recommender import Kind


@hookimpl
def patchrec_recommenders() -> Iterable[Kind]:
    """Every built-in kind; what is heavy is imported when one is fitted or loaded."""
    from patchrec.recommenders import (
        bert4rec,
        blend,
        caser,
        counts,
        esasrec,
        gru4rec,
        hstu,
        language,
        linrec,
        mamba4rec,
        predictions,
        sasrec,
    )

    transformers = [sasrec.KIND, esasrec.KIND, bert4rec.KIND, linrec.KIND, hstu.KIND]
    others = [gru4rec.KIND, caser.KIND, mamba4rec.KIND]
    return [*language.KINDS, *counts.KINDS, *transformers, *others, blend.KIND, predictions.KIND]
