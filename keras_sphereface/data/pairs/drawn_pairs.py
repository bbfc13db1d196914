"""Pairs drawn from images of identities, for those who have faces and no list of pairs."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_sphereface.data.pairs.lfw import Pairs
from keras_sphereface.utils.validation import check_integer

MIN_FOLDS = 2  # the threshold of a fold comes from the others
# Up to so many candidates are listed; from more, pairs are drawn until enough differ.
_LISTED = 100_000
_MOST_IMAGES = 100  # of one identity in matched pairs: the pairs of thousands would fill the memory


def draw_pairs(
    images: Mapping[str, Sequence[str]],
    num_folds: int = 10,
    pairs_per_class: int = 300,
    num_identities: int | None = None,
    seed: int = 0,
) -> Pairs:
    """Draw matched and mismatched pairs, as many of either kind in each fold, as LFW has them.

    No identity is in two folds, so that a threshold is always tested on other people. Identities
    have matched pairs equally often, as long as they have images enough. No pair is repeated.

    Args:
        images: {identity: keys of its images}.
        num_folds: Int >= 2. Folds; fewer where there are not two identities for each, one of them
            with two images.
        pairs_per_class: Int >= 1. Matched pairs of a fold, and mismatched ones; fewer where a fold
            has fewer.
        num_identities: Int >= 4. Identities in the pairs, drawn; None: all.
        seed: Int >= 0. Seed of the draw; the same seed gives the same pairs.

    Raises:
        ValueError: If there are too few identities.

    Reference: Huang et al., "Labeled Faces in the Wild", 2007 (folds whose identities differ, 300
    pairs of either kind in each).

    Example:
        >>> people = ("ada", "bob", "cy", "di")
        >>> images = {name: [f"{name}/{i}.jpg" for i in range(3)] for name in people}
        >>> pairs = draw_pairs(images, num_folds=2, pairs_per_class=3)
        >>> pairs.is_same.tolist()[:6], sorted(set(pairs.folds.tolist()))
        ([True, True, True, False, False, False], [1, 2])
    """
    check_integer(num_folds, "num_folds", MIN_FOLDS)
    check_integer(pairs_per_class, "pairs_per_class", 1)
    check_integer(seed, "seed", 0)
    rng = np.random.default_rng([seed, len(images)])
    chosen = _chosen_identities(images, num_identities, rng)
    several = [name for name in chosen if len(images[name]) > 1]
    count = min(num_folds, len(several), len(chosen) // 2)
    if count < MIN_FOLDS:
        raise ValueError(
            "Pairs need at least four identities, two of them with two images or more: a threshold "
            f"is tested on other people than it comes from. Received: {len(chosen)} "
            f"{'identity' if len(chosen) == 1 else 'identities'}, {len(several)} with two images "
            "or more"
        )
    # Those with one image come last, so that every fold gets of both.
    ordered = [*several, *(name for name in chosen if len(images[name]) == 1)]
    rows: list[tuple[str, str, bool, int]] = []
    for fold in range(count):
        people = {name: sorted(images[name]) for name in ordered[fold::count]}
        mismatched = list(itertools.islice(_mismatched(people, rng), pairs_per_class))
        matched = list(itertools.islice(_matched(people, rng), len(mismatched)))
        rows += [(*pair, True, fold + 1) for pair in matched]
        rows += [(*pair, False, fold + 1) for pair in mismatched[: len(matched)]]
    first, second, is_same, folds = zip(*rows, strict=True)
    return Pairs(list(first), list(second), np.array(is_same), np.array(folds))


def _chosen_identities(
    images: Mapping[str, Sequence[str]], num_identities: int | None, rng: np.random.Generator
) -> list[str]:
    """Names of the identities in the pairs, in random order."""
    names = [sorted(images)[i] for i in rng.permutation(len(images))]
    if num_identities is None:
        return names
    check_integer(num_identities, "num_identities", 2 * MIN_FOLDS)
    if num_identities > len(names):
        raise ValueError(
            f"`num_identities` must be at most the number of identities, {len(names)}. "
            f"Received: num_identities={num_identities}"
        )
    # A pair needs two images: identities with more come first.
    names.sort(key=lambda name: len(images[name]) < 2)
    return names[:num_identities]


def _matched(
    people: Mapping[str, Sequence[str]], rng: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """Pairs of images of one identity: one of each identity, then a second of each, ..."""
    of_each: list[list[tuple[str, str]]] = []
    for keys in people.values():
        few = rng.permutation(len(keys))[:_MOST_IMAGES]
        pairs = [
            (keys[i], keys[j]) if rng.random() < 0.5 else (keys[j], keys[i])
            for i, j in itertools.combinations(few.tolist(), 2)
        ]
        of_each.append([pairs[i] for i in rng.permutation(len(pairs))])
    for turn in itertools.zip_longest(*of_each):
        yield from (pair for pair in turn if pair is not None)


def _mismatched(
    people: Mapping[str, Sequence[str]], rng: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """All pairs of images of two identities, in random order, identities equally often at first."""
    names = list(people)
    sizes = [len(people[name]) for name in names]
    total = (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
    seen: set[tuple[str, str]] = set()
    while len(seen) < min(total, _LISTED) // 2:
        one, other = rng.choice(len(names), 2, replace=False)
        first, second = (people[names[i]][int(rng.integers(sizes[i]))] for i in (one, other))
        pair = (min(first, second), max(first, second))
        if pair not in seen:
            seen.add(pair)
            yield first, second
    if total <= _LISTED:
        rest = [
            (first, second)
            for a, b in itertools.combinations(names, 2)
            for first, second in itertools.product(people[a], people[b])
            if (min(first, second), max(first, second)) not in seen
        ]
        for i in rng.permutation(len(rest)):
            yield rest[i]
