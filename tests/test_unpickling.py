"""The watch over all tests that no pickle is read (`conftest.py`) sees one that is."""

import pickle  # noqa: TID251 - to be caught
from pathlib import PurePosixPath


def test_a_class_that_is_read_from_a_pickle_is_noticed(unpickled):
    pickle.loads(pickle.dumps(PurePosixPath("a")))
    assert "PurePosixPath was read from a pickle" in unpickled[0]
    unpickled.clear()
