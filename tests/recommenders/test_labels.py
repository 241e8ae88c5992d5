"""What a run is called in tables: its kind, and what differs from the kind's defaults."""

import pytest

from patchrec.plugins import find_kind


@pytest.mark.parametrize(
    ("kind", "values", "label"),
    [
        ("p5", {}, "p5"),
        ("pod", {"prompts": 3, "encoder": "past"}, "pod encoder=past"),
        ("lightlm", {"layers": 2, "search": "beam", "beam": 20}, "lightlm layers=2 search=beam"),
        ("lite-llm4rec", {"dropout": 0.7, "freeze": "head"}, "lite-llm4rec freeze=head"),
        ("sasrec", {"width": 64, "dropout": 0.2}, "sasrec dropout=0.2"),
    ],
)
def test_a_label_has_what_differs_from_the_defaults(kind, values, label):
    assert find_kind(kind).bind(values).label == label
