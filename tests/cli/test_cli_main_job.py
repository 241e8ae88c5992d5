"""The main job through the command line, on a tiny model and made-up data: every command's JSON has its keys."""

import json
import math
from pathlib import Path

import pytest

from patchrec.store import Store
from patchrec_cli.app import main
from patchrec_cli.reference import JSON_KEYS

SMALL = ["--backbone", "tiny-random", "--max-steps", "2", "--batch-size", "4"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a data set of made-up titles, a pre-training run and fine-tuned ones."""
    folder = tmp_path_factory.mktemp("main-job")
    titles = ["Alien", "Aliens", "Heat", "Fargo", "Big", "<|eos|>", "Heat"]
    items = "\n".join(json.dumps({"item_id": f"i{n}", "title": title}) for n, title in enumerate(titles))
    (folder / "items.jsonl").write_text(items + "\n")
    rows = [f"u{user},i{(user + step) % 7},{1000 * step + user}" for user in range(6) for step in range(6)]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"i{n},{title}\n" for n, title in enumerate(titles)))
    files = ["--interactions", str(folder / "log.csv"), "--items", str(folder / "items.csv")]
    where = ["--home", str(folder / "home")]
    assert main([*where, "data", "add", "made-up", *files, "--split", "leave-one-out", "-q"]) == 0
    assert main([*where, "pretrain", *SMALL, "-q"]) == 0
    assert main([*where, "finetune", "--strategy", "pft-s", "--L", "2", "--max-steps", "2", "-q"]) == 0
    assert main([*where, "finetune", "--strategy", "vanilla", "--from", "none", *SMALL, "-q"]) == 0
    return folder / "home"


@pytest.fixture
def job(home, capfd, monkeypatch):
    """Run a command on that store and read its JSON."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> dict:
        capfd.readouterr()
        assert main(["--home", str(home), *arguments, "--json"]) == 0, capfd.readouterr().err
        found = json.loads(capfd.readouterr().out)
        assert found.pop("schema") == 1
        return found

    return run


def test_runs_know_their_parents(job):
    runs = {row["name"]: row for row in job("runs", "ls")["runs"]}
    assert (runs["pft-s-1"]["parent"], runs["vanilla-1"]["parent"]) == ("pretrain-1", None)
    assert {row["status"] for row in runs.values()} == {"done"}


def test_evaluation_gives_every_metric_in_every_view(job):
    found = job("eval", "pft-s-1", "--k", "1,3")
    assert set(found) == set(JSON_KEYS["eval"])
    assert (found["run"], found["split"], found["num_targets"], found["num_users"]) == ("pft-s-1", "test", 6, 6)
    names = {row["name"] for row in found["metrics"]}
    assert names >= {"hr@1", "hr@3", "ndcg@1", "ndcg@3", "mrr", "log_prob"}
    views = {(row["level"], row["seen"]) for row in found["metrics"]}
    assert views == {("item", "dropped"), ("item", "kept"), ("title", "dropped"), ("title", "kept")}


def test_baselines_are_evaluated_and_compared(job):
    for arguments in (["pft-s-1"], ["vanilla"], ["--baseline", "popularity"], ["pft-s-1", "--baseline", "untrained"]):
        job("eval", *arguments)
    table = job("runs", "compare")
    assert set(table) == set(JSON_KEYS["runs compare"])
    assert {row["run"] for row in table["rows"]} == {"pft-s-1", "vanilla-1", "popularity-1", "untrained-1"}


def test_the_untrained_model_takes_a_strategy_with_its_options(job):
    found = job("eval", "--baseline", "untrained", "--strategy", "pft-s", "--L", "2", "--backbone", "tiny-random")
    assert found["label"] == "pft-s L=2"


def test_a_ranking_has_each_unseen_item_once(job):
    found = job("recommend", "--user", "u3", "--run", "vanilla-1", "--k", "3")
    assert set(found) == set(JSON_KEYS["recommend"])
    assert found["run"] == "vanilla-1"
    assert found["score"] == "catalog"
    # a user has six of the seven items
    assert [list(row) for row in found["ranking"]] == [["rank", "item_id", "title", "score", "probability"]]
    assert found["ranking"][0]["item_id"] == "i2"
    assert found["shortfall"]
    everything = job("recommend", "--user", "u3", "--k", "7", "--keep-seen")["ranking"]
    assert sorted(row["item_id"] for row in everything) == [f"i{number}" for number in range(7)]
    assert [row["rank"] for row in everything] == [1, 2, 3, 4, 5, 6, 7]
    # the catalog score is a distribution over titles; "Heat" is the title of two items
    titles = {row["title"]: row["score"] for row in everything}
    assert sum(math.exp(score) for score in titles.values()) == pytest.approx(1, abs=1e-3)


def test_a_made_up_history_is_given_by_titles_and_ids(job):
    found = job("recommend", "--history", "Alien", "--history", "i3", "--k", "2")
    assert found["history"] == ["Alien", "Fargo"]
    assert len(found["ranking"]) == 2


def test_an_exported_run_opens_elsewhere_and_holds_its_markers(job, tmp_path):
    transformers = pytest.importorskip("transformers")
    found = job("export", "pft-s-1", str(tmp_path / "model"))
    assert set(found) == set(JSON_KEYS["export"])
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    markers = json.loads((tmp_path / "model" / "patchrec.json").read_text())["markers"].values()
    for marker in markers:
        (number,) = tokenizer(marker, add_special_tokens=False).input_ids
        assert number < model.get_input_embeddings().num_embeddings


def test_a_score_can_be_recomputed_from_positions(job, tmp_path):
    """Anyone can: export the run, look the positions up, run the model on the mean embeddings, add up log-softmax."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    job("export", "pft-s-1", str(tmp_path / "model"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    shown = job("strategies", "preview", "--run", "pft-s-1", "--user", "u3")
    end = json.loads((tmp_path / "model" / "patchrec.json").read_text())["prompt"]["end"]
    ranking = job("recommend", "--user", "u3", "--run", "pft-s-1", "--score", "joint", "--keep-seen", "--k", "7")
    embedding = model.get_input_embeddings().weight
    prompt = [torch.tensor(bag["weights"]) @ embedding[bag["token_ids"]] for bag in shown["positions"]]
    for row in ranking["ranking"]:
        answer = tokenizer(row["title"], add_special_tokens=False, split_special_tokens=True).input_ids
        with torch.no_grad():
            inputs = torch.stack([*prompt, *embedding[answer]])[None]
            log_probs = model(inputs_embeds=inputs).logits[0, len(prompt) - 1 :].log_softmax(-1)
        joint = sum(log_probs[at, token].item() for at, token in enumerate([*answer, end]))
        assert joint == pytest.approx(row["score"], abs=0.05)


def test_a_preview_with_a_run_has_its_prompt(job):
    shown = job("strategies", "preview", "--run", "pft-s-1", "--user", "u3")
    assert set(shown) == set(JSON_KEYS["strategies preview"])
    assert shown["label"] == "pft-s L=2"
    config = job("runs", "show", "pft-s-1")["run"]["config"]
    assert shown["prompt"] == config["prompt"] | config["history"]


@pytest.mark.parametrize(
    "command",
    [
        "data ls", "data show made-up", "data items ls made-up",
        "runs ls", "runs show pretrain-1", "strategies ls", "strategies show pft-s",
        "backbones ls", "backbones pull tiny-random", "env", "doctor",
    ],
)  # fmt: skip
def test_json_has_the_documented_keys(job, command):
    words = command.split()
    name = next(name for name in JSON_KEYS if command.startswith(name) and words[: len(name.split())] == name.split())
    assert set(job(*words)) == set(JSON_KEYS[name])


def test_a_run_refuses_data_that_changed_under_it(job, home, capfd):
    with Store.open(home) as store, store.write() as db:
        db.execute(
            "UPDATE runs SET fingerprints = json_set(fingerprints, '$.prompt', 'other') WHERE name = 'vanilla-1'"
        )
    assert main(["--home", str(home), "recommend", "--user", "u3", "--run", "vanilla-1"]) == 2
    assert "prompt" in capfd.readouterr().err.splitlines()[-1]
    with Store.open(home) as store, store.write() as db:
        was = store.runs.get("pretrain-1").fingerprints["prompt"]
        db.execute("UPDATE runs SET fingerprints = json_set(fingerprints, '$.prompt', ?)", [was])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["eval", "pft-x"], 4, ["run 'pft-x'", "pft-s-1"]),
        (["eval", "--strategy", "pft-s"], 2, ["--baseline untrained"]),
        (["eval", "--baseline", "untrained", "--strategy", "pft-z"], 4, ["strategy 'pft-z'", "pft-s"]),
        (["recommend"], 2, ["--user", "--history"]),
        (["recommend", "--user", "u33"], 4, ["user 'u33'", "'u3'"]),
        (["recommend", "--history", "Alienn"], 4, ["Alienn", "Alien"]),
        (["finetune"], 2, ["--strategy"]),
        (["finetune", "--strategy", "pft-i", "--L", "5"], 2, ["pft-i", "--M"]),
        (["finetune", "--strategy", "pft-s", "--from", "pretrain-7"], 4, ["pretrain-7"]),
        (["finetune", "--strategy", "pft-s", "--backbone", "tiny-randm"], 4, ["'tiny-randm'", "'tiny-random'"]),
        (["pretrain", "--data", "made-down"], 4, ["'made-down'", "'made-up'"]),
        (["export", "pretrain-9", "x"], 4, ["pretrain-9"]),
        (["backbones", "pull", "smollm"], 4, ["'smollm'"]),
        (["data", "rm", "made-up"], 2, ["pretrain-1"]),
        (["runs", "rm", "pretrain-1"], 2, ["pft-s-1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_slips_are_told_in_one_line(home, capfd, arguments, code, words):
    capfd.readouterr()
    assert main(["--home", str(home), *arguments]) == code
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    line = captured.err.splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line
