"""`patchrec demo --data` on logs as people have them: one user, nothing to win, long names, stopped before."""

import os
import signal
from functools import partial

import pytest

from patchrec.operations import demo
from patchrec.operations.backbones import make_backbone, small_backbone
from patchrec.operations.training import train
from patchrec.store import Store
from patchrec.store.runs import Runs
from patchrec_cli.demo import verdict


@pytest.fixture
def quick(cli, monkeypatch):
    """The command with two steps of each training."""
    monkeypatch.setattr(demo, "demo", partial(demo.demo, demo.Size(max_steps=2)))
    return cli


def add(cli, tmp_path, users, items, each, *, name="shop", title="T{}", steps=1):
    """Add a log of walks over items, a second between two interactions of a user."""
    taken = [(user, at, (user + at * steps) % items) for user in range(users) for at in range(each)]
    rows = [f"u{user},i{item},{1_700_000_000 + at * 100 + user},{title.format(item)}" for user, at, item in taken]
    path = tmp_path / f"{len(rows)}.csv"
    path.write_text("\n".join(["user_id,item_id,timestamp,title", *rows]))
    ran = cli("data", "add", name, str(path))
    assert ran.code == 0, ran.err
    return ran


@pytest.mark.parametrize(
    ("users", "items", "each", "steps", "words"),
    [
        (1, 12, 30, 5, "1 user is too few to say more"),
        (4, 1, 6, 1, "is level with popularity in\nndcg@10, 0.000 [0.000, 0.000].\nIt finds them as likely."),
        (6, 5, 8, 0, "is level with popularity in\nndcg@10, 0.000 [0.000, 0.000]."),
    ],
    ids=["one user", "one item", "repeats alone"],
)
def test_what_shows_no_difference_is_said_so(quick, tmp_path, users, items, each, steps, words):
    add(quick, tmp_path, users, items, each, steps=steps)
    ran = quick("demo", "--data", "shop")
    assert ran.code == 0, ran.err
    assert words in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "-0.000" not in ran.out
    assert "give --weights" not in ran.err
    assert ("0 of 1 items can be ranked" in ran.err) == (items == 1)
    compared = quick("runs", "compare", "--data", "shop").out
    assert "nan" not in compared
    assert "of 1 users" not in compared


def test_a_target_without_a_probability_leaves_that_sentence_out():
    def row(log_prob):
        found = {"difference": 0.1, "low": 0.05, "high": 0.2}
        return {"metrics": [{"name": "log_prob", "value": log_prob}], "difference": found}

    table = {"rows": [row(-7.0), row(None)], "num_targets": 10, "num_users": 4, "metric": "ndcg@10"}
    assert verdict(table).endswith("ndcg@10 by 0.100 [0.050, 0.200].")


def test_what_reads_titles_is_mixed_where_items_are_new_and_only_there(quick, tmp_path):
    titled = "Tale of {}"
    add(quick, tmp_path, 12, 30, 14, name="moving", title=titled)  # nobody had the last items until validation
    add(quick, tmp_path, 12, 10, 20, name="still", title=titled)
    add(quick, tmp_path, 12, 30, 14, name="untold", title="T{}")  # titles without a word in common
    moving, still, untold = (quick("demo", "--data", name) for name in ("moving", "still", "untold"))
    assert (moving.code, still.code, untold.code) == (0, 0, 0), moving.err + still.err + untold.err
    assert "neighbours, transitions and likeness of fields and titles" in moving.err
    assert "content-1" in moving.out
    assert "neighbours and transitions\n" in still.err
    assert "content" not in still.out + untold.out


def test_next_steps_are_those_that_work(quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "next: patchrec demo" not in add(quick, tmp_path, 8, 5, 1, name="once").err
    ran = quick("demo", "--data", "once")
    assert (ran.code, "add it again with --replace" in ran.err) == (2, True)
    assert "next: patchrec demo --data shop" in add(quick, tmp_path, 6, 8, 9).err
    for _ in range(2):  # what the first one wrote is not in the way of another run's
        ran = quick("demo", "--data", "shop")
        for line in ran.err.splitlines():
            if line.startswith(("next: patchrec recommend", "next: patchrec runs")):
                done = quick(*line.split()[2:])
                assert done.code == 0, done.err
        (tmp_path / "more.csv").write_text(
            "user_id,item_id,timestamp,title\nu0,i7,1800000000,T7\nu1,i6,1800000001,T6\n"
        )
        ran = quick("data", "append", "shop", "--interactions", str(tmp_path / "more.csv"))
        assert "--run popularity" not in ran.err  # the newest run is what the demo found, no baseline
        (tmp_path / "shop.html").unlink()


def test_long_titles_are_shown_by_their_beginning(quick, tmp_path):
    add(quick, tmp_path, 6, 8, 9, title="T{}" + "x" * 5_000)
    assert quick("baseline", "popularity").code == 0
    ran = quick("recommend", "--user", "u0", "--run", "popularity-1", "--keep-seen")
    assert "letters; --json gives all)" in " ".join(ran.out.split())
    assert len(ran.out.splitlines()) < 120
    found = quick("recommend", "--user", "u0", "--run", "popularity-1", "--keep-seen", "--json").json
    assert len(found["ranking"][0]["title"]) == 5_002


def test_long_names_of_data_sets_do_not_share_a_backbone(quick, tmp_path):
    home = tmp_path / "home"
    names = ["a" * 60 + one for one in "bc"]
    for name in names:
        add(quick, tmp_path, 3, 4, 6, name=name)
    made = [small_backbone(name, home=home) for name in names]
    assert len({*made}) == 2
    assert [small_backbone(name, home=home) for name in names] == made
    assert max(map(len, made)) <= 64
    add(quick, tmp_path, 3, 4, 6, name="short")
    assert small_backbone("short", home=home) == "small-short"


def test_a_backbone_that_is_there_already_is_told(quick, tmp_path):
    home = tmp_path / "home"
    add(quick, tmp_path, 6, 8, 9)
    make_backbone("small-shop", data="shop", width=16, heads=2, layers=1, home=home)
    ran = quick("demo", "--data", "shop")
    assert ran.code == 0, ran.err
    assert "backbone: small-shop (there already, made here from titles of shop: width 16, 1 layers, 2 heads" in ran.err


def test_a_demo_that_was_stopped_goes_on_with_the_run_that_it_was_at(quick, tmp_path, monkeypatch):
    add(quick, tmp_path, 6, 8, 9)
    log = train._StoreLog.step

    def stopped(self, row):
        log(self, row)
        if self.name.startswith("item-mean"):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(train._StoreLog, "step", stopped)
        ran = quick("demo", "--data", "shop")
    assert (ran.code, ran.out) == (130, "")
    assert "go on with `patchrec finetune --resume item-mean-1`; the same demo goes on from there" in ran.err
    ran = quick("demo", "--data", "shop")
    assert ran.code == 0, ran.err
    assert "item-mean-1 was stopped; going on with it" in ran.err
    with Store.open(tmp_path / "home") as store:
        runs = store.runs.all()
    assert {run.status for run in runs} == {"done"}
    assert len([run for run in runs if run.stage == "finetune"]) == 1


def test_another_version_of_a_library_does_not_go_on_but_begins_anew(quick, tmp_path):
    add(quick, tmp_path, 6, 8, 9)
    assert quick("baseline", "gru4rec", "--max-steps", "2").code == 0
    with Store.open(tmp_path / "home") as store:
        store.db.execute("UPDATE runs SET status = 'interrupted', versions = '{\"torch\": \"1.0\"}'")
    found = train.baseline("gru4rec", max_steps=2, reuse=True, home=tmp_path / "home")
    assert found.run == "gru4rec-2"


def test_a_run_that_is_stopped_while_it_is_noted_is_not_lost(quick, tmp_path, monkeypatch):
    add(quick, tmp_path, 6, 8, 9)
    create = Runs.create

    def stopped(self, *args, **kwargs):
        create(self, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Runs, "create", stopped)
        assert quick("baseline", "gru4rec", "--max-steps", "2").code == 130
    assert quick("runs", "ls", "--json").json["runs"][0]["status"] == "interrupted"
    assert quick("demo", "--data", "shop").code == 0


def test_after_a_demo_the_data_set_can_be_added_anew_by_what_is_suggested(quick, tmp_path):
    add(quick, tmp_path, 6, 8, 9)
    assert quick("demo", "--data", "shop").code == 0
    again = ("data", "add", "shop", str(tmp_path / "54.csv"), "--replace")
    for start in ("patchrec runs rm", "patchrec runs gc"):
        ran = quick(*again)
        assert ran.code == 2
        (command,) = [part for part in ran.err.split("`") if part.startswith(start)]
        assert quick(*command.split()[1:], "--yes").code == 0
    assert quick(*again).code == 0
    assert quick("demo", "--data", "shop").code == 0
