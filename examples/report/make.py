"""Makes `report.html`: an invented tea shop, seven runs on its orders, and the report about them.

    python examples/report/make.py FOLDER

writes the shop's files, a store and the report into FOLDER, which must be new. About five minutes on one free core, no
network. Everything in it is made up by this file; nothing has a licence that could be broken.
"""

import random
import sys
from pathlib import Path

from patchrec_cli.app import main

FAMILIES = {
    "Green tea": ("Sencha", "Gunpowder", "Jasmine", "Genmaicha", "Dragon Well"),
    "Black tea": ("Assam", "Darjeeling", "Earl Grey", "Keemun", "Smoked"),
    "Herbal tea": ("Mint", "Camomile", "Rooibos", "Ginger and lemon", "Fennel"),
    "Kettle": ("enamel", "cast iron", "copper", "with thermometer", "small"),
    "Teapot": ("glass", "clay", "porcelain", "with strainer", "for two"),
    "Cup": ("blue", "white", "with saucer", "double-walled", "travel"),
    "Tin": ("round", "square", "large", "set of three", "with window"),
    "Biscuits": ("ginger", "shortbread", "almond", "oat", "matcha"),
    "Strainer": ("fine", "basket", "bamboo", "paper filters", "spoon"),
    "Honey": ("acacia", "heather", "lime blossom", "forest", "comb"),
    "Gift box": ("green", "black", "herbal", "for beginners", "for two"),
    "Book": ("Tea at home", "A year of tea", "Ceremony", "Cups and kilns", "Leaf by leaf"),
}
USERS, FIRST_DAY, DAY = 160, 1_700_000_000, 86_400
TINY = ["--backbone", "tiny-random", "--from", "none", "--epochs", "10", "--batch-size", "128",
        "--learning-rate", "0.003", "--head", "item", "--validate-every", "40"]  # fmt: skip


def products() -> list[tuple[str, str]]:
    """Ids and titles: every kind of every family."""
    titles = [f"{family}, {kind}" for family, kinds in FAMILIES.items() for kind in kinds]
    return [(f"p{number:02d}", title) for number, title in enumerate(titles)]


def orders(rng: random.Random) -> list[tuple[str, str, int]]:
    """Who bought what when. People go through families in an order of their own and have kinds that they like.

    Half of the purchases follow from the one before (the same kind of the next family), a quarter from what a person
    likes, a quarter from what sells.
    """
    families, kinds = len(FAMILIES), 5
    selling = [1 / (1 + rank) ** 0.7 for rank in range(families * kinds)]
    rng.shuffle(selling)
    found = []
    for user in range(USERS):
        now = FIRST_DAY + rng.randrange(60 * DAY)
        stride, liked = rng.choice((1, 1, 1, 5)), rng.sample(range(families), 3)
        last, had = rng.randrange(families * kinds), set()
        for _ in range(rng.randint(14, 44)):
            chance = rng.random()
            if chance < 0.5:
                item = (last + stride * kinds) % (families * kinds)
            elif chance < 0.75:
                item = rng.choice(liked) * kinds + rng.randrange(kinds)
            else:
                item = rng.choices(range(families * kinds), selling)[0]
            if item in had:
                continue
            had.add(item)
            last = item
            now += rng.randrange(1, 9) * DAY // 2
            found.append((f"customer {user + 1}", f"p{item:02d}", now))
    return sorted(found, key=lambda row: row[2])


def write(folder: Path) -> None:
    """Write the shop's two files."""
    lines = [f'{item},"{title}"' for item, title in products()]
    (folder / "products.csv").write_text("\n".join(["item_id,title", *lines]) + "\n")
    rows = [f"{user},{item},{when}" for user, item, when in orders(random.Random(7))]
    (folder / "orders.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")


def patchrec(home: Path, *words: str) -> None:
    """Run one command, as it would be typed."""
    print("$ patchrec", *words, flush=True)
    if code := main(["--home", str(home), *words]):
        sys.exit(code)


def make(folder: Path) -> None:
    """Everything, from made-up orders to the page."""
    folder.mkdir(parents=True)
    write(folder)
    home = folder / "home"
    shop = [str(folder / "orders.csv"), str(folder / "products.csv")]
    words = ["--noun", "product", "--verb", "bought", "--split", "ratio"]
    patchrec(home, "data", "add", "tea-shop", *shop, *words, "-q")
    patchrec(home, "baseline", "popularity", "-q")
    patchrec(home, "baseline", "item-knn", "-q")
    for strategy in (["pft-s", "--L", "5"], ["pft-i", "--M", "5"], ["vanilla"], ["item-mean"]):
        patchrec(home, "finetune", "--strategy", *strategy, "--K", "40", *TINY, "-q")
    patchrec(home, "finetune", "--strategy", "item-mean", "--K", "3", *TINY, "-q")
    runs = ["item-mean-1", "item-mean-2", "item-knn-1", "pft-s-1", "pft-i-1", "vanilla-1", "popularity-1"]
    for run in runs:
        patchrec(home, "eval", run, "-q")
    page = ["--metric", "ndcg@10", "--out", str(folder / "report.html")]
    patchrec(home, "runs", "report", *runs, *page)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(Path(sys.argv[1]))
