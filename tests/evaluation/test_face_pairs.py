"""Sets of pairs: which files belong together, which images they need, and their identities."""

import itertools
import re
import shutil

import numpy as np
import pytest

from keras_sphereface.data import images
from keras_sphereface.data.pairs import insightface_bin, lfw
from keras_sphereface.evaluation.face_pairs import (
    PairSources,
    load_pair_dataset,
    read_pair_dataset,
)
from keras_sphereface.evaluation.faces import MissingFaceError, open_faces

SIZES = [(112, 96), (112, 112)]


@pytest.fixture(scope="module")
def pairs(faces):
    return lfw.read_pairs(faces / "pairs.txt")


def sources_of(faces, **changes):
    """Pairs, images and landmarks, as strings."""
    files = {"pairs": "pairs.txt", "images": "images", "landmarks": "landmarks.txt"}
    paths = {name: faces / file for name, file in files.items()} | changes
    return PairSources(**{name: str(path) for name, path in paths.items()})


def write_list(folder, rows):
    (folder / "list.txt").write_text("\n".join("\t".join(map(str, row)) for row in rows))
    return str(folder / "list.txt")


def test_pairs_come_with_the_faces_of_their_sources(faces, pairs):
    sources = sources_of(faces)
    dataset = load_pair_dataset(sources, (112, 96))
    keys = sorted({*pairs.first, *pairs.second})
    assert dataset.keys() == keys
    expected = open_faces(sources.faces, keys, (112, 96))
    np.testing.assert_array_equal(dataset.faces.load(keys[0]), expected.load(keys[0]))
    np.testing.assert_array_equal(dataset.faces.crop(keys[0]), expected.crop(keys[0]))


@pytest.mark.parametrize("size", SIZES)
def test_a_bin_has_two_faces_for_each_pair(tmp_path, size):
    colors = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    encoded = [images.encode_png(np.full((112, 112, 3), color, np.uint8)) for color in colors]
    encoded[7] = b"no image"
    insightface_bin.write_bin(tmp_path / "ten.bin", encoded, [True, False] * 10)
    dataset = load_pair_dataset(PairSources(bin=str(tmp_path / "ten.bin")), size, folds=(2, 10))
    assert dataset.keys() == [f"{i:06d}" for i in (4, 5, 6, 7, 36, 37, 38, 39)]
    assert (dataset.file, dataset.has_names) == (str(tmp_path / "ten.bin"), False)
    assert dataset.pairs.is_same.tolist() == [True, False] * 2
    for key in ("000004", "000039"):
        expected = np.broadcast_to(colors[int(key)], (*size, 3))
        np.testing.assert_array_equal(dataset.faces.load(key), expected)
    with pytest.raises(MissingFaceError, match=r"^cannot be read: .+"):
        dataset.faces.load("000007")


def test_pairs_alone_have_no_faces(faces, pairs):
    sources = PairSources(pairs=str(faces / "pairs.txt"))
    dataset = load_pair_dataset(sources, (112, 96), folds=(2, 5))
    assert dataset.faces is None
    assert not sources.has_faces
    assert dataset.pairs.first == pairs.in_folds((2, 5)).first
    assert dataset.file == str(faces / "pairs.txt")


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (PairSources(pairs="a/lfw/pairs.txt"), "lfw"),
        (PairSources(pairs="a/lfw/pairs.csv"), "lfw"),
        (PairSources(pairs="a/lfw/hard.txt"), "hard"),
        (PairSources(bin="a/sets/cfp_fp.bin"), "cfp_fp"),
        (PairSources(bin="a/sets/pairs.bin"), "pairs"),
    ],
)
def test_the_name_of_a_set_differs_from_others(sources, name):
    assert sources.name == name


def test_the_name_of_pairs_in_the_current_folder_is_the_folders(tmp_path, monkeypatch):
    (tmp_path / "agedb").mkdir()
    monkeypatch.chdir(tmp_path / "agedb")
    assert PairSources(pairs="pairs.txt").name == "agedb"
    assert PairSources(pairs="pairs.txt", images="images").name == "agedb"


def test_pairs_in_the_current_folder_of_images_elsewhere_have_their_name():
    assert PairSources(pairs="pairs.txt", images="sets/others").name == "others"
    assert PairSources(pairs="pairs.txt", images="lfw/images").name == "lfw"
    assert PairSources(pairs="a/lfw/pairs.txt", images="sets/others").name == "lfw"


@pytest.mark.parametrize(
    ("rows", "has_names"),
    [
        ([("A/1.jpg", "A/2.jpg", 1), ("A/1.jpg", "B/1.jpg", 0)], True),
        ([("A/x/1.jpg", "A/y/2.jpg", 1), ("A/x/1.jpg", "B/x/1.jpg", 0)], True),
        # One identity in two folders, two in one, and no folders at all.
        ([("A/1.jpg", "C/2.jpg", 1), ("A/1.jpg", "B/1.jpg", 0)], False),
        ([("A/1.jpg", "A/2.jpg", 1), ("A/1.jpg", "A/3.jpg", 0)], False),
        ([("1.jpg", "2.jpg", 1), ("1.jpg", "3.jpg", 0)], False),
        ([("all/1.jpg", "all/2.jpg", 1), ("all/1.jpg", "all/3.jpg", 0)], False),
    ],
)
def test_folders_are_identities_only_if_all_pairs_agree(tmp_path, rows, has_names):
    first = ("Z/1.jpg", "Z/2.jpg", 1), ("Z/1.jpg", "Y/1.jpg", 0)
    file = write_list(tmp_path, [(*row, 1) for row in first] + [(*row, 2) for row in rows])
    assert read_pair_dataset(PairSources(file)).has_names == has_names
    # Folds that are not asked for do not matter.
    assert read_pair_dataset(PairSources(file), folds=(1,)).has_names


def test_a_list_of_templates_names_the_images_that_are_needed(tmp_path):
    rows = [("T1", "T2", 1, 1), ("T1", "T3", 0, 1), ("T2", "T1", 1, 2), ("T2", "T3", 0, 2)]
    lines = ["b.jpg T1 v", "a.jpg T1 v", "c.jpg T2", "a.jpg T3", "z.jpg unused"]
    (tmp_path / "templates.txt").write_text("\n".join(lines))
    sources = PairSources(write_list(tmp_path, rows), templates=str(tmp_path / "templates.txt"))
    dataset = read_pair_dataset(sources)
    assert dataset.templates == {
        "T1": [("b.jpg", "v"), ("a.jpg", "v")],
        "T2": [("c.jpg", "c.jpg")],
        "T3": [("a.jpg", "a.jpg")],
    }
    assert dataset.keys() == ["a.jpg", "b.jpg", "c.jpg"]
    assert dataset.has_names is False


def test_the_name_of_no_template_is_an_error(tmp_path):
    rows = [("T1", "T2", 1, 1), ("T1", "T9", 0, 1), ("T2", "T1", 1, 2), ("T8", "T1", 0, 2)]
    (tmp_path / "templates.txt").write_text("a.jpg T1\nb.jpg T2")
    sources = PairSources(write_list(tmp_path, rows), templates=str(tmp_path / "templates.txt"))
    message = r"list.txt: every .* template of .*templates.txt. Received: 'T8', the first of 2"
    with pytest.raises(ValueError, match=message):
        read_pair_dataset(sources)


def test_folders_in_pairs_are_templates_of_one_video_each(faces, pairs, tmp_path):
    one, other = sorted(pairs.identities())[:2]
    image = f"{one}/{one}_0003.jpg"
    rows = [(one, image, 1), (one, other, 0), (image, one, 1), (image, "Absent", 0)]
    for name in (one, other):
        shutil.copytree(faces / "images" / name, tmp_path / "images" / name)
    for stray in ("Thumbs.db", ".hidden.jpg", "notes.txt"):
        (tmp_path / "images" / one / stray).write_bytes(b"")
    file = write_list(tmp_path, [(*row, i // 2 + 1) for i, row in enumerate(rows)])
    dataset = read_pair_dataset(sources_of(faces, pairs=file, images=tmp_path / "images"))
    keys_of_one = [f"{one}/{one}_{i:04d}.jpg" for i in range(1, 7)]
    assert dataset.templates[one] == [(key, "") for key in keys_of_one]
    assert dataset.templates[image] == [(image, "")]
    assert dataset.templates["Absent"] == [("Absent", "")]  # an image that is missing
    assert set(dataset.templates) == {one, other, image, "Absent"}
    keys_of_other = [key.replace(one, other) for key in keys_of_one]
    assert dataset.keys() == sorted(["Absent", *keys_of_one, *keys_of_other])
    assert dataset.has_names is True


def test_names_without_images_beside_them_are_keys(tmp_path):
    # Of saved embeddings: nothing shows what they are of.
    rows = [("T1", "T2", 1, 1), ("T1", "T3", 0, 1)]
    dataset = read_pair_dataset(PairSources(write_list(tmp_path, rows)))
    assert dataset.templates == {}
    assert dataset.keys() == ["T1", "T2", "T3"]


FIELDS = ("pairs", "images", "landmarks", "records", "templates", "bin")
FITTING = [
    {"bin"},
    *(
        {"pairs", *source, *templates}
        for source in ((), ("images",), ("images", "landmarks"), ("records",))
        for templates in ((), ("templates",))
    ),
]


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    for names in (set(c) for n in range(7) for c in itertools.combinations(FIELDS, n)):
        sources = PairSources(**{name: str(tmp_path / name) for name in names})
        if names in FITTING:  # and absent
            file = "bin" if names == {"bin"} else "pairs"
            with pytest.raises(FileNotFoundError, match=f"{file}'?$"):
                read_pair_dataset(sources)
            continue
        with pytest.raises(ValueError, match=r"either `bin` alone, or `pairs` .*Received: ") as it:
            read_pair_dataset(sources)
        received = str(it.value).split("Received: ")[1]
        assert set(re.findall(r"'(\w+)': ", received)) == names


@pytest.mark.parametrize("name", ["images", "landmarks", "templates"])
def test_an_absent_file_is_refused_by_name(faces, tmp_path, name):
    sources = sources_of(faces, **{name: tmp_path / "absent"})
    with pytest.raises(FileNotFoundError, match="absent"):
        load_pair_dataset(sources, (112, 96))


def test_absent_folds_are_an_error(faces):
    with pytest.raises(ValueError, match=r"pairs.txt: Folds must be among .* Received: \[8\]"):
        read_pair_dataset(sources_of(faces), folds=(1, 8))
