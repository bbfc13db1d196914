import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.pairs import lfw

TEXT = "2\t1\nAnn\t1\t3\nAnn\t2\tBob B\t11\nCy\t1\t2\nCy\t1\tDee\t4\n"


def write(folder, text):
    file = folder / "pairs.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_pairs_are_read_in_the_form_of_lfw(tmp_path):
    pairs = lfw.read_pairs(write(tmp_path, TEXT))
    assert pairs.first[:2] == ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg"]
    assert pairs.second[:2] == ["Ann/Ann_0003.jpg", "Bob B/Bob B_0011.jpg"]
    np.testing.assert_array_equal(pairs.is_same, [True, False, True, False])
    np.testing.assert_array_equal(pairs.folds, [1, 1, 2, 2])
    np.testing.assert_array_equal(pairs.lines, [2, 3, 4, 5])
    assert pairs.in_folds([2]).identities() == {"Cy", "Dee"}
    assert pairs.in_folds([]).identities() == {"Ann", "Bob B", "Cy", "Dee"}


def test_selected_pairs_keep_their_lines(tmp_path):
    pairs = lfw.read_pairs(write(tmp_path, TEXT.replace("\n", "\r\n")))
    chosen = pairs.select(np.array([True, False, False, True]))
    assert chosen.first == ["Ann/Ann_0001.jpg", "Cy/Cy_0001.jpg"]
    assert chosen.second == ["Ann/Ann_0003.jpg", "Dee/Dee_0004.jpg"]
    for values, expected in zip(chosen[2:], ([True, False], [1, 2], [2, 5]), strict=True):
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(pairs.in_folds([2]).lines, [4, 5])
    assert pairs._replace(lines=None).select(pairs.is_same).lines is None


def test_every_key_comes_once_in_order(tmp_path):
    keys = lfw.read_pairs(write(tmp_path, TEXT)).keys()
    assert keys == [
        "Ann/Ann_0001.jpg",
        "Ann/Ann_0002.jpg",
        "Ann/Ann_0003.jpg",
        "Bob B/Bob B_0011.jpg",
        "Cy/Cy_0001.jpg",
        "Cy/Cy_0002.jpg",
        "Dee/Dee_0004.jpg",
    ]


def test_pairs_round_trip(tmp_path):
    pairs = lfw.read_pairs(write(tmp_path, TEXT))
    lfw.write_pairs(tmp_path / "again.txt", pairs)
    assert (tmp_path / "again.txt").read_text() == TEXT


def test_an_unknown_fold_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"among \[1, 2\]. Received: \[3\]"):
        lfw.read_pairs(write(tmp_path, TEXT)).in_folds([2, 3])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("10 x\n", 1),
        ("² 1\n", 1),
        ("1" * 5000 + " 1\n", 1),
        ("Ann\t1\t3\n", 1),
        (TEXT[:-10], 5),
        (TEXT.replace("Ann\t1\t3", "Ann\t0\t3"), 2),
        (TEXT.replace("Ann\t1\t3", "Ann 1 x"), 2),
        (TEXT.replace("Ann\t1\t3", "Ann\t1\t" + "1" * 5000), 2),
        (TEXT.replace("Cy\t1\t2", "Cy\t1\t2\t3"), 4),
        (TEXT + "Cy\t1\t2\n", 6),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path, text, line):
    with pytest.raises(ValueError, match=rf"pairs.txt, line {line}: expected .* Received: "):
        lfw.read_pairs(write(tmp_path, text))


@given(st.text(st.sampled_from("12²a\t\n ")).map(str.encode) | st.binary())
def test_any_bytes_give_pairs_or_a_value_error(tmp_path_factory, text):
    file = write(tmp_path_factory.mktemp("fuzz"), text)
    try:
        pairs = lfw.read_pairs(file)
    except ValueError as error:
        if str(file) not in str(error):
            raise
        return
    assert len(pairs.first) == len(pairs.second) == len(pairs.is_same) == len(pairs.folds)


def test_the_real_file_has_disjoint_folds_of_300(real_faces):
    pairs = lfw.read_pairs(real_faces / "lfw_dev" / "pairs.txt")
    assert len(pairs.first) == 4200
    identities = [pairs.in_folds([fold]).identities() for fold in range(1, 8)]
    assert sum(map(len, identities)) == len(set().union(*identities))


@pytest.mark.parametrize(
    ("key", "identity"), [("A B/1.jpg", "A B"), ("A/b/1.jpg", "A"), ("000004", "000004")]
)
def test_the_identity_is_the_first_folder_of_a_key(key, identity):
    assert lfw.identity_of_key(key) == identity


@pytest.mark.parametrize(
    ("key", "identity"),
    [
        ("Ann/Ann_0001.jpg", "Ann"),
        ("Ann_B_0001.jpg", "Ann_B"),  # CALFW
        ("Ann_B_12.JPG", "Ann_B"),
        ("Ann_B", "Ann_B"),
        ("Ann_0001", "Ann_0001"),  # no image: a template or a folder
        ("000012.jpg", "000012.jpg"),
        ("_0001.jpg", "_0001.jpg"),
    ],
)
def test_the_identity_of_a_key_is_its_folder_or_the_name_before_its_number(key, identity):
    assert lfw.identity_of_key(key) == identity
