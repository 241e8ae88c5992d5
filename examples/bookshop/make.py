"""Makes an invented bookshop: two months of orders, and the two days after.

    python examples/bookshop/make.py FOLDER

writes into FOLDER, which must be new:

    books.csv      what there is: 20 series of six volumes
    orders.csv     60 days of orders
    day-61.csv     the next day; a few readers are new
    books-61.csv   the catalog of that day, with a seventh volume
    day-62.csv     the day after
    tonight.txt    who gets recommendations tonight; one of them has never bought anything

Readers follow series: three of four times the next book is the next volume. That is the habit that a recommender should
find. Everything is drawn with a fixed seed, and made up.
"""

import csv
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

PLACES = ("Harbour", "Mill", "Station", "Lighthouse", "Bakery", "Observatory", "Bridge", "Orchard", "Theatre", "Ferry")
KINDS = ("Murders", "Letters")
SERIES = [f"The {place} {kind}" for kind in KINDS for place in PLACES]
VOLUMES, READERS, DAYS = 6, 240, 60
FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)

Order = tuple[str, str, datetime]


def book(series: int, volume: int) -> tuple[str, str, str]:
    """Number, title and shelf of a volume, counted from 1."""
    return f"{series:02d}-{volume}", f"{SERIES[series]}, vol. {volume}", SERIES[series].split()[-1]


def orders(rng: random.Random) -> list[Order]:
    """Who ordered what when, in the order of time."""
    found = []
    for reader in range(READERS):
        liked = rng.sample(range(len(SERIES)), 4)
        volume = dict.fromkeys(liked, 0)
        now = FIRST_DAY + timedelta(days=rng.uniform(0, DAYS + 2))
        series = liked[0]
        while now < FIRST_DAY + timedelta(days=DAYS + 2):
            if rng.random() > 0.75 or volume[series] == VOLUMES:
                series = rng.choice(liked)
            if volume[series] < VOLUMES:
                volume[series] += 1
                found.append((f"R{reader:03d}", book(series, volume[series])[0], now.replace(microsecond=0)))
            now += timedelta(days=rng.expovariate(1 / 3))
    return sorted(found, key=lambda order: order[2])


def write(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Write a file as shops do."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=";", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main(folder: Path) -> None:
    """Write everything."""
    folder.mkdir(parents=True)
    books = [book(series, volume) for series in range(len(SERIES)) for volume in range(1, VOLUMES + 1)]
    new = ("03-7", "The Lighthouse Murders, vol. 7", "Murders")
    write(folder / "books.csv", ("sku", "title", "shelf"), books)
    write(folder / "books-61.csv", ("sku", "title", "shelf"), [*books, new])
    everything = orders(random.Random(61))
    ends = [FIRST_DAY + timedelta(days=DAYS + later) for later in range(3)]
    for name, start, end in (("orders", FIRST_DAY, ends[0]), ("day-61", *ends[:2]), ("day-62", *ends[1:])):
        rows = [(who, what, f"{at:%Y-%m-%d %H:%M:%S}") for who, what, at in everything if start <= at < end]
        write(folder / f"{name}.csv", ("customer", "sku", "ordered"), rows)
    known = sorted({who for who, _, at in everything if at < ends[1]})
    (folder / "tonight.txt").write_text("\n".join([*known[:40], "R999"]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or Path(sys.argv[1]).exists():
        sys.exit("name a new folder: python examples/bookshop/make.py FOLDER")
    main(Path(sys.argv[1]))
