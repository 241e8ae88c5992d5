"""Verb: export a run as a model folder for any Hugging Face program, with a model card, and push it where asked."""

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from patchrec.config import SPLITS
from patchrec.errors import UsageError
from patchrec.model.disk import disk_errors
from patchrec.operations.exporting.hub import Pushed, push_folder, refuse_push
from patchrec.operations.exporting.model_card import CardFacts, model_card, shown_backbone
from patchrec.operations.load import start_in_use, with_checkpoint
from patchrec.operations.run_plugins import kind_of
from patchrec.ranking.checked import kind_errors
from patchrec.recommender import Saved, refuse_unasked
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.runs import Run


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported run.

    Attributes:
        files: Names in the folder.
        pushed: What is on the hub, where that was asked for.
    """

    run: str
    folder: str
    files: list[str]
    pushed: Pushed | None = None


def export_run(
    run: str,
    folder: Path,
    *,
    push: str | None = None,
    public: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> Exported:
    """Write weights, tokenizer with the patch markers, `patchrec.json` and a model card into a new folder.

    A marker's token stands where a patch goes when a prompt is shown as text. Its embedding is never an input: the
    input there is the patch, whose bag of tokens `patchrec strategies preview --json` gives.

    Args:
        run: Its name.
        folder: New or empty.
        push: OWNER/NAME of a new repository on the Hugging Face hub to upload the folder to; None uploads nothing.
        public: Let everybody see that repository.
        home: Folder of the store.
        report: Where it is told what is uploaded, before it is.

    Raises:
        NotFoundError: No such run, or its plugin is gone. UsageError: The folder is not empty, or the push cannot be.
        OutOfResourcesError: The disk is full. PluginError: A third party's kind failed. PatchrecError: The hub cannot
            be reached.
    """
    if public and push is None:
        raise UsageError("--public goes with --push OWNER/NAME; nothing is uploaded without it")
    if push is not None:
        refuse_push(push)
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{str(folder)!r} is not empty; name a new folder")
    with Store.open(home) as store:
        found = store.runs.get(run)
        kind = kind_of(store, found)
        refuse_unasked(kind, found.name)
        saved = Saved(
            found.config,
            store.datasets.load(found.dataset),
            start=start_in_use(store, found, report),
        )
        card = model_card(card_facts(store, found))
        with disk_errors(f"writing {str(folder)!r}", "nothing was left there", "try again or name another folder"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as temporary:
                work = Path(temporary) / "model"

                def fill(checkpoint: Path | None) -> dict[str, Any]:
                    shutil.rmtree(work, ignore_errors=True)
                    work.mkdir()
                    with kind_errors(kind.name):
                        return _facts(found) | dict(kind.export(replace(saved, folder=checkpoint), work))

                facts = with_checkpoint(store, found, fill)
                (work / "patchrec.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
                (work / "README.md").write_text(card, encoding="utf-8")
                if folder.exists():
                    folder.rmdir()
                shutil.move(work, folder)
    pushed = None
    if push is not None:
        pushed = push_folder(folder, push, public=public, message=f"patchrec export of {found.name}", report=report)
    return Exported(found.name, str(folder), sorted(path.name for path in folder.iterdir()), pushed)


def card_facts(store: Store, run: Run) -> CardFacts:
    """Gather what the store knows of a run for its card."""
    runs = [run]
    while (parent := runs[-1].parent) is not None:
        runs.append(store.runs.get(parent))
    newest = [store.evaluations.newest(run.name, split) for split in SPLITS]
    evaluations = [(found, store.evaluations.metrics(found.id)) for found in newest if found is not None]
    return CardFacts(runs, store.datasets.show(run.dataset), evaluations)


def _facts(run: Run) -> dict[str, Any]:
    """What `patchrec.json` says of every run."""
    config = run.config.model_dump(mode="json")
    if run.backbone is not None:
        config["backbone"] = shown_backbone(run.backbone)
    return {"schema": 1, "run": run.name, "config": config, "fingerprints": run.fingerprints}
