"""Data frames in, a recommender fitted and evaluated, rankings out: `python examples/python_api.py`."""

import tempfile
from pathlib import Path

import polars as pl

import patchrec

STEPS, USERS, ITEMS = 8, 12, 15


def main(home: Path) -> pl.DataFrame:
    """Go the whole way in a store of its own, and give the rankings of two users."""
    walks = [
        (f"user {user}", f"i{(user + step) % ITEMS}", step * 3600) for user in range(USERS) for step in range(STEPS)
    ]
    interactions = pl.DataFrame(walks, schema=["user_id", "item_id", "timestamp"], orient="row")
    items = pl.DataFrame(
        {"item_id": [f"i{n}" for n in range(ITEMS)], "title": [f"Thing {n}" for n in range(ITEMS)]},
    ).with_columns(price=pl.Series(range(ITEMS)) * 10)

    patchrec.add_dataset("things", interactions=interactions, items=items, split="leave-one-out", home=home)
    run = patchrec.baseline("markov", data="things", home=home).run
    found = patchrec.evaluate(run, ks=(1, 5), home=home)
    metrics = {
        row.name: row.value for row in found.metrics if (row.slice, row.level, row.seen) == ("all", "item", "dropped")
    }
    print(f"{run}: hr@1 {metrics['hr@1']:.2f} over {found.num_targets} targets")

    recommender = patchrec.load(run, home=home)
    print("after Thing 3:", [line.title for line in recommender.similar("Thing 3", k=2).ranking])
    cheap = recommender.recommend(user="user 1", k=3, where="price < 120")
    print("user 1, cheap:", [line.title for line in cheap.ranking])
    return recommender.recommend_many(pl.DataFrame({"user_id": ["user 0", "user 1"]}), k=2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(main(Path(folder)))
