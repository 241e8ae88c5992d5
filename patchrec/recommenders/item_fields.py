"""What kinds share that read fields of items: which fields, told and stored with a run, and their bags of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from patchrec.recommenders.sasrec import TransformerOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from patchrec.data.histories import Dataset
    from patchrec.recommenders.factories import Ground
    from patchrec.reporting import Reporter


class FieldOptions(TransformerOptions):
    """Size and regularisation of a transformer that reads fields of items."""

    fields: str | None = Field(
        None,
        description="fields of items that it reads, such as genres,year, or title: its words; default: all that suit",
    )


O = TypeVar("O", bound=FieldOptions)  # noqa: E741


def settle_fields(options: O, dataset: Dataset, report: Reporter) -> O:
    """Options with the fields that a run reads: those that were given, checked, or all that suit, told.

    Raises:
        UsageError: A field that the catalog does not have, or that says nothing.
    """
    from patchrec.data.item_features import TITLE, checked_fields, suitable_fields

    if options.fields is not None:
        fields = checked_fields(dataset.catalog, options.fields)
    else:
        fields = suitable_fields(dataset.catalog)
        why = "words of titles: the catalog has no field that suits" if fields == (TITLE,) else "all that suit"
        report.picked("fields", ",".join(fields), why)
    return options.model_copy(update={"fields": ",".join(fields)})


def feature_bags(ground: Ground, options: FieldOptions) -> npt.NDArray[np.int32]:
    """(I + 1, W) features of each item, F where it has fewer: of the catalog where a model is new, else as it has them.

    Raises:
        UsageError: As `settle_fields`.
    """
    from patchrec.data.item_features import checked_fields, item_features, suitable_fields

    if ground.checkpoint is not None:
        from safetensors import safe_open

        from patchrec.training.item_learner import MODEL

        with safe_open(ground.checkpoint / MODEL, framework="np") as saved:
            bags: npt.NDArray[np.int32] = saved.get_tensor("features.bags")
            return bags
    catalog = ground.dataset.catalog.prefix(ground.num_items)
    fields = suitable_fields(catalog) if options.fields is None else checked_fields(catalog, options.fields)
    return item_features(catalog, fields).bags
