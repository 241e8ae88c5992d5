"""What is to know of a catalog before it is trained on, each with its mend: of its texts, and under a tokenizer.

Most of it is handled (equal titles share a score, a title inside another has an end of its own); it is told because
numbers mean something else where it is frequent. What cannot be trained on is a fault.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from patchrec.config import PromptConfig
from patchrec.data.catalog import Catalog
from patchrec.data.characters import is_blank, steering
from patchrec.errors import PatchrecError
from patchrec.operations.backbones import find_backbone
from patchrec.store import Store
from patchrec.store import home as default_home

EXAMPLES = 3
MOST_EXAMPLES = 2 * EXAMPLES
LARGE = 200_000
"""Items of a catalog that is not encoded unless it is asked for: it takes a minute and more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know of a catalog.

    Attributes:
        what: In words.
        count: Of items, or of titles, as `what` says; None where nothing is counted.
        examples: Some of them.
        mend: What to do; where it is handled, how.
        fault: Whether nothing can be trained on the catalog as it is.
    """

    what: str
    count: int | None
    examples: tuple[str, ...]
    mend: str
    fault: bool = False

    def __str__(self) -> str:
        shown = f", such as {', '.join(map(repr, self.examples))}" if self.examples else ""
        return self.what if self.count is None else f"{self.what}: {self.count:,}{shown}"


@dataclass(slots=True)
class _Titles:
    """Titles of one sort among those that go by: how many, of how many items, and a few of them."""

    titles: int = 0
    items: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)  # with how many items share each, most first

    def note(self, title: str, count: int) -> None:
        self.titles += 1
        self.items += count
        if len(self.examples) < MOST_EXAMPLES or count > self.examples[-1][0]:
            self.examples = sorted([*self.examples, (count, title)], key=lambda one: -one[0])[:MOST_EXAMPLES]

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(title for _, title in self.examples)


def audit_texts(titles: Iterable[tuple[str, int]], num_items: int, num_used: int) -> list[Finding]:
    """What the titles and their use tell, whatever reads them.

    Args:
        titles: Distinct ones with the number of items that have them, by first item; none is kept.
        num_items: Items of the catalog.
        num_used: Items with an interaction.
    """
    equal, blank, steered = _Titles(), _Titles(), _Titles()
    for title, count in titles:
        if count > 1:
            equal.note(title, count)
        if is_blank(title):
            blank.note(title, count)
        if steering(title):
            steered.note(title, 1)
    found = (
        Finding(
            "items that share their title with another",
            equal.items,
            equal.shown,
            "they share its score, and reports give items and titles apart; of own files, --title '{title} ({year})' "
            "makes titles that differ",
        ),
        Finding(
            "items with a blank title",
            blank.items,
            blank.shown,
            "add the data set again with --untitled drop or id",
            fault=True,
        ),
        Finding(
            "titles with control characters or marks that turn the direction of writing",
            steered.titles,
            steered.shown,
            "they are left out where titles are shown; mend the file if they are not meant",
        ),
        Finding(
            "items without interaction",
            num_items - num_used,
            (),
            "they are ranked all the same; of own files, --core 1 leaves them out",
        ),
    )
    return _there(found)


def audit_tokens(catalog: Catalog, folder: Path, name: str, words: PromptConfig) -> list[Finding]:
    """What a backbone's tokenizer makes of the titles.

    Args:
        catalog: The items.
        folder: The model folder.
        name: Of the backbone.
        words: Noun and verb of the prompt.
    """
    from patchrec.model.markup import markup_of
    from patchrec.model.prompt import build_prompt
    from patchrec.model.tokenizer import encode_titles, load_tokenizer
    from patchrec.ranking.merged import merged_examples, num_merged
    from patchrec.ranking.trie import TitleTrie

    try:
        tokenizer = load_tokenizer(folder)
        prompt = build_prompt(tokenizer, words)
        trie = TitleTrie.build(encode_titles(folder, catalog.titles, prompt), prompt.end)
    except PatchrecError as error:
        return [Finding(f"{name}: {error}", None, (), "mend the data set, or take another backbone", fault=True)]
    merged = [title for group in merged_examples(trie, catalog.titles, EXAMPLES) for title in group[:2]]
    inner = trie.inner_titles()
    markup = re.compile("|".join(map(re.escape, sorted(markup_of(tokenizer)))) or r"(?!)")
    alike = [title for title in dict.fromkeys(catalog.titles) if markup.search(title)]
    found = (
        Finding(
            "titles with the same tokens as another",
            num_merged(trie),
            tuple(merged),
            "they share one probability evenly, for the model cannot tell them apart; take a backbone whose tokenizer "
            "does",
        ),
        Finding(
            "titles that another's tokens begin with",
            len(inner),
            tuple(catalog.titles[trie.items_of(title)[0]] for title in inner[:EXAMPLES].tolist()),
            "nothing: each title has an end of its own",
        ),
        Finding(
            f"titles with what is markup to {name}",
            len(alike),
            tuple(alike),
            "nothing: titles are read as plain text",
        ),
    )
    return _there(found)


def audit_dataset(dataset: str, *, backbone: str | None = None, home: Path | None = None) -> list[dict[str, Any]]:
    """What is to know of the titles of a data set, and of what a backbone's tokenizer makes of them where one is named.

    Returns:
        For each finding the fields of `Finding`, and `said` in words.

    Raises:
        NotFoundError: No such data set, or backbone.
    """
    with Store.open(home) as store:
        about = store.datasets.show(dataset)
        folder = None if backbone is None else find_backbone(store, backbone).folder
        found = _texts_of(store, about)
        catalog = None if folder is None else store.catalogs.load(dataset, with_metadata=False)
    if folder is not None and catalog is not None:
        words = PromptConfig(noun=about["noun"], verb=about["verb"])
        found += audit_tokens(catalog, folder, str(backbone), words)
    return [{**asdict(finding), "said": str(finding)} for finding in found]


def catalog_checks(home: Path | None) -> list[dict[str, Any]]:
    """The findings of all data sets of a store under all its backbones, as checks of `doctor`.

    Returns:
        One check for each data set, then one for each finding: `name`, `ok`, `detail` and `fix`.
    """
    folder = default_home() if home is None else home.absolute()
    if not (folder / "store.db").exists():
        return []
    checks: list[dict[str, Any]] = []
    with Store.open(folder, read_only=True) as store:
        backbones = _backbones(store)
        for name in store.datasets.names():
            try:
                checks += _checks_of(store, name, backbones)
            except Exception as error:
                fix = f"remove it with `patchrec data rm {name}` and add it again"
                checks.append(_check(f"data {name}", str(error) or type(error).__name__, fix, ok=False))
    return checks


def _checks_of(store: Store, name: str, backbones: dict[str, Path]) -> Iterator[dict[str, Any]]:
    about = store.datasets.show(name)
    num_items = about["summary"]["items"]
    by_source = {"": _texts_of(store, about)}
    left = ""
    if backbones and num_items <= LARGE:
        catalog = store.catalogs.load(name, with_metadata=False)
        words = PromptConfig(noun=about["noun"], verb=about["verb"])
        by_source |= {key: audit_tokens(catalog, folder, key, words) for key, folder in backbones.items()}
    elif backbones:
        left = f"; too large to read here: patchrec data show {name} --backbone {next(iter(backbones))}"
    yield _check(
        f"data {name}", f"items: {num_items:,}; backbones that read them: {len(by_source) - 1}{left}", "", ok=True
    )
    for backbone, findings in by_source.items():
        for finding in findings:
            whose = f"data {name}, {backbone}" if backbone else f"data {name}"
            yield _check(whose, str(finding), finding.mend, ok=not finding.fault)


def _texts_of(store: Store, about: dict[str, Any]) -> list[Finding]:
    """What the titles of a stored data set and their use tell."""
    name, summary = about["name"], about["summary"]
    return audit_texts(store.catalogs.titles(name), summary["items"], summary["items_used"])


def _check(name: str, detail: str, fix: str, *, ok: bool) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail, "fix": fix}


def _backbones(store: Store) -> dict[str, Path]:
    """Folders of language models by name: those that were fetched or that runs began with, where they are there."""
    found = {backbone.name: backbone.path for backbone in store.backbones.all()}
    named = dict.fromkeys(str(name) for run in store.runs.all() if (name := run.config.language_model))
    found |= {name: Path(name) for name in named if Path(name).is_absolute() and Path(name).is_dir()}
    from patchrec.model.tokenizer import is_causal

    return {name: path for name, path in found.items() if (path / "config.json").is_file() and is_causal(path)}


def _there(findings: Sequence[Finding]) -> list[Finding]:
    """Those of something, each with a few examples."""
    kept = [finding for finding in findings if finding.count != 0]
    return [Finding(one.what, one.count, one.examples[:MOST_EXAMPLES], one.mend, one.fault) for one in kept]
