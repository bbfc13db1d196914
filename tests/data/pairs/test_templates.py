import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.pairs.templates import read_templates


@pytest.mark.parametrize("separator", ["\t", " ", "   ", " \t "])
def test_templates_are_read_with_and_without_media(tmp_path, separator):
    rows = [("1.jpg", "7", "v1"), ("a\\2.jpg", "7", "v1"), ("3.jpg", "8"), ("1.jpg", "8", "9")]
    text = "".join(separator.join(row) + "\r\n" for row in rows)
    (tmp_path / "templates.txt").write_text("\ufeff\n" + text, newline="", encoding="utf-8")
    assert read_templates(tmp_path / "templates.txt") == {
        "7": [("1.jpg", "v1"), ("a/2.jpg", "v1")],
        "8": [("3.jpg", "3.jpg"), ("1.jpg", "9")],
    }


def test_paths_of_templates_may_hold_spaces_between_tabs(tmp_path):
    (tmp_path / "templates.txt").write_text("a b/1 2.jpg\tAnn Lee\n")
    assert read_templates(tmp_path / "templates.txt") == {
        "Ann Lee": [("a b/1 2.jpg", "a b/1 2.jpg")]
    }


@pytest.mark.parametrize("line", ["a.jpg", "a 1 2 3", "a\t1\t2\t3", "a\t\t1", "a\t \t1"])
def test_bad_templates_are_refused_with_file_and_line(tmp_path, line):
    file = tmp_path / "templates.txt"
    file.write_text(f"a.jpg 1\n\n{line}\n")
    expected = r"templates.txt, line 3: expected `path template \[medium\]`. Received: 'a"
    with pytest.raises(ValueError, match=expected):
        read_templates(file)


@given(st.binary() | st.text(st.sampled_from("ab1\t\n ,")).map(str.encode))
def test_any_bytes_give_templates_or_a_value_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("fuzz") / "templates.txt"
    file.write_bytes(content)
    try:
        templates = read_templates(file)
    except ValueError as error:
        if str(file) not in str(error):
            raise
        return
    assert all(name.strip() and images for name, images in templates.items())
    assert all(path and medium for images in templates.values() for path, medium in images)
