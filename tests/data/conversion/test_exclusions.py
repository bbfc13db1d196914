"""Identities, images and patterns that a conversion leaves out."""

from keras_sphereface.data.conversion import exclusions
from keras_sphereface.data.types import ImageRecord


def image(key):
    return ImageRecord(key, key.split("/")[0], b"")


def test_lines_are_identities_images_and_patterns(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("# in LFW\n0166921\n\n 1056413 \nA*\nBob/1.jpg\nC/?[2].jpg\n[x]?\n*1.jpg\n")
    read = exclusions.read_exclusions(file)
    lines = {
        "0166921/1.jpg": "0166921",
        "166921/1.jpg": None,
        "Ada/7.jpg": "A*",
        "ada/7.jpg": None,
        "Bob/1.jpg": "Bob/1.jpg",
        "Bob/2.jpg": None,
        "C/12.jpg": "C/?[2].jpg",
        "C/?[2].jpg": "C/?[2].jpg",
        "xy/1.jpg": "[x]?",
        "xyz/1.jpg": None,
    }
    assert {key: read.line_for(image(key)) for key in lines} == lines
    assert exclusions.Exclusions().line_for(image("/")) is None


def test_lines_that_match_nothing_are_listed():
    requested = exclusions.Exclusions(["Ada", "Bob", "C*", "D*", "E/1.jpg"], optional=["Fay"])
    assert requested.line_for(image("Fay/1.jpg")) == "Fay"
    counts = {("Ada", "Ada"): 4, ("Fay", "Fay"): 2, ("C*", "Cem"): 1, ("E/1.jpg", "E"): 1}
    assert requested.summary(counts) == {
        "excluded_identities": ["Ada", "Cem", "Fay"],
        "excluded_images": 8,
        "unknown_exclusions": ["Bob", "D*"],
    }
