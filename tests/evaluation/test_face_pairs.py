"""Sets of pairs, and their faces from images, records and `.bin` files."""

import itertools
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import alignment, images
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.landmarks import landmark_line, parse_landmarks, read_landmarks
from keras_sphereface.data.pairs import insightface_bin, lfw
from keras_sphereface.evaluation import face_pairs
from keras_sphereface.evaluation.face_pairs import MissingFaceError, PairSources

SIZES = [(112, 96), (112, 112)]


@pytest.fixture(scope="module")
def pairs(faces):
    return lfw.read_pairs(faces / "pairs.txt")


@pytest.fixture(scope="module")
def landmarks(faces):
    return read_landmarks(faces / "landmarks.txt")


@pytest.fixture(scope="module")
def records(faces, tmp_path_factory):
    out = tmp_path_factory.mktemp("face_sets") / "records"
    make_records(
        ConvertConfig(
            source=str(faces / "images"), landmarks=str(faces / "landmarks.txt"), out=str(out)
        )
    )
    return out


def paths_of(faces, **changes):
    """Images and landmarks, as strings."""
    files = {"pairs": "pairs.txt", "images": "images", "landmarks": "landmarks.txt"}
    whole = {name: str(faces / file) for name, file in files.items()}
    return PairSources(**{**whole, **{name: str(path) for name, path in changes.items()}})


def write_pairs(folder, rows):
    (folder / "list.txt").write_text("\n".join("\t".join(map(str, row)) for row in rows))
    return folder / "list.txt"


def pixels(faces, key):
    return images.decode((faces / "images" / key).read_bytes())


@pytest.mark.parametrize("size", SIZES)
def test_landmarks_lay_the_five_points_on_the_template(faces, pairs, landmarks, size):
    found = face_pairs.face_set(paths_of(faces), size)
    for key in found.keys()[::20]:
        face = found.faces.load(key)
        assert (face.shape, face.dtype) == ((*size, 3), np.uint8)
        expected = alignment.align(pixels(faces, key), landmarks[key], size)
        np.testing.assert_array_equal(face, expected)
    assert found.keys() == sorted({*pairs.first, *pairs.second})


@pytest.mark.parametrize("size", SIZES)
def test_without_landmarks_the_middle_of_a_image_is_taken(faces, pairs, size, tmp_path):
    # A bar of one color to the left and to the right of what has the shape of the face.
    height, width = 2 * size[0], 2 * size[1]
    middle = np.full((height, width, 3), (200, 100, 50), np.uint8)
    wide = np.pad(middle, ((0, 0), (30, 30), (0, 0)))
    key = pairs.first[0]
    (tmp_path / key).parent.mkdir()
    (tmp_path / key).write_bytes(images.encode_png(wide))
    found = face_pairs.face_set(paths_of(faces, images=tmp_path, landmarks=""), size)
    face = found.faces.load(key)
    assert (face.shape, face.dtype) == ((*size, 3), np.uint8)
    # The resampling sees beyond the cut.
    np.testing.assert_array_equal(face[:, 2:-2] - np.array([200, 100, 50]), 0)
    np.testing.assert_allclose(face - np.array([200.0, 100, 50]), 0, atol=20)
    assert found.faces.crop is None


def test_a_image_of_the_right_size_is_left_as_it_is(faces, pairs, tmp_path):
    key, noise = pairs.first[0], np.random.default_rng(0).integers(0, 256, (112, 96, 3), np.uint8)
    (tmp_path / key).parent.mkdir()
    (tmp_path / key).write_bytes(images.encode_png(noise))
    found = face_pairs.face_set(paths_of(faces, images=tmp_path, landmarks=""), (112, 96))
    np.testing.assert_array_equal(found.faces.load(key), noise)


def test_faces_that_are_aligned_can_be_cropped_instead(faces, pairs):
    aligned = face_pairs.face_set(paths_of(faces), (112, 96)).faces
    cropped = face_pairs.face_set(paths_of(faces, landmarks=""), (112, 96)).faces
    key = pairs.first[0]
    np.testing.assert_array_equal(aligned.crop(key), cropped.load(key))
    assert not np.array_equal(aligned.load(key), aligned.crop(key))


@pytest.mark.parametrize("size", SIZES)
def test_records_have_the_faces_of_their_images(faces, pairs, records, size):
    of_records = face_pairs.face_set(
        paths_of(faces, images="", landmarks="", records=records), size
    ).faces
    of_images = face_pairs.face_set(paths_of(faces), (112, 96)).faces
    key = pairs.second[3]
    face = of_records.load(key)
    assert face.shape == (*size, 3)
    expected = images.crop_to(of_images.load(key), size).astype(int)
    assert np.abs(face - expected).mean() < 3  # records are JPEGs
    with pytest.raises(MissingFaceError, match=r"^no such image$"):
        of_records.load("Nobody/Nobody_0001.jpg")


def test_records_of_images_in_no_pair_are_not_kept(faces, pairs, records):
    paths = paths_of(faces, images="", landmarks="", records=records)
    opened = face_pairs.open_faces(paths, pairs.first[:1], (112, 96))
    opened.load(pairs.first[0])
    other = next(key for key in pairs.first if key != pairs.first[0])
    with pytest.raises(MissingFaceError, match="no such image"):
        opened.load(other)


@pytest.mark.parametrize("size", SIZES)
def test_a_bin_has_two_faces_for_each_pair(tmp_path, size):
    colors = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    pictures = [images.encode_png(np.full((112, 112, 3), color, np.uint8)) for color in colors]
    pictures[7] = b"no image"
    insightface_bin.write_bin(tmp_path / "ten.bin", pictures, [True, False] * 10)
    found = face_pairs.face_set(PairSources(bin=str(tmp_path / "ten.bin")), size, folds=(2, 10))
    assert found.keys() == [f"{i:06d}" for i in (4, 5, 6, 7, 36, 37, 38, 39)]
    assert (found.file, found.has_names) == (str(tmp_path / "ten.bin"), False)
    assert found.pairs.is_same.tolist() == [True, False] * 2
    for key in ("000004", "000039"):
        expected = np.broadcast_to(colors[int(key)], (*size, 3))
        np.testing.assert_array_equal(found.faces.load(key), expected)
    with pytest.raises(MissingFaceError, match=r"^cannot be read: .+"):
        found.faces.load("000007")


def test_pairs_alone_have_no_faces(faces, pairs):
    found = face_pairs.face_set(
        PairSources(pairs=str(faces / "pairs.txt")), (112, 96), folds=(2, 5)
    )
    assert found.faces is None
    assert found.pairs.first == pairs.in_folds((2, 5)).first
    assert found.file == str(faces / "pairs.txt")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "^no such image$"),
        (lambda path: shutil.rmtree(path.parent), "^no such image$"),
        (lambda path: path.write_bytes(b""), "^cannot be read: the file is empty$"),
        (lambda path: path.write_bytes(b"text"), "^cannot be read: .+"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "^cannot be read: .+"),
        (lambda path: (path.unlink(), path.mkdir()), "^cannot be read: Is a directory$"),
    ],
    ids=["no image", "no folder", "empty", "text", "truncated", "folder"],
)
@pytest.mark.parametrize("with_landmarks", [True, False])
def test_why_a_face_is_missing_is_said(faces, pairs, tmp_path, spoil, reason, with_landmarks):
    shutil.copytree(faces / "images", tmp_path / "images")
    spoil(tmp_path / "images" / pairs.first[0])
    changes = {"images": tmp_path / "images"} | ({} if with_landmarks else {"landmarks": ""})
    found = face_pairs.face_set(paths_of(faces, **changes), (112, 96)).faces
    for load in (found.load, found.crop)[: 1 + with_landmarks]:
        with pytest.raises(MissingFaceError, match=reason):
            load(pairs.first[0])
    person = lfw.identity_of_key(pairs.first[0])
    key = next(key for key in pairs.first if lfw.identity_of_key(key) != person)
    assert found.load(key).shape == (112, 96, 3)


def test_a_name_that_no_file_can_have_is_missing(faces):
    faces_there = face_pairs.open_faces(paths_of(faces, landmarks=""), [], (112, 96))
    with pytest.raises(MissingFaceError, match=r"^cannot be read: File name too long$"):
        faces_there.load(300 * "a" + ".jpg")


def test_a_image_without_landmarks_is_missing_but_can_be_cropped(faces, pairs, tmp_path):
    lines = (faces / "landmarks.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(pairs.first[0])]
    (tmp_path / "landmarks.txt").write_text("\n".join(kept))
    paths = paths_of(faces, landmarks=tmp_path / "landmarks.txt")
    found = face_pairs.face_set(paths, (112, 96)).faces
    with pytest.raises(MissingFaceError, match=r"^no landmarks$"):
        found.load(pairs.first[0])
    expected = images.crop_to(pixels(faces, pairs.first[0]), (112, 96))
    np.testing.assert_array_equal(found.crop(pairs.first[0]), expected)


def moved(faces, folder, key, move):
    """A landmark file in which the points of one image are others, and the number of its line."""
    lines = (faces / "landmarks.txt").read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith(key))
    points = move(parse_landmarks(lines[number])[1])
    lines[number] = landmark_line(key, points).strip()
    (folder / "landmarks.txt").write_text("\n".join(["", *lines]))
    return folder / "landmarks.txt", number + 2


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda p: p + (500, 0), r"the face must lie in the image of \d+ x \d+ pixels"),
        (lambda p: p - (0, 500), r"Received: points around \(\d+, -\d+\)"),
        (lambda p: p * 0 + 60, "must be finite and not all in one place"),
        (lambda p: p + [[-2000, 0], [2000, 0], [0, 0], [0, 0], [0, 0]], "in or near the image"),
    ],
    ids=["right", "above", "one place", "torn apart"],
)
def test_points_that_fit_no_face_are_an_error_with_file_line_and_key(
    faces, pairs, tmp_path, move, message
):
    file, line = moved(faces, tmp_path, pairs.first[2], move)
    found = face_pairs.face_set(paths_of(faces, landmarks=file), (112, 96)).faces
    where = f"^{re.escape(f'{file}, line {line}, {pairs.first[2]}: ')}"
    with pytest.raises(ValueError, match=f"{where}.*{message}") as caught:
        found.load(pairs.first[2])
    assert not isinstance(caught.value, MissingFaceError)  # else the face would just be left out
    assert found.load(pairs.first[5]).shape == (112, 96, 3)


def test_single_points_may_lie_outside(faces, pairs, tmp_path):
    file, _ = moved(faces, tmp_path, pairs.first[2], lambda p: p - (p[:, 0].min() + 5, 0))
    found = face_pairs.face_set(paths_of(faces, landmarks=file), (112, 96)).faces
    assert found.load(pairs.first[2]).shape == (112, 96, 3)


def test_gray_and_turned_images_become_upright_rgb(faces, pairs, tmp_path):
    key = pairs.first[0].replace(".jpg", ".png")
    (tmp_path / key).parent.mkdir()
    upright = np.zeros((112, 96), np.uint8)
    upright[:50] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter
    Image.fromarray(np.rot90(upright)).save(tmp_path / key, exif=exif)
    found = face_pairs.open_faces(paths_of(faces, images=tmp_path, landmarks=""), [key], (112, 96))
    np.testing.assert_array_equal(found.load(key), upright[..., None].repeat(3, axis=2))


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (PairSources(pairs="a/lfw/pairs.txt"), "lfw"),
        (PairSources(pairs="a/lfw/pairs.csv"), "lfw"),
        (PairSources(pairs="a/lfw/hard.txt"), "hard"),
        (PairSources(bin="a/sets/cfp_fp.bin"), "cfp_fp"),
        (PairSources(bin="a/sets/pairs.bin"), "pairs"),
    ],
)
def test_the_name_of_a_set_is_what_tells_it_from_others(paths, name):
    assert paths.name == name


def test_the_name_of_pairs_in_the_current_folder_is_the_folders(tmp_path, monkeypatch):
    (tmp_path / "agedb").mkdir()
    monkeypatch.chdir(tmp_path / "agedb")
    assert PairSources(pairs="pairs.txt").name == "agedb"


@pytest.mark.parametrize(
    ("rows", "has_names"),
    [
        ([("A/1.jpg", "A/2.jpg", 1), ("A/1.jpg", "B/1.jpg", 0)], True),
        ([("A/x/1.jpg", "A/y/2.jpg", 1), ("A/x/1.jpg", "B/x/1.jpg", 0)], True),
        # One person in two folders, two in one, and no folders at all.
        ([("A/1.jpg", "C/2.jpg", 1), ("A/1.jpg", "B/1.jpg", 0)], False),
        ([("A/1.jpg", "A/2.jpg", 1), ("A/1.jpg", "A/3.jpg", 0)], False),
        ([("1.jpg", "2.jpg", 1), ("1.jpg", "3.jpg", 0)], False),
        ([("all/1.jpg", "all/2.jpg", 1), ("all/1.jpg", "all/3.jpg", 0)], False),
    ],
)
def test_folders_are_people_only_if_all_pairs_agree(tmp_path, rows, has_names):
    first = ("Z/1.jpg", "Z/2.jpg", 1), ("Z/1.jpg", "Y/1.jpg", 0)
    file = write_pairs(tmp_path, [(*row, 1) for row in first] + [(*row, 2) for row in rows])
    assert face_pairs.face_set(PairSources(pairs=str(file)), (112, 96)).has_names == has_names
    # Folds that are not asked for do not matter.
    assert face_pairs.face_set(PairSources(pairs=str(file)), (112, 96), folds=(1,)).has_names


@pytest.mark.parametrize(
    ("key", "person"), [("A B/1.jpg", "A B"), ("A/b/1.jpg", "A"), ("000004", "000004")]
)
def test_the_person_is_the_first_folder(key, person):
    assert lfw.identity_of_key(key) == person


def test_a_list_of_templates_says_which_images_are_needed(tmp_path):
    rows = [("T1", "T2", 1, 1), ("T1", "T3", 0, 1), ("T2", "T1", 1, 2), ("T2", "T3", 0, 2)]
    lines = ["b.jpg T1 v", "a.jpg T1 v", "c.jpg T2", "a.jpg T3", "z.jpg unused"]
    (tmp_path / "templates.txt").write_text("\n".join(lines))
    paths = PairSources(str(write_pairs(tmp_path, rows)), templates=str(tmp_path / "templates.txt"))
    found = face_pairs.face_set(paths, (112, 96))
    assert found.templates == {
        "T1": [("b.jpg", "v"), ("a.jpg", "v")],
        "T2": [("c.jpg", "c.jpg")],
        "T3": [("a.jpg", "a.jpg")],
    }
    assert found.keys() == ["a.jpg", "b.jpg", "c.jpg"]
    assert found.has_names is False


def test_the_name_of_no_template_is_an_error(tmp_path):
    rows = [("T1", "T2", 1, 1), ("T1", "T9", 0, 1), ("T2", "T1", 1, 2), ("T8", "T1", 0, 2)]
    (tmp_path / "templates.txt").write_text("a.jpg T1\nb.jpg T2")
    paths = PairSources(str(write_pairs(tmp_path, rows)), templates=str(tmp_path / "templates.txt"))
    message = r"list.txt: every .* template of .*templates.txt. Received: 'T8', the first of 2"
    with pytest.raises(ValueError, match=message):
        face_pairs.face_set(paths, (112, 96))


def test_folders_in_pairs_are_templates_of_one_video_each(faces, pairs, tmp_path):
    one, other = sorted(pairs.identities())[:2]
    image = f"{one}/{one}_0003.jpg"
    rows = [(one, image, 1), (one, other, 0), (image, one, 1), (image, "Absent", 0)]
    shutil.copytree(faces / "images", tmp_path / "images")
    for stray in ("Thumbs.db", ".hidden.jpg", "notes.txt"):
        (tmp_path / "images" / one / stray).write_bytes(b"")
    file = write_pairs(tmp_path, [(*row, i // 2 + 1) for i, row in enumerate(rows)])
    found = face_pairs.face_set(paths_of(faces, pairs=file, images=tmp_path / "images"), (112, 96))
    of_one = [f"{one}/{one}_{i:04d}.jpg" for i in range(1, 7)]
    assert found.templates[one] == [(key, "") for key in of_one]
    assert found.templates[image] == [(image, "")]
    assert found.templates["Absent"] == [("Absent", "")]  # an image that is missing
    assert set(found.templates) == {one, other, image, "Absent"}
    assert found.keys() == sorted(["Absent", *of_one, *(k.replace(one, other) for k in of_one)])
    assert found.has_names is True


def test_names_without_images_beside_them_are_keys(tmp_path):
    # Of saved embeddings: nothing says what they are of.
    rows = [("T1", "T2", 1, 1), ("T1", "T3", 0, 1)]
    found = face_pairs.face_set(PairSources(str(write_pairs(tmp_path, rows))), (112, 96))
    assert found.templates == {}
    assert found.keys() == ["T1", "T2", "T3"]


FIELDS = ("pairs", "images", "landmarks", "records", "templates", "bin")
FITTING = [
    {"bin"},
    *(
        {"pairs", *source, *templates}
        for source in ((), ("images",), ("images", "landmarks"), ("records",))
        for templates in ((), ("templates",))
    ),
]


@pytest.mark.parametrize(
    "given",
    [set(c) for n in range(7) for c in itertools.combinations(FIELDS, n)],
    ids=lambda given: "+".join(sorted(given)) or "nothing",
)
def test_files_that_do_not_fit_together_are_refused(given, tmp_path):
    paths = PairSources(**{name: str(tmp_path / name) for name in given})
    if given in FITTING:  # and absent
        with pytest.raises(FileNotFoundError, match=f"{'bin' if given == {'bin'} else 'pairs'}'?$"):
            face_pairs.face_set(paths, (112, 96))
        return
    with pytest.raises(ValueError, match=r"either `bin` alone, or `pairs` .*Received: ") as it:
        face_pairs.face_set(paths, (112, 96))
    received = str(it.value).split("Received: ")[1]
    assert set(re.findall(r"'(\w+)': ", received)) == given


@pytest.mark.parametrize("name", ["images", "landmarks", "templates"])
def test_an_absent_file_is_said(faces, tmp_path, name):
    paths = paths_of(faces, **{name: tmp_path / "absent"})
    with pytest.raises(FileNotFoundError, match="absent"):
        face_pairs.face_set(paths, (112, 96))


def test_folds_that_are_not_there_are_an_error(faces):
    with pytest.raises(ValueError, match=r"Folds must be among .* Received: \[8\]"):
        face_pairs.face_set(paths_of(faces), (112, 96), folds=(1, 8))


def test_real_faces_lie_on_the_template(real_faces):
    folder = real_faces / "lfw_dev"
    found = face_pairs.face_set(paths_of(folder), (112, 96), folds=(1,))
    pictures = [found.faces.load(key).astype(float) for key in found.keys()[:64]]
    # Both eyes are darker than the cheeks below them, in the mean of all.
    mean = np.mean(pictures, axis=(0, 3))
    for x, y in alignment.landmark_template((112, 96))[:2].round().astype(int):
        assert mean[y - 3 : y + 4, x - 6 : x + 7].mean() < 0.8 * mean[y + 16 : y + 23, x].mean()
