"""Quality checks of sets of pairs: repetitions, contradictions, identity overlap."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation import quality_checks
from keras_sphereface.evaluation.face_pairs import PairDataset
from keras_sphereface.evaluation.faces import NO_LANDMARKS, Faces, MissingFaceError


def pairs_of(*rows, lines=None):
    """The pairs of rows (first, second, is_same)."""
    first, second, is_same = zip(*rows, strict=True)
    folds = np.ones(len(rows), int)
    where = None if lines is None else np.array(lines)
    return lfw.Pairs(list(first), list(second), np.array(is_same, bool), folds, where)


def test_a_pair_is_repeated_in_either_order():
    rows = [
        ("a", "b", 1),
        ("b", "a", 1),
        ("a", "c", 0),
        ("a", "b", 1),
        ("c", "c", 1),
        ("c", "c", 1),
    ]
    repeated = quality_checks.repeated_pairs(pairs_of(*rows))
    assert repeated.tolist() == [False, True, False, True, False, True]
    assert quality_checks.repeated_pair_warnings(pairs_of(*rows)) == [
        "Repeated pairs: 3. Each counts as often as it is listed.",
        "Pairs of an image with itself: 2. Every model classifies them correctly.",
    ]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_repeated_pairs_are_those_with_an_earlier_one(both):
    repeated = quality_checks.repeated_pairs(pairs_of(*[(a, b, 1) for a, b in both]))
    for index, (a, b) in enumerate(both):
        assert repeated[index] == ((a, b) in both[:index] or (b, a) in both[:index])


def test_pairs_in_order_give_no_warning():
    assert quality_checks.repeated_pair_warnings(pairs_of(("a", "b", 1), ("a", "c", 0))) == []


@pytest.mark.parametrize("again", [("a", "b", 0), ("b", "a", 0)])
def test_a_pair_of_both_kinds_is_refused_with_file_and_lines(again):
    pairs = pairs_of(("a", "b", 1), ("a", "c", 0), ("a", "b", 1), again, lines=[2, 3, 5, 9])
    expected = (
        "set/pairs.txt, line 9: a pair must be either matched or mismatched. "
        f"Received: {again[0]} and {again[1]}, the other kind in line 2"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        quality_checks.check_contradictions(pairs, "set/pairs.txt")


def test_the_error_names_the_first_contradiction():
    rows = [("a", "b", 0), ("c", "d", 1), ("d", "c", 0), ("a", "b", 1)]
    with pytest.raises(ValueError, match=r"line 12: .* d and c, the other kind in line 11"):
        quality_checks.check_contradictions(pairs_of(*rows, lines=[10, 11, 12, 13]), "pairs.txt")


def test_repetition_is_no_contradiction():
    rows = [("a", "b", 1), ("b", "a", 1), ("a", "c", 0), ("a", "c", 0)]
    quality_checks.check_contradictions(pairs_of(*rows), "pairs.txt")


def test_training_identities_in_pairs_are_counted():
    rows = [("Ann/1.jpg", "Ann/2.jpg", 1), ("Bob/1.jpg", "Cy/1.jpg", 0), ("Dee/1", "Bob/2", 0)]
    pairs = pairs_of(*rows)
    assert quality_checks.contains_identity(pairs, ["Cy", "Ann"]).tolist() == [True, True, False]
    assert quality_checks.contains_identity(pairs, iter(["Dee"])).tolist() == [False, False, True]
    assert quality_checks.contains_identity(pairs, []).tolist() == [False] * 3
    # A name that begins another is another.
    assert quality_checks.contains_identity(pairs, ["An", "B"]).tolist() == [False] * 3
    assert quality_checks.identity_overlap_warnings(pairs, {"Eve"}) == []
    assert quality_checks.identity_overlap_warnings(pairs, {"Eve", "Cy", "Bob"}) == [
        "Identity overlap with the training set: 2, for example Bob, Cy. 2 of 3 pairs do not "
        "test identities that the network never saw."
    ]


def test_names_in_another_unicode_form_overlap_too():
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    pairs = pairs_of((f"{decomposed}/1", "Bob/1", 0), ("Bob/1", "Bob/2", 1))
    (warning,) = quality_checks.identity_overlap_warnings(pairs, {composed})
    assert warning.startswith("Identity overlap with the training set: 1, for example Zo")
    assert "1 of 2 pairs" in warning


def test_three_shared_identities_are_named_at_most():
    pairs = pairs_of(*[(f"{name}/1", f"{name}/2", 1) for name in "edcba"])
    (warning,) = quality_checks.identity_overlap_warnings(pairs, set("abcde"))
    assert "training set: 5, for example a, b, c. 5 of 5" in warning


def test_without_names_the_identity_overlap_is_unknown():
    pairs = pairs_of(("Ann/1.jpg", "Bob/1.jpg", 0))
    (warning,) = quality_checks.identity_overlap_warnings(pairs, {"Ann"}, has_names=False)
    assert "overlap with the training set is unknown" in warning
    assert quality_checks.identity_overlap_warnings(pairs, set(), has_names=False) == []


def test_all_checks_of_a_dataset_are_made():
    rows = [(f"p{i}/1.jpg", f"p{i}/2.jpg", 1) for i in range(20)]
    pairs = pairs_of(*rows, rows[0], ("p1/1.jpg", "p1/3.jpg", 0))
    dataset = PairDataset(pairs, None, {}, "pairs.txt", has_names=True)
    warnings = quality_checks.dataset_warnings(dataset, {"p9/1.jpg": "?"}, {}, 1, {"p3"})
    starts = ["Missing images", "Repeated", "Pairs that contradict", "Identity overlap"]
    assert [w.startswith(start) for w, start in zip(warnings, starts, strict=True)] == [True] * 4


def test_training_identities_are_read_from_the_labels_of_records(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_bytes('\ufeffidentity,label\r\nZoë,0\r\n"Lee, Ann",1\r\n,2\r\n'.encode())
    assert quality_checks.read_training_identities(file) == {"Zoë", "Lee, Ann"}


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"", "None"),
        (b"label,name\n0,Ann\n", r"\['label', 'name'\]"),
        (b"a/1.jpg 0\n", r"\['a/1.jpg 0'\]"),
        (b"label,identity\n0,\xff\n", "'utf-8' codec"),
        (b"\xff\xd8\xff\xe0", "'utf-8' codec"),
        (b"label,identity\n0," + b"x" * 200_000, "field larger"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path, content, received):
    file = tmp_path / "wrong.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"wrong.csv must be a labels.csv.* Received: {received}"):
        quality_checks.read_training_identities(file)


def test_missing_faces_are_counted_by_reason():
    missing = {"b.jpg": NO_LANDMARKS, "a.jpg": "not there", "c.jpg": NO_LANDMARKS}
    counted = [f"2 {NO_LANDMARKS}, for example b.jpg", "1 not there, for example a.jpg"]
    images = f"Missing images: {'; '.join(sorted(counted, key=lambda text: text[2:]))}."
    left_out = "Left out: 5 of 40 pairs. All numbers are of the others."
    assert quality_checks.missing_face_warnings(missing, {}, 5, 40) == [f"{images} {left_out}"]
    # Templates that lack some of their images cost no pair.
    assert quality_checks.missing_face_warnings(missing, {}, 0, 40) == [images]
    templates = "Missing templates: 1 none of its images, for example T."
    assert quality_checks.missing_face_warnings(missing, {"T": "none of its images"}, 5, 40) == [
        f"{images} {templates} {left_out}"
    ]
    assert quality_checks.missing_face_warnings({}, {}, 0, 40) == []
    assert quality_checks.without_landmarks(missing) == ["b.jpg", "c.jpg"]


def test_a_few_pairs_that_contradict_their_folders_give_a_warning():
    pairs = lfw.Pairs(
        [f"p{i}/1.jpg" for i in range(20)],
        [f"p{i + i % 2}/2.jpg" for i in range(20)],
        np.arange(20) % 2 == 0,
        np.ones(20),
    )
    assert quality_checks.folder_warnings(pairs, False) == []
    wrong = pairs._replace(is_same=np.arange(20) % 2 == np.append(1, np.zeros(19)))
    (warning,) = quality_checks.folder_warnings(wrong, False)
    assert "of their images: 1, for example p0/1.jpg and p0/2.jpg." in warning
    assert quality_checks.folder_warnings(wrong, True) == []
    # Where most pairs do, folders are not identities.
    assert quality_checks.folder_warnings(pairs._replace(is_same=~pairs.is_same), False) == []


def test_a_sample_of_the_images_is_checked_without_missing_ones():
    loaded = []

    def load(key):
        loaded.append(key)
        if int(key) % 2:
            raise MissingFaceError("not there")
        return np.full((112, 96, 3), 128, np.uint8)

    keys = [str(number) for number in range(200)]
    warnings = quality_checks.image_warnings(Faces(load), keys, np.random.default_rng(0))
    assert len(set(loaded)) == len(loaded) == quality_checks.SAMPLE
    assert loaded == sorted(loaded, key=int)
    assert any("gray" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("spread", "lengths", "is_doubted"),
    [
        (0.0, [1, 1, 1], True),
        (0.0, [1, 5, 9], True),
        (1e-6, [1, 1, 1], True),
        (0.01, [1, 1, 1], False),
    ],
)
def test_equal_embeddings_are_doubted(spread, lengths, is_doubted):
    rng = np.random.default_rng(0)
    embeddings = np.ones(8) + spread * rng.normal(size=(3, 8))
    views = (embeddings * np.array(lengths)[:, None])[:, None].repeat(2, axis=1)
    warnings = quality_checks.embedding_warnings(views)
    assert bool(warnings) == is_doubted
    assert all("3 different images are equal" in warning for warning in warnings)


def test_one_embedding_or_none_is_not_doubted():
    for count in (0, 1):
        assert not quality_checks.embedding_warnings(np.ones((count, 1, 8)))
