"""Every built-in kind of recommender keeps the contract that third parties are held to."""

import pytest

from patchrec import plugins
from patchrec.config import HistoryConfig
from patchrec.model.pull import locate
from patchrec.recommender import Part, Saved
from patchrec.testing import RecommenderContract, make_dataset

KINDS = plugins.recommenders()
SMALL = {
    "sasrec": {"width": 16},
    "esasrec": {"width": 16, "negatives": 5},
    "fdsa": {"width": 16, "layers": 1},
    "s3rec": {"width": 16, "layers": 1},
    "morec": {"width": 16},
    "lite-llm4rec": {"scratch": True, "scratch_width": 16, "scratch_layers": 1},
    "llamarec": {"candidates": 4, "recent": 3},
}
SMALL |= {name: {"width": 16, "layers": 1, "branches": 3} for name in ("p5", "pod", "lightlm")}
VARIANTS = [
    ("p5", SMALL["p5"] | {"items": "titles", "decoder": "none"}),
    ("pod", SMALL["pod"] | {"search": "beam", "beam": 3, "index": "random"}),
    ("item", {"table": "free"}),
    ("item", {"table": "patch"}),
    ("item", {"table": "text", "item_encoder": "llm"}),
    ("item", {"item_vectors": False, "item_text": "{title} ({year})"}),
]
CASES = [*((name, SMALL.get(name, {})) for name, kind in KINDS.items() if kind.answers and not kind.mixes), *VARIANTS]
FACTS = [name for name in dir(RecommenderContract) if name.startswith("test_")]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return locate("tiny-random", tmp_path_factory.mktemp("backbones")).folder


@pytest.fixture(scope="session")
def contracts(tiny_folder):
    """One contract for each case, so that each is fitted once."""
    return [
        type(
            f"Contract{number}",
            (RecommenderContract,),
            {
                "kind": KINDS[name],
                "options": options,
                "backbone": None if KINDS[name].backbone == "optional" else tiny_folder,  # such kinds want a T5
            },
        )()
        for number, (name, options) in enumerate(CASES)
    ]


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{name} {options}" for name, options in CASES])
def test_every_kind_keeps_the_contract(contracts, number, fact):
    getattr(contracts[number], fact)()


class BlendContract(RecommenderContract):
    """A blend of titles, counts and SASRec, each with windows of its own."""

    kind = KINDS["blend"]
    windows = (HistoryConfig(K=8, windows="anchored"), HistoryConfig(K=3), HistoryConfig(K=4, windows="blocks"))

    def __init__(self, parts):
        self.own = parts

    def _fit(self, folder):
        for number, part in enumerate(self.own):
            part._fit(folder / str(number))
        (folder / "run" / "step-1").mkdir(parents=True)
        return folder / "run" / "step-1"

    def _load(self, checkpoint):
        parts = []
        for number, (part, history) in enumerate(zip(self.own, self.windows, strict=True)):
            (folder,) = (checkpoint.parents[1] / str(number) / "run").glob("step-*")
            parts.append(Part(part._load(folder), (number + 1) / 6, history))
        return self.kind.load(Saved(self._config(), make_dataset(), parts=tuple(parts)))


@pytest.fixture(scope="session")
def blend_contract(contracts):
    names = [name for name, _ in CASES]
    return BlendContract([contracts[names.index(name)] for name in ("title", "item-knn", "sasrec")])


@pytest.mark.parametrize("fact", FACTS)
def test_a_blend_keeps_the_contract(blend_contract, fact):
    getattr(blend_contract, fact)()


def test_the_built_in_kinds_are_these():
    one_model = {"title", "item", "both", "llamarec", "popularity", "recent", "markov", "item-knn", "sasrec", "esasrec"}
    one_model |= {"content"}
    published = {"gru4rec", "caser", "bert4rec", "linrec", "mamba4rec", "hstu"}
    published |= {"fdsa", "s3rec", "morec", "lite-llm4rec", "p5", "pod", "lightlm"}
    assert set(KINDS) == {*one_model, *published, "blend", "predictions"}
