"""Made-up catalogs given as token ids."""

from collections.abc import Sequence

import numpy as np

from patchrec.model.titles import TitleTokens

END = 1


def make_titles(titles: Sequence[Sequence[int]]) -> TitleTokens:
    offsets = np.cumsum([0, *map(len, titles)])
    return TitleTokens(np.array([token for title in titles for token in title], dtype=np.int64), offsets)
