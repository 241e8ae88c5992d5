"""Numbers that nothing holds are told in one line, whatever option they are given to."""

import pytest
from typer.main import get_command

from patchrec.bounds import LARGEST
from patchrec.errors import UsageError
from patchrec.operations.training.train import baseline
from patchrec.plugins import recommenders, strategies
from patchrec_cli.app import app


def commands(command, words=()):
    """Every command with its words."""
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*words, name))
    if words and not hasattr(command, "commands"):
        yield words, command


def whole_numbers():
    """Each option of each command that takes a whole number, with what has to stand before it."""
    for words, command in commands(get_command(app)):
        needed = ["x" for param in command.params if param.param_type_name == "argument" and param.required]
        for param in command.params:
            if "int" in str(getattr(getattr(param, "type_descriptor", None), "annotation", "")):
                yield [*words, *needed], param.opts[0]


def test_there_are_such_options():
    assert len(list(whole_numbers())) > 40


@pytest.mark.parametrize("value", [10**20, -(10**20)])
def test_no_option_takes_a_whole_number_beyond_64_bits(cli, value):
    for words, option in whole_numbers():
        ran = cli(*words, option, value)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), (words, option, ran)
        assert option in ran.err
        assert "bug" not in ran.err


def test_no_option_of_a_strategy_or_a_recommender_does_either():
    fields = 0
    for bound in [*strategies().values(), *recommenders().values()]:
        for name, field in bound.options.model_fields.items():
            if field.annotation in (int, int | None):
                fields += 1
                with pytest.raises(UsageError, match="--" + name.replace("_", "-")):
                    bound.bind({name: str(10**20)})
    assert fields >= 9


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--learning-rate", "1e308"),
        ("--learning-rate", "1.1"),
        ("--weight-decay", "1e308"),
        ("--weight-decay", "4000"),  # at the rate 3e-4
        ("--clip-norm", "1e400"),
        ("--K", 2**31),
        ("--lora-rank", 2**40),
        ("--lora-rank", 10_000),
    ],
)
def test_a_setting_beyond_sense_makes_no_run(toy_cli, option, value):
    common = ["finetune", "--backbone", "tiny-random", "--strategy", "item-mean", "--from", "none", "-q"]
    ran = toy_cli(*common, option, value)
    assert (ran.code, ran.err.count("\n")) == (2, 1), ran
    assert option in ran.err
    assert toy_cli("runs", "ls", "-q").out == ""


@pytest.mark.parametrize("seed", [LARGEST, -LARGEST - 1])
def test_any_seed_that_fits_makes_a_run(toy_cli, seed):
    assert toy_cli("baseline", "sasrec", "--max-steps", "1", "--seed", seed, "-q").code == 0


def test_a_model_beyond_memory_is_refused_before_it_is_made(toy_cli):
    """65,536 wide it takes terabytes."""
    ran = toy_cli("baseline", "sasrec", "--width", 65_536, "--layers", 8, "-q")
    assert (ran.code, ran.err.count("\n")) == (7, 1), ran
    assert "GB are free; take a smaller model" in ran.err


def test_settings_of_the_library_are_held_to_the_same(toy_store, tmp_path):
    with pytest.raises(UsageError, match=r"--seed=1000000.*whole numbers go up to 9,223,372,036,854,775,807"):
        baseline("sasrec", seed=10**20, home=tmp_path / "home")
