"""Names and counts of verification sets."""

import pytest

from keras_sphereface.data.known_sets import KNOWN_SETS, count_warnings, recognize_set


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("lfw", "lfw"),
        ("lfw_align_112", "lfw"),
        ("LFW-aligned-112x96", "lfw"),
        ("CFP_FF", "cfp_ff"),
        ("cfp-fp", "cfp_fp"),
        ("agedb", "agedb_30"),
        ("AgeDB_30", "agedb_30"),
        ("XQLFW_pairs", "xqlfw"),
        ("SLLFW", "sllfw"),
        ("FGLFW", "sllfw"),
        ("TALFW", "talfw"),
        ("vgg2_fp", "vgg2_fp"),
        ("IJBC", "ijbc"),
        ("IJB-B", "ijbb"),
        ("YouTubeFaces", "ytf"),
    ],
)
def test_sets_are_recognized_by_name(name, known):
    assert recognize_set(name) is KNOWN_SETS[known]


@pytest.mark.parametrize("name", ["lfw_dev", "my_lfw", "", "pairs", "cfp", "ijb"])
def test_other_names_are_no_sets(name):
    assert recognize_set(name) is None


def test_each_set_has_folds_that_divide_its_pairs():
    for known in KNOWN_SETS.values():
        assert known.num_matched % known.num_folds == known.num_mismatched % known.num_folds == 0
        assert known.source


def test_other_counts_are_said():
    (warning,) = count_warnings(KNOWN_SETS["cfp_fp"], 3500, 3499)
    assert "CFP-FP has 3,500 matched and 3,500 mismatched pairs as published" in warning
    assert "3,500 and 3,499" in warning
