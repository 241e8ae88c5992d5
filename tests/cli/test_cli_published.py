"""`patchrec baseline NAME` for models of papers, with the options that are theirs."""

import pytest

SMALL = ["--width", "8", "--epochs", "1", "--batch-size", "4", "--data", "toy"]


@pytest.mark.parametrize(
    "words",
    [("gru4rec", "--loss", "bpr-max", "--negatives", "3"), ("caser", "--newest", "3"), ("sasrec", "--loss", "bce")],
    ids=lambda words: words[0],
)
def test_a_model_of_a_paper_is_fitted_evaluated_and_recommended_from(toy_cli, words):
    fitted = toy_cli("baseline", *words, *SMALL)
    assert fitted.code == 0, fitted.err
    assert toy_cli("eval", f"{words[0]}-1").code == 0
    ranked = toy_cli("recommend", "--history", "Alien", "--k", "2", "--json")
    assert ranked.code == 0, ranked.err
    assert len(ranked.json["ranking"]) == 2


def test_a_loss_that_a_model_does_not_have_is_refused_with_those_it_has(toy_cli):
    ran = toy_cli("baseline", "gru4rec", "--loss", "bce", *SMALL)
    assert ran.code == 2
    assert all(word in ran.err for word in ("gru4rec", "--loss", "softmax", "bpr-max", "top1"))
    assert toy_cli("baseline", "caser", "--loss", "softmax", *SMALL).code == 2
