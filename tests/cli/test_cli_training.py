"""`--dry-run`, interrupted runs and `runs show` while a run trains, through the command line."""

import sys

import pytest

from patchrec.config import RunConfig, StrategyConfig
from patchrec.store import Store
from patchrec.store.runs import LossRow, ValidationRow
from patchrec_cli import run_view

TINY = ["--data", "toy", "--backbone", "tiny-random", "--epochs", "2", "--batch-size", "4"]


def add_run(home, *, num_steps=100, steps=40):
    """A run of this process that has taken some of its steps, each a second long."""
    config = RunConfig(
        stage="finetune", dataset="toy", backbone="tiny-random", strategies=(StrategyConfig(name="vanilla"),)
    )
    with Store.open(home) as store:
        name = store.runs.create(config, label="vanilla", versions={}, fingerprints={}).name
        store.runs.begin_steps(name, num_steps, after=0)
        store.runs.log_loss(name, [LossRow(step, 5 - step / 10, 300, 4, 1.0, 1e-3) for step in range(1, steps + 1)])
        for step, loss in ((10, 4.0), (20, 3.0), (30, 3.5)):
            store.runs.log_validation(name, ValidationRow(step, loss, 900, 50, 2.0))
    return name


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def test_a_dry_run_says_what_a_run_takes_and_makes_none(toy_cli):
    ran = toy_cli("pretrain", *TINY, "--dry-run")
    assert ran.code == 0, ran.err
    for word in ("nothing is stored", "steps", "tokens", "(exact)", "memory  ", "about", "gradients", "all trained"):
        assert word in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert toy_cli("runs", "ls", "--json").json["runs"] == []


def test_a_dry_run_has_json(toy_cli):
    found = toy_cli("finetune", "--strategy", "pft-s", "--L", "2", *TINY, "--dry-run", "--json").json
    assert found["schema"] == 1
    assert (found["stage"], found["label"], found["steps"]) == ("finetune", "pft-s L=2", 2)
    done = toy_cli("finetune", "--strategy", "pft-s", "--L", "2", *TINY, "--json").json
    assert found["tokens"] == done["tokens"]
    quiet = toy_cli("finetune", "--strategy", "pft-s", "--L", "2", *TINY, "--dry-run", "-q")
    assert quiet.out == f"{found['tokens']}\n"


@pytest.mark.parametrize("extra", [["--resume", "pretrain-1"], ["--force"]])
def test_a_dry_run_resumes_nothing(toy_cli, extra):
    ran = toy_cli("pretrain", "--dry-run", *extra)
    assert ran.code == 2
    assert "--dry-run is for a new run" in ran.err


@pytest.mark.parametrize(
    "extra",
    [
        ["--seed", "0"],
        ["--gradient-checkpointing"],
        ["--validate-every", "3"],
        ["--max-nodes", "99"],
        ["--dtype", "float32"],
        ["--checkpoint-every", "3"],
        ["--schedule", "none"],
    ],
)
def test_every_setting_beside_a_resumed_run_is_refused(toy_cli, extra):
    ran = toy_cli("pretrain", "--resume", "pretrain-1", *extra)
    assert ran.code == 2
    assert f"drop {extra[0]}" in ran.err


def test_settings_of_the_command_are_those_of_the_run(toy_cli):
    given = ["--max-nodes", "64", "--dtype", "bfloat16", "--checkpoint-every", "2", "--schedule", "none"]
    said = toy_cli("pretrain", *TINY, *given, "--dry-run", "--json").json
    assert said["label"] == "patch-pretraining schedule=none"
    ran = toy_cli("pretrain", *TINY, *given, "--json")
    assert ran.code == 0, ran.err
    config = toy_cli("runs", "show", "pretrain-1", "--json").json["run"]["config"]
    assert said["config"] == config
    training = config["training"]
    assert (training["max_nodes"], training["dtype"], training["checkpoint_every"]) == (64, "bfloat16", 2)
    assert [strategy["options"] for strategy in config["strategies"]] == [{}, {"schedule": "none"}]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--learning-rate", "0"], ["--learning-rate=0.0", "greater than 0"]),
        (["--learning-rate", "inf"], ["--learning-rate=inf", "finite"]),
        (["--max-nodes", "15"], ["--max-nodes", "'15'"]),
        (["--dtype", "float16"], ["'float16'", "'bfloat16'"]),
        (["--checkpoint-every", "0"], ["--checkpoint-every", "'0'"]),
        (["--schedule", "cosine"], ["'cosine'", "'linear'"]),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_option(toy_cli, extra, words):
    ran = toy_cli("pretrain", *TINY, *extra)
    assert ran.code == 2
    for word in [*words, "patchrec pretrain --help"]:
        assert word in ran.err.splitlines()[-1]


def test_commands_that_are_printed_name_the_store_they_are_of(toy_cli, tmp_path):
    folder = tmp_path / "my home"
    said = toy_cli("--home", folder, "data", "show", "tyo").err
    assert f"`patchrec --home '{folder}' data ls`" in said
    assert f"next: patchrec --home '{folder}' data add ml-100k" in toy_cli("--home", folder, "data", "ls").err
    assert "--home" not in toy_cli("data", "show", "tyo").err


def test_training_that_validates_says_which_step_was_best(toy_cli):
    ran = toy_cli("pretrain", *TINY, "--validate-every", "1", "--gradient-checkpointing")
    assert ran.code == 0, ran.err
    assert "best of 2 by validation loss: step" in ran.err
    assert "nats a token after step" in ran.out
    shown = toy_cli("runs", "show", "pretrain-1")
    assert "validation curve" in shown.out
    assert toy_cli("runs", "show", "pretrain-1", "--json").json["run"]["config"]["training"]["gradient_checkpointing"]


def test_a_running_run_shows_how_far_it_is(toy_cli, home):
    name = add_run(home)
    ran = toy_cli("runs", "show", name)
    assert "40 of 100 (40 %)" in ran.out
    assert "300 tokens/s" in ran.out
    assert "about 1 min 00 s" in ran.out  # 60 steps of a second
    assert "4.000 -> 3.500 nats a token, best 3.000 after step 20" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert f"next: patchrec runs show {name} --watch" in ran.err


def test_watching_off_a_terminal_prints_once(toy_cli, home, monkeypatch):
    monkeypatch.setattr(run_view.time, "sleep", lambda seconds: pytest.fail("waits"))
    ran = toy_cli("runs", "show", add_run(home), "--watch")
    assert ran.out.count("40 of 100") == 1


def test_watching_on_a_terminal_redraws_until_the_run_ends(toy_cli, home, monkeypatch):
    name = add_run(home)
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        with Store.open(home) as store:
            store.runs.log_loss(name, [LossRow(40 + len(waits), 1.0, 300, 4, 1.0, 1e-3)])
            if len(waits) == 2:
                store.runs.finish(name, {})

    monkeypatch.setattr(run_view.time, "sleep", sleep)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    ran = toy_cli("runs", "show", name, "--watch")
    assert waits == [2.0, 2.0]
    for text in ("40 of 100", "41 of 100", "42 of 100"):
        assert text in ran.out
    assert "done" in ran.out


def test_ctrl_c_ends_the_watching_alone(toy_cli, home, monkeypatch):
    def sleep(seconds):
        raise KeyboardInterrupt

    name = add_run(home)
    monkeypatch.setattr(run_view.time, "sleep", sleep)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    ran = toy_cli("runs", "show", name, "--watch")
    assert ran.code == 0
    with Store.open(home) as store:
        assert store.runs.get(name).status == "running"


def test_an_interrupted_run_says_how_to_go_on(toy_cli, home):
    name = add_run(home)
    with Store.open(home) as store:
        store.runs.interrupt(name, "stopped by Ctrl-C after step 40 of 100")
    listed = toy_cli("runs", "ls")
    assert "interrupted" in listed.out
    for ran in (listed, toy_cli("runs", "show", name)):
        assert f"next: patchrec finetune --resume {name}" in ran.err
    assert toy_cli("recommend", "--user", "ann", "--run", name).code == 2
