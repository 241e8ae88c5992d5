"""Sessions that the source names: from a column of the interactions to the histories that strategies see."""

from pathlib import Path

import pytest

from patchrec.data.histories import Example
from patchrec.data.prepare import Prepared, prepare
from patchrec.errors import InputError
from patchrec.store import Store
from patchrec_strategies import pft_s

LOG = (
    "user_id,item_id,timestamp,visit\n"
    "ann,1,30,v2\nann,2,10,v1\nbob,1,5,v1\nann,3,20,v1\nann,1,40,v3\nann,2,50,v3\nbob,2,6,v9\n"
)


def prepared(folder: Path, log: str = LOG, **options) -> Prepared:
    (folder / "log.csv").write_text(log)
    (folder / "items.csv").write_text("item_id,title\n1,A\n2,B\n3,C\n")
    files = {"interactions": folder / "log.csv", "items": folder / "items.csv"}
    return prepare("shop", **files, **{"session_col": "visit"} | options)


def test_a_session_goes_with_its_interaction_through_sorting_and_store(tmp_path):
    found = prepared(tmp_path)
    sequences = found.dataset.sequences
    numbers = {"v2": 0, "v1": 1, "v3": 2, "v9": 3}  # as they first stand there
    assert sequences.sessions is not None
    assert sequences.sessions.tolist() == [numbers[name] for name in ("v1", "v1", "v2", "v3", "v3", "v1", "v9")]
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(found.dataset, source="made up", licence="none", split=found.split)
        loaded = store.datasets.load("shop")
    assert loaded.sequences.sessions is not None
    assert loaded.sequences.sessions.tolist() == sequences.sessions.tolist()
    history = loaded.history(Example.at(0, 4, 3, "sliding"))
    assert history.sessions is not None
    assert history.sessions.tolist() == [1, 0, 2]


def test_histories_are_grouped_by_the_sessions_of_the_data_set(tmp_path):
    dataset = prepared(tmp_path).dataset
    layout = pft_s.STRATEGY.bind({"sessions": "column"}).plan(dataset.history(Example.at(0, 5, 100, "sliding")))
    assert [(span.start, span.stop, span.grain.value) for span in layout.spans] == [
        (0, 2, "session"), (2, 3, "item"), (3, 5, "text"),
    ]  # fmt: skip


def test_sessions_are_part_of_what_a_data_set_is(tmp_path):
    other = prepared(tmp_path, LOG.replace("v9", "v1")).dataset.sequences.fingerprint
    without = prepared(tmp_path, session_col=None).dataset.sequences
    assert len({prepared(tmp_path).dataset.sequences.fingerprint, other, without.fingerprint}) == 3
    assert without.sessions is None


def test_a_row_without_session_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"log\.csv:4: visit is blank"):
        prepared(tmp_path, LOG.replace("bob,1,5,v1", "bob,1,5,"))
    found = prepared(tmp_path, LOG.replace("bob,1,5,v1", "bob,1,5,"), skip_bad=True)
    assert len(found.dataset.sequences.items) == 6
    with pytest.raises(InputError, match=r"no column 'basket'.*--session-col"):
        prepared(tmp_path, session_col="basket")
