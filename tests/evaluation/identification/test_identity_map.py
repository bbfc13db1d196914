"""Which identity each image shows: from lists, folders, records and pairs."""

import shutil
import unicodedata

import pytest

from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.evaluation.identification.identity_map import (
    exclude_identities,
    identities_of_folders,
    identities_of_records,
    read_identity_list,
    select_identities,
)


def test_a_list_is_read_in_all_its_forms(tmp_path):
    path = tmp_path / "list.txt"
    lines = ["a b/1.jpg\tA B", "", "c\\2.jpg\tC", "c/3.jpg C", "  d 4.jpg  D  ", "c/3.jpg\tC"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert read_identity_list(path) == {
        "a b/1.jpg": "A B",
        "c/2.jpg": "C",
        "c/3.jpg": "C",
        "d 4.jpg": "D",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/1.jpg A\n\na/2.jpg\n", r"list.txt, line 3: expected `path<TAB or space>identity`"),
        ("a/1.jpg A\n../2.jpg A\n", r"list.txt, line 2: a path must not hold"),
        ("a/1.jpg A\na/2.jpg A\na/1.jpg B\n", r"line 3: .* B for a/1.jpg, which has A on a line"),
        ("\n \n", r"list.txt, line 1: expected .* Received: none"),
        (b"a/1.jpg \xff", "is not UTF-8 text"),
    ],
    ids=["no identity", "outside", "two identities", "empty", "binary"],
)
def test_a_bad_line_is_named_with_its_file(tmp_path, text, message):
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_identity_list(path)


def test_class_folders_name_the_identities(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a c/1.jpg", "a c/Thumbs.db", ".git/1.jpg", "stray.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    identity_map = identities_of_folders(tmp_path)
    assert list(identity_map.items()) == [("a c/1.jpg", "a c"), ("b/1.JPG", "b"), ("b/2.png", "b")]


def test_folders_without_images_are_refused_by_the_name_of_the_setting(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`images` must be a folder. Received: .*absent"):
        identities_of_folders(tmp_path / "absent")
    (tmp_path / "1.jpg").touch()
    with pytest.raises(ValueError, match="`distractors` must hold a folder of images for"):
        identities_of_folders(tmp_path, "distractors")


def test_records_hold_the_identities_of_their_folders(records_folder, faces, tmp_path):
    shutil.copytree(faces / "images", tmp_path / "images")
    for identity in (faces / "test_identities.txt").read_text().split():
        shutil.rmtree(tmp_path / "images" / identity)
    expected = identities_of_folders(tmp_path / "images")
    identity_map = identities_of_records(records_folder)
    assert list(identity_map.items()) == list(expected.items())
    assert len(identity_map) == 30


def test_identities_are_selected_and_excluded():
    identity_map = {"a/1": "A", "b/1": "B", "c/1": "C", "a/2": "A"}
    selected = select_identities(identity_map, ["A", "C", "nobody"])
    assert list(selected.items()) == [("a/1", "A"), ("c/1", "C"), ("a/2", "A")]
    assert exclude_identities(identity_map, ["A", "C", "nobody"]) == {"b/1": "B"}


def test_identities_are_compared_in_one_unicode_form():
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    identity_map = {"z/1": decomposed, "b/1": "B"}
    assert select_identities(identity_map, [composed]) == {"z/1": decomposed}
    assert exclude_identities(identity_map, [composed]) == {"b/1": "B"}


def test_the_identities_in_pairs_are_those_of_the_folds(faces):
    path = faces / "pairs.txt"
    everyone = lfw.read_pairs(path).identities()
    assert identities_of_pairs(path, ()) == everyone
    by_fold = [identities_of_pairs(path, (fold,)) for fold in range(1, 8)]
    assert set().union(*by_fold) == everyone
    assert all(len(identities) == 2 for identities in by_fold)
    with pytest.raises(ValueError, match=r"Received: \[8\]"):
        identities_of_pairs(path, (8,))


def test_folders_may_be_gathered_by_links(faces, tmp_path):
    names = sorted(folder.name for folder in (faces / "images").iterdir())[:2]
    for name in names:
        (tmp_path / name).symlink_to(faces / "images" / name)
    identity_map = identities_of_folders(tmp_path)
    assert sorted(set(identity_map.values())) == names
    assert len(identity_map) == 12
