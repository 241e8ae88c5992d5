"""Options of strategies, heads and baselines in files of settings: each in a table of its own."""

import json

import pytest

from patchrec_cli.app import main


@pytest.fixture
def told(tmp_path, monkeypatch, capfd, toy_store):
    """Run `patchrec` on `toy` in a folder with this `patchrec.toml`: exit code, stdout, stderr."""
    (tmp_path / "w").mkdir()
    monkeypatch.chdir(tmp_path / "w")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))

    def run(content, *words):
        (tmp_path / "w" / "patchrec.toml").write_text(content)
        capfd.readouterr()
        code = main(["--home", str(toy_store.home), *words])
        return code, *capfd.readouterr()

    return run


KNN = "[baseline.item-knn]\nneighbours = 3\n[baseline.sasrec]\nwidth = 8\n"


def neighbours(store):
    return store.runs.all()[-1].config.kind.options["neighbours"]


def test_they_count_where_that_one_is_named_and_the_nearer_wins(told, toy_store, monkeypatch):
    assert told(KNN, "baseline", "popularity", "-q")[0] == 0
    assert told(KNN, "baseline", "item-knn", "-q")[0] == 0
    assert neighbours(toy_store) == 3
    monkeypatch.setenv("PATCHREC_BASELINE_ITEM_KNN_NEIGHBOURS", "4")
    assert told(KNN, "baseline", "item-knn", "-q")[0] == 0
    assert neighbours(toy_store) == 4
    assert told(KNN, "baseline", "item-knn", "--neighbours", "5", "-q")[0] == 0
    assert neighbours(toy_store) == 5


def test_a_strategy_of_the_file_has_its_options_there(told):
    content = '[strategies.preview]\nstrategy = "pft-s"\n'
    content += "[strategies.preview.pft-s]\nL = 2\n[strategies.preview.pft-i]\nM = 1\n"
    code, out, _ = told(content, "strategies", "preview", "--length", "9", "--json")
    assert code == 0
    assert "L=2" in json.dumps(json.loads(out))
    assert "M=1" in told(content, "strategies", "preview", "--strategy", "pft-i", "--length", "9", "--json")[1]


def test_config_show_names_where_each_is_from(told, monkeypatch):
    monkeypatch.setenv("PATCHREC_FINETUNE_PFT_I_M", "7")
    code, out, _ = told("[finetune.pft-s]\nL = 2\n[eval.budget]\ntokens = 64\n", "config", "show", "--json")
    rows = {row["name"]: (row["value"], row["origin"]) for row in json.loads(out)["settings"]}
    assert code == 0
    assert rows["finetune.pft-s.L"] == (2, "patchrec.toml")
    assert rows["eval.budget.tokens"] == (64, "patchrec.toml")
    assert rows["finetune.pft-i.M"] == ("7", "PATCHREC_FINETUNE_PFT_I_M")


def test_a_run_that_goes_on_takes_none(told):
    assert told("", "baseline", "item-knn", "-q")[0] == 0
    code, _, err = told(KNN, "baseline", "item-knn", "--resume", "item-knn-1")
    assert (code, "item-knn-1 is done" in err) == (2, True)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("[baseline.item-knn]\nneighbour = 3", ["`[baseline.item-knn]` 'neighbour'", "did you mean 'neighbours'"]),
        ("[baseline.item-kn]\nneighbours = 3", ["no baseline 'item-kn'", "did you mean 'item-knn'"]),
        ("[baseline]\nneighbours = 3", ["an option of item-knn", "[baseline.item-knn]"]),
        ("[baseline]\nitem-knn = 3", ["no option of `patchrec", "item_knn"]),
        ("[baseline.item-knn]\nneighbours = 0", ["--neighbours", "(--neighbours from patchrec.toml)"]),
        ("[baseline.item-knn]\nneighbours = [1, {a = 2}]", ["neighbours takes a value"]),
    ],
)
def test_mistakes_are_one_line_with_the_choices(told, content, wanted):
    code, out, err = told(content, "baseline", "item-knn")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert all(word in err for word in ["patchrec.toml", *wanted]), err
    assert told(content, "config", "show")[0] == (0 if "from" in wanted[-1] else 2)
