"""The encoder of a data set for a backbone, without loading any weights."""

import json
from pathlib import Path

from patchrec.config import PromptConfig
from patchrec.data.histories import Dataset
from patchrec.errors import InputError
from patchrec.model.patching import PathEncoder
from patchrec.operations.backbones import find_backbone
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store


def encoder_for(
    store: Store, dataset: Dataset, backbone: str, prompt: PromptConfig, report: Reporter = SILENT
) -> PathEncoder:
    """Prompt and title tokens of a data set for a backbone by name.

    Raises:
        NotFoundError: No such backbone.
    """
    from patchrec.model.tokenizer import make_encoder

    folder = find_backbone(store, backbone, report).folder
    return make_encoder(folder, dataset.catalog.titles, prompt, vocab_size(folder))


def vocab_size(folder: Path) -> int:
    """V of a model folder, from its configuration alone.

    Raises:
        InputError: It does not say.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if not isinstance(size, int):
        raise InputError(f"{folder / 'config.json'} names no vocab_size; is this a causal language model?")
    return size
