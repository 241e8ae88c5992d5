"""The benchmark of ranking runs, on a tiny model and a small made-up data set, and compares like with like."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.beam import BeamSearch, Padded, prefixes
from benchmarks.machine import in_turn, peak_growth_mb
from benchmarks.prefill_rate import attention_flops, linear_flops
from benchmarks.prompts import KINDS, Bench, Settings, with_score
from benchmarks.ranking import SECTIONS, main
from benchmarks.search_cost import top_titles
from benchmarks.tables import WIDTH, Target
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.model.attention import Extension, Visibility
from patchrec.model.forest import grow
from patchrec.operations.training.train import finetune
from patchrec.store import Store

NUM_USERS, NUM_ITEMS, LENGTH = 3, 25, 12
SMALL = Settings(users=2, batch=2, k=5, K=10)


def walkers() -> Dataset:
    """Users who walk through a catalog of titles with shared beginnings, two of one title."""
    titles = [
        f"{colour}{animal}"
        for colour in ("Red", "Re", "Blue", "Grey")
        for animal in (" Owl", " Ox", "s", " Ass", "e", " Cat")
    ]
    items = np.concatenate([(7 * user + np.arange(LENGTH)) % NUM_ITEMS for user in range(NUM_USERS)])
    return Dataset(
        name="walkers",
        catalog=Catalog(tuple(map(str, range(NUM_ITEMS))), (*titles, titles[0])),
        sequences=Sequences(
            user_ids=tuple(f"u{user}" for user in range(NUM_USERS)),
            offsets=np.arange(NUM_USERS + 1) * LENGTH,
            items=items,
            timestamps=None,
            train_stop=np.full(NUM_USERS, LENGTH - 4),
            validation_stop=np.full(NUM_USERS, LENGTH - 2),
        ),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    with Store.open(folder) as store:
        store.datasets.add(walkers(), source="made up", licence="none", split={"rule": "ratio"})
    finetune(
        strategy="pft-s", options={"L": 2}, data="walkers", backbone="tiny-random", start="none", max_steps=1,
        batch_size=2, home=folder,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def bench(home: Path) -> Bench:
    with Store.open(home) as store:
        return Bench.open(store, "walkers", "tiny-random", SMALL)


def test_every_section_prints_a_table_and_writes_its_numbers(home: Path, capsys: pytest.CaptureFixture[str]):
    numbers = home / "numbers.json"
    options = "--data walkers --backbone tiny-random --users 2 --batch 2 --repeats 1 --k 5 --K 10 --long-users 1"
    small = ["--long-data", "walkers", "--min-interactions", "10", "--overlap", "1", "--sizes", "50", "200"]
    assert main(["--home", str(home), "--json", str(numbers), *options.split(), *small]) == 0
    printed = capsys.readouterr().out
    _, tables = printed.split("=" * WIDTH)
    assert [line for line in tables.splitlines() if len(line) > WIDTH] == []
    found = json.loads(numbers.read_text())
    assert found["sections"].keys() == SECTIONS.keys()
    for section in found["sections"].values():
        for table in section["tables"]:
            assert table["title"] in printed
            assert table["rows"]
    assert all(target["measured"] is not None for target in found["sections"]["search"]["tables"][0]["targets"])


def test_a_section_without_its_input_says_so(home: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--home", str(home), "--data", "walkers", "--backbone", "tiny-random", "--only", "long"]
    assert main(options) == 0
    assert "ml-1m" in capsys.readouterr().out
    assert main([*options, "--long-data", "walkers"]) == 0
    assert "No user of walkers has so many." in capsys.readouterr().out


def test_an_unknown_data_set_is_one_line_and_the_exit_code(home: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--home", str(home), "--data", "walker"]) == 4
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("kind", KINDS)
def test_the_beam_search_scores_titles_by_joint(bench: Bench, kind: str):
    [queries] = bench.batches(kind)
    joint = with_score(bench.ranker, "joint")
    num_titles = len(bench.scorer.trie)
    beams = BeamSearch.of(bench.scorer).run(Padded.of(bench.scorer, queries), 5)
    exact = top_titles(joint, queries, num_titles)
    for found, scores in zip(beams, exact, strict=True):
        assert len(found) == 5
        for title, score in found:
            assert score == pytest.approx(scores[title], abs=1e-3)


def test_a_beam_as_wide_as_the_catalog_finds_the_exact_titles(bench: Bench):
    [queries] = bench.batches("vanilla")
    joint = with_score(bench.ranker, "joint")
    beams = BeamSearch.of(bench.scorer).run(Padded.of(bench.scorer, queries), len(bench.scorer.trie))
    for found, exact in zip(beams, top_titles(joint, queries, 5), strict=True):
        assert [title for title, _ in found[:5]] == list(exact)


def test_prefixes_allow_every_title_and_nothing_else(bench: Bench):
    following, titles = prefixes(bench.scorer.trie)
    encoder = bench.scorer.encoder
    paths = {tuple(encoder.answer_path(item).tolist()) for item in range(NUM_ITEMS)}
    assert titles.keys() == paths
    assert all(
        titles[tuple(encoder.answer_path(i).tolist())] == bench.scorer.trie.title_of_item[i] for i in range(NUM_ITEMS)
    )
    assert {(*prefix, token) for prefix, tokens in following.items() for token in tokens} == {
        path[:stop] for path in paths for stop in range(1, len(path) + 1)
    }


def test_every_row_has_the_same_targets(bench: Bench):
    last = {kind: {tuple(query.history.items) for batch in bench.batches(kind) for query in batch} for kind in KINDS}
    assert len(last["vanilla"]) == SMALL.users
    assert last["vanilla"] == last["PFT-S L=5"] == last["PFT-S L=20"]


def test_operations_of_a_prefill_are_counted(bench: Bench):
    backbone = bench.scorer.backbone
    config = backbone.model.config
    forest, _ = grow([np.arange(4)])
    visibility = Visibility.of([Extension(forest), Extension(forest)], backbone.device)
    assert visibility.num_pairs == 2 * 4 * 4
    heads, size, layers = config.num_attention_heads, config.head_dim, config.num_hidden_layers
    assert attention_flops(backbone, visibility) == 2 * 2 * (2 * 4 * 4) * heads * size * layers
    attended = config.hidden_size * heads * size * 2 + config.hidden_size * config.num_key_value_heads * size * 2
    linear = attended + 3 * config.hidden_size * config.intermediate_size
    assert linear_flops(backbone, 8) == 2 * 8 * linear * layers


def test_actions_take_turns_after_one_call_of_each():
    calls: list[str] = []
    times = in_turn({name: lambda name=name: calls.append(name) for name in "ABC"}, 2, rare={"C": 1})
    assert calls == ["A", "B", "A", "B", "C", "A", "B"]
    assert {name: len(values) for name, values in times.items()} == {"A": 2, "B": 2, "C": 1}


def test_growth_of_memory_is_that_of_the_height(bench: Bench):
    def touch() -> None:
        np.ones(8_000_000)

    growth = peak_growth_mb(touch, bench.scorer.backbone.device)
    assert growth is None or 60 < growth < 100


def test_a_target_is_met_on_its_side_of_the_bound():
    assert Target("time", 2, 1.9).met
    assert Target("faster", 10, 12.0, at_most=False).met
    assert Target("faster", 10, 9.0, at_most=False).met is False
    assert Target("nothing", 1, None).met is None
