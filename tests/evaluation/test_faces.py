"""Faces by key: from images, records and encoded images, loaded ahead by threads."""

import dataclasses
import re
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

from keras_sphereface.config import ConvertConfig, EvaluateConfig
from keras_sphereface.data import alignment, images
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.detection import DetectedFaces, no_faces
from keras_sphereface.data.landmarks import landmark_line, parse_landmarks, read_landmarks
from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation import faces as faces_module
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.faces import (
    FaceSources,
    MissingFaceError,
    check_face_files,
    load_faces,
    open_faces,
)
from tests.helpers.numbered_faces import FaceLoader, face_of, keys_to

SIZE = (112, 96)
SIZES = [SIZE, (112, 112)]


@pytest.fixture(scope="module")
def keys(faces):
    return lfw.read_pairs(faces / "pairs.txt").keys()


@pytest.fixture(scope="module")
def records(faces, tmp_path_factory):
    out = tmp_path_factory.mktemp("of_pairs") / "records"
    make_records(
        ConvertConfig(
            source=str(faces / "images"), landmarks=str(faces / "landmarks.txt"), out=str(out)
        )
    )
    return str(out)


def sources_of(faces, **changes):
    """Images and landmarks, as strings."""
    paths = {"images": faces / "images", "landmarks": faces / "landmarks.txt", **changes}
    return FaceSources(**{name: str(path) for name, path in paths.items()})


def pixels(faces, key):
    return images.decode((faces / "images" / key).read_bytes())


def write_image(folder, key, image):
    (folder / key).parent.mkdir(exist_ok=True)
    (folder / key).write_bytes(images.encode_png(image))


@pytest.mark.parametrize("size", SIZES)
def test_landmarks_lay_the_five_points_on_the_template(faces, keys, size):
    opened, landmarks = (
        open_faces(sources_of(faces), keys, size),
        read_landmarks(faces / "landmarks.txt"),
    )
    for key in keys[::20]:
        face = opened.load(key)
        assert (face.shape, face.dtype) == ((*size, 3), np.uint8)
        expected = alignment.align(pixels(faces, key), landmarks[key], size)
        np.testing.assert_array_equal(face, expected)


@pytest.mark.parametrize("size", SIZES)
def test_without_landmarks_the_middle_of_an_image_is_taken(faces, size, tmp_path):
    # A bar of one color to the left and to the right of what has the shape of the face.
    height, width = 2 * size[0], 2 * size[1]
    middle = np.full((height, width, 3), (200, 100, 50), np.uint8)
    write_image(tmp_path, "A/1.png", np.pad(middle, ((0, 0), (30, 30), (0, 0))))
    opened = open_faces(FaceSources(str(tmp_path)), ["A/1.png"], size)
    face = opened.load("A/1.png")
    assert (face.shape, face.dtype) == ((*size, 3), np.uint8)
    # The resampling sees beyond the cut.
    np.testing.assert_array_equal(face[:, 2:-2] - np.array([200, 100, 50]), 0)
    np.testing.assert_allclose(face - np.array([200.0, 100, 50]), 0, atol=20)
    assert opened.crop is None


def test_an_image_of_the_right_size_is_left_as_it_is(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    write_image(tmp_path, "A/1.png", noise)
    opened = open_faces(FaceSources(str(tmp_path)), ["A/1.png"], SIZE)
    np.testing.assert_array_equal(opened.load("A/1.png"), noise)


def test_faces_that_are_aligned_can_be_cropped_instead(faces, keys):
    aligned = open_faces(sources_of(faces), keys, SIZE)
    cropped = open_faces(sources_of(faces, landmarks=""), keys, SIZE)
    np.testing.assert_array_equal(aligned.crop(keys[0]), cropped.load(keys[0]))
    assert not np.array_equal(aligned.load(keys[0]), aligned.crop(keys[0]))


@pytest.mark.parametrize("size", SIZES)
def test_records_have_the_faces_of_their_images(faces, keys, records, size):
    of_records = open_faces(FaceSources(records=records), keys, size)
    of_images = open_faces(sources_of(faces), keys, SIZE)
    face = of_records.load(keys[3])
    assert face.shape == (*size, 3)
    expected = images.crop_to(of_images.load(keys[3]), size).astype(int)
    assert np.abs(face - expected).mean() < 3  # records are JPEGs
    with pytest.raises(MissingFaceError, match=r"^no such image$"):
        of_records.load("Nobody/Nobody_0001.jpg")


def test_records_of_images_in_no_pair_are_not_kept(keys, records):
    opened = open_faces(FaceSources(records=records), keys[:1], SIZE)
    opened.load(keys[0])
    with pytest.raises(MissingFaceError, match="no such image"):
        opened.load(keys[1])


@pytest.mark.parametrize(
    ("damage", "reason"),
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
def test_the_error_gives_the_reason_why_a_face_is_missing(
    faces, keys, tmp_path, damage, reason, with_landmarks
):
    identity = lfw.identity_of_key(keys[0])
    other = next(key for key in keys if lfw.identity_of_key(key) != identity)
    for name in {identity, lfw.identity_of_key(other)}:
        shutil.copytree(faces / "images" / name, tmp_path / name)
    damage(tmp_path / keys[0])
    changes = {} if with_landmarks else {"landmarks": ""}
    opened = open_faces(sources_of(faces, images=tmp_path, **changes), keys, SIZE)
    for load in (opened.load, opened.crop)[: 1 + with_landmarks]:
        with pytest.raises(MissingFaceError, match=reason):
            load(keys[0])
    assert opened.load(other).shape == (*SIZE, 3)


def test_a_name_that_no_file_can_have_is_missing(faces):
    opened = open_faces(sources_of(faces, landmarks=""), [], SIZE)
    with pytest.raises(MissingFaceError, match=r"^cannot be read: File name too long$"):
        opened.load(300 * "a" + ".jpg")


def test_an_image_without_landmarks_is_missing_but_can_be_cropped(faces, keys, tmp_path):
    lines = (faces / "landmarks.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(keys[0])]
    (tmp_path / "landmarks.txt").write_text("\n".join(kept))
    opened = open_faces(sources_of(faces, landmarks=tmp_path / "landmarks.txt"), keys, SIZE)
    with pytest.raises(MissingFaceError, match=r"^no landmarks$"):
        opened.load(keys[0])
    expected = images.crop_to(pixels(faces, keys[0]), SIZE)
    np.testing.assert_array_equal(opened.crop(keys[0]), expected)


def move_points(faces, folder, key, move):
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
        (lambda p: p * 0 + 60, "must be finite and must not all coincide"),
        (lambda p: p + [[-2000, 0], [2000, 0], [0, 0], [0, 0], [0, 0]], "in or near the image"),
    ],
    ids=["right", "above", "one place", "torn apart"],
)
def test_points_that_fit_no_face_are_an_error_with_file_line_and_key(
    faces, keys, tmp_path, move, message
):
    file, line = move_points(faces, tmp_path, keys[2], move)
    opened = open_faces(sources_of(faces, landmarks=file), keys, SIZE)
    where = f"^{re.escape(f'{file}, line {line}, {keys[2]}: ')}"
    with pytest.raises(ValueError, match=f"{where}.*{message}") as caught:
        opened.load(keys[2])
    assert not isinstance(caught.value, MissingFaceError)  # else the face would just be left out
    assert opened.load(keys[5]).shape == (*SIZE, 3)


def test_single_points_may_lie_outside(faces, keys, tmp_path):
    file, _ = move_points(faces, tmp_path, keys[2], lambda p: p - (p[:, 0].min() + 5, 0))
    opened = open_faces(sources_of(faces, landmarks=file), keys, SIZE)
    assert opened.load(keys[2]).shape == (*SIZE, 3)


def test_gray_and_rotated_images_become_upright_rgb(tmp_path):
    upright = np.zeros(SIZE, np.uint8)
    upright[:50] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated right by a quarter
    Image.fromarray(np.rot90(upright)).save(tmp_path / "1.png", exif=exif)
    opened = open_faces(FaceSources(str(tmp_path)), ["1.png"], SIZE)
    np.testing.assert_array_equal(opened.load("1.png"), upright[..., None].repeat(3, axis=2))


@pytest.mark.parametrize("name", ["images", "landmarks", "records"])
def test_an_absent_file_is_refused_by_name(tmp_path, name):
    for check in (check_face_files, lambda sources: open_faces(sources, [], SIZE)):
        sources = FaceSources(images=str(tmp_path))._replace(**{name: str(tmp_path / "absent")})
        with pytest.raises(FileNotFoundError, match="absent"):
            check(sources)


@pytest.mark.slow
def test_real_faces_lie_on_the_template(real_faces):
    folder = real_faces / "lfw_dev"
    keys = lfw.read_pairs(folder / "pairs.txt").in_folds((1,)).keys()[:64]
    opened = open_faces(sources_of(folder), keys, SIZE)
    # Both eyes are darker than the cheeks below them, in the mean of all.
    mean = np.mean([opened.load(key).astype(float) for key in keys], axis=(0, 3))
    for x, y in alignment.landmark_template(SIZE)[:2].round().astype(int):
        assert mean[y - 3 : y + 4, x - 6 : x + 7].mean() < 0.8 * mean[y + 16 : y + 23, x].mean()


@pytest.mark.parametrize("ahead", [1, 2, 64])
def test_faces_come_in_the_order_of_their_keys(ahead):
    missing = {}
    load = FaceLoader({"k3", "k4", "k20"}, pause=0.001)
    loaded = list(load_faces(keys_to(20), load, missing, ahead))
    expected = [key for key in keys_to(20) if key not in load.missing]
    assert [key for key, _ in loaded] == expected
    for key, face in loaded:
        np.testing.assert_array_equal(face, face_of(key))
    assert missing == {"k3": "no k3", "k4": "no k4", "k20": "no k20"}
    assert sorted(load.loaded) == sorted(keys_to(20))


def test_no_keys_are_no_faces():
    assert list(load_faces([], FaceLoader(), {})) == []


def test_faces_are_loaded_at_the_same_time(monkeypatch):
    monkeypatch.setattr(faces_module.os, "cpu_count", lambda: 3)
    together = threading.Barrier(3, timeout=10)

    def load(key):
        together.wait()  # until three threads wait
        return face_of(key)

    assert len(list(load_faces(keys_to(6), load, {}))) == 6


@pytest.mark.parametrize("ahead", [1, 3, 7])
def test_no_more_faces_are_loaded_than_may_be_ahead(ahead):
    load, most = FaceLoader({"k2", "k5"}), 0
    for taken, _ in enumerate(load_faces(keys_to(30), load, missing := {}, ahead)):
        time.sleep(0.005)  # the threads have all the time to go further
        most = max(most, len(load.loaded) - taken - len(missing) - 1)
    assert most == ahead


def test_keys_are_asked_for_only_as_far_as_they_are_needed():
    asked = []

    def keys():
        for key in keys_to(100):
            asked.append(key)
            yield key

    faces = load_faces(keys(), FaceLoader(), {}, 4)
    next(faces)
    assert len(asked) == 5
    faces.close()


def test_another_error_comes_through_and_ends_the_loading():
    loaded = []

    def load(key):
        loaded.append(key)
        if key == "k3":
            raise ZeroDivisionError("no face of k3")
        return face_of(key)

    before, missing = threading.active_count(), {}
    with pytest.raises(ZeroDivisionError, match="no face of k3"):
        list(load_faces(keys_to(50), load, missing, 4))
    assert missing == {}
    assert len(loaded) <= 3 + 4
    assert threading.active_count() == before


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_whoever_stops_early_leaves_no_thread(taken):
    before, load = threading.active_count(), FaceLoader(pause=0.002)
    faces = load_faces(keys_to(50), load, {}, 8)
    for _ in range(taken):
        next(faces)
    faces.close()
    assert threading.active_count() == before
    loaded = len(load.loaded)
    time.sleep(0.02)
    assert len(load.loaded) == loaded <= taken + 8


def test_faces_not_loaded_yet_are_dropped_with_the_iterator():
    load = FaceLoader(pause=0.002)
    faces = load_faces(keys_to(200), load, {}, 200)
    next(faces)
    faces.close()
    assert len(load.loaded) < 200


def test_images_and_records_serve_keys_with_another_suffix(faces, records, keys, tmp_path):
    other = [key.replace(".jpg", ".png") for key in keys[:3]]
    for sources in (sources_of(faces), FaceSources(records=records)):
        by_name = open_faces(sources, keys[:3], SIZE)
        by_stem = open_faces(sources, other, SIZE)
        for key, name in zip(keys[:3], other, strict=True):
            np.testing.assert_array_equal(by_stem.load(name), by_name.load(key))
        with pytest.raises(MissingFaceError, match="no such image"):
            open_faces(sources, ["nobody/1"], SIZE).load("nobody/1")


def keys_of_pairs(faces):
    return lfw.read_pairs(faces / "pairs.txt").keys()


@pytest.fixture
def by_pixels(faces, monkeypatch):
    """A detector that knows the faces of the generated images; one image has none."""
    points_of = read_landmarks(faces / "landmarks.txt")
    known = {}
    for key, points in points_of.items():
        image = images.decode((faces / "images" / key).read_bytes())
        known[image.tobytes()] = points
    without = keys_of_pairs(faces)[0]

    def detect(image):
        points = known[image.tobytes()]
        if points is points_of[without]:
            return no_faces()
        # The other face is larger, and far from the center.
        both = np.stack([points, points_of[without] * 2 + 500])
        boxes = np.concatenate([both.min(axis=1), both.max(axis=1)], axis=1)
        return DetectedFaces(boxes, both, np.ones(2))

    monkeypatch.setattr(faces_module, "open_detector", lambda name: detect)
    return without


def test_detected_faces_are_those_of_the_landmarks_and_others_are_missing(faces, by_pixels):
    keys = keys_of_pairs(faces)[:9]
    folder = str(faces / "images")
    aligned = open_faces(FaceSources(folder, str(faces / "landmarks.txt")), keys, (112, 96))
    detected = open_faces(FaceSources(folder, detector="any"), keys, (112, 96))
    missing: dict[str, str] = {}
    loaded = dict(load_faces(keys, detected.load, missing))
    assert missing == {by_pixels: "no face is detected"}
    assert list(loaded) == keys[1:]
    for key, face in loaded.items():
        np.testing.assert_array_equal(face, aligned.load(key))
    exact = open_faces(FaceSources(folder, detector="any", policy="exactly-one"), keys, (112, 96))
    with pytest.raises(MissingFaceError, match="2 faces are detected"):
        exact.load(keys[1])


def test_a_detector_beside_landmarks_is_refused(faces):
    sources = FaceSources(str(faces / "images"), str(faces / "landmarks.txt"), detector="mtcnn")
    with pytest.raises(ValueError, match="without `landmarks`"):
        check_face_files(sources)


@pytest.mark.slow
def test_an_evaluation_counts_images_without_a_detected_face(
    faces, savedmodel, by_pixels, tmp_path
):
    common = dict(
        model=(str(savedmodel),),
        pairs=(str(faces / "pairs.txt"),),
        images=(str(faces / "images"),),
        bootstrap=0,
        save_embeddings=True,
    )
    by_landmarks = EvaluateConfig(
        out=str(tmp_path / "a"), landmarks=(str(faces / "landmarks.txt"),), **common
    )
    evaluate(by_landmarks)
    (metrics,) = evaluate(EvaluateConfig(out=str(tmp_path / "b"), detector="any", **common))
    assert metrics.acquisition.num_failures_to_acquire == 1
    assert any("no face is detected" in warning for warning in metrics.warnings)
    expected, detected = (np.load(tmp_path / out / "embeddings.npz") for out in "ab")
    assert detected["keys"].tolist() == [key for key in expected["keys"] if key != by_pixels]
    rows = np.isin(expected["keys"], detected["keys"])
    np.testing.assert_allclose(detected["embeddings"], expected["embeddings"][rows], atol=1e-5)
    with pytest.raises(ValueError, match="`detector` looks for faces in `images`"):
        evaluate(dataclasses.replace(by_landmarks, detector="any"))
