"""Runs whose input has another run's item vectors: they learn by them, keep them, and need that run no more."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from made_up_data import walkers
from safetensors.torch import load_file

from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.datasets import add_items
from patchrec.operations.evaluate import evaluate
from patchrec.operations.load import load
from patchrec.operations.recommend import recommend
from patchrec.operations.runs import remove_run, show_run
from patchrec.operations.training.dry_run import dry_run
from patchrec.operations.training.train import baseline, finetune
from patchrec.recommender import Lender
from patchrec.store import Store
from patchrec.store.marks import Marks
from patchrec.training.language_learner import LanguageLearner

SETTINGS = {"data": "walkers", "backbone": "tiny-random", "strategy": "item-mean", "start": "none", "head": "item"}
SASREC = {"width": 16, "layers": 1, "heads": 1, "dropout": 0.0}
SMALL = {"batch_size": 32, "max_steps": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a run that has vectors, one that has none, and one that begins with the first one's."""
    home = tmp_path_factory.mktemp("made") / "home"
    with Store.open(home) as store:
        store.datasets.add(walkers(), source="made up", licence="none", split={"rule": "ratio"})
    baseline("popularity", data="walkers", home=home)
    baseline("sasrec", data="walkers", options=SASREC, max_steps=20, batch_size=64, home=home)
    run = finetune(**SETTINGS, head_options={"vectors": "sas", "table": "free"}, **SMALL, home=home)
    assert (run.run, run.kind, run.steps) == ("item-mean-1", "item", 3)
    return home


@pytest.fixture
def home(made, tmp_path):
    """A store of its own with the same runs."""
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home"


def kept(home, run):
    """Tensors of a run's items."""
    with Store.open(home) as store:
        return load_file(store.runs.checkpoints(run)[-1].path / "items.safetensors")


def test_vectors_are_those_of_the_run_and_stay_so_while_their_projection_learns(made):
    assert show_run("item-mean-1", home=made)["config"]["kind"]["options"]["vectors"] == "sasrec-1"
    found = kept(made, "item-mean-1")
    with Store.open(made) as store:
        lender = load(store, store.runs.get("sasrec-1")).recommender
    assert isinstance(lender, Lender)
    vectors = lender.item_vectors()
    assert vectors.shape == (len(walkers().catalog), 16)
    scaled = vectors / (np.sqrt(np.mean(vectors**2)) * np.sqrt(16))
    np.testing.assert_allclose(found["lent"].numpy(), scaled, rtol=1e-5)
    assert found["into"].abs().max() > 0
    assert "vectors" not in found


def test_a_fitted_run_needs_the_other_no_more(home):
    before = recommend(run="item-mean-1", user="u3", k=5, home=home).ranking
    remove_run("sasrec-1", home=home)
    assert recommend(run="item-mean-1", user="u3", k=5, home=home).ranking == before
    assert evaluate("item-mean-1", limit=6, home=home).num_targets == 6


def test_what_the_vectors_tell_apart_is_learned_through_them(tmp_path):
    """All items have one title: what follows an item is known by its vector alone."""
    home, walk = tmp_path / "home", walkers()
    titles = ("x",) * len(walk.catalog)
    with Store.open(home) as store:
        alike = replace(walk, catalog=replace(walk.catalog, titles=titles))
        store.datasets.add(alike, source="made up", licence="none", split={"rule": "ratio"})
    baseline("sasrec", data="walkers", options=SASREC, max_steps=20, batch_size=64, home=home)
    settings = {
        **SETTINGS,
        "batch_size": 128,
        "max_steps": 30,
        "epochs": 30,
        "learning_rate": 1e-2,
        "head_learning_rate": 3e-2,
    }
    losses = [
        finetune(**settings, head_options={"table": "free", **more}, home=home).loss
        for more in ({"vectors": "sasrec-1"}, {"item_vectors": False})
    ]
    assert losses[0] < losses[1] / 3


def test_a_broken_run_goes_on_to_the_same_end(home, monkeypatch):
    settings = {**SETTINGS, **SMALL, "head_options": {"vectors": "sasrec-1"}}
    whole = finetune(**settings, home=home)
    learn = LanguageLearner.learn

    def break_once(self, first):
        for row in learn(self, first):
            yield row
            if row.step == 2:
                monkeypatch.undo()
                raise KeyboardInterrupt

    monkeypatch.setattr("patchrec.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(LanguageLearner, "learn", break_once)
    with pytest.raises(KeyboardInterrupt):
        finetune(**settings, home=home)
    again = finetune(resume="item-mean-3", home=home)
    assert (again.steps, again.loss) == (whole.steps, whole.loss)
    for name, tensor in kept(home, whole.run).items():
        assert tensor.equal(kept(home, again.run)[name])


def test_a_new_item_has_no_vector_and_a_rank_all_the_same(home):
    run = finetune(**SETTINGS, **SMALL, head_options={"vectors": "sasrec-1"}, home=home)
    add_items("walkers", item_id="new", title="zz", home=home)
    ranked = recommend(run=run.run, user="u3", k=21, home=home).ranking
    assert "new" in {line.item_id for line in ranked}
    later = finetune(**SETTINGS, **SMALL, head_options={"vectors": "sasrec-1"}, home=home)
    assert not kept(home, later.run)["lent"][-1].any()


def test_a_dry_run_counts_the_projection(made):
    free, lent = (
        dry_run("finetune", **SETTINGS, **SMALL, head_options=one, home=made)
        for one in ({"table": "patch"}, {"vectors": "sasrec-1"})
    )
    width = len(kept(made, "item-mean-1")["into"])
    assert lent.trained_parameters - free.trained_parameters == (16 - len(walkers().catalog)) * width


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"vectors": "popularity-1"},
            UsageError,
            "is of kind popularity, which has no vectors of items; name one",
        ),
        ({"vectors": "item-mean-1"}, UsageError, "run item-mean-1 is of kind item, which has no vectors"),
        ({"vectors": "sasrec-9"}, NotFoundError, "no run 'sasrec-9'"),
        ({"vectors": "other-1"}, UsageError, "run other-1 is on data set 'other', not 'walkers'"),
        ({"vectors": "sasrec-1", "item_vectors": False}, UsageError, "drop one of the two"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(made, tmp_path, options, error, message):
    home = made
    if options["vectors"] == "other-1":
        home = shutil.copytree(made, tmp_path / "home")
        with Store.open(home) as store:
            other = walkers()
            object.__setattr__(other, "name", "other")
            store.datasets.add(other, source="made up", licence="none", split={"rule": "ratio"})
        baseline("popularity", data="other", marks=Marks(name="other-1"), home=home)
    with pytest.raises(error, match=message) as caught:
        finetune(**SETTINGS, **SMALL, head_options=options, home=home)
    assert "\n" not in str(caught.value)
    assert len(show_run("item-mean-1", home=home)["config"]["strategies"]) == 1
