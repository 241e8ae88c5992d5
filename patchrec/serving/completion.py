"""Which titles or ids a few typed letters may mean."""

import re
from collections.abc import Iterable, Sequence

from patchrec.data.catalog import Catalog


def complete_items(catalog: Catalog, typed: str, limit: int) -> list[int]:
    """Catalog indices whose title holds what was typed, or whose id is it, the best first (see `complete`)."""
    by_title = catalog.by_folded_title
    found = [catalog.index[typed]] if typed in catalog.index else []
    for title in complete(by_title, typed, limit):
        found += [item for item in by_title[title] if item not in found[:1]]
        if len(found) >= limit:
            break
    return found[:limit]


def complete(texts: Iterable[str], typed: str, limit: int) -> Sequence[str]:
    """Texts that hold what was typed, letter case aside: first those that begin with it, then words that do.

    Args:
        texts: In the order that decides between equals.
        typed: Blanks around it are left aside; nothing typed gives the first texts.
        limit: How many at most.
    """
    wanted = typed.casefold().strip()
    word = re.compile(rf"\b{re.escape(wanted)}")
    classes: tuple[list[str], list[str], list[str]] = ([], [], [])
    for text in texts:
        folded = text.casefold()
        if wanted not in folded:
            continue
        which = 0 if folded.strip().startswith(wanted) else 1 if word.search(folded) else 2
        if len(classes[which]) < limit:
            classes[which].append(text)
            if len(classes[0]) == limit:
                break
    return [text for kind in classes for text in kind][:limit]
