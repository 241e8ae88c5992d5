"""A count of another kind stands beside the right one, and is never taken for it."""

import pytest

from patchrec.errors import UsageError
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import card_facts
from patchrec.operations.runs import compare_runs, show_run
from patchrec.operations.training.train import baseline
from patchrec.store import Store


@pytest.mark.parametrize("protocol", ["paper", "sampled"])
def test_it_is_an_evaluation_of_its_own_that_nothing_else_sees(home, protocol):
    run = baseline("popularity", home=home).run
    plain = evaluate(run, limit=9, home=home)
    beside = evaluate(run, limit=9, protocol=protocol, home=home)
    assert (beside.metrics, beside.num_targets) == (plain.metrics, plain.num_targets)
    assert (beside.protocol, plain.protocol, plain.counted) == (protocol, None, [])
    assert [row.name for row in beside.counted] == ["hr@10", "ndcg@10", "hr@20", "ndcg@20"]
    with Store.open(home) as store:
        assert len(store.evaluations.all(run)) == 2
        (own,) = store.evaluations.all(run, "test", protocol=protocol)
        assert (own.num_targets, own.config["limit"]) == (9, 9)
        assert sorted(store.evaluations.metrics(own.id), key=str) == sorted(beside.counted, key=str)
        assert len(store.evaluations.rankings(own.id)) == 9
        assert store.evaluations.newest(run, "test").id != own.id
        assert all(found.id != own.id for found, _ in card_facts(store, store.runs.get(run)).evaluations)
    (row,) = compare_runs([run], home=home)["rows"]
    assert row["evaluation"] != own.id
    (shown,) = show_run(run, home=home)["protocols"]
    assert (shown["id"], shown["config"]["protocol"]) == (own.id, protocol)


def test_a_target_among_drawn_items_ranks_at_least_as_high_as_among_all(home):
    run = baseline("popularity", home=home).run
    evaluate(run, protocol="sampled", home=home)
    with Store.open(home) as store:
        full = store.evaluations.rankings(store.evaluations.all(run)[0].id)
        drawn = store.evaluations.rankings(store.evaluations.all(run, protocol="sampled")[0].id)
    assert [(row.user, row.position) for row in full] == [(row.user, row.position) for row in drawn]
    assert all(a.item_rank_dropped >= b.item_rank_dropped for a, b in zip(full, drawn, strict=True))


def test_a_cutoff_that_a_protocol_has_not_is_refused_before_anything_is_stored(home):
    run = baseline("popularity", home=home).run
    with pytest.raises(UsageError, match="--k up to 20"):
        evaluate(run, ks=(50,), protocol="paper", home=home)
    with Store.open(home) as store:
        assert store.evaluations.all() == []
