"""Large catalogs of made-up titles: what encoding them, building the title trie and recalling both takes.

    python -m benchmarks.catalogs                              # words hashed to made-up token ids
    python -m benchmarks.catalogs --tokenizer MODEL_FOLDER     # a real tokenizer

Each step of each size runs in a process of its own, so that a peak of memory is that step's and no other's.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from patchrec.model.forest import Forest
from patchrec.model.titles import TitleTokens
from patchrec.ranking.kept import keep, recall
from patchrec.ranking.trie import TitleTrie


def _words(text: str) -> list[str]:
    return text.split()


ADJECTIVES = _words(
    "Silent Crimson Hidden Broken Golden Last First Lost Burning Frozen Secret Distant Hollow Bright Wild Quiet Iron "
    "Wandering Forgotten Sleeping Restless Velvet Paper Glass Second Empty Northern Little Great Final Midnight Savage "
    "Gentle Endless Borrowed Invisible Electric Ancient Perfect Stolen"
)
NOUNS = _words(
    "River Garden Winter Mirror Letter Harbor Shadow Kingdom Orchard Lantern Summer Daughter Soldier Voyage Island "
    "Machine Promise Window Stranger Mountain Forest Dancer Empire Clockmaker Train Painter Bridge Castle Storm Sister "
    "Hunter Planet Station Carnival Inheritance Compass Market Ocean Doctor Detective Gambit Witness Road Thief Crown "
    "Sparrow Wolf Theory Recipe Wedding Monastery Game Signal Archive Thunder Feast Key Silence Novel Astronaut"
)
PLACES = _words(
    "Lisbon Vienna Kyoto Marrakesh Havana Oslo Tangier Prague Bombay Cairo Dublin Naples Seville Odessa Zanzibar "
    "Patagonia Alaska Siberia Tuscany Normandy"
)
PARTS = _words("Volume Part Book Episode Chapter")
ONSETS = _words("B Br C D Dr F G H K L M N P R S St T Tr V W")
VOWELS = _words("a e i o u ai ea")
CODAS = _words("lden rov nnick ster vik lla mont rri skin ndt thorne bell mar dell wick zzo ran sley dov quist")


def made_up_titles(num: int, seed: int = 0) -> list[str]:
    """Distinct titles that branch as those of real catalogs do: series, sequels, shared beginnings, years.

    Args:
        num: How many.
        seed: The same titles for the same seed; those of a larger catalog are not a superset.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < num:
        found.update(dict.fromkeys(_draw(num - len(found) + 1000, generator)))
    return list(found)[:num]


def _draw(num: int, generator: np.random.Generator) -> Iterator[str]:
    """Titles, some of them alike."""

    def words(choices: Sequence[str]) -> list[str]:
        # the first words of a list are drawn most often, as words of titles are
        place = generator.exponential(0.4, num) % 1
        return [choices[index] for index in (place * len(choices)).astype(np.int64).tolist()]

    names = [onset + vowel + coda for coda in CODAS for vowel in VOWELS for onset in ONSETS]
    kinds = generator.choice(6, size=num, p=[0.2, 0.2, 0.15, 0.15, 0.15, 0.15]).tolist()
    years = generator.integers(1925, 2025, num).tolist()
    dated = (generator.random(num) < 0.3).tolist()
    numbers = np.minimum(generator.geometric(0.25, num), 40).tolist()
    columns = (words(ADJECTIVES), words(NOUNS), words(NOUNS), words(PLACES), words(names), words(PARTS))
    for kind, year, has_year, number, *row in zip(kinds, years, dated, numbers, *columns, strict=True):
        adjective, noun, other, place, name, part = row
        if kind == 0:
            title = f"The {adjective} {noun}"
        elif kind == 1:
            title = f"{adjective} {noun} of {place}"
        elif kind == 2:
            title = f"{name}: The {adjective} {noun}"
        elif kind == 3:
            title = f"The {noun} and the {other}, {part} {number}"
        elif kind == 4:
            title = f"{name}'s {adjective} {noun}"
        else:
            title = f"My {noun} in {place}: {name} and the {other}"
        yield f"{title} ({year})" if has_year else title


class HashedWords:
    """Stand-in for a tokenizer: words, digits and punctuation as made-up ids of a vocabulary of 49,152."""

    added_tokens_decoder: Mapping[int, Any] = {}
    all_special_tokens: Sequence[str] = ()
    all_special_ids: Sequence[int] = ()
    unk_token = None

    def __call__(self, texts: Sequence[str], **_: object) -> SimpleNamespace:
        """Encode some texts."""
        split = re.compile(r"[^\W\d_]+|\d|[^\w\s]").findall
        return SimpleNamespace(
            input_ids=[[zlib.crc32(word.encode()) % 49_150 + 2 for word in split(text)] for text in texts]
        )


KEY = {"benchmark": "catalogs"}


def encode(folder: Path, size: int, tokenizer: str | None) -> dict[str, Any]:
    """Make titles and encode them."""
    start = perf_counter()
    titles = made_up_titles(size)
    made = perf_counter() - start
    if tokenizer is None:
        encoder: Any = HashedWords()
    else:
        from patchrec.model.tokenizer import load_tokenizer

        encoder = load_tokenizer(Path(tokenizer))
        encoder(titles[:1], add_special_tokens=False)
    before = peak_mb()
    start = perf_counter()
    tokens = TitleTokens.encode(encoder, titles)
    seconds = perf_counter() - start
    growth = peak_mb() - before
    np.savez(folder / "tokens.npz", ids=tokens.ids, offsets=tokens.offsets, texts=np.asarray(tokens.texts))
    return {
        "titles": size,
        "tokens": len(tokens.ids),
        "made_up_seconds": made,
        "encode_seconds": seconds,
        "encode_peak_mb": growth,
    }


def build(folder: Path) -> dict[str, Any]:
    """Build the trie of the titles encoded, and keep both."""
    stored = np.load(folder / "tokens.npz")
    tokens = TitleTokens(stored["ids"], stored["offsets"], stored["texts"])
    end = int(tokens.ids.max()) + 1
    before = peak_mb()
    first = timed(lambda: TitleTrie.build(tokens, end))
    growth = peak_mb() - before
    trie = TitleTrie.build(tokens, end)
    seconds = median([first, *(timed(lambda: TitleTrie.build(tokens, end)) for _ in range(2))])
    derived = timed(lambda: derive(trie))
    start = perf_counter()
    assert keep(folder / "titles.safetensors", tokens, trie, KEY)
    return {
        "trie_seconds": seconds,
        "trie_peak_mb": growth,
        "nodes": len(trie.forest),
        "branching": len(trie.parents("catalog")),
        "distinct": len(trie),
        "derived_seconds": derived,
        "array_mb": array_bytes(list(vars(trie).values())) / 1e6,
        "keep_seconds": perf_counter() - start,
        "file_mb": (folder / "titles.safetensors").stat().st_size / 1e6,
    }


def read_back(folder: Path) -> dict[str, Any]:
    """Recall titles and trie."""
    recall(folder / "none", KEY)  # imports
    before = peak_mb()
    first = timed(lambda: recall(folder / "titles.safetensors", KEY))
    growth = peak_mb() - before
    seconds = median([first, *(timed(lambda: recall(folder / "titles.safetensors", KEY)) for _ in range(2))])
    assert recall(folder / "titles.safetensors", KEY) is not None
    return {"recall_seconds": seconds, "recall_peak_mb": growth}


def derive(trie: TitleTrie) -> None:
    """Make what a search asks a trie for, which is made on first use."""
    nodes = np.array([-1])
    trie.chain_end(nodes)
    trie.title_range(nodes)
    trie.items_of(0)


def array_bytes(held: object) -> int:
    """Bytes of all arrays within an object."""
    if isinstance(held, np.ndarray):
        return held.nbytes
    if isinstance(held, Forest):
        return sum(array.nbytes for array in (held.keys, held.parent, held.depth, held.end))
    return sum(map(array_bytes, held)) if isinstance(held, (tuple, list)) else 0


def timed(action: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = perf_counter()
    action()
    return perf_counter() - start


def peak_mb() -> float:
    """The most memory that this process has held so far (MB)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"encode": encode, "build": build, "recall": read_back}
COLUMNS = (
    ("titles", "titles", ",.0f"),
    ("tokens", "tokens", ",.0f"),
    ("encode s", "encode_seconds", ".2f"),
    ("trie s", "trie_seconds", ".2f"),
    ("+MB", "trie_peak_mb", ",.0f"),
    ("nodes", "nodes", ",.0f"),
    ("branching", "branching", ",.0f"),
    ("array MB", "array_mb", ",.1f"),
    ("recall s", "recall_seconds", ".3f"),
)


def measure(size: int, tokenizer: str | None) -> dict[str, Any]:
    """All steps of one size, each in a process of its own."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            command = [sys.executable, "-m", "benchmarks.catalogs", "--step", step, folder, str(size), tokenizer or ""]
            found |= json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    """Measure every size and print a table, or one JSON object a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogs", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000], help="titles")
    parser.add_argument("--tokenizer", help="model folder; without it words are hashed to made-up ids")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with more columns")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step, folder, size, tokenizer = given.step
        arguments = [int(size), tokenizer or None] if step == "encode" else []
        print(json.dumps(STEPS[step](Path(folder), *arguments)))
        return
    if not given.json:
        print(" ".join(f"{title:>10}" for title, _, _ in COLUMNS))
    for size in given.sizes:
        row = measure(size, given.tokenizer)
        print(json.dumps(row) if given.json else " ".join(f"{row[key]:>10{form}}" for _, key, form in COLUMNS))


if __name__ == "__main__":
    main()
