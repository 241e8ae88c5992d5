"""Our metrics are those of the field: `ir_measures` gives every target of random rankings the same values."""

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, Success, nDCG

from patchrec.data.lists import read_lists
from patchrec.evaluation.listed import evaluate_lists
from patchrec.evaluation.rows import target_values
from patchrec.ranking.items import precedence

KS = (1, 3, 5, 10)
OURS = {f"hr@{k}": Success @ k for k in KS} | {f"ndcg@{k}": nDCG @ k for k in KS} | {f"mrr@{k}": RR @ k for k in KS}
OURS["mrr"] = RR


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_on_random_rankings(movies, tmp_path, seed):
    generator = np.random.default_rng(seed)
    examples, item_ids = movies.examples("test", 10), movies.catalog.item_ids
    queries = [f"{movies.sequences.user_ids[example.user]}:{example.position}" for example in examples]
    lines, qrels = [], []
    for query, example in zip(queries, examples, strict=True):
        items = generator.permutation(len(item_ids))[: generator.integers(0, len(item_ids) + 1)]
        scores = generator.permutation(1000)[: len(items)] / 7  # no two alike
        lines += [
            f"{query} Q0 {item_ids[i]} 0 {score!r} made-up" for i, score in zip(items, scores.tolist(), strict=True)
        ]
        qrels.append(ir_measures.Qrel(query, item_ids[movies.target(example)], 1))
    generator.shuffle(lines)
    path = tmp_path / "lists.run"
    path.write_text("\n".join(lines) + "\n")

    lists = read_lists(str(path), movies.sequences, movies.catalog, precedence(movies.popularity))
    rows = evaluate_lists(movies, examples, lists, ks=KS).rankings
    ours = target_values(rows, "item", "kept", KS)
    theirs = {(one.query_id, one.measure): one.value for one in ir_measures.iter_calc(
        OURS.values(), qrels, ir_measures.read_trec_run(str(path))
    )}  # fmt: skip
    for name, measure in OURS.items():
        expected = [theirs.get((query, measure), 0.0) for query in queries]
        np.testing.assert_allclose(ours[name], expected, atol=1e-9, err_msg=name)
    assert 0 < ours["hr@10"].mean() < 1
