"""Candidates by letters: what is asked, what is learned, and how the answer becomes a distribution over all items."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from patchrec.config import HistoryConfig, KindConfig, PromptConfig, RunConfig, StrategyConfig, TrainingConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Example, Sequences
from patchrec.data.newest_items import of_newest
from patchrec.errors import InputError, UsageError
from patchrec.history import History
from patchrec.layout import Grain
from patchrec.model.letters import Letters
from patchrec.model.prompt import build_prompt
from patchrec.model.pull import locate
from patchrec.model.tokenizer import load_tokenizer
from patchrec.plugins import find_kind, plan_for
from patchrec.ranking.items import precedence
from patchrec.ranking.lettered import Retriever, shared_out
from patchrec.recommender import Fitting, Part, Query, Saved, log_probs, rank
from patchrec.strategy import Moment
from patchrec.training import loop

NUM_CONTEXTS, NUM_TARGETS = 8, 4
LLAMAREC = find_kind("llamarec")
TEST_USERS = slice(160, 192)


def pairs() -> Dataset:
    """Users with two items: a context, and what nine of ten have after it. The four targets are all equally popular.

    Thirty-two users have theirs in the test split.
    """
    random = np.random.default_rng(0)
    contexts = np.arange(192) % NUM_CONTEXTS
    targets = NUM_CONTEXTS + contexts % NUM_TARGETS
    is_noise = random.random(192) < 0.1
    targets[is_noise] = NUM_CONTEXTS + random.integers(0, NUM_TARGETS, int(is_noise.sum()))
    stops = np.full(192, 2)
    stops[TEST_USERS] = 1
    items = tuple("abcdefgh") + tuple("wxyz")
    sequences = Sequences(
        tuple(f"u{user}" for user in range(192)),
        np.arange(193) * 2,
        np.stack([contexts, targets], axis=1).ravel().astype(np.int64),
        None,
        stops.astype(np.int64),
        stops.astype(np.int64),
    )
    return Dataset("pairs", Catalog(items, items), sequences, min_history=1, noun="movie", verb="watched")


DATASET = pairs()
PLACE = precedence(DATASET.popularity)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    return locate("tiny-random", tmp_path_factory.mktemp("backbones")).folder


@pytest.fixture(scope="module")
def popularity():
    config = RunConfig(
        stage="baseline", dataset="pairs", kind=KindConfig(name="popularity"), backbone=None, prompt=None, score="item"
    )
    return Part(find_kind("popularity").load(Saved(config, DATASET)), 1.0, config.history)


def make_config(others="retrieved", candidates=NUM_TARGETS, strategy="vanilla", **training):
    options = LLAMAREC.bind({"retriever": "popularity-1", "candidates": candidates, "others": others}).options.values
    return RunConfig(
        stage="finetune",
        dataset="pairs",
        kind=KindConfig(name="llamarec", options=options),
        backbone="tiny-random",
        strategies=(StrategyConfig(name=strategy),),
        history=HistoryConfig(K=8),
        prompt=PromptConfig(form="continuation", noun="movie", verb="watched"),
        training=TrainingConfig(
            **{"batch_size": 32, "epochs": 2, "learning_rate": 5e-3, "max_nodes": 50_000, **training}
        ),
        score="letters",
    )


def make_learner(config, folder, popularity, validation=()):
    return LLAMAREC.learner(Fitting(config, DATASET, folder, validation, parts=(popularity,)))


def asked_in_test():
    """The test targets as queries, with their targets."""
    examples = DATASET.examples("test", 8)
    assert len(examples) == 32
    return [Query.of(DATASET, example) for example in examples], [DATASET.target(example) for example in examples]


QUERIES, TARGETS = asked_in_test()


def hr_at_1(recommender):
    ranked = rank(recommender, QUERIES, 1)
    return np.mean([one.recommendations[0].item == target for one, target in zip(ranked, TARGETS, strict=True)])


@pytest.fixture(scope="module")
def fitted(tiny_folder, popularity, tmp_path_factory):
    config = make_config(batch_size=160, epochs=50)  # equal prompts are one: a step is 1,076 nodes
    folder = tmp_path_factory.mktemp("fitted") / "run"
    learner = make_learner(config, tiny_folder, popularity)
    result = loop.train(config, DATASET, learner, folder=folder)
    return LLAMAREC.load(Saved(config, DATASET, folder=result.checkpoint.path, start=tiny_folder, parts=(popularity,)))


# --- learning


def test_it_learns_what_popularity_misses(fitted, popularity):
    """Nine of ten contexts decide the next item; popularity is right for one of four."""
    assert hr_at_1(popularity.recommender) < 0.35
    assert hr_at_1(fitted) > 0.7


@pytest.mark.parametrize(("others", "strategy"), [("drawn", "vanilla"), ("retrieved", "item-mean")])
def test_a_run_that_was_stopped_resumes_bitwise(tiny_folder, popularity, tmp_path, others, strategy):
    class CrashError(Exception):
        """Stands for a lost machine."""

    class Log:
        def __init__(self, crash):
            self.crash, self.rows = crash, {}

        def step(self, row):
            self.rows[row.step] = row.loss
            if self.crash and row.step == 3:
                raise CrashError

        def begun(self, *_):
            """Nothing to note."""

        validated = saved = begun

    config = make_config(others, strategy=strategy, checkpoint_every=2, dropout=0.1, epochs=1)

    def run(folder, *, crash=False, resume=False):
        log = Log(crash)
        learner = make_learner(config, tiny_folder, popularity)
        result = loop.train(config, DATASET, learner, folder=folder, log=log, resume=resume)
        return load_file(result.checkpoint.path / "model" / "model.safetensors"), log.rows

    whole, losses = run(tmp_path / "whole")
    assert len(losses) == 5
    with pytest.raises(CrashError):
        run(tmp_path / "broken", crash=True)
    again, later = run(tmp_path / "broken", resume=True)
    assert later == {step: loss for step, loss in losses.items() if step > 2}
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


def test_the_loss_is_that_of_each_prompt_alone_over_its_letters(tiny_folder, popularity):
    config = make_config()
    learner = make_learner(config, tiny_folder, popularity)
    learner.begin()
    step = next(iter(learner.batches.steps()))
    forests = learner.forests(step, learner.encoder.fresh())
    found = learner.measure_forests(learner.encoder, forests)
    model, losses = learner.backbone.model, []
    for example in (example for tree in step.trees for example in tree):
        path, items = prompt_of(learner.encoder, learner.ranker(), DATASET.history(example), popularity)
        letters = learner.ranker().letters.tokens[: len(items)]
        logits = model(input_ids=torch.from_numpy(path)[None]).logits[0, -1, letters]
        losses.append(-logits.log_softmax(0)[items.tolist().index(DATASET.target(example))].item())
    assert found == pytest.approx(np.mean(losses), rel=1e-4)


def prompt_of(encoder, recommender, history, popularity):
    """The whole prompt after a history as token ids, and its candidates, put together by hand."""
    scores = log_probs(popularity.recommender, [Query(history)])[0]
    items = [item for item in np.lexsort((PLACE, -scores)) if item not in history.items][:NUM_TARGETS]
    letters, prompt = recommender.letters, encoder.prompt
    path = [*prompt.head]
    for item in history.items:
        path += [*encoder.titles.of(item), prompt.separator]
    path += [*prompt.tail]
    for token, item in zip(letters.tokens, items, strict=False):
        path += [token, *letters.mark, *encoder.titles.of(item), prompt.separator]
    return np.array([*path, *prompt.rest]), np.array(items)


# --- questions


def questions(config, folder, popularity):
    return make_learner(config, folder, popularity).heads.questions


def test_drawn_candidates_are_the_target_among_what_the_user_has_not_had(tiny_folder, popularity):
    asking = questions(make_config("drawn", candidates=6), tiny_folder, popularity)
    (example, *_) = DATASET.examples("train", 8)
    seen, target = set(DATASET.seen(example).tolist()), DATASET.target(example)
    lists, places = [], set()
    for draw in np.linspace(0.01, 0.99, 40):
        moment = Moment(0.0, np.array([draw]))
        (asked,), (again,) = asking.of((example,), moment), asking.of((example,), moment)
        assert np.array_equal(asked.keys, again.keys)
        items = asking._draw(example, moment)
        assert len(set(items.tolist())) == 6
        assert target in items
        assert not seen & set(items.tolist())
        places.add(items.tolist().index(target))
        assert asked.answer == asking.letters.tokens[items.tolist().index(target)]
        assert np.array_equal(asked.choices, asking.letters.tokens)
        lists.append(tuple(items))
    assert len(set(lists)) > 30
    assert places == set(range(6))


def test_targets_that_the_retriever_does_not_find_are_left_out(tiny_folder, popularity):
    learner = make_learner(make_config(candidates=2, max_steps=None, epochs=1), tiny_folder, popularity)
    best = np.lexsort((PLACE, -DATASET.popularity))[:2]
    kept = [example for tree in learner.batches._trees for example in tree]
    assert {DATASET.target(example) for example in kept} == set(best.tolist())
    assert learner.num_targets == len(kept) < 160
    measured = learner.heads.questions.of(tuple(DATASET.examples("test", 8)[:8]), Moment())
    assert {asked.answer for asked in measured} <= set(learner.heads.questions.letters.tokens[:2].tolist())


def test_where_the_retriever_finds_nothing_it_is_told(tiny_folder, popularity):
    short = Dataset(
        "short", DATASET.catalog,
        Sequences(("u",), np.array([0, 2]), np.array([8, 0]), None, np.array([2]), np.array([2])), min_history=1,
    )  # fmt: skip
    asking = questions(make_config(candidates=2), tiny_folder, popularity)
    object.__setattr__(asking, "dataset", short)
    with pytest.raises(
        InputError, match="none of 1 training targets is among the retriever's best 2; take another run"
    ):
        asking.learnable([Example.at(0, 1, 8, "sliding")])


# --- ranking


def test_the_answer_is_the_models_own_after_a_prompt_put_together_by_hand(fitted, popularity):
    history = History(np.array([3, 1]))
    path, items = prompt_of(fitted.encoder, fitted, history, popularity)
    with torch.no_grad():
        logits = fitted.backbone.model(input_ids=torch.from_numpy(path)[None]).logits[0, -1]
    own = logits[fitted.letters.tokens.tolist()].double().log_softmax(0).numpy()
    known = log_probs(popularity.recommender, [Query(history)])[0]
    expected = shared_out(known, items, np.array([], dtype=np.int64), own)
    np.testing.assert_allclose(
        log_probs(fitted, [Query(history, np.array([3, 1]))])[0][items], expected[items], atol=1e-4
    )


def test_candidates_come_first_and_the_rest_in_the_retrievers_order(fitted, popularity):
    query = QUERIES[0]
    (ranked,), (before,) = rank(fitted, [query], 50), rank(popularity.recommender, [query], 50)
    own, known = ([line.item for line in one.recommendations] for one in (ranked, before))
    assert set(own[:NUM_TARGETS]) == set(known[:NUM_TARGETS])
    assert own[NUM_TARGETS:] == known[NUM_TARGETS:]


def test_candidates_are_chosen_among_what_a_filter_allows(fitted, popularity):
    allowed = np.ones(12, dtype=bool)
    allowed[[8, 9]] = False
    (ranked,) = rank(fitted, QUERIES[:1], 3, allowed=allowed)
    (barred,) = rank(fitted, [Query(QUERIES[0].history, np.union1d(QUERIES[0].seen, [8, 9]))], 3)
    assert ranked.recommendations == barred.recommendations
    assert not {8, 9} & {line.item for line in ranked.recommendations}


def test_who_has_had_everything_gets_the_retrievers_scores(fitted, popularity):
    query = Query(History(np.arange(12)), np.arange(12))
    np.testing.assert_allclose(log_probs(fitted, [query]), log_probs(popularity.recommender, [query]), atol=1e-12)
    assert rank(fitted, [query], 3)[0].recommendations == ()


def test_no_later_item_changes_an_earlier_answer(fitted):
    items = np.array([0, 5, 9, 2, 7])
    answers = [log_probs(fitted, [Query(History(items[:2]))]) for items in (items, items[[0, 1, 4, 3, 2]])]
    assert np.array_equal(*answers)


def test_what_candidates_have_beyond_the_best_of_the_rest_is_shared_out():
    known = np.log([0.4, 0.3, 0.1, 0.1, 0.1])
    nobody, chosen = np.array([], dtype=np.int64), np.log([0.2, 0.8])
    # 0.7 of two candidates, 0.1 kept by each: 0.5 are shared out
    found = np.exp(shared_out(known, np.array([0, 1]), nobody, chosen))
    np.testing.assert_allclose(found, [0.1 + 0.5 * 0.2, 0.1 + 0.5 * 0.8, 0.1, 0.1, 0.1])
    # an item that was seen keeps what it has, and bounds nothing: 0.2 of items 2 and 3, 0.1 kept by each
    found = np.exp(shared_out(known, np.array([1, 2]), np.array([0]), chosen))
    np.testing.assert_allclose(found, [0.4, 0.1 + 0.2 * 0.2, 0.1 + 0.2 * 0.8, 0.1, 0.1])
    # all that may be ranked are candidates: nothing is kept, everything shared out
    found = np.exp(shared_out(known, np.array([3, 4]), np.array([0, 1, 2]), chosen))
    np.testing.assert_allclose(found, [0.4, 0.3, 0.1, 0.2 * 0.2, 0.2 * 0.8])


def test_a_retriever_that_tells_nothing_apart_leaves_the_order_to_the_letters():
    found = np.exp(
        shared_out(np.log(np.full(5, 0.2)), np.array([0, 1]), np.array([], dtype=np.int64), np.log([0.2, 0.8]))
    )
    assert found.sum() == pytest.approx(1)
    assert found[1] > found[0] > found[2]
    np.testing.assert_allclose(found[2:], 0.2, rtol=1e-3)


def test_equal_candidates_go_by_popularity(popularity):
    retriever = Retriever(popularity, DATASET.catalog, PLACE, 3)
    ((_, items),) = retriever.ask([Query(History(np.array([0])), np.array([8]))])
    assert items.tolist() == [item for item in np.lexsort((PLACE, -DATASET.popularity)) if item != 8][:3]


# --- prompt


@pytest.mark.parametrize("form", ["continuation", "paper", "instruction-first"])
def test_a_lettered_prompt_asks_for_a_letter_after_the_list(tiny_folder, form):
    tokenizer = load_tokenizer(tiny_folder)
    config = PromptConfig(form=form, noun="movie", verb="watched")
    plain, prompt = build_prompt(tokenizer, config), build_prompt(tokenizer, config, lettered=True)
    assert "one a line, each after its letter" in tokenizer.decode(prompt.tail)
    assert plain.rest is None
    assert prompt.rest is not None
    assert prompt.fingerprint != plain.fingerprint
    whole = "".join(tokenizer.decode(part) for part in (prompt.head, prompt.tail, prompt.rest))
    assert "letter" in whole
    assert "by its title" not in whole


class Spelled:
    """A tokenizer that gives each character a number, and letters in `split` two."""

    def __init__(self, split="", same=""):
        self.split, self.same = split, same

    def __call__(self, text, **_):
        pieces = [[ord(char), 0] if char in self.split else [65 if char in self.same else ord(char)] for char in text]
        return type("Encoded", (), {"input_ids": [token for piece in pieces for token in piece]})

    def decode(self, ids):
        return "".join(map(chr, ids))


@pytest.mark.parametrize("tokenizer", [Spelled(split="C"), Spelled(same="C")])
def test_a_letter_that_is_no_token_of_its_own_is_refused(tokenizer):
    assert Letters.of(tokenizer, 2).tokens.tolist() == [65, 66]
    with pytest.raises(UsageError, match="no token of its own for the letter 'C', which names a candidate"):
        Letters.of(tokenizer, 3)


# --- the newest items


@pytest.mark.parametrize(("strategy", "options"), [("vanilla", {}), ("pft-s", {"L": 2}), ("dropout", {"M": 2})])
def test_older_items_are_dropped_and_the_rest_is_laid_out_as_if_alone(strategy, options):
    planner = plan_for(StrategyConfig(name=strategy, options=options))
    items, draws = np.arange(9), np.linspace(0, 0.99, 9)
    found = of_newest(planner, 5).plan(History(items), Moment(0.5, draws))
    alone = planner.plan(History(items[4:], None, 4), Moment(0.5, draws[4:]))
    shown = [(span.start - 4, span.stop - 4, span.grain) for span in found.spans if span.start >= 4]
    assert shown == [
        (span.start, span.stop, span.grain) for span in alone.spans if span.grain is not Grain.DROPPED
    ] or (found.spans[0].grain is Grain.DROPPED and len(found) == 9)
    assert found.spans[0].grain is Grain.DROPPED
    assert found.spans[0].stop >= 4
    whole = of_newest(planner, 20).plan(History(items), Moment(0.5, draws))
    assert whole == planner.plan(History(items), Moment(0.5, draws))
