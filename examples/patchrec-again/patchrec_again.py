"""What one had lately, one has again: a recommender for songs, groceries and other things that repeat."""

from pydantic import Field

from patchrec.hookspecs import hookimpl
from patchrec.options import Options
from patchrec.recommender import Kind
from patchrec.recommenders.factories import counted_kind


class AgainOptions(Options):
    decay: float = Field(0.8, gt=0, le=1, description="weight of an item over that of the one after it")
    popular: float = Field(0.2, gt=0, le=1, description="share of what is popular with everyone")


class Again:
    """p(item) = (1 - popular) x its share of the history, newer items weighing more + popular x its popularity."""

    def __init__(self, options: AgainOptions) -> None:
        self.options = options

    def fit(self, dataset):
        counts = dataset.popularity + 1  # train split only
        self.popularity = counts / counts.sum()

    def arrays(self):
        return {"popularity": self.popularity}

    def restore(self, arrays):
        self.popularity = arrays["popularity"]

    def log_probs(self, queries):
        import numpy as np

        rows = []
        for query in queries:
            items = query.history.items[query.history.items < len(self.popularity)]
            weights = self.options.decay ** np.arange(len(items))[::-1]
            share = np.bincount(items, weights, minlength=len(self.popularity)) / max(weights.sum(), 1e-9)
            mixed = (1 - self.options.popular) * share + self.options.popular * self.popularity
            rows.append(np.log(mixed / mixed.sum()))
        return np.array(rows)


KIND = counted_kind("again", "what the user had lately, then what is popular", Again, options=AgainOptions)


@hookimpl
def patchrec_recommenders() -> list[Kind]:
    return [KIND]
