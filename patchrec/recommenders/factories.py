"""Two ways to make a kind of recommender out of a model: of counts, or of identifiers trained by gradient.

What a third party writes is the model; fitting, checkpoints, resuming, ranking and filters come from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from patchrec.options import Options
from patchrec.recommender import Counted, Fitting, Kind, Recommender, Saved

if TYPE_CHECKING:
    from pathlib import Path

    from patchrec.training.learner import Learner


def counted_kind(
    name: str,
    summary: str,
    make: Callable[[Any], Counted],
    *,
    options: type[Options] = Options,
    source: str = "",
    shape: Mapping[str, Any] | None = None,
    empty_history: bool = False,
) -> Kind:
    """A kind that counts the train split.

    Args:
        name: Lower case with hyphens.
        summary: One line for listings.
        make: Makes the model of its option values.
        options: The model of its options.
        source: The paper.
        shape: Defaults of how its histories are cut.
        empty_history: Whether its answer to an empty history means something.
    """

    def learner(fitting: Fitting) -> Learner:
        from patchrec.training.counted_learner import CountedLearner

        return CountedLearner(name, fitting.dataset, make(_options(options, fitting.config.kind.options)))

    def load(saved: Saved) -> Recommender:
        from patchrec.ranking.dense import DenseRecommender
        from patchrec.ranking.items import precedence
        from patchrec.training.counted_learner import restore

        model = make(_options(options, saved.config.kind.options))
        if saved.folder is None:  # a run of an earlier version, which kept no counts: they are the same again
            model.fit(saved.dataset)
        else:
            restore(saved.folder, model)
        return DenseRecommender(name, model, precedence(saved.dataset.popularity), saved.dataset.catalog.titles)

    return Kind(
        name,
        summary,
        learner,
        load,
        _copy,
        options=options,
        source=source,
        shape=shape or {},
        empty_history=empty_history,
    )


def item_model_kind(
    name: str,
    summary: str,
    make: Callable[[int, int, Any], Any],
    *,
    training: Mapping[str, Any],
    options: type[Options] = Options,
    source: str = "",
    shape: Mapping[str, Any] | None = None,
) -> Kind:
    """A kind that trains a torch module over item identifiers.

    Args:
        name: Lower case with hyphens.
        summary: One line for listings.
        make: `make(num_items, max_items, options)` makes the module, a `patchrec.model.item_batch.ItemModel`; it draws
            its starting weights from torch's generator, which is seeded.
        training: Defaults of its training settings (`patchrec.config.TrainingConfig`).
        options: The model of its options.
        source: The paper.
        shape: Defaults of how its histories are cut.
    """

    def module(config: Any, num_items: int) -> Any:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return make(num_items, config.history.K, _options(options, config.kind.options))

    def learner(fitting: Fitting) -> Learner:
        import torch

        from patchrec.model.backbone import best_device
        from patchrec.model.memory import memory_errors, refuse_larger
        from patchrec.training.item_learner import ItemLearner

        num_items, device = len(fitting.dataset.catalog), torch.device(best_device())
        what, again = f"{name} over {num_items:,} items", f"take a smaller model; see `patchrec baseline {name} --help`"
        with memory_errors(what, again):
            # weights, gradient and two moments, before there are any of them
            wanted = 4 * 4 * _num_parameters(lambda: module(fitting.config, num_items))
            refuse_larger(f"{what} takes in training", wanted, device, again)
            model = module(fitting.config, num_items)
        return ItemLearner(fitting.config, fitting.dataset, model, fitting.validation)

    def load(saved: Saved) -> Recommender:
        import torch

        from patchrec.errors import NotFoundError
        from patchrec.model.backbone import best_device
        from patchrec.ranking.dense import DenseRecommender
        from patchrec.ranking.identifiers import ModelScorer
        from patchrec.ranking.items import precedence
        from patchrec.training.item_learner import load_model, saved_num_items

        if saved.folder is None:
            raise NotFoundError(f"this {name} run has no checkpoint; fit one with `patchrec baseline {name}`")
        num_items = saved_num_items(saved.folder)
        model, device = module(saved.config, num_items), torch.device(best_device())
        load_model(saved.folder, model)
        scorer = ModelScorer(model.to(device).eval(), num_items, device)
        place = precedence(saved.dataset.popularity)
        # tables are looked up at a position, and the items' own is multiplied once, where a query ends
        tables = {id(part.weight): part for part in model.modules() if isinstance(part, torch.nn.Embedding)}
        weights = sum(own.numel() for own in model.parameters() if own.ndim > 1 and id(own) not in tables)
        of_items = max((part.weight.numel() for part in tables.values() if len(part.weight) >= num_items), default=0)
        return DenseRecommender(
            name,
            scorer,
            place,
            saved.dataset.catalog.titles,
            positions=1,
            flops=2.0 * weights,
            head_flops=2.0 * of_items,
            device=device.type,
        )

    return Kind(
        name, summary, learner, load, _copy, options=options, training=training, source=source, shape=shape or {}
    )


def _num_parameters(make: Callable[[], Any]) -> int:
    """Weights of a module that is made without any, on torch's device for that; 0 where it cannot be made there."""
    import torch

    from patchrec.model.memory import is_out_of_memory

    try:
        with torch.device("meta"):
            return sum(int(parameter.numel()) for parameter in make().parameters())
    except Exception as error:  # of a module of a third party, which reads numbers that are not there
        if is_out_of_memory(error):
            raise
        return 0


def _copy(saved: Saved, folder: Path) -> Mapping[str, Any]:
    """Write the tensors of a checkpoint as they are; their rows are the catalog's items, in this order."""
    import shutil

    from patchrec.errors import NotFoundError

    found = [] if saved.folder is None else sorted(saved.folder.glob("*.safetensors"))
    if not found:
        raise NotFoundError("the run has no checkpoint to export; fit it again")
    for path in found:
        shutil.copyfile(path, folder / path.name)
    return {"item_ids": list(saved.dataset.catalog.item_ids)}


def _options(model: type[Options], values: Mapping[str, Any]) -> Options:
    return model.model_validate(dict(values))
