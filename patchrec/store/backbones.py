"""Backbones in the store: which language models were pulled, from where, and where they are now."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchrec.errors import not_found
from patchrec.store.naming import check_name, now

if TYPE_CHECKING:
    from patchrec.store.connection import Store


@dataclass(frozen=True)
class StoredBackbone:
    """A language model on this machine.

    Attributes:
        source: Where it came from: a hub id, a package or a path.
        path: Folder with its safetensors, configuration and tokenizer.
        revision: Commit of the hub, or version of the package.
        sha256: Of the file that was downloaded.
        created_at: When it was pulled; set by the store.
    """

    name: str
    source: str
    path: Path
    revision: str | None = None
    sha256: str | None = None
    licence: str | None = None
    num_parameters: int | None = None
    created_at: str = ""


class Backbones:
    """The pulled backbones of a store."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    @property
    def home(self) -> Path:
        """The folder that holds one for each of them."""
        return self._store.home / "backbones"

    def folder(self, name: str) -> Path:
        """Where a backbone of the store lies, by its name here; what a note of it says may be of another machine."""
        return self.home / check_name("backbone", name)

    def put(self, backbone: StoredBackbone) -> None:
        """Note a backbone; one of the same name is replaced."""
        check_name("backbone", backbone.name)
        row = {**asdict(backbone), "path": str(backbone.path), "created_at": now()}
        with self._store.write() as db:
            db.table("backbones").insert(row, replace=True)

    def forget(self, names: Sequence[str]) -> None:
        """Delete what is noted of backbones; their folders are left."""
        with self._store.write() as db:
            db.conn.executemany("DELETE FROM backbones WHERE name = ?", [(name,) for name in names])

    def get(self, name: str) -> StoredBackbone:
        """A backbone by name.

        Raises:
            NotFoundError: It was never pulled.
        """
        known = {backbone.name: backbone for backbone in self.all()}
        if name not in known:
            raise not_found("pulled backbone", name, known, f"get it with `patchrec backbones pull {name}`")
        return known[name]

    def all(self) -> list[StoredBackbone]:
        """All pulled backbones, by name."""
        rows = self._store.records("SELECT * FROM backbones ORDER BY name")
        return [StoredBackbone(**{**row, "path": Path(row["path"])}) for row in rows]
