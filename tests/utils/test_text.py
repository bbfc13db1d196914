import pytest

from keras_sphereface.utils.text import counted, duration, numbered_lines


def test_lines_are_stripped_and_numbered_and_blank_ones_left_out(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeff first \n\n \t\nsecond é".encode())
    assert list(numbered_lines(file)) == [(1, "first"), (4, "second é")]


def test_a_binary_file_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"first\n\xff\n")
    with pytest.raises(ValueError, match=r"list.txt is not UTF-8 text. Received: "):
        list(numbered_lines(tmp_path / "list.txt"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.34, "0.3 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (599.4, "9 min 59 s"),
        (599.6, "10 min"),
        (3_569, "59 min"),
        (3_599, "1 h 0 min"),
        (86_399, "1 d 0 h"),
        (100 * 3_600, "4 d 4 h"),
    ],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "nouns", "words"),
    [
        (1, ("image",), "1 image"),
        (0, ("image",), "0 images"),
        (1_234, ("identity",), "1,234 identities"),
        (2, ("class",), "2 classes"),
        (2, ("batch",), "2 batches"),
        (2, ("day",), "2 days"),
        (1, ("person", "people"), "1 person"),
        (2, ("pair is", "pairs are"), "2 pairs are"),
    ],
)
def test_counts_have_their_nouns_in_the_right_number(count, nouns, words):
    assert counted(count, *nouns) == words
