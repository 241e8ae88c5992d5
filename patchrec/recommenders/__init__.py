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
        content,
        counts,
        esasrec,
        fdsa,
        generative,
        gru4rec,
        hstu,
        language,
        linrec,
        lite_llm4rec,
        llamarec,
        mamba4rec,
        morec,
        predictions,
        s3rec,
        sasrec,
    )

    return [
        *language.KINDS,
        llamarec.KIND,
        *counts.KINDS,
        content.KIND,
        sasrec.KIND,
        esasrec.KIND,
        bert4rec.KIND,
        linrec.KIND,
        hstu.KIND,
        gru4rec.KIND,
        caser.KIND,
        mamba4rec.KIND,
        fdsa.KIND,
        s3rec.KIND,
        morec.KIND,
        lite_llm4rec.KIND,
        *generative.KINDS,
        blend.KIND,
        predictions.KIND,
    ]
