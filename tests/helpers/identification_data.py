"""Rows and labels for tests of identification, and its scores written out."""

import dataclasses
import itertools

import numpy as np
from hypothesis import strategies as st

# Rows of length 1 or 2: their cosines, multiples of 1/2, are exact and tie often.
EXACT = np.array(
    [row for row in itertools.product((-1, 0, 1), repeat=4) if sum(map(abs, row)) in (1, 4)]
)
INDEX = st.integers(0, len(EXACT) - 1)
IMAGES = st.lists(st.tuples(INDEX, st.integers(0, 4)), min_size=1, max_size=12)
BLOCKS = st.sampled_from([1, 2, 3, 5, 512])


def split(images):
    return EXACT[[index for index, _ in images]], np.array([label for _, label in images])


def cosine(a, b):
    return float(sum(x * y for x, y in zip(a, b, strict=True))) / (
        sum(x * x for x in a) * sum(y * y for y in b)
    ) ** (1 / 2)


def drawn_identities(seed, num_identities=30, size=16, noise=0.9):
    """Gallery and probes, each identity with 0 to 4 images in each."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(num_identities, size))
    sides = []
    for _ in range(2):
        labels = np.repeat(np.arange(num_identities), rng.integers(0, 5, num_identities))
        rng.shuffle(labels)
        sides += [centers[labels] + noise * rng.normal(size=(len(labels), size)), labels]
    return tuple(sides)


ROWS, LABELS = EXACT[:6], np.arange(6)


def with_row(row, value):
    rows = ROWS.astype(float)
    rows[row] = value
    return rows


def columns(result):
    """The fields of a result in their order."""
    return [getattr(result, field.name) for field in dataclasses.fields(result)]
