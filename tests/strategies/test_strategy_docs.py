"""The pages about strategies say what the code does."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from patchrec import plugins
from patchrec.history import History, Lengths
from patchrec.layout import Grain
from patchrec.strategy import EVALUATION, Moment
from patchrec_strategies import patchrec_strategies

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "strategies.md").read_text()
TUTORIAL = (ROOT / "docs" / "writing-a-strategy.md").read_text()
EXAMPLE = ROOT / "examples" / "patchrec-recency"


def blocks(text, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


DAYS = np.array([int(day) for day in blocks(PAGE, "days")[0].split()])
LENGTHS = np.array([int(length) for length in blocks(PAGE, "lengths")[0].split()])
DRAWS = np.array([float(draw) for draw in blocks(PAGE, "draws")[0].split()])
DRAWINGS = [re.split(r"  +", line) for block in blocks(PAGE, "layouts") for line in block.splitlines()]


def draw(layout):
    one = {Grain.TEXT: "T", Grain.ITEM: "i", Grain.SESSION: "s", Grain.DROPPED: "."}
    spans = [" ".join(one[span.grain] * len(span)) for span in layout.spans]
    pairs = zip(spans, layout.spans, strict=True)
    return " ".join(f"({drawn})" if span.grain is Grain.SESSION else drawn for drawn, span in pairs)


@pytest.mark.parametrize(("command", "drawing"), DRAWINGS, ids=[command for command, _ in DRAWINGS])
def test_a_drawing_is_what_the_strategy_plans(command, drawing):
    command, _, progress = command.partition(" at ")
    name, *words = shlex.split(command)
    options = {option.removeprefix("--"): value for option, value in zip(words[::2], words[1::2], strict=True)}
    moment = Moment(float(progress), DRAWS) if progress else EVALUATION
    history = History(np.arange(12), DAYS * 86_400, measure=lambda: Lengths(LENGTHS, 2))
    assert draw(plugins.find_strategy(name).bind(options).plan(history, moment)) == drawing


@pytest.mark.parametrize("strategy", patchrec_strategies(), ids=lambda strategy: strategy.name)
def test_every_strategy_and_option_is_documented(strategy):
    section = re.search(rf"^## {strategy.name}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    assert section
    assert "```layouts" in section[1]
    for option in strategy.options.model_fields:
        assert f"--{option}" in section[1]


def test_the_page_has_no_strategy_that_is_not_there():
    headings = set(re.findall(r"^## (.*)$", PAGE, re.MULTILINE)) - {"Which one", "Your own"}
    assert headings == {strategy.name for strategy in patchrec_strategies()}


@pytest.mark.parametrize("file", ["patchrec_recency.py", "pyproject.toml", "tests/test_recency.py"])
def test_the_tutorial_shows_the_files_of_the_example(file):
    shown = re.search(rf"^`{re.escape(file)}`:\n\n```\w+\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert shown
    assert shown[1] == (EXAMPLE / file).read_text()
