"""The bill of docs/scale.md is what the script prints, and its arithmetic is that of the models."""

import re
from pathlib import Path

import pytest

from benchmarks.scale import LLAMA, SMOLLM, head_flops, index_pays, main, prompt_flops, report

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_page_shows_what_the_script_prints(capsys):
    main([])
    assert re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0] == capsys.readouterr().out


def test_weights_are_those_of_the_linear_layers():
    assert SMOLLM.weights == 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    assert LLAMA.weights == 16 * (2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192)


def test_an_index_pays_from_where_scores_cost_as_much_as_the_prompt():
    items = round(index_pays(SMOLLM, 126))
    assert head_flops(SMOLLM, items) == pytest.approx(prompt_flops(SMOLLM, 126), rel=1e-6)


def test_twice_the_users_cost_twice():
    def hours(text):
        return float(re.search(r"as measured on 2 cores +([\d,.]+) h", text)[1].replace(",", ""))

    assert hours(report(20_000_000, 1000, 50)) == pytest.approx(2 * hours(report(10_000_000, 1000, 50)), rel=0.01)
