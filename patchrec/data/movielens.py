"""MovieLens in its official form and in RecBole's, with the titles and the selection of the paper.

Ids stay MovieLens' own. Ratings above 3 are kept; for ML-100K only users with more than 20 of them.
Source of selection and title rule: the paper's published splits, which these reproduce exactly.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchrec.data.archives import SourceFiles
from patchrec.data.catalog import Catalog
from patchrec.data.interactions import Interactions
from patchrec.errors import InputError

LICENCE = (
    "MovieLens (GroupLens, University of Minnesota): research use; no redistribution and no commercial or "
    "revenue-bearing use without permission; cite Harper and Konstan, The MovieLens Datasets: History and Context, "
    "ACM TiiS 5(4):19, 2015, doi 10.1145/2827872"
)
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""Of ML-100K's 19 flags, in the order of `u.genre`."""

ARTICLES = (", The", ", A", ", An")
YEAR = re.compile(r"\((\d{4})\)\s*$")
ABOVE = 3.0


@dataclass(frozen=True)
class Edition:
    """What the whole data set holds, to tell when a copy does not.

    Attributes:
        num_ratings: All ratings. num_kept: Ratings above 3. num_items: Titles.
        more_than: Users need more kept ratings than this; 0 keeps all.
    """

    name: str
    num_ratings: int
    num_kept: int
    num_items: int
    more_than: int = 0


ML_100K = Edition("ml-100k", num_ratings=100_000, num_kept=55_375, num_items=1_682, more_than=20)
ML_1M = Edition("ml-1m", num_ratings=1_000_209, num_kept=575_281, num_items=3_883)


@dataclass(frozen=True)
class Loaded:
    """What a source gives: the catalog and the interactions that count.

    Attributes:
        selection: What was kept, as plain JSON.
        notes: What the user should know about this copy.
    """

    catalog: Catalog
    interactions: Interactions
    selection: dict[str, Any]
    notes: tuple[str, ...]


def read_100k(files: SourceFiles) -> Loaded:
    """ML-100K from `u.data` and `u.item`, or from RecBole's `ml-100k.inter` and `ml-100k.item`.

    Raises:
        InputError: Neither pair is there, or a line cannot be read.
    """
    if files.first_of("u.data"):
        catalog = _catalog(files, "u.item", _official_100k_item)
        ratings = _ratings(files, "u.data", b"\t", catalog)
    elif files.first_of("ml-100k.inter"):
        catalog = _catalog(files, "ml-100k.item", _recbole_item, header=b"item_id:token\tmovie_title:token_seq\t")
        header = b"user_id:token\titem_id:token\trating:float\ttimestamp:float"
        ratings = _ratings(files, "ml-100k.inter", b"\t", catalog, header=header)
    else:
        raise InputError(
            f"{str(files.path)!r} holds neither u.data and u.item nor ml-100k.inter and ml-100k.item; "
            "give the official ml-100k.zip, its folder, or a folder with RecBole's two files"
        )
    return _selected(ML_100K, catalog, ratings)


def read_1m(files: SourceFiles) -> Loaded:
    """ML-1M from `movies.dat` and `ratings.dat`, `ratings.dat.gz` or the partial `ratings.known.dat.gz`.

    Raises:
        InputError: They are not there, or a line cannot be read.
    """
    name = files.first_of("ratings.dat", "ratings.dat.gz", "ratings.known.dat.gz")
    if name is None or not files.first_of("movies.dat"):
        raise InputError(
            f"{str(files.path)!r} does not hold ratings.dat and movies.dat; give the official ml-1m.zip or its folder"
        )
    catalog = _catalog(files, "movies.dat", _official_1m_item)
    return _selected(ML_1M, catalog, _ratings(files, name, b"::", catalog))


def clean_title(raw: str) -> str:
    """The title as the paper writes it: no year, no alternative titles, the article in front.

    >>> clean_title("Fish Called Wanda, A (1988)")
    'A Fish Called Wanda'
    """
    title = raw.split(" (", 1)[0].strip().lstrip("'")
    for article in ARTICLES:
        if title.endswith(article):
            return f"{article[2:]} {title.removesuffix(article)}"
    return title


def _official_100k_item(fields: list[str]) -> dict[str, Any]:
    genres = [genre for genre, flag in zip(GENRES, fields[-len(GENRES) :], strict=True) if flag == "1"]
    return _metadata(YEAR.search(fields[1].strip()), genres)


def _recbole_item(fields: list[str]) -> dict[str, Any]:
    return _metadata(re.fullmatch(r"(\d{4})", fields[2]), fields[3].split())


def _official_1m_item(fields: list[str]) -> dict[str, Any]:
    return _metadata(YEAR.search(fields[1]), fields[2].split("|"))


def _metadata(year: re.Match[str] | None, genres: list[str]) -> dict[str, Any]:
    return ({"year": int(year[1])} if year else {}) | {"genres": genres}


ITEM_FORMS: dict[str, tuple[str, str, int]] = {
    "u.item": ("iso-8859-1", "|", 5 + len(GENRES)),
    "ml-100k.item": ("utf-8", "\t", 4),
    "movies.dat": ("iso-8859-1", "::", 3),
}
"""Encoding, separator and number of fields of each item file."""


def _catalog(
    files: SourceFiles, name: str, metadata_of: Callable[[list[str]], dict[str, Any]], header: bytes = b""
) -> Catalog:
    encoding, separator, num_fields = ITEM_FORMS[name]
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for number, line in _body(files, name, header):
        try:
            fields = line.decode(encoding).split(separator)
            if len(fields) != num_fields:
                raise ValueError(f"{len(fields)} fields instead of {num_fields}")
            title = clean_title(fields[1])
            if not title or not fields[0].isdecimal() or fields[0] in found:
                raise ValueError("no title, no item number, or one that was there before")
            found[fields[0]] = title, metadata_of(fields)
        except ValueError as error:
            raise InputError(f"{name}:{number}: not a line of MovieLens items ({error}); get the file again") from error
    titles, metadata = zip(*found.values(), strict=True) if found else ((), ())
    return Catalog(item_ids=tuple(found), titles=titles, metadata=metadata)


def _ratings(files: SourceFiles, name: str, separator: bytes, catalog: Catalog, header: bytes = b"") -> Interactions:
    known = {item_id.encode(): item for item_id, item in catalog.index.items()}
    user_numbers: dict[bytes, int] = {}
    users, items, seconds, ratings = [], [], [], []
    for number, line in _body(files, name, header):
        try:
            user, item_id, rating, stamp = line.split(separator)
            item = known[item_id]
            if not user.isdigit():
                raise ValueError
            seconds.append(int(stamp))
            ratings.append(float(rating))
        except (ValueError, KeyError) as error:
            wrong = "no such item" if isinstance(error, KeyError) else "not user, item, rating, timestamp"
            raise InputError(
                f"{name}:{number}: not a line of MovieLens ratings ({wrong}); get the file again"
            ) from error
        items.append(item)
        users.append(user_numbers.setdefault(user, len(user_numbers)))
    return Interactions(
        user_ids=tuple(user.decode() for user in user_numbers),
        users=np.array(users, dtype=np.int64),
        items=np.array(items, dtype=np.int64),
        milliseconds=np.array(seconds, dtype=np.int64) * 1000,
        ratings=np.array(ratings, dtype=np.float64),
    )


def _body(files: SourceFiles, name: str, header: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbered lines after the header, where there should be one; blank lines are left out."""
    lines = files.lines(name)
    if header and not (lines and lines[0].startswith(header)):
        raise InputError(f"{name}:1: the header does not begin with {header.decode()!r}; get the file again")
    return ((number, line) for number, line in enumerate(lines, 1) if line and not (header and number == 1))


def _selected(edition: Edition, catalog: Catalog, ratings: Interactions) -> Loaded:
    assert ratings.ratings is not None
    kept = ratings.select(ratings.ratings > ABOVE)
    notes = _missing(edition, len(catalog), len(ratings), len(kept))
    selection: dict[str, Any] = {"ratings_above": ABOVE, "ratings_read": len(ratings), "ratings_kept": len(kept)}
    if edition.more_than:
        kept = kept.only_active(edition.more_than)
        selection["users_with_more_than"] = edition.more_than
    if not len(kept):
        raise InputError(f"no rating above {ABOVE:g} is in these files; give the whole {edition.name}")
    return Loaded(catalog, kept, selection, notes)


def _missing(edition: Edition, num_items: int, num_ratings: int, num_kept: int) -> tuple[str, ...]:
    """Say plainly where a copy is not the whole data set, and what that does to the split."""
    notes = []
    if num_items != edition.num_items:
        notes.append(f"this copy of {edition.name} has {num_items:,} of {edition.num_items:,} items")
    if num_ratings != edition.num_ratings:
        lacks = f"this copy of {edition.name} has {num_ratings:,} of {edition.num_ratings:,} ratings"
        notes.append(
            f"{lacks}; all {edition.num_kept:,} above 3 are there, so histories and splits are exact, but counts of "
            "lower ratings are not"
            if num_kept == edition.num_kept
            else f"{lacks} and {num_kept:,} of the {edition.num_kept:,} above 3, so its splits are not the paper's"
        )
    return tuple(notes)
