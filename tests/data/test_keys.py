import unicodedata

import pytest

from keras_sphereface.data.keys import canonical_key, matched_keys


def test_keys_are_compared_without_suffix_and_in_one_unicode_form():
    decomposed = unicodedata.normalize("NFD", "Zoë/1.jpeg")
    assert canonical_key(f".\\{decomposed}") == unicodedata.normalize("NFC", "Zoë/1")
    assert canonical_key("a/notes.v2") == "a/notes.v2"


@pytest.mark.parametrize(
    ("keys", "names", "expected"),
    [
        (["a/1.jpg"], ["a/1.png", "a/1.jpg"], {"a/1.jpg": "a/1.jpg"}),
        (["a/1.jpg"], ["./a/1.PNG"], {"a/1.jpg": "./a/1.PNG"}),
        (["a/1.jpg"], ["/data/a/1.jpg", "/data/b/1.jpg"], {"a/1.jpg": "/data/a/1.jpg"}),
        (["set/a/1.jpg", "set/b/1.jpg"], ["a/1"], {"set/a/1.jpg": "a/1"}),
        # Two that may be meant: neither is taken.
        (["a/1.jpg"], ["a/1.png", "a/1.bmp"], {}),
        (["a/1.jpg"], ["x/a/1.jpg", "y/a/1.jpg"], {}),
        (["a/1.jpg", "b/1.jpg"], ["1.jpg"], {}),
        (["a/1.jpg"], [], {}),
    ],
)
def test_names_that_mean_the_same_image_are_matched(keys, names, expected):
    assert matched_keys(keys, names) == expected
