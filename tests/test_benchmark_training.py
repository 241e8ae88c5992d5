"""The benchmark of training runs, on a tiny model and a small made-up data set, and compares like with like."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cost_model import (
    FULL_TREES,
    ROW,
    STRATEGIES,
    WHATS,
    Lengths,
    count,
    formula,
    full_trees,
    row_cost,
    tree_cost,
    uncut_trees,
)
from benchmarks.cost_picture import PANELS, draw
from benchmarks.learning import (
    FORMS,
    KINDS,
    Bench,
    Settings,
    forest_passes,
    row_passes,
    run_passes,
    sliding,
    targets_of,
)
from benchmarks.per_example import PerExample
from benchmarks.tables import WIDTH
from benchmarks.token_counts import forest_tokens, row_tokens
from benchmarks.training import SECTIONS, main
from benchmarks.training_rate import Products, product_flops
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.model.titles import TitleTokens
from patchrec.plugins import plan_for
from patchrec.store import Store

SMALL = Settings(K=10, batch_size=8, max_nodes=500, dtype="float32", counted_steps=3, passes=100, repeats=1)
NUM_USERS, NUM_ITEMS = 4, 12


def readers() -> Dataset:
    """Users with 8 to 29 items, of titles that all begin apart and have one length."""
    lengths = np.array([8 + 7 * user for user in range(NUM_USERS)])
    items = np.concatenate([(5 * user + np.arange(length)) % NUM_ITEMS for user, length in enumerate(lengths)])
    return Dataset(
        name="readers",
        catalog=Catalog(
            tuple(map(str, range(NUM_ITEMS))), tuple(chr(ord("A") + item) * 3 for item in range(NUM_ITEMS))
        ),
        sequences=Sequences(
            user_ids=tuple(f"u{user}" for user in range(NUM_USERS)),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            items=items,
            timestamps=None,
            train_stop=lengths - 2,
            validation_stop=lengths - 1,
        ),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    with Store.open(folder) as store:
        store.datasets.add(readers(), source="made up", licence="none", split={"rule": "ratio"})
    return folder


@pytest.fixture
def bench(home: Path) -> Bench:
    with Store.open(home) as store:
        return Bench.open(store, "readers", "tiny-random", SMALL)


def gradients(bench: Bench) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in bench.backbone.model.named_parameters()}


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        error = float((one[name] - other[name]).norm() / other[name].norm())
        assert error < 1e-5, f"{name}: {error}"


def test_every_usual_section_prints_a_table_and_writes_its_numbers(home: Path, capsys: pytest.CaptureFixture[str]):
    numbers, picture = home / "numbers.json", home / "cost.svg"
    options = "--data readers --backbone tiny-random --count-data readers nothing --K 10 --batch-size 8 --passes 1"
    small = "--counted-steps 2 --repeats 1 --lengths 6 10 --users 2"
    files = ["--home", str(home), "--json", str(numbers), "--picture", str(picture)]
    assert main([*files, *options.split(), *small.split()]) == 0
    printed = capsys.readouterr().out
    _, tables = printed.split("=" * WIDTH)
    assert [line for line in tables.splitlines() if len(line) > WIDTH] == []
    found = json.loads(numbers.read_text())
    assert found["sections"].keys() == SECTIONS.keys() - {"processes"}
    for section in found["sections"].values():
        for table in section["tables"]:
            assert table["title"] in printed
            assert table["rows"] or "nothing" in table["title"]
    for name in ("speed", "faithful", "utilisation"):
        (table,) = found["sections"][name]["tables"]
        assert all(target["measured"] is not None for target in table["targets"])
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


@pytest.mark.slow
def test_two_processes_are_compared_with_one(home: Path, capsys: pytest.CaptureFixture[str]):
    options = "--data readers --backbone tiny-random --K 10 --batch-size 8 --passes 2 --dtype float32"
    assert main(["--home", str(home), "--only", "processes", *options.split()]) == 0
    assert "NOT MET" not in capsys.readouterr().out


def test_an_unknown_data_set_is_one_line_and_the_exit_code(home: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--home", str(home), "--data", "reader"]) == 4
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("kind", KINDS)
def test_the_per_example_trainer_has_the_loss_and_gradients_of_our_engine(bench: Bench, kind: str):
    encoder = bench.encoders["paper"].fresh()
    passes = row_passes(bench, encoder, KINDS[kind])
    labels = sum(each.labels.total for each in passes)
    ours = run_passes(bench, encoder, passes, labels)
    expected = gradients(bench)
    trainer = PerExample(bench.backbone, encoder, bench.dataset, plan_for(KINDS[kind]))
    rows = [trainer.row(example) for example in sliding(targets_of(bench.step), SMALL.K)]
    theirs = trainer.run([rows[:3], rows[3:]], labels)
    assert theirs == pytest.approx(ours, rel=1e-5)
    assert_close(gradients(bench), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_behind_one_another_learn_what_rows_alone_do(bench: Bench, kind: str):
    encoder = bench.encoders["paper"].fresh()
    packed = row_passes(bench, encoder, KINDS[kind])
    assert max(len(each.extensions) for each in packed) > 1
    labels = sum(each.labels.total for each in packed)
    together = run_passes(bench, encoder, packed, labels)
    expected = gradients(bench)
    alone = row_passes(replace(bench, settings=replace(SMALL, max_nodes=16)), encoder, KINDS[kind])
    assert {len(each.extensions) for each in alone} == {1}
    assert run_passes(bench, encoder, alone, labels) == pytest.approx(together, rel=1e-5)
    assert_close(gradients(bench), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_have_the_same_targets_and_the_tokens_that_are_counted(bench: Bench, kind: str):
    encoder, targets = bench.encoders["paper"], targets_of(bench.step)
    rows = row_passes(bench, encoder.fresh(), KINDS[kind])
    forests = forest_passes(bench, encoder.fresh(), KINDS[kind])
    assert sum(each.labels.total for each in rows) == sum(each.labels.total for each in forests)
    alone = row_tokens(bench, encoder, KINDS[kind], sliding(targets, SMALL.K))
    assert sum(each.tokens for each in rows) == pytest.approx(alone * len(targets))
    shared = forest_tokens(bench, encoder, KINDS[kind], [bench.step])
    assert sum(each.tokens for each in forests) == pytest.approx(shared * len(targets))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "strategy"), STRATEGIES)
def test_formulas_are_exact_where_titles_have_one_length(bench: Bench, kind: str, strategy, form: str):
    # session patches and item patches have no common beginnings here, and neither have titles
    K, what = 10, f"forest, {form}"
    titles = bench.encoders[form].titles
    one_length = TitleTokens(np.arange(len(titles) * 4) + 5, np.arange(len(titles) + 1) * 4)
    bench.encoders[form].titles = one_length
    trees = uncut_trees(bench.dataset, K, range(NUM_USERS))
    full = full_trees(bench.dataset, K)
    assert 0 < len(full) <= FULL_TREES
    for some in (trees, full):
        counted = count(bench, K, strategy, bench.encoders[form].fresh(), what, some)
        assert formula(bench, K, strategy, what, some) == pytest.approx(counted)
    if form == WHATS[ROW]:
        counted = count(bench, K, strategy, bench.encoders[form].fresh(), ROW, trees)
        assert formula(bench, K, strategy, ROW, trees) == pytest.approx(counted)


@given(st.sampled_from([strategy for _, strategy in STRATEGIES]), st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_a_tree_costs_no_more_than_its_rows_alone(strategy, shortest: int, more: int, tail: bool):
    lengths = Lengths(head=10, tail=7 if tail else 0, title=4.0)
    tree = tree_cost(strategy, lengths, shortest, shortest + more - 1)
    # groups are anchored in a tree, so a row is taken as a tree of one
    alone = sum(tree_cost(strategy, lengths, n, n) for n in range(shortest, shortest + more))
    assert tree <= alone
    if more == 1 and strategy.name != "pft-s":
        assert tree == row_cost(strategy, lengths, shortest)


def test_operations_of_a_step_are_counted(bench: Bench):
    encoder = bench.encoders["paper"].fresh()
    passes = forest_passes(bench, encoder, KINDS["vanilla"])[:1]
    nodes, labelled = passes[0].tokens, len(passes[0].labels.nodes)
    products = Products(bench, [nodes], [labelled])
    layers = sum(weight.numel() for weight in products.weights)
    assert product_flops(bench, passes) == 6 * layers * nodes + 6 * products.head.numel() * labelled
    products.run()


def test_the_picture_shows_every_panel():
    lines = [
        {"K": K, "kind": "vanilla", "what": what, "all_formula": 20.0, "all_counted": 20.0}
        for what in PANELS
        for K in (6, 10)
    ]
    root = ElementTree.fromstring(draw(lines, lines, "readers"))
    assert len(root.findall("{*}polyline")) == 4 * len(PANELS)
