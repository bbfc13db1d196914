import pytest

from keras_sphereface.config.suggestions import did_you_mean, nearest, path_hint


@pytest.mark.parametrize(
    ("word", "expected"),
    [("widht", "width"), ("WIDTH", "width"), ("Adam", "ADAM"), ("q", ""), ("", "")],
)
def test_the_nearest_word_is_found_in_any_case(word, expected):
    words = ["height", "width", "ADAM"]
    assert nearest(word, words) == expected
    assert did_you_mean(word, words) == (f"Did you mean `{expected}`?" if expected else "")


def test_names_are_compared_and_not_the_folders_before_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    assert path_hint(f"{tmp_path}/recrods") == f"Did you mean `{tmp_path}/records`?"
    assert path_hint("recrods/") == "Did you mean `records`?"
    assert path_hint(f"{tmp_path}/q") == ""
    assert path_hint("nowhere/recrods") == ""
