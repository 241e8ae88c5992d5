"""The order in which NumPy up to 1.24 left equal timestamps: an unstable quicksort, written out.

The published splits of the paper were sorted by it, and most users have ties, so the same sequences need the same
algorithm whatever NumPy is installed. Nothing else should use it: own data is sorted stably.

Source: `aquicksort_` and `aheapsort_` of NumPy 1.24 (introsort: median of three, insertion sort of short ranges).
"""

from collections.abc import Sequence

INSERTION_SPAN = 15
"""Ranges whose ends are at most this far apart are finished by insertion sort."""


def numpy_quicksort_order(values: Sequence[int]) -> list[int]:
    """Positions that sort `values`, as `numpy.argsort(values, kind="quicksort")` up to NumPy 1.24 gives them."""
    order = list(range(len(values)))
    left, right = 0, len(values) - 1
    depth = 2 * max(len(values).bit_length() - 1, 0)
    waiting: list[tuple[int, int, int]] = []
    while True:
        if depth < 0:
            _heap_sort(values, order, left, right)
        else:
            while right - left > INSERTION_SPAN:
                middle = _partition(values, order, left, right)
                depth -= 1
                if middle - left < right - middle:
                    waiting.append((middle + 1, right, depth))
                    right = middle - 1
                else:
                    waiting.append((left, middle - 1, depth))
                    left = middle + 1
            _insertion_sort(values, order, left, right)
        if not waiting:
            return order
        left, right, depth = waiting.pop()


def _partition(values: Sequence[int], order: list[int], left: int, right: int) -> int:
    """Split [left, right] around the median of its ends and middle; gives the pivot's final place."""
    middle = left + (right - left) // 2
    if values[order[middle]] < values[order[left]]:
        order[middle], order[left] = order[left], order[middle]
    if values[order[right]] < values[order[middle]]:
        order[right], order[middle] = order[middle], order[right]
    if values[order[middle]] < values[order[left]]:
        order[middle], order[left] = order[left], order[middle]
    pivot = values[order[middle]]
    low, high = left, right - 1
    order[middle], order[high] = order[high], order[middle]
    while True:
        low += 1
        while values[order[low]] < pivot:
            low += 1
        high -= 1
        while pivot < values[order[high]]:
            high -= 1
        if low >= high:
            break
        order[low], order[high] = order[high], order[low]
    order[low], order[right - 1] = order[right - 1], order[low]
    return low


def _insertion_sort(values: Sequence[int], order: list[int], left: int, right: int) -> None:
    for place in range(left + 1, right + 1):
        moving = order[place]
        value = values[moving]
        hole = place
        while hole > left and value < values[order[hole - 1]]:
            order[hole] = order[hole - 1]
            hole -= 1
        order[hole] = moving


def _heap_sort(values: Sequence[int], order: list[int], left: int, right: int) -> None:
    """Sort [left, right] in guaranteed time; taken where partitions keep coming out lopsided."""
    n = right - left + 1
    heap = [-1, *order[left : right + 1]]  # counted from 1
    for root in range(n // 2, 0, -1):
        _sift_down(values, heap, root, n, heap[root])
    for last in range(n, 1, -1):
        moving = heap[last]
        heap[last] = heap[1]
        _sift_down(values, heap, 1, last - 1, moving)
    order[left : right + 1] = heap[1:]


def _sift_down(values: Sequence[int], heap: list[int], root: int, n: int, moving: int) -> None:
    child = 2 * root
    while child <= n:
        if child < n and values[heap[child]] < values[heap[child + 1]]:
            child += 1
        if not values[moving] < values[heap[child]]:
            break
        heap[root] = heap[child]
        root = child
        child *= 2
    heap[root] = moving
