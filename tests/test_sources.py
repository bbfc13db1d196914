import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface import sources


def test_class_folders_lists_pictures_and_passes_over_the_rest(tmp_path):
    for path in (
        "b/2.jpg",
        "b/1.PNG",
        "a b/ä.webp",
        "a b/Thumbs.db",
        "b/.DS_Store",
        "b/.x.jpg",
        ".c/3.jpg",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "stray.jpg").touch()
    keys = [picture.key for picture in sources.class_folders(tmp_path)]
    assert keys == ["a b/ä.webp", "b/1.PNG", "b/2.jpg"]


def test_a_source_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"class folders\. Received"):
        list(sources.class_folders(tmp_path / "absent"))


def test_landmarks_are_read_with_tabs_spaces_and_spaces_in_names(tmp_path):
    file = tmp_path / "landmarks.txt"
    file.write_text(
        "a/1.jpg 1 2 3 4 5 6 7 8 9 10\n\nb c/2 3.jpg\t" + "\t".join(["1.5"] * 10) + "\n"
    )
    landmarks = sources.read_landmarks(file)
    assert list(landmarks) == ["a/1.jpg", "b c/2 3.jpg"]
    np.testing.assert_array_equal(landmarks["a/1.jpg"], np.arange(1, 11).reshape(5, 2))


@pytest.mark.parametrize(
    "line", ["a.jpg 1 2 3", "a.jpg 1 2 3 4 5 6 7 8 9 x", "a.jpg" + " nan" * 10]
)
def test_bad_landmarks_are_refused_with_file_and_line(tmp_path, line):
    file = tmp_path / "landmarks.txt"
    file.write_text("a/1.jpg 1 2 3 4 5 6 7 8 9 10\n" + line + "\n")
    with pytest.raises(ValueError, match=r"landmarks.txt, line 2: .* Received: 'a.jpg"):
        sources.read_landmarks(file)


@given(st.text())
def test_any_text_gives_landmarks_or_a_value_error(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("fuzz") / "landmarks.txt"
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        landmarks = sources.read_landmarks(file)
    except ValueError:
        return
    assert all(points.shape == (5, 2) for points in landmarks.values())


def test_names_skip_blank_lines_and_comments(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("# in LFW\n0166921\n\n 1056413 \n")
    assert sources.read_names(file) == {"0166921", "1056413"}
