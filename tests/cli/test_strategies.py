"""`patchrec strategies`, and the options that come from strategies."""

from typing import Literal

import pytest
from pydantic import Field

from patchrec import plugins
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Strategy


def spans_of(ran) -> list[tuple[int, int, str]]:
    return [(span["start"], span["stop"], span["grain"]) for span in ran.json["spans"]]


def test_every_strategy_is_listed_with_its_options(cli):
    listed = cli("strategies", "ls", "--json").json
    assert listed["schema"] == 1
    assert listed["problems"] == []
    by_name = {row["name"]: row for row in listed["strategies"]}
    assert {"vanilla", "item-mean", "session-by-count", "session-by-time-window", "pft-i", "pft-s", "dropout"} <= set(
        by_name
    )
    (option,) = by_name["pft-i"]["options"]
    assert (option["name"], option["type"], option["default"]) == ("M", "int", 5)
    assert cli("strategies", "ls", "-q").out.split() == list(by_name)
    assert cli("strategies", "show", "pft-i", "--json").json["strategy"] == by_name["pft-i"]


def test_preview_gives_the_paper_layout(cli):
    # 12 items in groups of 5 counted from the newest: 2 | 5 | 5
    ran = cli("strategies", "preview", "--strategy", "pft-s", "--L", 5, "--length", 12, "--json")
    assert spans_of(ran) == [(0, 2, "session"), (2, 7, "item"), (7, 12, "text")]
    assert list(ran.json["spans"][0]) == ["start", "stop", "grain"]


def test_strategies_may_share_an_option_name(cli):
    ran = cli("strategies", "preview", "--strategy", "session-by-count", "--L", 5, "--length", 12, "--json")
    assert spans_of(ran) == [(0, 2, "session"), (2, 7, "session"), (7, 12, "session")]


def test_a_made_up_history_has_one_item_a_day(cli):
    preview = ["strategies", "preview", "--strategy", "session-by-time-window", "--length", 9, "--json"]
    assert spans_of(cli(*preview, "--window", "3d")) == [(0, 3, "session"), (3, 6, "session"), (6, 9, "session")]


@pytest.mark.parametrize("length", [0, 1])
def test_the_shortest_histories_can_be_previewed(cli, length):
    for name in cli("strategies", "ls", "-q").out.split():
        needed = {"session-by-time-window": ["--window", "1d"], "budget": ["--backbone", "tiny-random"]}
        options = needed.get(name, [])
        ran = cli("strategies", "preview", "--strategy", name, "--length", length, *options, "--json")
        assert ran.code == 0
        assert sum(stop - start for start, stop, _ in spans_of(ran)) == length


def test_a_user_history_is_all_the_user_did(toy_cli):
    ran = toy_cli("strategies", "preview", "--strategy", "pft-i", "--M", 2, "--user", "ann", "--json")
    assert ran.json["history"] == ["10", "11", "12", "13", "14"]
    assert spans_of(ran) == [(0, 3, "item"), (3, 5, "text")]
    assert ran.json["spans"][1]["titles"] == ["Fargo", "Big"]
    ran = toy_cli("strategies", "preview", "--strategy", "pft-i", "--user", "ann", "--K", 3, "--json")
    assert (ran.json["history"], ran.json["start"]) == (["12", "13", "14"], 2)


def test_preview_prints_the_spans_one_a_line_when_quiet(cli):
    ran = cli("strategies", "preview", "--strategy", "pft-i", "--M", 2, "--length", 5, "-q")
    assert (ran.out, ran.err) == ("0 3 item\n3 5 text\n", "")


def test_positions_are_the_bags_that_the_model_reads(toy_cli):
    preview = ["strategies", "preview", "--user", "ann", "--backbone", "tiny-random", "--json"]
    text = toy_cli(*preview, "--strategy", "vanilla").json
    patched = toy_cli(*preview, "--strategy", "pft-s", "--L", 2, "--groups", "anchored").json
    assert text["text"].endswith("Alien\nAliens\nHeat\nFargo\nBig\n")
    assert patched["text"].endswith("[session patch: Alien | Aliens]\n[item patch: Heat]\n[item patch: Fargo]\nBig\n")
    assert all(bag["weights"] == [1.0] and len(bag["token_ids"]) == 1 for bag in text["positions"])
    assert all(sum(bag["weights"]) == pytest.approx(1) for bag in patched["positions"])
    session, heat, fargo = (bag for bag in patched["positions"] if len(bag["token_ids"]) > 1)
    # one byte is one token: "Alien" has five, "Aliens" six, and each title is half of the session
    assert session["weights"] == pytest.approx([1 / 5 / 2] * 5 + [1 / 6 / 2] * 6)
    assert heat["weights"] == pytest.approx([1 / 4] * 4)
    assert fargo["weights"] == pytest.approx([1 / 5] * 5)
    # the text prompt holds the same tokens: head, then every title with a line break
    ids = [bag["token_ids"][0] for bag in text["positions"]]
    line_break = ids[-1]
    titles = [*session["token_ids"][:5], line_break, *session["token_ids"][5:], line_break]
    titles += [*heat["token_ids"], line_break, *fargo["token_ids"], line_break]
    head = len(ids) - len(titles) - len("Big\n")
    assert ids[head : head + len(titles)] == titles
    # a patch is one input with a line break: 1 + 2 of them instead of 22 tokens
    assert len(patched["positions"]) == len(ids) - len("AlienAliensHeatFargo") - 4 + 3 * 2


def test_the_prompt_of_a_preview_can_be_chosen(toy_cli):
    preview = ["strategies", "preview", "--strategy", "vanilla", "--user", "ann", "--backbone", "tiny-random", "--json"]
    chosen = toy_cli(*preview, "--prompt", "paper", "--windows", "sliding", "--K", 4).json
    assert chosen["prompt"] == {
        "form": "paper", "separators": "all", "noun": "movie", "verb": "watched", "max_title_tokens": 64,
        "long_titles": "cut", "K": 4, "windows": "sliding",
    }  # fmt: skip
    assert len(chosen["history"]) == 4


class Odd(Options):
    """Options of every kind."""

    keep: bool = Field(False, description="keep the newest")
    min_length: int = Field(1, ge=1, description="shortest")
    mode: Literal["a", "b"] = "a"
    L: int = 3


class Clash(Options):
    """An option that a command has itself."""

    data: str = "x"


def plan_text(history, options, moment):
    return Layout.of([(0, len(history), Grain.TEXT if getattr(options, "keep", True) else Grain.DROPPED)])


@pytest.fixture
def odd(monkeypatch):
    """Two strategies of a third party beside the built-in ones."""
    more = {"odd": Strategy("odd", "odd", plan_text, Odd), "clash": Strategy("clash", "clashes", plan_text, Clash)}
    known = plugins.strategies() | more
    monkeypatch.setattr(plugins, "strategies", lambda: known)
    monkeypatch.setattr(plugins, "find_strategy", lambda name: known[name])


def test_options_of_a_third_party_appear_under_its_name(cli, odd):
    out = cli("finetune", "--help").out
    section = out.partition("Options of strategy odd:\n")[2].partition("\n\n")[0]
    assert "--keep / --no-keep" in section
    assert "--min-length <int>" in section
    assert "--mode <a|b>" in section
    assert "keep the newest" in section
    assert "[default: 3]" in section


def test_a_switch_of_a_strategy_is_on_or_off(cli, odd):
    preview = ["strategies", "preview", "--strategy", "odd", "--length", 4, "--json"]
    assert spans_of(cli(*preview, "--keep")) == [(0, 4, "text")]
    assert spans_of(cli(*preview, "--no-keep")) == [(0, 4, "dropped")]
    assert spans_of(cli(*preview)) == [(0, 4, "dropped")]
    assert cli(*preview, "--keep", "--min-length", 2, "--mode", "b", "--L", 4).json["options"] == {
        "keep": True,
        "min_length": 2,
        "mode": "b",
        "L": 4,
    }
    assert cli(*preview, "--mode", "c").code == 2


def test_an_option_that_the_command_has_itself_is_the_plugins_fault(cli, odd):
    ran = cli("strategies", "preview", "--strategy", "clash", "--length", 4)
    assert ran.code == 8
    assert "'clash'" in ran.err
    assert "--data" in ran.err
    assert cli("strategies", "preview", "--strategy", "vanilla", "--length", 4).code == 0


def test_options_without_their_strategy_are_refused(cli):
    ran = cli("finetune", "--L", 5)
    assert ran.code == 2
    assert "--L belongs to a strategy" in ran.err
    ran = cli("strategies", "preview", "--strategy", "pft-i", "--LL", 5, "--length", 3)
    assert ran.code == 2
    assert "--LL" in ran.err


def test_a_broken_plugin_is_named_and_breaks_nothing(cli, monkeypatch):
    problem = plugins.PluginProblem("broken", "ImportError: no module \x1b[31mnamed x")
    monkeypatch.setattr(plugins, "problems", lambda: [problem])
    ran = cli("strategies", "ls")
    assert ran.code == 0
    assert "plugin 'broken': ImportError: no module [31mnamed x" in ran.err
    assert cli("strategies", "ls", "--json").json["problems"][0]["plugin"] == "broken"
    ran = cli("doctor")
    assert ran.code == 1
    assert "plugins" in ran.err.splitlines()[-1]
