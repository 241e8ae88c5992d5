"""What everything that ranks refuses: in one line, with its exit code, and with nothing half-written."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from patchrec import plugins
from patchrec.errors import PluginError, UsageError
from patchrec.operations.training.train import baseline, finetune
from patchrec.ranking.checked import CheckedRecommender
from patchrec.recommender import Kind, Query, Ranking, Recommendation, Scores, log_probs, rank
from patchrec.recommenders.factories import counted_kind, item_model_kind
from patchrec.store import Store
from patchrec.testing import TITLES, make_dataset, make_history
from patchrec_cli.app import main

FREE_MEMORY = "patchrec.model.memory.free_memory"
TINY = {"data": "made-up", "backbone": "tiny-random", "strategy": "item-mean", "max_steps": 1, "batch_size": 20}
FINETUNE = "finetune --data made-up --backbone tiny-random --strategy item-mean --max-steps 1 --batch-size 20"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A store with the made-up data set, and no plugin but those that a test brings."""
    monkeypatch.setenv("PATCHREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATCHREC_PLUGINS", "")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("PATCHREC_DEBUG", raising=False)
    plugins.load()
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(make_dataset(), source="made up", licence="none", split={"rule": "leave-one-out"})
    return tmp_path / "home"


@pytest.fixture
def told(home, capfd):
    """Run a command line: its exit code, and the line that says why."""

    def run(line: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main(line.split())
        errors = capfd.readouterr().err.splitlines()
        assert "Traceback" not in "".join(errors)
        return code, next((error for error in errors if error.startswith("error: ")), "")

    return run


@pytest.fixture
def bring(home, monkeypatch):
    """Bring a kind of recommender as a plugin would; what is given takes it away again."""

    def bring(kind: Kind):
        known = plugins._registry().recommenders
        monkeypatch.setitem(known, kind.name, kind)
        return lambda: monkeypatch.delitem(known, kind.name)

    return bring


def count(home: Path, table: str) -> int:
    with sqlite3.connect(next(home.glob("*.db"))) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


class Guess:
    """Counts that give what they are told to give."""

    def __init__(self, answer):
        self.answer = answer

    def fit(self, dataset):
        if self.answer == "fit":
            raise RuntimeError("cannot\ncount")

    def arrays(self):
        return {"nothing": np.zeros(1)}

    def restore(self, arrays):
        if self.answer == "restore":
            raise KeyError("weights")

    def log_probs(self, queries):
        return self.answer(len(queries))


def uniform(rows):
    return np.full((rows, len(TITLES)), -np.log(len(TITLES)))


def raises(rows):
    raise ZeroDivisionError("one\nover none")


def leaves(rows):
    raise SystemExit(3)


WRONG_SCORES = {
    "nan": (lambda rows: uniform(rows) * np.nan, "not finite"),
    "no-distribution": (lambda rows: uniform(rows) + 1, "sum to 2.718, not to 1"),
    "wrong-shape": (lambda rows: uniform(rows)[0], "scores of shape (12,)"),
    "no-array": (lambda rows: None, "scores of shape ()"),
    "words": (lambda rows: np.full((rows, len(TITLES)), "high"), "no numbers"),
    "raises": (raises, "failed: ZeroDivisionError: one over none"),
    "leaves": (leaves, "failed: SystemExit: 3"),
    "restore": ("restore", "failed: KeyError: 'weights'"),
}


@pytest.mark.parametrize("case", WRONG_SCORES)
def test_a_plugin_that_answers_wrongly_is_named_and_leaves_no_evaluation(home, told, bring, case):
    answer, words = WRONG_SCORES[case]
    bring(counted_kind("guess", "guesses", lambda options: Guess(answer)))
    assert baseline("guess", data="made-up", home=home).run == "guess-1"
    lines = [
        "eval guess-1",
        "recommend --run guess-1 --user u1",
        f"recommend --run guess-1 --all --output {home}/recs.csv",
    ]
    for line in lines:
        code, error = told(line)
        assert (code, "'guess'" in error, words in error) == (8, True, True), (line, error)
    assert count(home, "evaluations") == count(home, "metrics") == count(home, "rankings") == 0
    assert not (home / "recs.csv").exists()


def test_a_plugin_that_cannot_be_fitted_is_named(home, told, bring):
    bring(counted_kind("guess", "guesses", lambda options: Guess("fit")))
    code, error = told("baseline guess --data made-up")
    assert (code, error) == (8, "error: recommender 'guess' failed: RuntimeError: cannot count; --debug shows where")
    with Store.open(home) as store:
        assert store.runs.get("guess-1").status == "failed"
    bring(counted_kind("made", "is not made", lambda options: 1 / 0))
    code, error = told("baseline made --data made-up")
    assert (code, "'made' failed: ZeroDivisionError" in error) == (8, True)


class Module(nn.Module):
    """A model of identifiers whose training or answers go wrong."""

    def __init__(self, num_items, what):
        super().__init__()
        self.table, self.what = nn.Parameter(torch.zeros(num_items)), what

    def loss(self, batch):
        if self.what == "loss":
            raise IndexError("no row")
        return -torch.log_softmax(self.table, 0).sum()

    def log_probs(self, batch):
        found = torch.log_softmax(self.table, 0).expand(len(batch.items), -1)
        return found * torch.nan if self.what == "nan" else found[:, 1:]


@pytest.mark.parametrize(("what", "words"), [("nan", "not finite"), ("shape", "must give"), ("loss", "IndexError")])
def test_a_plugins_module_that_goes_wrong_is_named(home, told, bring, what, words):
    small = {"epochs": 1, "batch_size": 50}
    bring(item_model_kind("module", "goes wrong", lambda items, _, options: Module(items, what), training=small))
    code, error = told("baseline module --data made-up")
    if what != "loss":
        assert code == 0
        code, error = told("eval module-1")
    assert (code, words in error) == (8, True), error
    assert count(home, "evaluations") == 0


def test_a_builtin_kind_that_fails_is_our_own_bug(home, told, monkeypatch):
    assert told("baseline popularity --data made-up")[0] == 0
    monkeypatch.setattr("patchrec.training.counted_learner.restore", raises)
    code, error = told("eval popularity-1")
    assert (code, "this is a bug in patchrec" in error) == (1, True)


class Own:
    """A recommender that a third party wrote from the ground."""

    level, score, device = "item", "item", "cpu"

    def __init__(self, rows=None, lines=None, numbers=None):
        self.rows, self.lines, self.numbers = rows, lines, numbers

    def _numbers(self, queries):
        return range(len(queries)) if self.numbers is None else self.numbers

    def score_each(self, queries):
        return ((number, Scores(self.rows)) for number in self._numbers(queries))

    def rank_each(self, queries, k, *, allowed=None):
        lines = tuple(Recommendation(place, item, "", score) for place, (item, score) in enumerate(self.lines, 1))
        return ((number, Ranking(lines)) for number in self._numbers(queries))


def checked(**answers) -> CheckedRecommender:
    return CheckedRecommender("own", Own(**answers), make_dataset().catalog)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"rows": uniform(1)}, "shape (1, 12)"),
        ({"rows": uniform(1)[0][:5]}, "shape (5,)"),
        ({"rows": uniform(1)[0] * np.inf}, "not finite"),
        ({"rows": uniform(1)[0] - 1}, "sum to 0.3679"),
        ({"rows": uniform(1)[0], "numbers": [0, 0]}, "query 0 of 2 twice"),
        ({"rows": uniform(1)[0], "numbers": [5]}, "query 5 of 2"),
        ({"rows": uniform(1)[0], "numbers": [1]}, "left 1 of 2 queries"),
        ({"lines": [(3, np.nan)]}, "not finite"),
        ({"lines": [(12, -1.0)]}, "item number 12"),
        ({"lines": [(3, -1.0), (3, -1.0)]}, "2 lines, 1 items"),
        ({"lines": [(1, -1.0), (2, -2.0), (3, -3.0)]}, "3 lines, 3 items"),
        ({"lines": [None]}, "failed: TypeError"),
    ],
)
def test_a_recommender_of_ones_own_is_held_to_the_contract(home, answers, words):
    queries = [Query(make_history(3))] * 2
    with pytest.raises(PluginError) as caught:
        rank(checked(**answers), queries, 2) if "lines" in answers else log_probs(checked(**answers), queries)
    assert str(caught.value).startswith("recommender 'own' ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recommender_that_keeps_the_contract_answers_as_it_did(home):
    queries = [Query(make_history(3))] * 2
    assert np.array_equal(log_probs(checked(rows=uniform(1)[0]), queries), uniform(2))
    assert len(rank(checked(lines=[(1, -1.0), (2, -2.0)]), queries, 2)) == 2


def test_a_run_whose_plugin_is_gone_stays_and_says_so(home, told, bring, capfd):
    gone = bring(counted_kind("guess", "guesses", lambda options: Guess(uniform)))
    assert baseline("guess", data="made-up", home=home).run == "guess-1"
    assert told("eval guess-1 --limit 3")[0] == 0
    gone()
    for line in (
        "eval guess-1", "recommend --run guess-1 --user u1", f"export guess-1 {home}/out", "runs choose-score guess-1",
    ):  # fmt: skip
        code, error = told(line)
        assert (code, "run guess-1 is of kind 'guess', which no plugin brings now" in error) == (4, True), (line, error)
    assert not (home / "out").exists()
    for line in ("runs ls", "runs show guess-1", "runs compare guess-1", "runs ls --json", "runs show guess-1 --json"):
        code = main(line.split())
        out = capfd.readouterr().out
        assert (code, "guess-1" in out) == (0, True), line
        assert ("guess (no plugin brings it now)" in out) == (line == "runs show guess-1")
    assert told("runs rm guess-1")[0] == 0


def test_a_head_that_a_run_does_not_have_is_told_with_the_choices(home, told):
    for head in ("title", "item"):
        finetune(**TINY, head=head, home=home)
    for line, words in (
        ("eval item-mean-1 --score item", "kind title, which has no score 'item'; choices: catalog, joint"),
        ("recommend --run item-mean-1 --user u1 --score mixture", "has no score 'mixture'; choices: catalog, joint"),
        ("recommend --run item-mean-1 --all --output x.csv --score item", "has no score 'item'"),
        ("recommend --run item-mean-2 --user u1 --score catalog", "kind item, which has no score 'catalog'"),
        ("recommend --run item-mean-1 --user u1 --retrieve 5", "no item head that could propose"),
    ):
        code, error = told(line)
        assert (code, words in error) == (2, True), (line, error)
    assert count(home, "evaluations") == 0


def test_a_start_with_another_head_is_taken_or_refused_before_a_run_is_made(home, told):
    finetune(**TINY, head="item", home=home)
    for head in ("title", "both"):
        assert finetune(**TINY, head=head, start="item-mean-1", home=home).kind == head
    runs = count(home, "runs")
    for options in ("--table free", "--no-item-vectors", "--item-encoder llm"):
        code, error = told(f"{FINETUNE} --from item-mean-1 --head item {options}")
        assert (code, "take the same --table, --item-vectors and --item-encoder" in error) == (2, True), error
    baseline("popularity", data="made-up", home=home)
    assert told(f"{FINETUNE} --from popularity-1 --head item") == (
        2, "error: run popularity-1 has no language model; choose another from `patchrec runs ls`",
    )  # fmt: skip
    assert count(home, "runs") == runs + 1


def test_a_data_set_with_runs_is_not_taken_away_under_them(home, told):
    finetune(**TINY, head="item", home=home)
    code, error = told("data rm made-up")
    assert (code, "has runs (item-mean-1)" in error) == (2, True)


@pytest.mark.parametrize("table", ["patch", "free"])
def test_an_item_table_larger_than_memory_is_refused_before_training(home, told, monkeypatch, table):
    finetune(**TINY, head="item", head_options={"table": table}, home=home)
    with Store.open(home) as store:
        name = store.runs.all()[-1].name
    tables, width = 2, 32  # of the head and of the input; tiny-random's
    monkeypatch.setattr(FREE_MEMORY, lambda device: 16 * len(TITLES) * width * tables // 2)
    for line in (f"{FINETUNE} --head item --table {table}", f"{FINETUNE} --head item --table {table} --dry-run"):
        code, error = told(line)
        assert code == 7, error
        assert "an item head of 12 items x" in error
        assert "--no-item-vectors, a smaller backbone, or --head title" in error
    assert count(home, "runs") == 1
    assert told(f"eval {name} --limit 2")[0] == 0  # weights alone are a quarter
    monkeypatch.setattr(FREE_MEMORY, lambda device: 100)
    code, error = told(f"eval {name} --limit 2")
    assert (code, "an item head of 12 items" in error) == (7, True)


@pytest.mark.parametrize("words", ["sasrec", "esasrec", "sasrec --width 10000000000000"])
def test_a_table_of_identifiers_larger_than_memory_is_refused_before_a_run_is_made(home, told, monkeypatch, words):
    if "--width" not in words:
        monkeypatch.setattr(FREE_MEMORY, lambda device: 1000)
    code, error = told(f"baseline {words} --data made-up")
    kind = words.split()[0]
    assert (code, f"{kind} over 12 items" in error, f"patchrec baseline {kind} --help" in error) == (7, True, True)
    assert count(home, "runs") == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("baseline sasrec --neighbours 5", "baseline sasrec: no option '--neighbours'"),
        ("baseline item-knn --half-life 5", "baseline item-knn: no option '--half-life'"),
        (f"{FINETUNE} --head title --table free", "head title: no option '--table'; choices: --loss"),
        (f"{FINETUNE} --table free", "head title: no option '--table'"),
        (f"{FINETUNE} --head item --loss catalog", "head item: no option '--loss'"),
        (f"{FINETUNE} --head item --item-weight 2", "head item: no option '--item-weight'"),
        (f"{FINETUNE} --head both --item-loss 0", "--item-loss='0': input should be greater than 0"),
        (f"{FINETUNE} --head item --table rows", "--table='rows': input should be 'tied', 'patch', 'text' or 'free'"),
        (f"{FINETUNE} --head item --table tied --vectors sasrec-1", "--table tied has one vector for input and row"),
        (f"{FINETUNE} --head both --table tied --no-item-vectors", "--no-item-vectors has none to tie; drop one"),
        (f"{FINETUNE} --head titel", "no head 'titel'; did you mean 'title'?"),
        (f"{FINETUNE} --head sasrec", "'sasrec' is a baseline, not a head"),
        (f"{FINETUNE} --head item --head-learning-rate 0", "--head-learning-rate=0.0"),
        (f"{FINETUNE} --head item --head-learning-rate nan", "--head-learning-rate=nan"),
        (f"{FINETUNE} --head title --head-learning-rate 0.1", "--head-learning-rate is of an item head"),
        (f"{FINETUNE} --head item --layers 0", "--layers"),
        (f"{FINETUNE} --head item --layers 3", "--layers 3: tiny-random has 2; take 1 to 2"),
        (f"{FINETUNE} --layers 3 --dry-run", "--layers 3: tiny-random has 2; take 1 to 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(home, told, line, words):
    code, error = told(line)
    assert code == (4 if "titel" in line else 2)
    assert words in error
    assert count(home, "runs") == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": 0}, "--layers=0"),
        ({"layers": 3}, "--layers 3: tiny-random has 2"),
        ({"K": 0}, "--K=0"),
        ({"windows": "wide"}, "--windows='wide'"),
        ({"prompt": "short"}, "--prompt='short'"),
        ({"seed": "one"}, "--seed='one'"),
        ({"head_learning_rate": 0.0, "head": "item"}, "--head-learning-rate=0.0"),
        ({"head_learning_rate": 0.1}, "--head-learning-rate is of an item head"),
        ({"head": "item", "head_options": {"neighbours": 5}}, "head item: no option '--neighbours'"),
        ({"head_options": {"table": "free"}}, "head title: no option '--table'"),
    ],
)
def test_python_is_told_the_same(home, settings, words):
    with pytest.raises(UsageError) as caught:
        finetune(**TINY, **settings, home=home)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    others = {key: value for key, value in settings.items() if key in ("K", "windows", "seed")}
    if others:
        with pytest.raises(UsageError) as caught:
            baseline("sasrec", data="made-up", home=home, **others)
        assert words in str(caught.value)
    assert count(home, "runs") == 0
