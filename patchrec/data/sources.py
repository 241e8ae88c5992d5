"""Data sets known by name: where each comes from, what its owner allows, which split the paper used."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from patchrec.data import goodreads, movielens
from patchrec.data.archives import SourceFiles
from patchrec.data.catalog import Catalog
from patchrec.data.downloads import fetch_from_package, fetch_url
from patchrec.data.histories import Sequences
from patchrec.data.movielens import Loaded
from patchrec.errors import CorruptError, NotFoundError, UsageError
from patchrec.reporting import Reporter

ML_100K_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
ML_100K_MD5 = "0e33842e24a9c977be4e0107933c0723"
ML_1M_URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
ML_1M_MD5 = "c4d9eecfca2ab87c1945afe126590906"
RECBOLE = "recbole==1.2.1"
RECBOLE_MEMBERS = {
    "recbole/dataset_example/ml-100k/ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "recbole/dataset_example/ml-100k/ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}


@dataclass(frozen=True)
class Source:
    """A data set known by name.

    Attributes:
        description: What it is, in one line.
        licence: What its owner allows.
        noun, verb: Words of the prompt.
        fetch: Gets its files into the cache folder; gives their place and where they came from in words.
        read: Reads files into interactions, or, where the splits are published, into sequences.
    """

    description: str
    licence: str
    noun: str
    verb: str
    fetch: Callable[[Path, Reporter], tuple[Path, str]]
    read: Callable[[SourceFiles], Loaded | tuple[Catalog, Sequences]]


def _fetch_100k(cache: Path, report: Reporter) -> tuple[Path, str]:
    try:
        return fetch_url(ML_100K_URL, ML_100K_MD5, cache), "GroupLens, ml-100k.zip (md5 verified)"
    except (NotFoundError, CorruptError) as first:
        report.note(f"{first}; trying the copy in the Python package {RECBOLE}")
        try:
            folder = fetch_from_package(RECBOLE, RECBOLE_MEMBERS, cache / "recbole-ml-100k", report)
        except NotFoundError as second:
            raise NotFoundError(
                f"{second}; download ml-100k.zip from GroupLens and give it with --from PATH"
            ) from second
        return folder, f"Python package {RECBOLE}, dataset_example/ml-100k (sha256 verified)"


def _fetch_1m(cache: Path, report: Reporter) -> tuple[Path, str]:
    report.note("fetching ml-1m.zip (6 MB) from GroupLens")
    try:
        return fetch_url(ML_1M_URL, ML_1M_MD5, cache), "GroupLens, ml-1m.zip (md5 verified)"
    except NotFoundError as error:
        raise NotFoundError(f"{error}; download ml-1m.zip from GroupLens and give it with --from PATH") from error


def _fetch_goodreads(cache: Path, report: Reporter) -> tuple[Path, str]:
    raise UsageError(
        "goodreads is not downloaded; give the published PatchRec folder (sequences.jsonl.gz and id2title.txt) "
        "with --from PATH"
    )


SOURCES = {
    "ml-100k": Source(
        description="MovieLens-100K: 682 users, 1,682 movies, 51,824 ratings above 3",
        licence=movielens.LICENCE,
        noun="movie",
        verb="watched",
        fetch=_fetch_100k,
        read=movielens.read_100k,
    ),
    "ml-1m": Source(
        description="MovieLens-1M: 6,038 users, 3,883 movies, 575,281 ratings above 3",
        licence=movielens.LICENCE,
        noun="movie",
        verb="watched",
        fetch=_fetch_1m,
        read=movielens.read_1m,
    ),
    "goodreads": Source(
        description="Goodreads as published with the paper: 2,090 users, 8,793 books, 162,539 interactions",
        licence=goodreads.LICENCE,
        noun="book",
        verb="read",
        fetch=_fetch_goodreads,
        read=goodreads.read_published,
    ),
}
