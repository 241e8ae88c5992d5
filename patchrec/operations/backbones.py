"""Verbs on backbones: list them, pull one, find one for a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.backbones import StoredBackbone

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
    """Every backbone known by name, then the others that were pulled."""
    from patchrec.model.pull import KNOWN

    with Store.open(home) as store:
        pulled = {backbone.name: backbone for backbone in store.backbones.all()}
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


def find_backbone(store: Store, name: str, report: Reporter = SILENT) -> "Pulled":
    """Folder and facts of a backbone by name, hub id or path; fetched and noted in the store the first time.

    Raises:
        NotFoundError: Unknown, or nowhere to be had. InputError: Not usable.
    """
    from patchrec.model.pull import locate
    from patchrec.model.pulled_files import folder_name

    pulled = locate(name, store.home / "backbones", report)
    if pulled.folder.parent == store.home / "backbones":
        key = folder_name(name)
        if key not in {backbone.name for backbone in store.backbones.all()}:
            store.backbones.put(
                StoredBackbone(
                    name=key,
                    source=pulled.source,
                    path=pulled.folder,
                    revision=pulled.revision,
                    licence=pulled.licence,
                    num_parameters=pulled.num_parameters,
                )
            )
    return pulled


def _row(backbone: StoredBackbone) -> BackboneRow:
    return BackboneRow(
        name=backbone.name,
        pulled=True,
        licence=backbone.licence or "",
        source=backbone.source,
        num_parameters=backbone.num_parameters,
        folder=str(backbone.path),
    )
