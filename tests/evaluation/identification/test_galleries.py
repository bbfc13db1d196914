import contextlib
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.identification import galleries
from keras_sphereface.evaluation.identification.galleries import Gallery


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn_roll(counts):
    """A person for each count, with so many images; persons take turns."""
    images = [(i, person) for person, count in enumerate(counts) for i in range(count)]
    return {f"p{person}/{i}.jpg": f"p{person}" for i, person in sorted(images)}


def images_of(roll):
    found = {}
    for key, person in roll.items():
        found.setdefault(person, set()).add(key)
    return found


ROLLS = st.lists(st.integers(1, 7), min_size=1, max_size=12).map(drawn_roll)
SEEDS = st.integers(0, 99)


def test_a_list_is_read_in_all_its_forms(tmp_path):
    path = tmp_path / "list.txt"
    lines = ["a b/1.jpg\tA B", "", "c\\2.jpg\tC", "c/3.jpg C", "  d 4.jpg  D  ", "c/3.jpg\tC"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert galleries.read_roll(path) == {
        "a b/1.jpg": "A B",
        "c/2.jpg": "C",
        "c/3.jpg": "C",
        "d 4.jpg": "D",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/1.jpg A\n\na/2.jpg\n", r"list.txt, line 3: expected `path<TAB or space>identity`"),
        ("a/1.jpg A\n../2.jpg A\n", r"list.txt, line 2: a path may not climb out of its folder"),
        ("a/1.jpg A\na/2.jpg A\na/1.jpg B\n", r"line 3: .* a/1.jpg of B, which a line above .* A"),
        ("\n \n", r"list.txt, line 1: expected .* Received: none"),
        (b"a/1.jpg \xff", "is not UTF-8 text"),
    ],
    ids=["no person", "outside", "two people", "empty", "binary"],
)
def test_a_bad_line_is_named_with_its_file(tmp_path, text, message):
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        galleries.read_roll(path)


def test_two_lists_may_share_a_image_but_not_name_two_people_for_it(tmp_path):
    gallery, probes = tmp_path / "gallery.txt", tmp_path / "probes.txt"
    gallery.write_text("1.jpg A\n2.jpg B\n")
    probes.write_text("3.jpg C\n2.jpg B\n")
    found = galleries.read_lists(gallery, probes)
    assert found == ({"1.jpg": "A", "2.jpg": "B"}, {"3.jpg": "C", "2.jpg": "B"})
    assert found.keys() == ["1.jpg", "2.jpg", "3.jpg"]
    probes.write_text("3.jpg C\n2.jpg A\n")
    with pytest.raises(
        ValueError, match=r"probes.txt: .* 2.jpg of A, which .*gallery.txt has of B"
    ):
        galleries.read_lists(gallery, probes)


def test_class_folders_name_the_people(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a c/1.jpg", "a c/Thumbs.db", ".git/1.jpg", "stray.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    found = galleries.roll_of_folders(tmp_path)
    assert list(found.items()) == [("a c/1.jpg", "a c"), ("b/1.JPG", "b"), ("b/2.png", "b")]


def test_folders_without_images_are_refused_by_the_name_of_the_setting(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`images` must be a folder. Received: .*absent"):
        galleries.roll_of_folders(tmp_path / "absent")
    (tmp_path / "1.jpg").touch()
    with pytest.raises(ValueError, match="`distractors` must hold class folders with images"):
        galleries.roll_of_folders(tmp_path, "distractors")


def test_records_hold_the_people_of_their_folders(records_folder, faces, tmp_path):
    shutil.copytree(faces / "images", tmp_path / "images")
    for person in (faces / "test_identities.txt").read_text().split():
        shutil.rmtree(tmp_path / "images" / person)
    expected = galleries.roll_of_folders(tmp_path / "images")
    found = galleries.roll_of_records(records_folder)
    assert list(found.items()) == list(expected.items())
    assert len(found) == 30


def test_people_are_kept_and_left_out():
    roll = drawn_roll([2, 1, 3])
    some = galleries.only(roll, ["p0", "p2", "nobody"])
    assert images_of(some).keys() == {"p0", "p2"}
    others = galleries.without(roll, ["p0", "p2", "nobody"])
    assert others == {"p1/0.jpg": "p1"}
    assert some | others == roll


def test_the_people_of_pairs_are_those_of_the_folds(faces):
    path = faces / "pairs.txt"
    everyone = lfw.read_pairs(path).identities()
    assert galleries.people_of_pairs(path, ()) == everyone
    parts = [galleries.people_of_pairs(path, (fold,)) for fold in range(1, 8)]
    assert set().union(*parts) == everyone
    assert all(len(part) == 2 for part in parts)
    with pytest.raises(ValueError, match=r"Received: \[8\]"):
        galleries.people_of_pairs(path, (8,))


@given(ROLLS, st.integers(1, 4), SEEDS)
def test_a_closed_set_has_so_many_images_of_everyone_with_more(roll, count, seed):
    enough = {who: keys for who, keys in images_of(roll).items() if len(keys) > count}
    if not enough:
        with pytest.raises(ValueError, match=f"more than {count} images"):
            galleries.split_closed(roll, count, rng(seed))
        return
    gallery = galleries.split_closed(roll, count, rng(seed))
    known, probes = map(images_of, gallery)
    assert known.keys() == probes.keys() == enough.keys()
    for person, keys in enough.items():
        assert len(known[person]) == count
        assert known[person] | probes[person] == keys
        assert not known[person] & probes[person]


@given(ROLLS, st.integers(1, 3), st.floats(0.01, 0.99), SEEDS)
def test_strangers_of_an_open_set_have_no_image_in_the_gallery(roll, count, share, seed):
    people = images_of(roll)
    gallery = None
    with contextlib.suppress(ValueError):
        gallery = galleries.split_open(roll, count, share, rng(seed))
    if gallery is None:
        # Refused where everyone with enough images may have become a stranger.
        assert sum(len(keys) > count for keys in people.values()) <= share * len(people) + 1.5
        return
    known, probes = map(images_of, gallery)
    strangers = people.keys() - known.keys()
    wanted = min(max(share * len(people), 1), len(people) - 1)
    assert abs(len(strangers) - wanted) <= 0.5
    for person, keys in people.items():
        if person in strangers:
            assert probes[person] == keys
        else:
            assert len(known[person]) == min(count, len(keys))
            assert known[person] | probes.get(person, set()) == keys
            assert not known[person] & probes.get(person, set())
    assert known.keys() & probes.keys()


SPLITS = {
    "closed": lambda roll, seed: galleries.split_closed(roll, 2, rng(seed)),
    "open": lambda roll, seed: galleries.split_open(roll, 2, 0.5, rng(seed)),
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_a_split_depends_on_the_seed_and_not_on_the_order(split):
    roll = drawn_roll([6] * 8)
    backwards = dict(reversed(roll.items()))
    for seed in range(3):
        assert split(roll, seed) == split(roll, seed) == split(backwards, seed)
    assert split(roll, 0) != split(roll, 1)


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_any_image_may_come_into_the_gallery(split):
    roll = drawn_roll([6] * 8)
    seen = {key for seed in range(40) for key in split(roll, seed).known}
    assert seen == roll.keys()


@pytest.mark.parametrize("strangers", [0, 1, -0.5, 1.5, float("nan")])
def test_a_share_of_strangers_is_refused_that_leaves_one_side_empty(strangers):
    with pytest.raises(ValueError, match=f"between 0 and 1. Received: strangers={strangers}"):
        galleries.split_open(drawn_roll([3, 3]), 1, strangers, rng())


@pytest.mark.parametrize("split", ["closed", "open"])
def test_too_few_images_are_refused(split):
    cut = {
        "closed": lambda roll, count: galleries.split_closed(roll, count, rng()),
        "open": lambda roll, count: galleries.split_open(roll, count, 0.5, rng()),
    }[split]
    with pytest.raises(ValueError, match=r"`gallery_images` must be >= 1. .* gallery_images=0"):
        cut(drawn_roll([3, 3]), 0)
    with pytest.raises(ValueError, match=r"more than 3 images, .* Received: 12 images.*nobody"):
        cut(drawn_roll([3, 3, 3, 3]), 3)


def test_a_stranger_in_the_closed_set_is_named_with_file_and_image():
    gallery = Gallery({"1": "A", "2": "B"}, {"3": "A", "4": "C", "5": "C"})
    expected = "probes.txt: .* must be in the gallery. Received: 4 of C, the first of 2 .* open-set"
    with pytest.raises(ValueError, match=expected):
        galleries.check_closed(gallery, "probes.txt")
    galleries.check_closed(gallery._replace(probes={"3": "A", "5": "B"}), "probes.txt")


def test_arrays_leave_out_what_is_missing():
    roll = {"c": "C", "a": "A", "b": "B"}
    rows, people, keys = galleries.arrays(roll, {"a": 4, "c": 0, "other": 1})
    assert (rows.tolist(), people.tolist(), keys) == ([0, 4], ["C", "A"], ["c", "a"])
    rows, people, keys = galleries.arrays(roll, {})
    assert (rows.dtype.kind, rows.shape, people.dtype.kind, keys) == ("i", (0,), "U", [])
