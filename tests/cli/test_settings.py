"""Settings from files and the environment: which comes first, where each is from, and mistakes in one line."""

import json

import pytest

from patchrec_cli.app import main


@pytest.fixture
def told(tmp_path, monkeypatch, capfd):
    """Run `patchrec` in an empty folder with a user folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))

    def run(*words):
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def shown(told, *before):
    code, out, _ = told(*before, "config", "show", "--json")
    assert code == 0
    return {row["name"]: (row["value"], row["origin"]) for row in json.loads(out)["settings"]}


def test_the_nearer_setting_wins(told, tmp_path, monkeypatch):
    def limit(*before):
        return shown(told, *before).get("runs.ls.limit")

    assert limit() is None
    user = tmp_path / "user" / "patchrec" / "config.toml"
    user.parent.mkdir(parents=True)
    user.write_text("[runs.ls]\nlimit = 1\n")
    assert limit() == ("1", str(user))
    (tmp_path / "patchrec.toml").write_text("[runs.ls]\nlimit = 2\n")
    assert limit() == ("2", "patchrec.toml")
    (tmp_path / "own.toml").write_text("[runs.ls]\nlimit = 3\n")
    assert limit("--config", "own.toml") == ("3", "own.toml")
    monkeypatch.setenv("PATCHREC_RUNS_LS_LIMIT", "4")
    assert limit("--config", "own.toml") == ("4", "PATCHREC_RUNS_LS_LIMIT")


def test_a_command_takes_settings_where_the_line_says_nothing(told, tmp_path, toy_store):
    home = ["--home", toy_store.home]
    for kind in ("popularity", "markov"):
        assert main([*map(str, home), "baseline", kind]) == 0
    (tmp_path / "patchrec.toml").write_text('[runs.ls]\nlimit = 1\n[baseline]\nseed = 7\nname = "mine"\n')
    assert told(*home, "runs", "ls", "-q")[1].split() == ["markov-1"]
    assert told(*home, "runs", "ls", "-q", "--limit", "2")[1].split() == ["markov-1", "popularity-1"]
    assert told(*home, "baseline", "recent", "-q")[1].split() == ["mine"]
    assert toy_store.runs.get("mine").seed == 7


def test_a_run_that_goes_on_has_its_own_settings(told, tmp_path, toy_store):
    home = ["--home", toy_store.home]
    assert told(*home, "baseline", "popularity", "-q")[0] == 0
    (tmp_path / "patchrec.toml").write_text("[baseline]\nseed = 7\n")
    code, _, err = told(*home, "baseline", "--resume", "popularity-1", "-q")
    assert code == 2  # it is done; a seed beside --resume would be refused before that
    assert "seed" not in err


def test_paths_are_below_the_folder_of_their_file(told, tmp_path, monkeypatch):
    monkeypatch.delenv("PATCHREC_HOME")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "s.toml").write_text('home = "store"\nlog-file = "log"\n')
    found = shown(told, "--config", "deep/s.toml")
    assert found["home"] == (str(tmp_path / "deep" / "store"), "deep/s.toml")
    assert told("--config", "deep/s.toml", "data", "ls")[0] == 0
    assert (tmp_path / "deep" / "store" / "store.db").exists()
    assert "$ patchrec --config deep/s.toml data ls" in (tmp_path / "deep" / "log").read_text()
    monkeypatch.setenv("PATCHREC_HOME", str(tmp_path / "other"))
    assert shown(told, "--config", "deep/s.toml")["home"] == (str(tmp_path / "other"), "PATCHREC_HOME")
    assert shown(told, "--home", "third")["home"][0].endswith("third")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("hom = 1", ["no option of `patchrec` 'hom'", "did you mean 'home'"]),
        ("[finetun]\nL = 1", ["no command 'finetun'", "did you mean 'finetune'"]),
        ("[runs.lss]\nlimit = 1", ["no command 'lss'", "choices: ", "ls"]),
        ("[runs.ls]\nlimt = 1", ["no option of `patchrec runs ls` 'limt'", "did you mean 'limit'"]),
        ("[runs.ls]\nlimit = true", ["limit takes a value", "True"]),
        ('[runs.ls]\nlimit = "many"', ["--limit", "(from patchrec.toml)"]),
        ("runs = 1", ["runs is a command", "[runs]"]),
        ("a = [", ["no TOML"]),
        ("[finetune]\nresume = 'x'", []),
    ],
)
def test_mistakes_in_a_file_are_one_line_with_the_choices(told, tmp_path, content, wanted):
    (tmp_path / "patchrec.toml").write_text(content)
    code, out, err = told("runs", "ls")
    if wanted:
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert all(word in err for word in ["patchrec.toml", *wanted])
    code, _, err = told("config", "show")
    assert code == (0 if "many" in content else 2)  # a value is judged by the command alone
    assert code == 0 or err.count("\n") == 1


def test_a_file_that_is_named_has_to_be_there(told):
    code, _, err = told("--config", "gone.toml", "data", "ls")
    assert code == 2
    assert "'gone.toml' is no file" in err


def test_the_log_has_what_was_said_also_when_nothing_was_shown(told, tmp_path, toy_store):
    home = ["--home", toy_store.home, "--log-file", tmp_path / "log"]
    assert told(*home, "baseline", "popularity", "-q")[2] == ""
    assert told(*home, "runs", "show", "nonesuch")[0] == 4
    lines = (tmp_path / "log").read_text().splitlines()
    assert all(line[10] == "T" and line[19] == "Z" for line in lines)
    assert any("data: toy (the only one)" in line for line in lines)
    assert "error: no run 'nonesuch'" in lines[-1]
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0
    assert told("--log-file", tmp_path, "data", "ls")[0] == 2


def test_verbose_says_what_the_command_took(told, tmp_path):
    (tmp_path / "patchrec.toml").write_text("[runs.ls]\nlimit = 1\n")
    code, _, err = told("-v", "data", "ls")
    assert code == 0
    assert "settings: patchrec.toml\n" in err
    assert " s, at most " in err
