"""Verb: export a run as a model folder for any Hugging Face program."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from patchrec.errors import UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.disk import disk_errors
from patchrec.model.prompt import ITEM_MARKER, SESSION_MARKER
from patchrec.model.tokenizer import make_encoder
from patchrec.operations.ready import model_folder
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported run.

    Attributes:
        files: Names in the folder.
    """

    run: str
    folder: str
    files: list[str]


def export_run(run: str, folder: Path, *, home: Path | None = None, report: Reporter = SILENT) -> Exported:
    """Write weights, tokenizer with the patch markers, and `patchrec.json` (prompt, strategy, run) into a new folder.

    A marker's token stands where a patch goes when a prompt is shown as text. Its embedding is never an input: the
    input there is the patch, whose bag of tokens `patchrec strategies preview --json` gives.

    Raises:
        NotFoundError: No such run. UsageError: The folder is not empty. OutOfResourcesError: The disk is full.
    """
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{str(folder)!r} is not empty; name a new folder")
    with Store.open(home) as store:
        found = store.runs.get(run)
        if found.stage == "popularity":
            raise UsageError(f"run {found.name} has no model; export a trained one from `patchrec runs ls`")
        source = model_folder(store, found, report)
        dataset = store.datasets.load(found.dataset)
    backbone = Backbone.load(source, name=str(found.config.backbone), device="cpu")
    encoder = make_encoder(source, dataset.catalog.titles, found.config.prompt, backbone.vocab_size)
    prompt = encoder.prompt
    facts = {
        "schema": 1,
        "run": found.name,
        "config": found.config.model_dump(mode="json"),
        "fingerprints": found.fingerprints,
        "prompt": {
            "head": prompt.head.tolist(),
            "separator": prompt.separator,
            "tail": prompt.tail.tolist(),
            "end": prompt.end,
        },
        "markers": {"item": ITEM_MARKER, "session": SESSION_MARKER},
    }
    with disk_errors(f"writing {str(folder)!r}", "nothing was left there", "try again or name another folder"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as temporary:
            work = Path(temporary) / "model"
            backbone.save(work)
            (work / "patchrec.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            shutil.move(work, folder)
    return Exported(found.name, str(folder), sorted(path.name for path in folder.iterdir()))
