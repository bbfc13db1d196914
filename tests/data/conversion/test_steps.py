"""The steps that the local conversion and the one on Beam share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.conversion import steps
from keras_sphereface.data.conversion.exclusions import Exclusions
from keras_sphereface.data.conversion.ordering import RANKS, label_order, rank_of
from keras_sphereface.data.conversion.prepare import EncodedFace
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage


def image(key, content=b"", landmarks=None):
    return ImageRecord(key, key.split("/")[0], content, landmarks)


def test_excluded_images_keep_their_line_and_skipped_ones_pass():
    entries = [image("Ada/1.jpg"), SkippedImage("x", "broken"), image("Bob/2.jpg")]
    kept = list(steps.exclude(entries, Exclusions(["B*"])))
    assert kept == [entries[0], entries[1], steps.Excluded("B*", "Bob")]


def test_one_image_of_a_key_is_picked_with_the_points_of_the_file():
    own, other = np.zeros((5, 2)), np.ones((5, 2))
    images = [image("a/1.jpg", bytes([n]), own) for n in (2, 1)]
    first, second = steps.pick_image(("a/1.jpg", {"images": images, "points": [other]}))
    assert first.content == bytes([1])
    assert first.landmarks is other
    assert second == SkippedImage("a/1.jpg", steps.SAME_KEY)
    (alone,) = steps.pick_image(("a/1.jpg", {"images": images[:1], "points": []}))
    assert alone.landmarks is own
    assert list(steps.pick_image(("a/1.jpg", {"images": [], "points": [own]}))) == []


def test_an_image_without_landmarks_is_skipped_if_they_are_required():
    lonely = image("a/1.jpg", ByteRange("file", 0, 1))
    assert list(steps.pick_image(("a/1.jpg", {"images": [lonely], "points": []}))) == [lonely]
    assert list(steps.require_landmarks(lonely)) == [SkippedImage("a/1.jpg", "no landmarks")]
    aligned = lonely._replace(landmarks=np.zeros((5, 2)))
    assert list(steps.require_landmarks(aligned)) == [aligned]


def test_names_that_differ_in_case_or_unicode_form_are_twins():
    names = ["zoe", "Bob", "Zo\u00eb", "Zoe\u0308", "BOB", "Zoe"]
    assert steps.name_twins(names) == [["BOB", "Bob"], ["Zoe", "zoe"], ["Zoe\u0308", "Zo\u00eb"]]


def test_images_and_faces_of_other_identities_are_skipped_with_the_reason():
    face = steps.PreparedFace(image("b/1.jpg"), EncodedFace(b"", b"", None))
    for entry in (image("b/1.jpg"), face):
        assert list(steps.keep_identities(entry, {"b": 1}, "few")) == [entry]
        assert list(steps.keep_identities(entry, {"a": 1}, "few")) == [
            SkippedImage("b/1.jpg", "few")
        ]


def test_identities_that_are_numbers_are_numbered_by_value_before_all_names():
    counts = [("Zoë", 1), ("10", 2), ("9", 3), ("Ada", 4), ("09", 5), ("1" * 19, 6)]
    assert steps.number_identities(counts) == {
        "09": (0, 5),
        "9": (1, 3),
        "10": (2, 2),
        "1" * 19: (3, 6),
        "Ada": (4, 4),
        "Zoë": (5, 1),
    }


@given(st.lists(st.one_of(st.text(), st.integers(0, 10**20).map(str)), max_size=6))
def test_label_order_is_that_of_values_then_names(names):
    def expected(name):
        is_number = name.isascii() and name.isdecimal() and len(name) < 19
        return (not is_number, int(name) if is_number else 0, name)

    assert sorted(names, key=label_order) == sorted(names, key=expected)


def test_ranks_depend_on_key_and_seed_alone():
    assert rank_of("a/1.jpg", 0) == rank_of("a/1.jpg", 0) != rank_of("a/1.jpg", 1)
    ranks = np.array([rank_of(f"a/{n}.jpg", 0) / RANKS for n in range(1000)])
    assert 0 <= ranks.min() < ranks.max() < 1
    assert abs(ranks.mean() - 0.5) < 0.05


def test_duplicates_are_numbered_in_the_order_of_their_first_keys():
    groups = [[("c/1", "c"), ("d/1", "d")], [("a/1", "a"), ("a/2", "a")]]
    assert list(steps.group_duplicates(groups)) == [
        (0, "same identity", "a", "a/1"),
        (0, "same identity", "a", "a/2"),
        (1, "several identities", "c", "c/1"),
        (1, "several identities", "d", "d/1"),
    ]


@pytest.mark.parametrize(
    ("num_images", "num_bytes", "requested", "expected"),
    [
        (5, 10, 0, 1),
        (5, 10, 3, 3),
        (5, 10, 9, 5),
        (10_000, 150_000_000, 0, 1),
        (10_000, 195_000_001, 0, 2),
        (10_000, 1_000_000_000, 0, 7),
        (0, 0, 4, 0),
    ],
)
def test_shards_hold_100_to_200_mb_unless_a_number_is_requested(
    num_images, num_bytes, requested, expected
):
    assert steps.num_shards_for(num_images, num_bytes, requested) == expected
