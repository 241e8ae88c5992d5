"""Verbs on backbones: list them, pull one, make one, find one for a run."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from patchrec.errors import UsageError
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.backbones import StoredBackbone
from patchrec.store.naming import MOST_LETTERS, check_name

if TYPE_CHECKING:
    from patchrec.model.pull import Pulled


@dataclass(frozen=True, slots=True)
class BackboneRow:
    """A backbone that is known by name or was pulled.

    Attributes:
        folder: Where it lies; None until it is pulled.
    """

    name: str
    pulled: bool
    licence: str
    source: str
    num_parameters: int | None
    folder: str | None


def list_backbones(*, home: Path | None = None) -> list[BackboneRow]:
    """Every backbone known by name, then the others that were pulled and are there still."""
    from patchrec.model.pull import KNOWN

    with Store.open(home) as store:
        pulled = {backbone.name: backbone for backbone in store.backbones.all() if _is_here(store, backbone.name)}
    rows = []
    for known in KNOWN.values():
        here = pulled.pop(known.name, None)
        rows.append(_row(here) if here else BackboneRow(known.name, False, known.licence, known.summary, None, None))
    return rows + [_row(backbone) for backbone in pulled.values()]


def pull_backbone(name: str, *, home: Path | None = None, report: Reporter = SILENT) -> BackboneRow:
    """Fetch a backbone, check that it runs token forests or encodes texts, and note it in the store.

    Raises:
        NotFoundError: Unknown, or nowhere to be had. InputError: Not usable. UsageError: Its architecture is not.
    """
    from patchrec.model.backbone import Backbone
    from patchrec.model.pull import DEFAULT_BACKBONE
    from patchrec.model.text_encoder import load_encoder
    from patchrec.model.tokenizer import is_causal

    with Store.open(home) as store:
        pulled = find_backbone(store, name or DEFAULT_BACKBONE, report)
    if is_causal(pulled.folder):
        Backbone.load(pulled.folder, name=pulled.name, device="cpu")
    else:
        load_encoder(pulled.folder)
    return BackboneRow(pulled.name, True, pulled.licence, pulled.source, pulled.num_parameters, str(pulled.folder))


def make_backbone(
    name: str,
    *,
    data: str | None = None,
    width: int | None = None,
    layers: int | None = None,
    heads: int | None = None,
    tokens: int | None = None,
    seed: int = 0,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> BackboneRow:
    """Make a small causal language model of random weights whose tokens are those of a data set's titles.

    Args:
        name: Of the backbone, which must be free; that of one whose folder is gone is.
        data: By name; default: the only one.
        width, layers, heads, tokens: See `patchrec.model.made.Shape`; None: its default.
        seed: Of the weights.

    Raises:
        NotFoundError: No such data set. UsageError: A name that is taken, or a shape that cannot be.
    """
    from patchrec.model.made import Shape
    from patchrec.model.pull import KNOWN, make
    from patchrec.operations.datasets import pick_dataset

    given = {"width": width, "layers": layers, "heads": heads, "tokens": tokens}
    shape = Shape(**{key: value for key, value in given.items() if value is not None})
    shape.check()
    with Store.open(home) as store:
        check_name("backbone", name)
        if name in KNOWN:
            raise UsageError(f"there is a backbone {name!r} already; choose another name (see `patchrec backbones ls`)")
        if _is_here(store, name):
            raise UsageError(
                f"there is a backbone {name!r} already; choose another name (see `patchrec backbones ls`), or remove "
                f"it with `patchrec backbones rm {name}`"
            )
        folder = store.backbones.folder(name)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"{str(folder)!r} is there and is no backbone of patchrec; remove it, or choose another name"
            )
        dataset = store.datasets.load(pick_dataset(store, data, report))
        titles = list(dict.fromkeys(dataset.catalog.titles))
        size = f"width {shape.width}, {shape.layers} layers, {shape.heads} heads, seed {seed}"
        # a title begins a line in one prompt and follows a word in another
        texts = [*titles, *(f" {title}" for title in titles)]
        pulled = make(name, store.backbones.home, shape, texts, f"titles of {dataset.name}: {size}", seed=seed)
        _note(store, pulled)
    return BackboneRow(pulled.name, True, pulled.licence, pulled.source, pulled.num_parameters, str(pulled.folder))


def small_backbone(data: str, *, home: Path | None = None, report: Reporter = SILENT) -> str:
    """Name of the small language model of a data set's titles, `small-DATA`; made where it is not there.

    One that is there is told and taken, whatever its shape and titles: its tokens spell any text.

    Raises:
        NotFoundError: No such data set.
    """
    name = _small_name(data)
    with Store.open(home) as store:
        if _is_here(store, name):
            source = find_backbone(store, name, report).source
            report.picked("backbone", name, f"there already, {source}")
            return name
    return make_backbone(name, data=data, home=home, report=report).name


def _small_name(data: str) -> str:
    """`small-DATA`; where that is too long for a name, of a data set's own all the same."""
    name = f"small-{data}"
    if len(name) <= MOST_LETTERS:
        return name
    own = sha256(data.encode()).hexdigest()[:8]
    return f"{name[: MOST_LETTERS - len(own) - 1]}-{own}"


def find_backbone(store: Store, name: str, report: Reporter = SILENT) -> "Pulled":
    """Folder and facts of a backbone by name, hub id or path; fetched and noted in the store the first time.

    Raises:
        NotFoundError: Unknown, or nowhere to be had. InputError: Not usable.
    """
    from patchrec.model.pull import locate
    from patchrec.model.pulled_files import folder_name

    own = folder_name(name)
    is_noted = own in {backbone.name for backbone in store.backbones.all()} and _is_here(store, name)
    pulled = locate(name, store.backbones.home, report)
    if pulled.folder == store.backbones.home / own and not is_noted:
        _note(store, pulled)
    return pulled


def _is_here(store: Store, name: str) -> bool:
    """Whether a backbone lies whole among the store's, whatever is noted of it."""
    from patchrec.model.pull import is_present

    return is_present(name, store.backbones.home)


def _note(store: Store, pulled: "Pulled") -> None:
    """Note a backbone that lies among the store's."""
    from patchrec.model.pulled_files import folder_name

    store.backbones.put(
        StoredBackbone(
            name=folder_name(pulled.name),
            source=pulled.source,
            path=pulled.folder,
            revision=pulled.revision,
            licence=pulled.licence,
            num_parameters=pulled.num_parameters,
        )
    )


def _row(backbone: StoredBackbone) -> BackboneRow:
    return BackboneRow(
        name=backbone.name,
        pulled=True,
        licence=backbone.licence or "",
        source=backbone.source,
        num_parameters=backbone.num_parameters,
        folder=str(backbone.path),
    )
