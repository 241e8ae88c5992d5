"""What kinds share that read fields of items: which fields, told and stored with a run, and their bags of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from patchrec.options import Options
from patchrec.recommenders.sasrec import TransformerOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from patchrec.data.histories import Dataset
    from patchrec.recommenders.factories import Ground
    from patchrec.reporting import Reporter


class ReadsFields(Options):
    """Which fields of items are read."""

    fields: str | None = Field(
        None,
        description="fields of items that it reads, such as genres,year, or title: its words; default: all that suit",
    )


class FieldOptions(ReadsFields, TransformerOptions):
    """Size and regularisation of a transformer that reads fields of items."""


O = TypeVar("O", bound=ReadsFields)  # noqa: E741


def settle_fields(options: O, dataset: Dataset, report: Reporter, *, titles: bool = False) -> O:
    """Options with the fields that a run reads: those that were given, checked, or all that suit, told.

    With `titles` their words join what suits.

    Raises:
        UsageError: A field that the catalog does not have, or that says nothing.
    """
    from patchrec.data.item_features import TITLE, known_fields

    fields = known_fields(dataset.catalog, options.fields, titles=titles)
    if options.fields is None:
        why = "words of titles: the catalog has no field that suits" if fields == (TITLE,) else "all that suit"
        report.picked("fields", ",".join(fields), why)
    return options.model_copy(update={"fields": ",".join(fields)})


def feature_bags(ground: Ground, options: FieldOptions) -> npt.NDArray[np.int32]:
    """(I + 1, W) features of each item, F where it has fewer: of the catalog where a model is new, else as it has them.

    Raises:
        UsageError: As `settle_fields`.
    """
    from patchrec.data.item_features import item_features, known_fields

    if ground.checkpoint is not None:
        from safetensors import safe_open

        from patchrec.training.item_learner import MODEL

        with safe_open(ground.checkpoint / MODEL, framework="np") as saved:
            bags: npt.NDArray[np.int32] = saved.get_tensor("features.bags")
            return bags
    catalog = ground.dataset.catalog.prefix(ground.num_items)
    return item_features(catalog, known_fields(catalog, options.fields)).bags
