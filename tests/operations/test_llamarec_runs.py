"""Runs that read other runs, by the verbs: made, evaluated, asked, resumed, exported, and refused in one line."""

import json
import shutil

import pytest
from made_up_data import walkers

from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.blend import blend
from patchrec.operations.datasets import add_items
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import export_run
from patchrec.operations.filters import Filters
from patchrec.operations.recommend import recommend
from patchrec.operations.runs import remove_run, show_run
from patchrec.operations.strategies import preview
from patchrec.operations.training.dry_run import dry_run
from patchrec.operations.training.train import baseline, finetune
from patchrec.reporting import Silent
from patchrec.store import Store
from patchrec.training.language_learner import LanguageLearner

MARKOV = {"retriever": "markov-1", "candidates": 3, "recent": 2}
SETTINGS = {"data": "walkers", "backbone": "tiny-random", "strategy": "item-mean", "start": "none", "head": "llamarec"}
SMALL = {"batch_size": 4, "max_steps": 2, "validate_every": 1, "validation_targets": 2, "validate_metric": "ndcg@10"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with two runs to read, and one that reads transitions, which are always right here."""
    home = tmp_path_factory.mktemp("made") / "home"
    with Store.open(home) as store:
        store.datasets.add(walkers(), source="made up", licence="none", split={"rule": "ratio"})
    baseline("popularity", data="walkers", home=home)
    baseline("markov", data="walkers", options={"strength": 0.1}, home=home)
    run = finetune(**SETTINGS, head_options=MARKOV | {"retriever": "mark"}, **SMALL, home=home)
    assert (run.run, run.kind, run.steps) == ("item-mean-1", "llamarec", 2)
    return home


@pytest.fixture
def home(made, tmp_path):
    """A store of its own with the same runs."""
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home"


def test_it_holds_the_run_that_it_reads_by_its_whole_name(made):
    shown = show_run("item-mean-1", home=made)
    assert shown["config"]["kind"]["options"]["retriever"] == "markov-1"
    (part,) = shown["config"]["parts"]
    assert (part["run"], part["weight"]) == ("markov-1", 1.0)
    assert shown["config"]["history"]["K"] == 100
    assert shown["faults"] == []
    assert shown["validations"][-1]["metric"] is not None


def test_it_is_evaluated_asked_and_exported(made, tmp_path):
    found = evaluate("item-mean-1", limit=6, home=made)
    assert (found.score, found.num_targets) == ("letters", 6)
    ranked, known = (recommend(run=run, user="u3", k=6, home=made).ranking for run in ("item-mean-1", "markov-1"))
    assert {line.item_id for line in ranked[:3]} == {line.item_id for line in known[:3]}
    assert [line.item_id for line in ranked[3:]] == [line.item_id for line in known[3:]]
    assert all(line.probability is not None for line in ranked)
    export_run("item-mean-1", tmp_path / "out", home=made)
    assert "with run `markov-1`, which is exported on its own" in (tmp_path / "out" / "README.md").read_text()
    facts = json.loads((tmp_path / "out" / "patchrec.json").read_text())
    assert facts["retriever"] == "markov-1"
    assert len(facts["prompt"]["letters"]) == 3


def test_a_filter_leaves_the_letters_as_many_candidates(made):
    known = recommend(run="markov-1", user="u3", k=6, home=made).ranking
    kept = Filters(deny=(known[0].item_id,))
    ranked = recommend(run="item-mean-1", user="u3", k=3, filters=kept, home=made).ranking
    assert {line.item_id for line in ranked} == {line.item_id for line in known[1:4]}


def test_a_new_item_stands_where_the_retriever_puts_it(home):
    add_items("walkers", item_id="new", title="zz", home=home)
    ranked = recommend(run="item-mean-1", user="u3", k=21, filters=Filters(keep_seen=True), home=home).ranking
    assert ranked[-1].item_id == "new"


def test_a_dry_run_counts_the_candidates(made):
    fewer, more = (
        dry_run("finetune", **SETTINGS, head_options=MARKOV | {"candidates": count}, home=made, **SMALL)
        for count in (2, 3)
    )
    assert fewer.tokens < more.tokens


def test_a_broken_run_goes_on_to_the_same_end(home, monkeypatch):
    options = MARKOV | {"others": "retrieved"}
    settings = SMALL | {"max_steps": 4, "validate_every": None, "validation_targets": None, "validate_metric": None}
    whole = finetune(**SETTINGS, head_options=options, **settings, home=home)
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
        finetune(**SETTINGS, head_options=options, **settings, home=home)
    again = finetune(resume="item-mean-3", home=home)
    assert (again.steps, again.loss) == (whole.steps, whole.loss)
    one, other = (recommend(user="u3", run=run, k=3, home=home).ranking for run in (whole.run, again.run))
    assert one == other


@pytest.mark.parametrize(
    ("retriever", "error", "message"),
    [
        (None, UsageError, "head llamarec reads the answers of another run; give --retriever RUN"),
        ("sasrec-9", NotFoundError, "no run 'sasrec-9'"),
        ("item-mean-1", UsageError, "run item-mean-1 is of kind llamarec, which reads another run itself"),
        ("other-1", UsageError, "run other-1 is on data set 'other', not 'walkers'; name a run of the same"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(made, tmp_path, retriever, error, message):
    home = made
    if retriever == "other-1":
        home = shutil.copytree(made, tmp_path / "home")
        with Store.open(home) as store:
            other = walkers()
            object.__setattr__(other, "name", "other")
            store.datasets.add(other, source="made up", licence="none", split={"rule": "ratio"})
        from patchrec.store.marks import Marks

        baseline("popularity", data="other", marks=Marks(name="other-1"), home=home)
    with pytest.raises(error, match=message) as caught:
        finetune(**SETTINGS, head_options=MARKOV | {"retriever": retriever}, home=home)
    assert "\n" not in str(caught.value)


def test_as_a_baseline_it_says_how_it_is_made(made):
    with pytest.raises(UsageError, match="train it with `patchrec finetune --head llamarec`"):
        baseline("llamarec", home=made)


def test_it_says_when_the_run_that_it_reads_is_gone_or_another(home):
    with Store.open(home) as store:
        store.runs.choose_score("markov-1", "item", {"item_weight": 2.0})
    with pytest.raises(UsageError, match=r"reads run markov-1 as it was: .*; make another with `patchrec finetune`"):
        evaluate("item-mean-1", home=home)
    assert "it reads run 'markov-1', which has other weights" in show_run("item-mean-1", home=home)["faults"][0]["what"]
    remove_run("markov-1", home=home)
    with pytest.raises(NotFoundError, match="reads run 'markov-1', which is gone"):
        evaluate("item-mean-1", home=home)


def test_any_strategy_prompt_and_loss_go_with_it_and_adapters_too(home):
    settings = SETTINGS | {"strategy": "pft-s", "options": {"L": 2}, "prompt": "paper", "lora_rank": 2}
    made = finetune(
        **settings, head_options=MARKOV | {"loss": "vocabulary", "recent": 5}, batch_size=4, max_steps=1, home=home
    )
    found = evaluate(made.run, limit=3, home=home)
    assert found.num_targets == 3
    assert found.cost["compression_prompt"] > 1


def test_its_weights_are_evaluated_under_another_strategy(home):
    found = evaluate("item-mean-1", strategy="vanilla", limit=2, home=home)
    assert (found.run, found.score, found.num_targets) == ("item-mean-1-vanilla-1", "letters", 2)


def test_a_preview_shows_the_newest_items_alone(made):
    shown = preview(run="item-mean-1", user="u3", home=made)
    assert [(span["stop"] - span["start"], span["grain"]) for span in shown["spans"]] == [(12, "dropped"), (2, "item")]
    best = [line.title for line in recommend(run="markov-1", user="u3", k=3, home=made).ranking]
    assert "".join(f"{letter}:{title}\n" for letter, title in zip("ABC", best, strict=True)) in shown["text"]


def test_a_preview_of_a_made_up_history_says_that_candidates_need_a_user(made):
    notes = []
    report = type("Notes", (Silent,), {"note": lambda _, message: notes.append(message)})()
    shown = preview(run="item-mean-1", length=4, home=made, report=report)
    assert "text" not in shown
    assert "--user shows it" in notes[0]


def test_it_can_be_blended(home):
    mixed = blend(["item-mean-1", "popularity-1"], weights=[3, 1], home=home)
    assert evaluate(mixed.run, limit=4, home=home).num_targets == 4


def test_several_processes_are_refused(made, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    from patchrec.config import RunConfig
    from patchrec.operations.load import refuse_apart

    config = RunConfig.model_validate(show_run("item-mean-1", home=made)["config"])
    with pytest.raises(UsageError, match="of kind llamarec reads another run and trains in one process"):
        refuse_apart(config)
