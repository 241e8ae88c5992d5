"""Every built-in kind of recommender keeps the contract that third parties are held to."""

import pytest

from patchrec import plugins
from patchrec.model.pull import locate
from patchrec.testing import RecommenderContract

KINDS = plugins.recommenders()
SMALL = {"sasrec": {"width": 16}, "esasrec": {"width": 16, "negatives": 5}}
VARIANTS = [
    ("item", {"table": "free"}),
    ("item", {"table": "text", "item_encoder": "llm"}),
    ("item", {"item_vectors": False, "item_text": "{title} ({year})"}),
]
CASES = [*((name, SMALL.get(name, {})) for name in KINDS), *VARIANTS]
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
            {"kind": KINDS[name], "options": options, "backbone": tiny_folder},
        )()
        for number, (name, options) in enumerate(CASES)
    ]


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{name} {options}" for name, options in CASES])
def test_every_kind_keeps_the_contract(contracts, number, fact):
    getattr(contracts[number], fact)()


def test_the_built_in_kinds_are_these():
    assert set(KINDS) == {"title", "item", "both", "popularity", "recent", "markov", "item-knn", "sasrec", "esasrec"}
