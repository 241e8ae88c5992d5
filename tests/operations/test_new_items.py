"""An item that was added after training is ranked at once, and what changed under a run is told."""

from pathlib import Path

import pytest

from patchrec.errors import InputError, NotFoundError, UsageError
from patchrec.operations.datasets import add_items, list_items
from patchrec.operations.evaluate import evaluate
from patchrec.operations.filters import Filters
from patchrec.operations.recommend import recommend
from patchrec.operations.runs import compare_runs, show_run
from patchrec.operations.training.train import finetune
from patchrec.store import Store

KEPT = Filters(keep_seen=True)
TINY = {"data": "walkers", "backbone": "tiny-random", "max_steps": 1, "batch_size": 20}


def fit(home: Path) -> str:
    return finetune(strategy="vanilla", **TINY, home=home).run


@pytest.fixture
def run(prepared) -> str:
    """A run on the catalog before it grew."""
    return prepared(fit)


def add(home: Path, item_id: str = "new", title: str = "A new film") -> None:
    add_items("walkers", item_id=item_id, title=title, home=home)


def popularity(home: Path, **options: object):
    return evaluate(baseline="popularity", data="walkers", home=home, **options)


def test_a_new_item_is_recommended_at_once_by_a_run_that_never_saw_it(home: Path, run: str):
    before = recommend(history=["i00", "i01"], run=run, k=20, filters=KEPT, score="joint", home=home)
    assert len(before.ranking) == 20
    add(home)
    after = recommend(history=["i00", "i01"], run=run, k=21, filters=KEPT, score="joint", home=home)
    assert {line.item_id for line in after.ranking} == {*(f"i{item:02d}" for item in range(20)), "new"}
    # a joint score is of the title alone, so every other item keeps its own
    scores = {line.item_id: line.score for line in after.ranking}
    for line in before.ranking:
        assert scores[line.item_id] == pytest.approx(line.score, abs=1e-4)


def test_a_new_item_can_be_what_a_history_is_made_of(home: Path, run: str):
    add(home)
    assert recommend(history=["A new film"], run=run, k=3, home=home).history == ["A new film"]


def test_a_run_is_used_after_several_additions(home: Path, run: str):
    for number in range(3):
        add(home, f"n{number}", f"Film {number}")
    assert len(recommend(user="u3", run=run, k=50, home=home).ranking) == 20 - 14 + 3


def test_a_run_of_the_grown_catalog_is_used_as_well(home: Path, run: str):
    add(home)
    later = finetune(strategy="vanilla", **TINY, home=home).run
    add(home, "newer", "Newer")
    for name in (run, later):
        assert len(recommend(user="u3", run=name, k=50, home=home).ranking) == 20 - 14 + 2


def test_a_version_that_the_table_alone_knows_is_not_believed(home: Path, run: str):
    """The fingerprint of the first items is computed anew."""
    with Store.open(home) as store, store.write() as db:
        db.execute("UPDATE runs SET fingerprints = json_set(fingerprints, '$.catalog', 'forged')")
        db.execute("INSERT INTO catalog_versions VALUES ('walkers', 7, 'forged', 'now')")
    with pytest.raises(UsageError, match="another catalog"):
        recommend(user="u3", run=run, home=home)


def test_another_catalog_is_refused_as_before(home: Path, run: str):
    add(home)
    with Store.open(home) as store, store.write() as db:
        db.execute("UPDATE runs SET fingerprints = json_set(fingerprints, '$.catalog', 'another')")
    with pytest.raises(UsageError, match="trained with another catalog than data set 'walkers' has now"):
        recommend(user="u3", run=run, home=home)


def test_training_on_a_grown_catalog_is_not_resumed_in_silence(home: Path, monkeypatch: pytest.MonkeyPatch):
    from patchrec.training.language_learner import LanguageLearner

    learn = LanguageLearner.learn

    def break_once(self, first):
        yield next(learn(self, first))
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(LanguageLearner, "learn", break_once)
    monkeypatch.setattr("patchrec.training.loop.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        finetune(strategy="vanilla", **{**TINY, "max_steps": 3}, home=home)
    add(home)
    with pytest.raises(
        UsageError, match=r"^cannot resume: data.catalog: .* saved, .* now;.* start a new run"
    ) as caught:
        finetune(resume="vanilla-1", home=home)
    assert "\n" not in str(caught.value)
    assert finetune(resume="vanilla-1", force=True, home=home).steps == 3


def test_an_evaluation_says_which_catalog_it_ranked(home: Path):
    popularity(home)
    add(home)
    popularity(home)
    with Store.open(home) as store:
        first, second = store.evaluations.all()
        versions = store.catalogs.versions("walkers")
    assert [first.config["catalog"], second.config["catalog"]] == [version.fingerprint for version in versions]


def test_an_evaluation_is_used_again_for_its_own_catalog_alone(home: Path, run: str):
    first = evaluate(run, limit=3, home=home)
    assert evaluate(run, limit=3, home=home, reuse=True) == first
    add(home)
    evaluate(run, limit=3, home=home, reuse=True)
    evaluate(run, limit=3, home=home, reuse=True)
    with Store.open(home) as store:
        assert len(store.evaluations.all(run)) == 2


def test_an_evaluation_from_before_catalogs_grew_is_of_the_first_one(home: Path, run: str):
    first = evaluate(run, limit=3, home=home)
    forget_catalogs(home)
    assert evaluate(run, limit=3, home=home, reuse=True) == first
    assert show_run(run, home=home)["evaluations"][0]["catalog"] == show_run(run, home=home)["fingerprints"]["catalog"]
    add(home)
    evaluate(run, limit=3, home=home, reuse=True)
    with Store.open(home) as store:
        assert len(store.evaluations.all(run)) == 2


def forget_catalogs(home: Path) -> None:
    """Make evaluations look as the first release wrote them."""
    with Store.open(home) as store, store.write() as db:
        db.execute("UPDATE evaluations SET config = json_remove(config, '$.catalog')")


@pytest.mark.parametrize("forgotten", [False, True])
def test_runs_that_ranked_different_catalogs_are_not_compared(home: Path, run: str, forgotten: bool):
    evaluate(run, limit=4, home=home)
    if forgotten:
        forget_catalogs(home)
    add(home)
    name = popularity(home, limit=4).run
    with pytest.raises(UsageError) as caught:
        compare_runs([name, run], home=home)
    assert str(caught.value) == (
        f"runs '{name}' and '{run}' ranked different catalogs (21 and 20 items: some were added between); "
        f"evaluate the earlier one again: `patchrec eval {run} --split test --limit 4`"
    )
    evaluate(run, limit=4, home=home)
    assert compare_runs([name, run], home=home)["num_targets"] == 4


def test_of_all_runs_those_of_another_catalog_are_left_out_with_the_reason(home: Path, run: str):
    evaluate(run, limit=4, home=home)
    old = popularity(home, limit=4).run
    add(home)
    evaluate(run, limit=4, home=home)
    table = compare_runs(home=home)
    assert {row["run"] for row in table["rows"]} == {run, old}
    assert not any("left out" in note for note in table["notes"])
    assert "these ranked an earlier catalog of 20 items; it has 21 now" in table["notes"]
    new = popularity(home, limit=4).run
    table = compare_runs(home=home)
    # two runs share either catalog: the one with more items counts
    assert {row["run"] for row in table["rows"]} == {run, new}
    assert f"{old} is left out: it ranked another catalog" in table["notes"]
    assert not any("earlier catalog" in note for note in table["notes"])


def test_a_comparison_is_over_all_targets(home: Path):
    with Store.open(home) as store, store.write() as db:
        db.execute("UPDATE users SET train_stop = 1")
        fingerprint = loaded_fingerprint(store)
        db.execute("UPDATE datasets SET sequences_fingerprint = ?", [fingerprint])
    result = popularity(home)
    assert {"all", "cold"} <= {row.slice for row in result.metrics}
    (row,) = compare_runs([result.run], home=home)["rows"]
    assert {metric["slice"] for metric in row["metrics"]} == {"all"}


def loaded_fingerprint(store: Store) -> str:
    return store.datasets._sequences("walkers").fingerprint


def test_a_file_is_added_whole_or_not_at_all(home: Path, tmp_path: Path):
    path = tmp_path / "new.csv"
    path.write_text("item_id,title\nx1,One\ni03,Two\nx3,\n")
    with pytest.raises(InputError, match=r"new.csv:3: item 'i03' is in the catalog already"):
        add_items("walkers", from_path=path, home=home)
    assert list_items("walkers", home=home)["num_items"] == 20
    found = add_items("walkers", from_path=path, skip_bad=True, home=home)
    assert [item["item_id"] for item in found["items"]] == ["x1"]
    assert len(found["rejected"]) == 2
    assert found["num_items"] == list_items("walkers", home=home)["num_items"] == 21


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"item_id": "i03", "title": "A"}, InputError, "item 'i03' is in the catalog already"),
        ({"item_id": "x", "title": " "}, InputError, "--title is blank"),
        ({"item_id": "x"}, UsageError, "--item-id ID with --title TITLE, or --from FILE"),
        ({}, UsageError, "--item-id ID with --title TITLE, or --from FILE"),
        ({"item_id": "x", "from_path": Path("f.csv")}, UsageError, "drop --item-id"),
        ({"item_id": "x", "title": "A", "skip_bad": True}, UsageError, "--skip-bad is for --from FILE"),
        ({"item_id": "x", "title": "A", "item_col": "sku"}, UsageError, "--item-col is for --from FILE"),
        ({"from_path": Path("none.csv")}, InputError, "no file 'none.csv'"),
    ],
)
def test_what_cannot_be_added_is_told(home: Path, arguments: dict, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        add_items("walkers", **arguments, home=home)
    assert list_items("walkers", home=home)["num_items"] == 20


def test_items_of_an_unknown_data_set_are_refused(home: Path):
    for action in (
        lambda: add_items("walker", item_id="x", title="A", home=home),
        lambda: list_items("walker", home=home),
    ):
        with pytest.raises(NotFoundError, match="did you mean 'walkers'"):
            action()
