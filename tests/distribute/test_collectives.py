"""The ranges in which classes are split."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.distribute.collectives import balanced_ranges

TOTALS, COUNTS = st.integers(0, 10**9), st.integers(1, 300)


def widths(total, count):
    return [stop - start for start, stop in balanced_ranges(total, count)]


@given(TOTALS, COUNTS)
def test_ranges_follow_one_another_from_the_first_to_the_last(total, count):
    ranges = balanced_ranges(total, count)
    assert len(ranges) == count
    ends = [0, *(stop for _, stop in ranges)]
    assert ranges == list(itertools.pairwise(ends))
    assert ends[-1] == total


@given(TOTALS, COUNTS)
def test_ranges_are_equal_but_for_one_and_the_longer_come_first(total, count):
    sizes = widths(total, count)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


@given(st.integers(1, 10**9), COUNTS)
def test_one_less_in_all_is_one_less_in_one_range(total, count):
    """A smaller shard must fit in the blocks of a larger one, each block but for a column."""
    gaps = [a - b for a, b in zip(widths(total, count), widths(total - 1, count), strict=True)]
    assert sorted(gaps) == [0] * (count - 1) + [1]
