"""Two ways to make a kind of recommender out of a model: of counts, or of identifiers trained by gradient.

What a third party writes is the model; fitting, checkpoints, resuming, ranking and filters come from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from patchrec.options import Options
from patchrec.recommender import Counted, Fitting, Kind, Recommender, Saved

if TYPE_CHECKING:
    from pathlib import Path

    from patchrec.config import RunConfig
    from patchrec.data.histories import Dataset
    from patchrec.history import FloatArray
    from patchrec.reporting import Reporter
    from patchrec.training.learner import Learner


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What a module over items is made for, where it wants to know more than how many they are.

    Attributes:
        dataset: Catalog, fields and train split. Its catalog may have grown since: items from `num_items` on are new.
        num_items: I, items that the module knows.
        max_items: Longest history.
        start: Model folder that it begins with; of a fitted one, configuration and tokenizer that its checkpoint keeps
            (weights come from the checkpoint, too). None where it begins with none.
        is_new: Whether it is about to learn; else its weights are read from a checkpoint once it is made.
        starts: The same as `start` of further models, by role (`Options.backbones`).
        checkpoint: Folder of a fitted module's checkpoint; None where it is about to learn.
    """

    dataset: Dataset
    num_items: int
    max_items: int
    start: Path | None = None
    is_new: bool = True
    starts: Mapping[str, Path] = field(default_factory=dict)
    checkpoint: Path | None = None


def counted_kind(
    name: str,
    summary: str,
    make: Callable[[Any], Counted],
    *,
    options: type[Options] = Options,
    source: str = "",
    shape: Mapping[str, Any] | None = None,
    empty_history: bool = False,
    settle: Callable[[Any, Dataset, Reporter], Options] | None = None,
    knows_new_items: bool = False,
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
        settle: Fills in options that depend on the data set (`Kind.settle`).
        knows_new_items: Whether it answers for items that came after it was fitted, too: it has `grow(dataset)`, which
            is called with the data set as it is now once it was restored.
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
            if knows_new_items:
                model.grow(saved.dataset)  # type: ignore[attr-defined]
        return DenseRecommender(name, model, precedence(saved.dataset.popularity), saved.dataset.catalog.titles)

    return Kind(
        name,
        summary,
        learner,
        load,
        _copy,
        options=options,
        settle=settle,
        source=source,
        shape=shape or {},
        empty_history=empty_history,
    )


def item_model_kind(
    name: str,
    summary: str,
    make: Callable[..., Any],
    *,
    training: Mapping[str, Any],
    options: type[Options] = Options,
    source: str = "",
    shape: Mapping[str, Any] | None = None,
    defaults_from: str = "",
    on_ground: bool = False,
    settle: Callable[[Any, Dataset, Reporter], Options] | None = None,
    backbone: Literal["none", "optional", "required"] = "none",
    start: str | None = None,
    knows_new_items: bool = False,
) -> Kind:
    """A kind that trains a torch module over items.

    Args:
        name: Lower case with hyphens.
        summary: One line for listings.
        make: `make(num_items, max_items, options)` makes the module, a `patchrec.model.item_batch.ItemModel`; it draws
            its starting weights from torch's generator, which is seeded. With `on_ground` it is called as
            `make(ground, options)`. One that runs other positions than a row's says which: `cost_of(n)` gives positions
            and floating-point operations of ranking after n items. One that has `item_vectors` (I, D), itself or in a
            part of it, lends them to language models (`patchrec finetune --head item --vectors RUN`).
        training: Defaults of its training settings (`patchrec.config.TrainingConfig`).
        options: The model of its options.
        source: The paper.
        shape: Defaults of how its histories are cut.
        defaults_from: Where its defaults come from, in words (`Kind.defaults_from`).
        on_ground: Whether the module reads catalog or train split: `make` is given a `Ground`.
        settle: Fills in options that depend on the data set (`Kind.settle`).
        backbone, start: Whether it begins with a model's weights (`Ground.start`), and with which (see `Kind`). A
            checkpoint keeps that model's configuration and tokenizer, and what the module has as `start_files`, files
            by name (`patchrec.model.start_files`).
        knows_new_items: Whether the fitted module answers for items that came after it, too: those of `Ground.dataset`
            from `num_items` on. A row's start mark then is the size of that catalog.
    """

    def module(config: RunConfig, ground: Ground) -> Any:
        import torch

        own = _options(options, config.kind.options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return make(ground, own) if on_ground else make(ground.num_items, ground.max_items, own)

    def learner(fitting: Fitting) -> Learner:
        import torch

        from patchrec.model.backbone import best_device
        from patchrec.model.memory import memory_errors, refuse_larger
        from patchrec.model.start_files import files_of
        from patchrec.training.item_learner import ItemLearner

        num_items, device = len(fitting.dataset.catalog), torch.device(best_device())
        history = fitting.config.history
        ground = Ground(fitting.dataset, num_items, history.K, fitting.start, starts=fitting.starts)
        what, again = f"{name} over {num_items:,} items", f"take a smaller model; see `patchrec baseline {name} --help`"
        with memory_errors(what, again):
            # weights, gradient and two moments, before there are any of them
            wanted = _training_bytes(lambda: module(fitting.config, ground))
            refuse_larger(f"{what} takes in training", wanted, device, again)
            model = module(fitting.config, ground)
        files = files_of(model, fitting.start, fitting.starts)
        return ItemLearner(fitting.config, fitting.dataset, model, fitting.validation, files)

    def load(saved: Saved) -> Recommender:
        import torch

        from patchrec.errors import NotFoundError
        from patchrec.model.backbone import best_device
        from patchrec.model.start_files import kept_roles
        from patchrec.ranking.dense import DenseRecommender
        from patchrec.ranking.identifiers import ModelScorer
        from patchrec.ranking.items import precedence
        from patchrec.training.item_learner import load_model, saved_num_items

        if saved.folder is None:
            raise NotFoundError(f"this {name} run has no checkpoint; fit one with `patchrec baseline {name}`")
        num_items = saved_num_items(saved.folder)
        kept, longest = _kept_start(saved), saved.config.history.K
        ground = Ground(
            saved.dataset, num_items, longest, kept, is_new=False, starts=kept_roles(kept), checkpoint=saved.folder
        )
        model, device = module(saved.config, ground), torch.device(best_device())
        load_model(saved.folder, model)
        answered = len(saved.dataset.catalog) if knows_new_items else num_items
        scorer = ModelScorer(model.to(device).eval(), answered, device)
        place = precedence(saved.dataset.popularity)
        # tables are looked up at a position, and the items' own is multiplied once, where a query ends
        tables = {id(part.weight): part for part in model.modules() if isinstance(part, torch.nn.Embedding)}
        weights = sum(own.numel() for own in model.parameters() if own.ndim > 1 and id(own) not in tables)
        of_items = max((part.weight.numel() for part in tables.values() if len(part.weight) >= num_items), default=0)
        weights, of_items = getattr(model, "weights_run", (weights, of_items))
        return DenseRecommender(
            name,
            scorer,
            place,
            saved.dataset.catalog.titles,
            positions=1,
            flops=2.0 * weights,
            head_flops=2.0 * of_items,
            cost_of=getattr(model, "cost_of", None),
            vectors=_vectors(model),
            device=device.type,
        )

    return Kind(
        name,
        summary,
        learner,
        load,
        _copy,
        None if backbone == "none" else _start_fingerprints,
        options=options,
        settle=settle,
        training=training,
        source=source,
        shape=shape or {},
        defaults_from=defaults_from,
        backbone=backbone,
        start=start,
    )


def _vectors(model: Any) -> FloatArray | None:
    """(I, D) vectors of the items in a module, its own or those of the first part that has any."""
    found = next((own for part in model.modules() if (own := getattr(part, "item_vectors", None)) is not None), None)
    return None if found is None else found.detach().double().cpu().numpy()


def _kept_start(saved: Saved) -> Path | None:
    """Where a checkpoint keeps what its model says of itself beside its weights; None where it keeps nothing."""
    from patchrec.model.start_files import START

    return saved.folder / START if saved.folder is not None and (saved.folder / START).is_dir() else None


def _start_fingerprints(saved: Saved) -> Mapping[str, str]:
    """Of what a run begins with: its files, and its weights while they are at hand; a fitted run needs them no more."""
    from patchrec.model.start_files import files_fingerprint, kept_roles, start_files, weights_fingerprint

    kept = _kept_start(saved)
    begun = {"backbone": kept or saved.start} if saved.config.backbone is not None else {}
    begun |= {f"backbone of {role}": folder for role, folder in (kept_roles(kept) if kept else saved.starts).items()}
    there = {name: folder for name, folder in begun.items() if folder is not None}
    prints = {name: files_fingerprint(start_files(folder)) for name, folder in there.items()}
    if kept is None:
        prints |= {name.replace("backbone", "weights", 1): weights_fingerprint(own) for name, own in there.items()}
    return prints


def _training_bytes(make: Callable[[], Any]) -> int:
    """What weights take in training, of a module made without any on torch's device for that; 0 where it cannot be.

    Those that learn have a gradient and two moments.
    """
    import torch

    from patchrec.model.memory import is_out_of_memory

    try:
        with torch.device("meta"):
            return sum((16 if own.requires_grad else 4) * int(own.numel()) for own in make().parameters())
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
    if (kept := _kept_start(saved)) is not None:
        shutil.copytree(kept, folder / kept.name)
    return {"item_ids": list(saved.dataset.catalog.item_ids)}


def _options(model: type[Options], values: Mapping[str, Any]) -> Options:
    return model.model_validate(dict(values))
