"""Strategies: list, show, preview. A preview needs no data and no model; a user brings data, a backbone the prompt."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from patchrec import plugins
from patchrec.config import HistoryConfig, PromptConfig
from patchrec.errors import UsageError
from patchrec.history import History
from patchrec.options import Options, default_of
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.strategy import Planner, Strategy

if TYPE_CHECKING:
    from patchrec.data.histories import Dataset
    from patchrec.history import IntArray
    from patchrec.model.patching import PathEncoder

DAY = 86_400


def list_strategies() -> dict[str, Any]:
    """Every strategy, and what is wrong with plugins that did not load whole."""
    return {
        "strategies": [_describe(strategy) for strategy in plugins.strategies().values()],
        "problems": [{"plugin": problem.plugin, "message": problem.message} for problem in plugins.problems()],
    }


def show_strategy(name: str) -> dict[str, Any]:
    """One strategy with its options.

    Raises:
        NotFoundError: No such strategy.
    """
    return _describe(plugins.find_strategy(name))


def describe_options(options: type[Options]) -> list[dict[str, Any]]:
    """The options of a model: name, type in words, default (null where there is none), whether required, help."""
    return [
        {
            "name": name,
            "type": _type_name(field.annotation),
            "default": default_of(field),
            "required": field.is_required(),
            "help": field.description or "",
        }
        for name, field in options.model_fields.items()
    ]


def _describe(strategy: Strategy) -> dict[str, Any]:
    origin = next(plugin for plugin in plugins.plugins() if strategy.name in plugin.strategies)
    return {
        "name": strategy.name,
        "summary": strategy.summary,
        "plugin": origin.name,
        "package": origin.package,
        "version": origin.version,
        "options": describe_options(strategy.options),
    }


def _type_name(annotation: Any) -> str:
    """An annotation as a reader of help wants it: `int`, `text`, `newest|anchored`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type_name(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return "|".join(_type_name(part) for part in get_args(annotation) if part is not NoneType)
    if origin is Literal:
        return "|".join(str(choice) for choice in get_args(annotation))
    names = {str: "text", bool: "yes|no"}
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))


def preview(
    strategy: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    user: str | None = None,
    length: int | None = None,
    data: str | None = None,
    backbone: str | None = None,
    run: str | None = None,
    prompt: str | None = None,
    windows: str | None = None,
    K: int | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Lay out the history of a user, or a made-up one, and show what a model reads of it.

    Args:
        strategy: Name of the strategy.
        options: Its option values.
        user: A user id of the data set; the history is all that the user did, cut to its window.
        length: Items of a made-up history, one a day.
        data: Data set of the user.
        backbone: Also give the inputs of this model, under its default prompt or the one named.
        run: Take strategy, data set, prompt and model from this run instead.
        prompt: Form of the prompt.
        windows: How the history is cut; default: the backbone's, else the newest K.
        K: Items kept; default 100.
        home: Folder of the store.
        report: Where picks and progress are told.

    Returns:
        `strategy`, `options`, `label`, `user`, `history` (item ids), `start` (position of the first in the user's
        whole sequence), `num_units`, `spans` (`start`, `stop`, `grain` over history positions, titles for a user) and,
        with a model, `backbone`, `prompt` (its configuration), `positions` (for every input its `token_ids` and
        `weights`) and `text` (the same with patches as markers).

    Raises:
        NotFoundError: No such strategy, data set, user, backbone or run.
        UsageError: Wrong options, or not exactly one of user and length.
    """
    if (user is None) == (length is None):
        raise UsageError("give one of --user ID (a user of the data set) and --length N (a made-up history)")
    if length is not None and data is not None:
        raise UsageError("--data is for --user; a made-up history (--length) is of no data set: drop one of the two")
    folder: Path | None
    given = {"form": prompt, "windows": windows, "K": K}
    with Store.open(home) as store:
        if run is not None:
            own = {"strategy": strategy, "options": options or None, "data": data, "backbone": backbone, **given}
            planner, dataset, config, cut, folder = _of_run(store, run, own, user, length, report)
            backbone = str(store.runs.get(run).backbone)
        elif strategy is None:
            raise UsageError(
                "which strategy? name one with --strategy, or a run with --run; see `patchrec strategies ls`"
            )
        else:
            planner = plugins.find_strategy(strategy).bind(options)
            dataset = _dataset(store, data, user, length, report)
            config, cut, folder = _prompt(store, dataset, backbone, given, report)
        asked = None
        if run is not None and plugins.find_kind(store.runs.get(run).kind).reads:
            if user is None:
                report.note(
                    "this run's prompt goes on with what another run answers; --user shows it, --length does not"
                )
                folder = None
            else:
                asked = _asked(store, run, user, report)
    history = _history(dataset, user, cut)
    encoder = None if folder is None else _encoder(dataset, config, folder)
    layout = (planner if encoder is None else encoder.measured(planner)).plan(history)
    catalog, items = dataset.catalog, history.items.tolist()
    shown: dict[str, Any] = {
        "strategy": planner.strategy.name,
        "options": planner.values,
        "label": planner.label,
        "user": user,
        "history": [catalog.item_ids[item] for item in items],
        "start": history.start,
        "num_units": layout.num_units,
        "spans": [
            {"start": span.start, "stop": span.stop, "grain": str(span.grain)}
            | ({"titles": [catalog.titles[item] for item in items[span.start : span.stop]]} if user else {})
            for span in layout.spans
        ],
    }
    if folder is not None and encoder is not None:
        shown |= {"backbone": backbone, "prompt": config.model_dump(mode="json") | cut.model_dump(mode="json")}
        asked = asked or (encoder, encoder.prompt_path(history, layout))
        shown |= _inputs(*asked, catalog.titles, folder)
    return shown


def _dataset(store: Store, data: str | None, user: str | None, length: int | None, report: Reporter) -> "Dataset":
    """The data set of a user, or one made up around a history of `length` items."""
    from patchrec.operations.datasets import pick_dataset

    if user is None:
        return _made_up(length or 0)
    return store.datasets.load(pick_dataset(store, data, report))


def _of_run(
    store: Store, name: str, own: dict[str, Any], user: str | None, length: int | None, report: Reporter
) -> "tuple[Planner, Dataset, PromptConfig, HistoryConfig, Path]":
    """Strategy, data set, prompt, cut and model folder of a run, which takes none of them from the command line."""
    from patchrec.operations.load import weights_folder
    from patchrec.operations.run_plugins import refuse_changed_plugins

    for option, value in own.items():
        if value is not None:
            raise UsageError(f"--run has its own {option}; drop it, or name no run")
    run = store.runs.get(name)
    if not run.config.strategies:
        raise UsageError(f"run {run.name} has no strategy to preview; choose another from `patchrec runs ls`")
    dataset = store.datasets.load(run.dataset) if user is not None else _made_up(length or 0)
    refuse_changed_plugins(store, run, report)
    planner = plugins.planners_of(run.config)[-1]
    prompt = run.config.prompt or PromptConfig()
    return planner, dataset, prompt, run.config.history, weights_folder(store, run, report)


def _asked(store: Store, name: str, user: str, report: Reporter) -> "tuple[PathEncoder, IntArray] | None":
    """What a run that reads another asks its model after everything a user did; None where it asks none."""
    from patchrec.operations.load import load
    from patchrec.ranking.lettered import LetteredRecommender

    loaded = load(store, store.runs.get(name), report=report)
    if not isinstance(loaded.recommender, LetteredRecommender):
        return None
    return loaded.recommender.encoder, loaded.recommender.asked(loaded.user_query(loaded.dataset.user(user)))


def _prompt(
    store: Store, dataset: "Dataset", backbone: str | None, given: dict[str, Any], report: Reporter
) -> "tuple[PromptConfig, HistoryConfig, Path | None]":
    """Prompt and cut of histories that a new run would have, and the model's folder where one is named."""
    if backbone is None:
        chosen = {key: value for key, value in given.items() if value is not None}
        form = {key: value for key, value in chosen.items() if key in PromptConfig.model_fields}
        cut = {key: value for key, value in chosen.items() if key not in form}
        return PromptConfig(**form), HistoryConfig(**cut), None
    from patchrec.model.made import is_made_at
    from patchrec.operations.backbones import find_backbone
    from patchrec.operations.training.defaults import shape_defaults

    folder = find_backbone(store, backbone, report).folder
    config, shape = shape_defaults(
        dataset, backbone, plugins.find_kind("title"), None, given, report, made=is_made_at(folder)
    )
    return config, shape, folder


def _history(dataset: "Dataset", user: str | None, cut: HistoryConfig) -> History:
    """All that a user did (or the whole made-up history), cut to its window."""
    from patchrec.data.histories import Example

    index = 0 if user is None else dataset.user(user)
    position = len(dataset.sequences.items_of(index))
    return dataset.history(Example.at(index, position, cut.K, cut.windows))


def _made_up(length: int) -> "Dataset":
    """A data set of one user with `length` items, one a day."""
    import numpy as np

    from patchrec.data.catalog import Catalog
    from patchrec.data.histories import Dataset, Sequences

    numbers = tuple(str(number) for number in range(length))
    items = np.arange(length, dtype=np.int64)
    bounds = np.array([length], dtype=np.int64)
    sequences = Sequences(("made-up",), np.array([0, length], dtype=np.int64), items, items * DAY, bounds, bounds)
    return Dataset("made-up", Catalog(numbers, tuple(f"Item {number}" for number in numbers)), sequences)


def _encoder(dataset: "Dataset", config: PromptConfig, folder: Path) -> "PathEncoder":
    from patchrec.model.tokenizer import make_encoder, vocab_size

    return make_encoder(folder, dataset.catalog.titles, config, vocab_size(folder))


def _inputs(encoder: "PathEncoder", keys: "IntArray", titles: Sequence[str], folder: Path) -> dict[str, Any]:
    """Every model input of a prompt as a weighted bag of tokens, and the prompt as text."""
    from patchrec.model.tokenizer import load_tokenizer

    bags = encoder.bags(keys)
    stops = [*bags.offsets[1:].tolist(), len(bags.rows)]
    positions = [
        {"token_ids": bags.rows[start:stop].tolist(), "weights": bags.weights[start:stop].tolist()}
        for start, stop in zip(bags.offsets.tolist(), stops, strict=True)
    ]
    tokenizer = load_tokenizer(folder)
    pieces = []
    for is_token, run in groupby(keys.tolist(), key=lambda key: key < encoder.vocab_size):
        if is_token:
            pieces.append(str(tokenizer.decode(list(run))))
        else:
            pieces += [_marker([titles[item] for item in encoder.items_of(key)]) for key in run]
    return {"positions": positions, "text": "".join(pieces)}


def _marker(titles: list[str]) -> str:
    """How a patch stands in the text of a prompt."""
    return f"[item patch: {titles[0]}]" if len(titles) == 1 else f"[session patch: {' | '.join(titles)}]"
