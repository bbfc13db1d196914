import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.metrics import separability, vectors


def at(*degrees):
    return np.array([(np.cos(np.radians(d)), np.sin(np.radians(d))) for d in degrees])


def angle(a, b):
    """The angle in degrees, from half of the chord between the two unit vectors."""
    a, b = a / math.sqrt(sum(a * a)), b / math.sqrt(sum(b * b))
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(sum((a - b) ** 2)) / 2)))


def drawn_classes(seed, sizes, size=5, spread=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = rng.normal(size=(len(sizes), size))
    return centers[labels] + spread * rng.normal(size=(len(labels), size)), labels


def angles_by_loops(embeddings, labels):
    intra = {label: [] for label in labels}
    inter = {label: [] for label in labels}
    counts = {True: [0] * 180, False: [0] * 180}
    for i in range(len(labels)):
        for j in range(i):
            degrees = angle(embeddings[i], embeddings[j])
            same = labels[i] == labels[j]
            counts[same][min(int(degrees), 179)] += 1
            for label in {labels[i], labels[j]}:
                (intra if same else inter)[label].append(degrees)
    return intra, inter, counts


def assert_like_loops(measured, embeddings, labels):
    intra, inter, counts = angles_by_loops(embeddings, labels)
    assert measured.classes.tolist() == sorted(intra)
    largest = [max(intra[label], default=np.nan) for label in measured.classes]
    smallest = [min(inter[label]) for label in measured.classes]
    np.testing.assert_allclose(measured.largest_intra_by_class, largest, atol=1e-5)
    np.testing.assert_allclose(measured.smallest_inter_by_class, smallest, atol=1e-5)
    assert measured.intra_counts.tolist() == counts[True]
    assert measured.inter_counts.tolist() == counts[False]
    assert measured.largest_intra == pytest.approx(np.nanmax(largest), abs=1e-5)
    assert measured.smallest_inter == pytest.approx(min(smallest), abs=1e-5)
    several = [(a, b) for a, b in zip(largest, smallest, strict=True) if not math.isnan(a)]
    assert measured.share_of_classes == sum(a < b for a, b in several) / len(several)
    to_mean = []
    for row, label in zip(embeddings, labels, strict=True):
        of_class = [
            e / np.linalg.norm(e) for e, of in zip(embeddings, labels, strict=True) if of == label
        ]
        to_mean.append(angle(row, sum(of_class)))
    assert measured.mean_intra == pytest.approx(np.mean(to_mean), abs=1e-5)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 12, 13, 256])
def test_class_angles_are_those_of_all_pairs(block, monkeypatch):
    monkeypatch.setattr(separability, "BLOCK", block)
    embeddings, labels = drawn_classes(0, [4, 1, 3, 2, 1, 2], spread=0.4)
    measured = separability.class_angles(embeddings, labels)
    assert_like_loops(measured, embeddings, labels)
    assert 0 < measured.share_of_classes < 1


@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_class_angles_of_drawn_classes_are_those_of_all_pairs(seed, sizes):
    embeddings, labels = drawn_classes(seed, [*sizes, 2], spread=0.3)
    assert_like_loops(separability.class_angles(embeddings, labels), embeddings, labels)


def test_every_pair_is_counted_once():
    sizes = [200, 1, 149, 50]
    embeddings, labels = drawn_classes(1, sizes)
    measured = separability.class_angles(embeddings, labels)
    intra = sum(n * (n - 1) // 2 for n in sizes)
    assert measured.intra_counts.sum() == intra
    assert measured.inter_counts.sum() == 400 * 399 // 2 - intra


def test_angles_of_given_directions():
    lengths = np.array([[1.0], [5.0], [0.1], [2.0]])
    angles = separability.class_angles(lengths * at(0, 10.5, 50, 71), np.array([7, 7, 3, 3]))
    assert angles.classes.tolist() == [3, 7]
    np.testing.assert_allclose(angles.largest_intra_by_class, [21, 10.5], atol=1e-6)
    np.testing.assert_allclose(angles.smallest_inter_by_class, [39.5, 39.5], atol=1e-6)
    assert angles.mean_intra == pytest.approx((5.25 + 10.5) / 2)
    assert (angles.largest_intra, angles.smallest_inter) == pytest.approx((21, 39.5))
    assert angles.criterion_holds
    assert angles.share_of_classes == 1.0
    overlapping = separability.class_angles(at(0, 50, 40, 70), np.array([0, 0, 1, 1]))
    assert not overlapping.criterion_holds
    assert overlapping.share_of_classes == 0.0


def test_a_class_may_fulfill_the_criterion_where_the_set_does_not():
    # Two classes lie 5 degrees wide and 60 apart; the third is 120 wide, 70 from the nearest.
    measured = separability.class_angles(at(0, 5, 65, 70, 140, 260), np.array([0, 0, 1, 1, 2, 2]))
    assert not measured.criterion_holds
    assert measured.share_of_classes == 2 / 3


def test_a_single_sample_has_no_angle_within_and_does_not_count_in_the_share():
    measured = separability.class_angles(at(0, 10, 50), np.array(["b", "b", "a"]))
    assert measured.classes.tolist() == ["a", "b"]
    np.testing.assert_allclose(measured.largest_intra_by_class, [np.nan, 10], atol=1e-6)
    np.testing.assert_allclose(measured.smallest_inter_by_class, [40, 40], atol=1e-6)
    assert measured.largest_intra == pytest.approx(10)
    assert measured.share_of_classes == 1.0


def test_equal_and_opposite_samples_fall_into_the_outer_bins():
    embeddings = np.array([[2.0, 0], [1, 0], [-3, 0]])
    measured = separability.class_angles(embeddings, np.array([0, 0, 1]))
    assert measured.intra_counts[0] == 1
    assert measured.inter_counts[179] == 2
    assert (measured.largest_intra, measured.smallest_inter) == (0.0, 180.0)
    pairs = separability.pair_angles(
        embeddings, np.array([(0, 1), (1, 2)]), np.array([True, False])
    )
    assert pairs.intra_counts[0] == pairs.inter_counts[179] == 1


@pytest.mark.parametrize(
    ("labels", "received"),
    [([0, 0, 0], "3 samples of 1 classes"), ([0, 1, 2], "3 samples of 3 classes")],
)
def test_one_class_or_single_samples_are_refused(labels, received):
    with pytest.raises(ValueError, match=f"At least two classes.*Received: {received}"):
        separability.class_angles(at(0, 10, 50), np.array(labels))


@pytest.mark.parametrize("block", [1, 4, 30, 31, 256])
def test_pair_angles_are_those_of_each_pair(block, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", block)
    rng = np.random.default_rng(2)
    embeddings, pairs = rng.normal(size=(12, 5)), rng.integers(12, size=(30, 2))
    pairs[:, 1] = (pairs[:, 0] + 1 + pairs[:, 1] % 11) % 12
    is_same = np.arange(30) % 3 == 0
    measured = separability.pair_angles(embeddings, pairs, is_same)
    counts = {True: [0] * 180, False: [0] * 180}
    degrees = {True: [], False: []}
    for (a, b), same in zip(pairs, is_same.tolist(), strict=True):
        degrees[same].append(angle(embeddings[a], embeddings[b]))
        counts[same][int(degrees[same][-1])] += 1
    assert measured.largest_intra == pytest.approx(max(degrees[True]))
    assert measured.smallest_inter == pytest.approx(min(degrees[False]))
    assert measured.intra_counts.tolist() == counts[True]
    assert measured.inter_counts.tolist() == counts[False]
    assert measured.criterion_holds == (max(degrees[True]) < min(degrees[False]))


@pytest.mark.parametrize(("second", "holds"), [(39, True), (41, False)])
def test_the_criterion_of_pairs(second, holds):
    pairs, is_same = np.array([(0, 1), (0, 2)]), np.array([True, False])
    assert separability.pair_angles(at(0, second, 40), pairs, is_same).criterion_holds == holds


def test_equal_angles_do_not_fulfill_the_criterion():
    embeddings = np.array([(1.0, 0), (0, 1), (-1, 0), (0, -1)])
    measured = separability.class_angles(embeddings, np.array([0, 0, 1, 1]))
    assert measured.largest_intra == measured.smallest_inter
    assert not measured.criterion_holds
    assert measured.share_of_classes == 0.0
    pairs = np.array([(0, 1), (1, 2)])
    assert not separability.pair_angles(embeddings, pairs, np.array([True, False])).criterion_holds


def test_the_fisher_score_by_loops():
    embeddings, labels = drawn_classes(3, [4, 7, 2])
    units = [row / math.sqrt(sum(row * row)) for row in embeddings]
    mean = {
        c: sum(u for u, label in zip(units, labels, strict=True) if label == c) for c in range(3)
    }
    cosine = lambda a, b: math.cos(math.radians(angle(a, b)))  # noqa: E731
    within = sum(1 - cosine(u, mean[c]) for u, c in zip(units, labels, strict=True))
    between = sum(1 - cosine(mean[c], sum(units)) for c in labels)
    measured = separability.angular_fisher_score(embeddings, labels)
    assert measured == pytest.approx(within / between, rel=1e-9)
    lengths = np.linspace(1, 9, len(labels))[:, None]
    assert separability.angular_fisher_score(lengths * embeddings, labels) == pytest.approx(
        measured
    )


def test_the_fisher_score_of_one_mean_direction_is_infinite():
    embeddings, labels = at(-10, 10, -20, 20), np.array([0, 0, 1, 1])
    assert separability.angular_fisher_score(embeddings, labels) > 1e12


def test_neighbors_are_pairs_with_a_nearest_class():
    # 0 and 20 are each other's nearest; 50 is nearest to 20; 200 is nearest to 50.
    measured = separability.nearest_classes(at(0, 20, 50, 200).T * [1.0, 3.0, 2.0, 5.0])
    assert measured.pairs.tolist() == [[0, 1], [1, 2], [2, 3]]
    np.testing.assert_allclose(measured.angles, [20, 30, 150])


def test_gaps_are_between_the_nearest_samples_of_two_classes():
    labels = np.array([0, 1, 0, 1, 2])
    pairs = np.array([[0, 1], [1, 2], [0, 3]])
    measured = separability.angular_gaps(at(0, 40, 10, 35, 90) * 7, labels, pairs)
    np.testing.assert_allclose(measured, [25, 50, np.nan])
