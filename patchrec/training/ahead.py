"""Work done beside other work: the next thing is made while this one is used."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def one_ahead(things: Iterable[T]) -> Iterator[T]:
    """The same things in the same order, each made in a thread while the one before is used.

    What making them raises is raised where the thing would have come.
    """
    making = iter(things)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as worker:
        coming = worker.submit(next, making, _END)
        while (thing := coming.result()) is not _END:
            coming = worker.submit(next, making, _END)
            yield thing  # type: ignore[misc]
