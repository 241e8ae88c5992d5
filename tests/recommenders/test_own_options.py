"""A kind has the options that its model reads, and none that it inherited from another's."""

import pytest

from patchrec import plugins

KINDS = plugins.recommenders()


def test_only_sasrec_chooses_between_its_losses():
    losses = {name: field for name, kind in KINDS.items() if (field := kind.options.model_fields.get("loss"))}
    bce = {name for name, field in losses.items() if "bce" in str(field.annotation)}
    assert bce == {"sasrec"}


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.is_baseline])
def test_every_baseline_says_where_it_is_from(name):
    kind = KINDS[name]
    assert kind.source or name in {"popularity", "recent"}
    assert all(field.description for field in kind.options.model_fields.values())
