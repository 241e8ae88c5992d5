"""A damaged file of ours gives a right answer or exit code 6, never another answer, and there is a way on."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damages import SAYS_NOTHING, damage

from patchrec.data.parts import Parts
from patchrec.errors import CorruptError, InputError, InterruptedRunError, NotFoundError, UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.made import make_tiny
from patchrec.model.pull import locate
from patchrec.model.titles import TitleTokens
from patchrec.operations.evaluate import evaluate
from patchrec.operations.many import bulk_job
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import baseline, finetune
from patchrec.ranking.kept import keep, recall
from patchrec.ranking.trie import TitleTrie
from patchrec.training.checkpoint import read_manifest

QUICK = 24
trials = pytest.mark.parametrize("count", [QUICK, pytest.param(1000, marks=pytest.mark.slow)])


def is_told(use: Callable[[], object]) -> bool:
    """Whether damage is told, with what to do."""
    try:
        use()
    except CorruptError as error:
        return "remove that folder" in str(error)
    return False


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def job(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A job for many users: how it is run, what it gives, and how to stop it."""
    monkeypatch.setattr(bulk_job, "USERS_PER_PART", {"cpu": 3})
    baseline("popularity", data="walkers", home=home)

    def run(output: Path, **asked: object) -> bytes:
        recommend_all(Request(output=str(output), k=3, **asked), home=home)
        return output.read_bytes()

    expected = run(tmp_path / "whole.csv")

    def stop(output: Path, *, when: str) -> None:
        """Stop with three of four parts done, or with the output there and nothing cleared up."""
        with monkeypatch.context() as patch:
            if when == "merged":
                patch.setattr(Parts, "remove", lambda self: None)
                run(output)
                return
            write, done = Parts.write, []

            def enough(self, number, rankings):
                if len(done) == 3:
                    raise KeyboardInterrupt
                done.append(number)
                write(self, number, rankings)

            patch.setattr(Parts, "write", enough)
            with pytest.raises(InterruptedRunError):
                run(output)

    return run, stop, expected


@trials
def test_a_damaged_file_of_a_stopped_job_gives_the_same_rows_or_is_told(job, tmp_path: Path, count: int) -> None:
    run, stop, expected = job
    refused = 0
    for when in ("ranking", "merged"):
        kept = tmp_path / f"kept-{when}"
        kept.mkdir()
        stop(kept / "r.csv", when=when)
        for trial in range(count // 2):
            luck = random.Random(f"{when} {trial}")
            folder = tmp_path / "now"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(kept, folder)
            own = [path for path in files(folder / "r.csv.parts") if path.suffix != ".lock"]
            done = damage(luck.choice(own), luck)
            told = None
            try:
                assert run(folder / "r.csv") == expected, done
            except CorruptError as error:
                told = str(error)
            except UsageError:  # without its note an output is a file like any other
                assert (when, done) == ("merged", "merged.json: gone")
            if told is not None:
                refused += 1
                assert "is damaged; the same command with --restart" in told, done
                again = {"restart": True, "overwrite": "--overwrite" in told}
                assert run(folder / "r.csv", **again) == expected, done
            assert when == "merged" or [path.name for path in folder.iterdir()] == ["r.csv"]
    assert refused >= count // 10


@pytest.mark.parametrize("name", ["plan.json", "merged.json"])
def test_every_file_of_a_job_that_says_nothing_is_told(job, tmp_path: Path, name: str) -> None:
    run, stop, expected = job
    stop(tmp_path / "r.csv", when="ranking" if name == "plan.json" else "merged")
    for content in SAYS_NOTHING:
        (tmp_path / "r.csv.parts" / name).write_bytes(content)
        with pytest.raises(CorruptError, match=f"{name}' is damaged; the same command with --restart"):
            run(tmp_path / "r.csv")
    assert run(tmp_path / "r.csv", restart=True, overwrite=True) == expected


@trials
def test_damaged_title_tokens_are_made_anew(tmp_path: Path, count: int) -> None:
    titles = TitleTokens(np.array([5, 6, 7, 5, 8], dtype=np.int64), np.array([0, 2, 3, 5], dtype=np.int64))
    path, key = tmp_path / "titles.safetensors", {"tokenizer": "t"}
    assert keep(path, titles, TitleTrie.build(titles, 1), key)
    content = path.read_bytes()
    (tmp_path / "other").write_bytes(b"other")
    for trial in range(count):
        path.write_bytes(content)
        done = damage(path, random.Random(trial))
        found = recall(path, key)
        assert found is None or (found[0].ids.tolist(), found[0].offsets.tolist()) == (
            titles.ids.tolist(), titles.offsets.tolist()
        ), done  # fmt: skip


@trials
def test_a_damaged_backbone_is_told_before_it_is_used(tmp_path: Path, count: int) -> None:
    folder = locate("tiny-random", tmp_path).folder
    before = {path: path.read_bytes() for path in files(folder)}
    for trial in range(count):
        done = damage(random.Random(trial).choice(sorted(before)), random.Random(trial))
        changed = {path: path.read_bytes() for path in files(folder)} != before
        if changed and (folder / "patchrec.json").exists():  # else it is made anew
            assert is_told(lambda: Backbone.load(locate("tiny-random", tmp_path).folder, name="tiny", device="cpu")), (
                done
            )
        for path, content in before.items():
            path.write_bytes(content)


def test_a_backbone_of_an_earlier_version_is_used_as_it_is(tmp_path: Path) -> None:
    pulled = locate("tiny-random", tmp_path)
    note = pulled.folder / "patchrec.json"
    earlier = ("name", "source", "revision", "licence", "num_parameters")
    note.write_text(json.dumps({key: json.loads(note.read_text())[key] for key in earlier}, indent=2))
    assert locate("tiny-random", tmp_path) == pulled
    Backbone.load(pulled.folder, name="tiny-random", device="cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": 64}, r"weights are not of the shape that its config\.json says, such as .*, 64\]"),
        ({"intermediate_size": 128}, "weights are not of the shape"),
        ({"num_hidden_layers": 3}, r"weights that its config\.json asks for are not there, such as model\.layers\.2"),
        ({"tie_word_embeddings": False}, r"are not there, such as lm_head\.weight"),
        ({"num_attention_heads": "x"}, "cannot be read as a causal language model"),
        ({"hidden_act": "nope"}, "cannot be read as a causal language model"),
        ({"hidden_size": -3}, "cannot be read as a causal language model"),
    ],
)
def test_weights_that_do_not_fit_their_configuration_are_refused(tmp_path: Path, change: dict, words: str) -> None:
    make_tiny(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=words):
        Backbone.load(tmp_path / "model", name="own", device="cpu")


@trials
def test_a_damaged_checkpoint_is_told_before_it_is_used(home: Path, tmp_path: Path, count: int) -> None:
    run = finetune(
        strategy="item-mean", start="none", data="walkers", backbone="tiny-random", max_steps=1, batch_size=4, home=home
    ).run
    (folder,) = (home / "runs" / run).glob("step-*")
    before = {path: path.read_bytes() for path in files(folder)}
    for trial in range(count):
        done = damage(random.Random(trial).choice(sorted(before)), random.Random(trial))
        if {path: path.read_bytes() for path in files(folder)} == before:
            continue
        assert is_told(lambda: read_manifest(folder)), done
        if trial % 20 == 0:
            with pytest.raises(CorruptError, match="remove that folder"):
                recommend(user="u1", run=run, home=home)
        for path, content in before.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    assert recommend(user="u1", run=run, home=home).run == run


def test_a_finished_run_whose_only_checkpoint_is_damaged_is_made_again(home: Path) -> None:
    run = finetune(
        strategy="item-mean", start="none", data="walkers", backbone="tiny-random", max_steps=2, batch_size=4, home=home
    ).run
    before = evaluate(run, limit=4, home=home)
    (folder,) = (home / "runs" / run).glob("step-*")
    weights = (folder / "model" / "model.safetensors").read_bytes()
    (folder / "model" / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    way = f"remove that folder, and `patchrec finetune --resume {run}` makes the run anew"
    with pytest.raises(CorruptError, match=way):
        evaluate(run, home=home)
    shutil.rmtree(folder)
    with pytest.raises(NotFoundError, match=f"`patchrec finetune --resume {run}` makes it anew"):
        evaluate(run, home=home)
    assert finetune(resume=run, home=home).run == run
    assert (folder / "model" / "model.safetensors").read_bytes() == weights
    assert evaluate(run, limit=4, home=home).metrics == before.metrics
