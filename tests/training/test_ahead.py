"""Things made one ahead are the same things."""

import threading

import pytest

from patchrec.training.ahead import one_ahead


def test_all_come_in_order():
    assert list(one_ahead(range(5))) == list(range(5))
    assert list(one_ahead([])) == []
    assert list(one_ahead([None, None])) == [None, None]


def test_the_next_is_made_while_one_is_used_and_no_more():
    made, next_begun = [], threading.Event()

    def making():
        for number in range(4):
            made.append(number)
            if number == 1:
                next_begun.set()
            yield number

    things = one_ahead(making())
    assert next(things) == 0
    assert next_begun.wait(10)
    things.close()
    assert made == [0, 1]


def test_an_error_comes_where_the_thing_would_have_come():
    def making():
        yield 1
        raise ValueError("no second one")

    things = one_ahead(making())
    assert next(things) == 1
    with pytest.raises(ValueError, match="no second one"):
        next(things)
