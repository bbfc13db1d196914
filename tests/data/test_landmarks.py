import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.landmarks import (
    landmark_line,
    last_line_of,
    parse_landmarks,
    read_landmarks,
)


def test_landmarks_are_read_with_tabs_spaces_and_spaces_in_names(tmp_path):
    file = tmp_path / "landmarks.txt"
    file.write_text(
        "\ufeffa/1.jpg 1 2 3 4 5 6 7 8 9 10\n\nb c\\2 3.jpg\t" + "\t".join(["1.5"] * 10) + "\n"
    )
    landmarks = read_landmarks(file)
    assert list(landmarks) == ["a/1.jpg", "b c/2 3.jpg"]
    np.testing.assert_array_equal(landmarks["a/1.jpg"], np.arange(1, 11).reshape(5, 2))


@pytest.mark.parametrize(
    "line", ["a.jpg 1 2 3", "a.jpg 1 2 3 4 5 6 7 8 9 x", "a.jpg" + " nan" * 10]
)
def test_bad_landmarks_are_refused_with_file_and_line(tmp_path, line):
    file = tmp_path / "landmarks.txt"
    file.write_text("a/1.jpg 1 2 3 4 5 6 7 8 9 10\n" + line + "\n")
    with pytest.raises(ValueError, match=r"landmarks.txt, line 2: .* Received: 'a.jpg"):
        read_landmarks(file)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_landmarks_or_a_value_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("fuzz") / "landmarks.txt"
    file.write_bytes(content)
    try:
        landmarks = read_landmarks(file)
    except ValueError:
        return
    assert all(points.shape == (5, 2) for points in landmarks.values())


@given(st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=10))
def test_a_line_of_landmarks_comes_back(numbers):
    key, points = parse_landmarks(landmark_line("a b/1.jpg", np.array(numbers)))
    assert key == "a b/1.jpg"
    np.testing.assert_allclose(points.ravel(), numbers, atol=0.0051)


def test_the_line_of_a_key_is_its_last(tmp_path):
    file = tmp_path / "landmarks.txt"
    ten = " 1 2 3 4 5 6 7 8 9 10\n"
    file.write_text(f"\ufeffa/1.jpg{ten}\nb c\\2.jpg{ten}a/1.jpg{ten}a/11.jpg{ten}\\d.jpg{ten}")
    keys = ["a/1.jpg", "b c/2.jpg", "a/11.jpg", "/d.jpg"]
    assert [last_line_of(file, key) for key in keys] == [4, 3, 5, 6]
    assert [last_line_of(file, key) for key in ["b c/2.png", "A/1.jpg", ""]] == [3, 0, 0]


def test_two_lines_with_other_points_for_an_image_are_refused(tmp_path):
    line, other = (
        landmark_line("Ann/1.jpg", np.arange(10).reshape(5, 2) + moved) for moved in (0, 1)
    )
    file = tmp_path / "landmarks.txt"
    file.write_text(line + line)
    assert list(read_landmarks(file)) == ["Ann/1.jpg"]
    file.write_text(line + "\n" + other)
    with pytest.raises(ValueError, match=r"landmarks.txt, line 3: an image has one face"):
        read_landmarks(file)
