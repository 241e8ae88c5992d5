"""Orders come each hour, recommendations go out each night: a data set grows under its runs."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from store_dump import dump

from patchrec.errors import InputError, NotFoundError, UsageError
from patchrec.operations.blend import blend
from patchrec.operations.datasets import add_dataset, show_dataset, use_dataset
from patchrec.operations.evaluate import evaluate
from patchrec.operations.filters import Filters
from patchrec.operations.growing import append_interactions, list_users
from patchrec.operations.recommend import recommend
from patchrec.operations.runs import compare_runs
from patchrec.operations.slices import slices_of
from patchrec.operations.training.train import baseline, finetune
from patchrec.reporting import Silent
from patchrec.store import Store

HERE = Path(__file__).resolve().parent
DAY = 86_400
TINY = {"data": "shop", "backbone": "tiny-random", "max_steps": 1, "batch_size": 16, "K": 8}


class Notes(Silent):
    """A reporter that remembers notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def write(path: Path, events: list[tuple[str, str, int]]) -> Path:
    rows = "".join(f"{user};{item};{second}\n" for user, item, second in events)
    path.write_text(f"customer;sku;at\n{rows}")
    return path


def append(home: Path, *events: tuple[str, str, int], **options: object) -> dict:
    return append_interactions(
        "shop", interactions=[write(home.parent / "more.csv", list(events))], home=home, **options
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of twelve customers who go through ten things in order, and a run of every kind."""
    folder = tmp_path_factory.mktemp("shop")
    events = [
        (f"c{one}", f"t{(one + day) % 10}", 1_700_000_000 + day * DAY + one) for day in range(10) for one in range(12)
    ]
    (folder / "things.csv").write_text("sku;name;price\n" + "".join(f"t{one};Thing {one};{one}\n" for one in range(10)))
    home = folder / "home"
    add_dataset(
        "shop",
        interactions=[write(folder / "log.csv", events)],
        items=[folder / "things.csv"],
        user_col="customer",
        item_col="sku",
        time_col="at",
        title_col="name",
        sep=";",
        home=home,
    )
    for name in ("popularity", "markov", "item-knn"):
        baseline(name, data="shop", home=home)
    baseline("sasrec", data="shop", max_steps=2, K=8, home=home)
    finetune(strategy="vanilla", **TINY, home=home)
    finetune(strategy="item-mean", head="both", **TINY, home=home)
    blend(["markov-1", "sasrec-1"], weights=[1, 1], home=home)
    return home


RUNS = ("popularity-1", "markov-1", "item-knn-1", "sasrec-1", "vanilla-1", "item-mean-1", "blend-1")
FEW = ("markov-1", "item-mean-1")
LATER = 1_700_000_000 + 20 * DAY


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy of that store, to be changed."""
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home"


def test_what_comes_is_read_as_the_first_files_were(home: Path) -> None:
    found = append(home, ("c1", "t9", LATER), ("new", "t3", LATER + 1), ("new", "t4", LATER + 2))
    assert (found["version"], found["appended"]["interactions"], found["appended"]["users"]) == (2, 3, 1)
    assert found["dataset"]["summary"]["interactions"] == 123
    assert found["dataset"]["split"] == show_dataset("shop", home=home)["split"]
    [user] = list_users("shop", match="NEW", home=home)["users"]
    assert user == {"user_id": "new", "interactions": 2, "first": LATER + 1, "last": LATER + 2}


def test_every_run_ranks_the_newer_version_and_says_so(home: Path) -> None:
    before = {run: recommend(user="c2", run=run, k=4, home=home).ranking for run in RUNS}
    append(home, ("c1", "t9", LATER), ("new", "t3", LATER + 1))
    for run in RUNS:
        told = Notes()
        # nobody learned anything, and this user did nothing
        assert recommend(user="c2", run=run, k=4, home=home, report=told).ranking == before[run]
        assert f"run {run} learned from version 1 of data set 'shop'" in told.notes[-1]
        assert "2 more interactions now, in version 2" in told.notes[-1]
        fresh = recommend(user="new", run=run, k=20, home=home)
        assert (fresh.history, fresh.source) == (["Thing 3"], "model")
        assert len(fresh.ranking) == 9


def test_new_items_are_ranked_and_may_be_a_history(home: Path) -> None:
    items = home.parent / "things.csv"
    items.write_text("sku;name;price\nt1;Thing 1;1\nt2;Thing two;2\nt3;Thing 3;4\nbrand-new;Brand new;7\n")
    told = Notes()
    found = append(home, ("c1", "brand-new", LATER), items=[items], report=told)
    assert (found["appended"]["items"], found["accounts"]["items"]["kept"]) == (1, 1)
    assert "left out 1 item: an item that the catalog has under another title, which stays" in told.notes
    assert "left out 1 item: an item that the catalog has with other fields, which stay" in told.notes
    assert len(told.notes) == 2  # t1 goes without saying
    for run in RUNS:
        assert recommend(user="c1", run=run, k=3, home=home).history[-1] == "Brand new"
        assert "brand-new" in {line.item_id for line in recommend(user="c2", run=run, k=20, home=home).ranking}


def test_late_ones_and_repeats_are_counted_and_told(home: Path) -> None:
    told = Notes()
    late, again = ("c1", "t7", 1_700_000_000 + DAY // 2), ("c1", "t1", 1_700_000_001)
    found = append(home, late, again, ("c3", "t3", LATER), report=told)
    assert {key: found["appended"][key] for key in ("interactions", "late", "into_train", "repeated")} == {
        "interactions": 2, "late": 1, "into_train": 1, "repeated": 1,
    }  # fmt: skip
    assert [note for note in told.notes if "1 interaction " in note] == [
        "1 interaction left out: user, item and second are stored already",
        "1 interaction came late: older than the newest stored of the user",
        "1 interaction before the cuts, now in train; no run has learned from them yet",
    ]
    for run in FEW:
        assert len(recommend(user="c1", run=run, k=3, home=home).ranking) == 0  # who has had all
        assert len(recommend(user="c1", run=run, k=3, filters=Filters(keep_seen=True), home=home).ranking) == 3


def test_the_same_file_again_changes_nothing(home: Path) -> None:
    append(home, ("c1", "t9", LATER), ("new", "t3", LATER))
    with Store.open(home) as store:
        before = dump(store)
    found = append(home, ("c1", "t9", LATER), ("new", "t3", LATER))
    assert (found["version"], found["appended"]["repeated"]) == (2, 2)
    with Store.open(home) as store:
        assert dump(store) == before


def test_numbers_of_two_versions_are_never_compared(home: Path) -> None:
    for run in RUNS[:2]:
        evaluate(run, home=home)
    first = evaluate(RUNS[0], home=home, reuse=True)
    append(home, ("c1", "t9", LATER), ("c2", "t9", LATER))
    again = evaluate(RUNS[0], home=home, reuse=True)
    assert again.num_targets == first.num_targets + 2
    assert compare_runs(list(RUNS[:2]), home=home)["notes"][0] == (
        "these are of version 1 of the data set; it is at version 2 now"
    )
    evaluate("item-knn-1", home=home)
    with pytest.raises(
        UsageError, match=r"evaluated on versions 2 and 1 of the data set, .*`patchrec eval markov-1 --split"
    ):
        compare_runs(["item-knn-1", "markov-1"], home=home)
    table = compare_runs(home=home)
    assert {row["run"] for row in table["rows"]} == {"popularity-1", "item-knn-1"}
    assert "markov-1 is left out: it ranked another version of the data" in table["notes"]
    evaluate("markov-1", home=home)
    assert compare_runs(["item-knn-1", "markov-1"], home=home)["num_targets"] == again.num_targets


def test_stored_targets_are_cut_into_slices_of_their_own_version(home: Path) -> None:
    evaluate("popularity-1", home=home)
    [before] = slices_of("popularity-1", home=home)
    append(home, *((f"c{one}", "t0", 1_700_000_000 + DAY // 2) for one in range(12)))  # shifts every position
    assert slices_of("popularity-1", home=home) == [before]


def test_a_new_split_is_learned_from_and_old_runs_go_on(home: Path) -> None:
    append(home, *((f"c{one}", f"t{one % 10}", LATER + one) for one in range(12)))
    found = append_interactions("shop", again=True, home=home)
    assert (found["version"], found["appended"]["interactions"]) == (3, 0)
    assert found["dataset"]["split"]["train_until"] > 1_700_000_000 + 7 * DAY
    assert found["dataset"]["data_versions"][-1]["account"]["resplit"] is True
    for run in FEW:
        recommend(user="c2", run=run, k=2, home=home)
        evaluate(run, limit=4, home=home)
    assert append_interactions("shop", again=True, home=home)["version"] == 3
    assert baseline("markov", data="shop", home=home, reuse=True).run == "markov-2"
    later = finetune(strategy="item-mean", head="both", start="item-mean-1", **TINY, home=home)
    assert later.run == "item-mean-2"
    told = Notes()
    recommend(user="c2", run="item-mean-2", home=home, report=told)
    assert not any("learned from" in note for note in told.notes)


def test_what_a_run_learned_from_is_no_target_of_it(home: Path) -> None:
    append_interactions("shop", again=True, train=0.3, validation=0.1, home=home)
    for run in ("item-knn-1", "blend-1"):
        recommend(user="c2", run=run, home=home)
        with pytest.raises(
            UsageError, match=r"interactions of the test split of 'shop' were train or validation in version 1"
        ):
            evaluate(run, home=home)


def test_a_stopped_training_is_not_resumed_on_other_data_in_silence(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    append(home, ("c1", "t9", LATER))
    assert finetune(resume="vanilla-2", home=home).steps == 3  # it goes on with the version that it began with


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, UsageError, "which interactions"),
        ({"items": ["x.csv"]}, UsageError, "patchrec data items add"),
        ({"interactions": ["x.csv"], "split": "ratio"}, UsageError, "--split goes with --resplit"),
        ({"interactions": ["x.csv"], "core": 5}, UsageError, "--core looks at all interactions"),
        ({"interactions": ["none.csv"]}, InputError, "no file 'none.csv'"),
        ({"again": True, "split": "middle"}, UsageError, "split rule"),
    ],
)
def test_what_cannot_be_appended_is_told(made: Path, arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        append_interactions("shop", **arguments, home=made)


def test_an_unknown_data_set_and_an_unknown_user_are_named(made: Path) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'shop'"):
        append_interactions("shopp", again=True, home=made)
    with pytest.raises(NotFoundError, match="did you mean 'shop'"):
        list_users("shopp", home=made)
    with pytest.raises(NotFoundError, match="`patchrec data users shop`"):
        recommend(user="nobody", run="markov-1", home=made)


def test_an_unknown_item_is_an_error_unless_it_comes_with_its_title(home: Path) -> None:
    with pytest.raises(InputError, match="item 'x' is not among the items"):
        append(home, ("c1", "x", LATER))
    assert show_dataset("shop", home=home)["data_versions"][-1]["version"] == 1


def start(home: Path, file: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(HERE / "growing_shop.py"), "append", str(home), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_who_append_at_once_both_land(home: Path, tmp_path: Path) -> None:
    files = [
        write(
            tmp_path / f"{name}.csv",
            [(f"{name}{number % 5}", f"t{number % 10}", LATER + number) for number in range(200)],
        )
        for name in ("left", "right")
    ]
    processes = [start(home, file) for file in files]
    for process in processes:
        go(process)
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    with Store.open(home) as store:
        assert [version.num_interactions for version in store.versions.all("shop")] == [120, 320, 520]
        today = store.datasets.load("shop").sequences
        for version in store.versions.all("shop"):
            store.versions.sequences("shop", version, today)


def check_kills(home: Path, tmp_path: Path, kills: int) -> None:
    """Kill appends at moments spread over the time that one takes; each is there whole or not at all."""
    events = [(f"k{number % 400}", f"t{number % 10}", LATER + number // 3) for number in range(3000)]
    late = [(f"c{number % 12}", "t0", 1_700_000_500 + number) for number in range(1500)]
    file = write(tmp_path / "many.csv", events + late)
    with Store.open(home) as store:
        before = dump(store)
    shutil.copytree(home, tmp_path / "whole")
    process = start(tmp_path / "whole", file)
    begun = time.monotonic()
    go(process)
    assert process.wait(timeout=120) == 0
    took = time.monotonic() - begun
    with Store.open(tmp_path / "whole") as store:
        after = store.datasets.load("shop").sequences.fingerprint
    outcomes = set()
    for number in range(kills):
        copy = tmp_path / f"killed-{number}"
        shutil.copytree(home, copy)
        process = start(copy, file)
        go(process)
        time.sleep(took * (0.5 + 0.6 * number / kills))
        process.kill()
        process.communicate()
        with Store.open(copy) as store:
            assert store.rows("PRAGMA integrity_check") == [("ok",)]
            whole = len(store.versions.all("shop")) == 2
            outcomes.add(whole)
            if whole:
                assert store.datasets.load("shop").sequences.fingerprint == after
            else:
                assert dump(store) == before
        shutil.rmtree(copy)
    assert outcomes


def test_a_killed_append_leaves_the_data_set_as_it_was(home: Path, tmp_path: Path) -> None:
    check_kills(home, tmp_path, kills=1)


@pytest.mark.slow
def test_40_killed_appends_leave_the_data_set_as_it_was_or_whole(home: Path, tmp_path: Path) -> None:
    check_kills(home, tmp_path, kills=40)


def test_another_rule_brings_its_own_least_history(home: Path) -> None:
    found = append_interactions("shop", again=True, split="paper", home=home)["dataset"]
    assert (found["min_history"], found["split"]["rule"], found["split"]["train"]) == (3, "paper", 0.96)
    assert append_interactions("shop", again=True, split="ratio", home=home)["dataset"]["min_history"] == 1


def test_a_data_set_is_replaced_whole_unless_runs_need_it(made: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"data set 'shop' has runs \(popularity-1, .* and 2 more\); remove them first"
    ):
        add_dataset("shop", interactions=[tmp_path / "none.csv"], replace=True, home=made)
    home, log = tmp_path / "home", tmp_path / "log.csv"
    for number, item in enumerate("ab"):
        log.write_text(f"user_id,item_id,timestamp\nu,{item},10\n")
        found = add_dataset("log", interactions=[log], untitled="id", replace=True, home=home)
        assert found["current"] is bool(number)
        use_dataset("log", home=home)
        log.write_text("user_id,item_id,timestamp\nu,,10\n")
        with pytest.raises(InputError):
            add_dataset("log", interactions=[log], untitled="id", replace=True, home=home)
        with Store.open(home) as store:
            assert store.datasets.load("log").catalog.titles == (item,)


def test_titles_that_interactions_name_come_with_them(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,title,timestamp\na,1,One,10\na,2,Two,20\nb,1,One,30\n")
    (tmp_path / "more.csv").write_text("user_id,item_id,title,timestamp\nb,3,Three,40\nb,1,Uno,50\n")
    home, told = tmp_path / "home", Notes()
    add_dataset("log", interactions=[tmp_path / "log.csv"], split="leave-one-out", home=home)
    found = append_interactions("log", interactions=[tmp_path / "more.csv"], home=home, report=told)
    assert (found["appended"]["items"], found["dataset"]["summary"]["items"]) == (1, 3)
    assert "1 item has another title now; stored titles stay" in told.notes
    with Store.open(home) as store:
        dataset = store.datasets.load("log")
    assert dataset.catalog.titles == ("One", "Two", "Three")
    assert dataset.sequences.items_of(1).tolist() == [0, 2, 0]
    assert np.array_equal(dataset.sequences.train_stop, [1, 1])
    assert np.array_equal(dataset.sequences.validation_stop, [1, 1])


def test_going_on_with_a_run_is_on_its_data_set_where_none_is_in_use(home: Path) -> None:
    files = {"interactions": [home.parent / "other.csv"], "items": [home.parent / "others.csv"]}
    files["interactions"][0].write_text("user_id,item_id\n" + "".join(f"u,i{one}\n" for one in range(5)))
    files["items"][0].write_text("item_id,title\n" + "".join(f"i{one},Item {one}\n" for one in range(5)))
    add_dataset("other", **files, home=home)
    settings = {key: value for key, value in TINY.items() if key not in ("data", "backbone")}
    with pytest.raises(UsageError, match="which data set"):
        finetune(strategy="vanilla", start="none", **settings, home=home)
    found = finetune(strategy="vanilla", start="vanilla-1", **settings, home=home)
    assert found.dataset == "shop"
    use_dataset("other", home=home)
    assert finetune(strategy="vanilla", start="vanilla-1", **settings, home=home).dataset == "other"
