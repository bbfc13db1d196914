"""Images to answers: every kind of image, the policies, and what recognition.json says."""

import dataclasses
import importlib.util
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_sphereface.data.alignment import landmark_template
from keras_sphereface.data.detection import DetectedFaces, no_faces
from keras_sphereface.export.network import Network
from keras_sphereface.export.recognition_file import (
    OrdinaryNorms,
    Recognition,
    RecognitionThreshold,
    model_fingerprint,
    write_recognition,
)
from keras_sphereface.recognition import Comparison, DoubtfulImageError, FaceRecognizer
from keras_sphereface.recognition.comparison import GENERATED_FACES, ratio_in_words
from keras_sphereface.recognition.face_quality import FaceQuality
from keras_sphereface.utils import startup
from tests.conftest import ROOT, read_lfw

SIZE = (112, 96)
RECOGNITION = Recognition(
    model="net",
    fingerprint="0" * 64,
    score="cosine",
    fusion="concatenate",
    embedding_size=16,
    image_size=SIZE,
    color_order="RGB",
    alignment="five points",
    template=tuple(map(tuple, landmark_template(SIZE).tolist())),
    slope=20.0,
    offset=-8.0,
    cllr=0.3,
    min_cllr=0.2,
    thresholds=(RecognitionThreshold(0.01, 0.3), RecognitionThreshold(0.001, 0.5)),
    data="lfw",
    date="2026-11-29",
    identities_are_apart=True,
    num_calibration_identities=90,
    num_calibration_pairs=200,
    num_judged_identities=80,
    num_judged_pairs=200,
)


def run(images):
    """Numbers of the left upper corner, unlike those of the mirror image."""
    return images[:, :8, 0, 0].astype(np.float32)


def recognizer(detector=None, **changes):
    recognition = dataclasses.replace(RECOGNITION, **changes) if changes else None
    return FaceRecognizer(Network("net", SIZE, None, 8, run), recognition, detector)


def noise(*seeds):
    return [
        np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8) for seed in seeds
    ]


def faces_at(*places):
    """A detector that finds upright faces of twice the template's size times scale at places."""
    template = landmark_template(SIZE)

    def detect(image):
        if not places:
            return no_faces()
        points = np.array([template * scale + (x, y) for x, y, scale in places])
        boxes = [(x, y, x + 96 * scale, y + 112 * scale) for x, y, scale in places]
        return DetectedFaces(np.array(boxes), points, np.linspace(0.9, 0.99, len(places)))

    return detect


def test_all_kinds_of_one_image_have_one_embedding(tmp_path):
    (pixels,) = noise(1)
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    path = tmp_path / "face.png"
    path.write_bytes(buffer.getvalue())
    mixed = [pixels, path, str(path), buffer.getvalue(), bytearray(buffer.getvalue()), image]
    rows = recognizer().embed(mixed, detect=False, batch_size=4)
    assert (rows.dtype, rows.shape) == (np.float32, (6, 16))
    np.testing.assert_allclose(rows, rows[:1].repeat(6, axis=0), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for one in mixed:
        np.testing.assert_allclose(recognizer().embed(one, detect=False), rows[:1], atol=1e-6)
    assert recognizer().embed([], detect=False).shape == (0, 16)


def test_rows_join_the_mirror_image_unless_recognition_json_says_otherwise():
    (pixels,) = noise(2)
    both = np.concatenate([run(pixels[None]), run(pixels[None, :, ::-1])], axis=1)
    rows = recognizer().embed(pixels, detect=False)
    np.testing.assert_allclose(rows, both / np.linalg.norm(both), rtol=1e-5)
    alone = recognizer(fusion="none", embedding_size=8).embed(pixels, detect=False)
    np.testing.assert_allclose(alone, both[:, :8] / np.linalg.norm(both[:, :8]), rtol=1e-5)


def test_without_recognition_json_there_is_a_score_and_what_is_missing():
    comparison = recognizer().compare(*noise(1, 1), detect=False)
    assert comparison.score == pytest.approx(1)
    fields = ("log_likelihood_ratio", "is_match", "threshold", "fmr")
    assert [getattr(comparison, name) for name in fields] == [None] * 4
    assert "evaluate --calibrate" in comparison.notes[0]
    assert comparison.describe() == "The score is 1.000."
    assert comparison.boxes == (None, None)


def test_threshold_and_ratio_are_those_of_recognition_json():
    with_file = recognizer(slope=20.0)
    comparison = with_file.compare(*noise(1, 2), detect=False)
    assert (comparison.threshold, comparison.fmr) == (0.5, 0.001)
    assert comparison.is_match == (comparison.score >= 0.5)
    assert comparison.log_likelihood_ratio == pytest.approx(20 * comparison.score - 8)
    assert comparison.notes == ()
    assert with_file.compare(*noise(1, 2), detect=False, fmr=0.01).threshold == 0.3
    with pytest.raises(ValueError, match=r"Available: 0.01, 0.001"):
        with_file.compare(*noise(1, 2), detect=False, fmr=1e-6)
    generated = recognizer(generated_faces=True).compare(*noise(1, 2), detect=False)
    assert generated.notes == (GENERATED_FACES,)
    useless = recognizer(cllr=1.32).compare(*noise(1, 2), detect=False)
    assert "cost 1.32 bits" in useless.notes[0]
    assert recognizer(thresholds=()).compare(*noise(1, 2), detect=False).is_match is None


def test_a_calibration_on_other_alignment_gives_no_threshold():
    detector = faces_at((20, 30, 1.5))
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    comparison = recognizer(detector, alignment="center crop").compare(photo, photo)
    assert (comparison.threshold, comparison.log_likelihood_ratio) == (None, None)
    assert "another alignment (center crop)" in comparison.notes[0]
    assert recognizer(detector, slope=20.0).compare(photo, photo).is_match is True


def test_detected_faces_are_aligned_as_the_template_says():
    photo = np.zeros((300, 300, 3), np.uint8)
    photo[30 : 30 + 224, 20 : 20 + 192] = noise(3)[0].repeat(2, axis=0).repeat(2, axis=1)
    (face,) = recognizer(faces_at((20.5, 30.5, 2))).find_faces(photo)
    difference = np.abs(face.crop.astype(int) - noise(3)[0])
    assert np.mean(difference) < 2
    assert face.box == (20.5, 30.5, 212.5, 254.5)
    assert face.quality.eye_distance == pytest.approx(70.5, abs=0.1)
    assert face.quality.confidence == 0.9


@pytest.mark.parametrize(
    ("policy", "lefts"), [("largest", [150]), ("center", [90]), ("all", [10, 90, 150])]
)
def test_policies_choose_faces(policy, lefts):
    detector = faces_at((150, 5, 1.4), (90, 90, 1.0), (10, 10, 0.6))
    photo = np.zeros((300, 300, 3), np.uint8)
    faces = recognizer(detector).find_faces(photo, policy=policy)
    assert [face.box[0] for face in faces] == lefts


def test_doubtful_images_are_refused_with_their_reason(tmp_path):
    photo = np.zeros((300, 300, 3), np.uint8)
    turns = iter([faces_at((5, 5, 1)), faces_at()])
    second_without = recognizer(lambda image: next(turns)(image))
    photo[1::2] = 9
    with pytest.raises(DoubtfulImageError, match="image 2: no face is detected"):
        second_without.embed([photo, photo])
    two = recognizer(faces_at((5, 5, 1), (150, 5, 1)))
    with pytest.raises(DoubtfulImageError, match=r"2 faces are detected, .* largest or center"):
        two.compare(photo, photo)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DoubtfulImageError, match=r"bad.jpg: cannot be read"):
        recognizer().embed(tmp_path / "bad.jpg", detect=False)
    with pytest.raises(FileNotFoundError, match=r"none.jpg, which does not exist"):
        recognizer().embed(tmp_path / "none.jpg", detect=False)


def test_tiny_and_blurred_faces_are_flagged_and_strictly_refused():
    photo = np.full((300, 300, 3), 128, np.uint8)
    photo[:, ::2, 0] += 2
    tiny = recognizer(faces_at((50, 50, 0.3)))
    comparison = tiny.compare(photo, photo)
    assert any("the face is tiny: 11 pixels" in note for note in comparison.notes)
    with pytest.raises(DoubtfulImageError, match="tiny"):
        tiny.compare(photo, photo, strict=True)
    smooth = np.full((*SIZE, 3), np.linspace(0, 255, 96)[:, None], np.uint8)
    with pytest.raises(DoubtfulImageError, match=r"blurred: sharpness 0.0"):
        recognizer().embed(smooth, detect=False, strict=True)
    assert recognizer().embed(noise(1), detect=False, strict=True).shape == (1, 16)


def test_the_length_of_the_embedding_is_reported():
    comparison = recognizer().compare(*noise(1, 2), detect=False)
    expected = np.linalg.norm(run(np.stack(noise(1, 2))), axis=1)
    assert [one.norm for one in comparison.quality] == pytest.approx(expected, rel=1e-5)


def test_a_short_embedding_is_flagged_and_strictly_refused():
    norms = np.linalg.norm(run(np.stack(noise(1, 2))), axis=1)
    low, high = sorted(norms)
    ordinary = OrdinaryNorms(float((low + high) / 2), float(high), float(high) + 1, 900)
    short, fine = (noise(1, 2)[i][0:] for i in np.argsort(norms))
    ours = recognizer(norms=ordinary)
    (note,) = ours.compare(short, fine, detect=False).notes
    assert note.startswith(f"image 1: the embedding is short: |x| is {low:.3g}")
    with pytest.raises(DoubtfulImageError, match="image 1: the embedding is short"):
        ours.compare(short, fine, detect=False, strict=True)
    with pytest.raises(DoubtfulImageError, match="image 3: the embedding is short"):
        ours.embed([fine, fine, short], detect=False, strict=True, batch_size=2)
    assert ours.embed([fine, fine], detect=False, strict=True).shape == (2, 16)
    # Older files have no norms, and those of another alignment say nothing of a detected face.
    assert recognizer(slope=20.0).compare(short, fine, detect=False).notes == ()
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    all_short = OrdinaryNorms(1e6, 2e6, 3e6, 900)
    detector = faces_at((20, 30, 1.0))
    (face,) = recognizer(detector, norms=all_short).find_faces(photo)
    (judged,) = recognizer(detector, norms=all_short).embed_faces([face])[1]
    assert "short" in judged.quality.warnings[-1]
    other = recognizer(detector, norms=all_short, alignment="center crop")
    assert other.embed_faces([face])[1][0].quality.warnings == ()


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="without a detector"):
        recognizer().embed(noise(1))
    with pytest.raises(ValueError, match=r"Pixels must be uint8 .* float64"):
        recognizer().embed(np.zeros((112, 96, 3)), detect=False)
    with pytest.raises(TypeError, match="Received: int"):
        recognizer().embed([3], detect=False)
    with pytest.raises(ValueError, match="must choose one face"):
        recognizer(faces_at()).embed(noise(1), policy="all")
    with pytest.raises(ValueError, match="`policy` must be one of exactly-one, largest"):
        recognizer(faces_at()).embed(noise(1), policy="best")


@pytest.mark.parametrize(
    ("nats", "words"),
    [
        (0.1, "about as likely for one person as for two"),
        (2.4, "about 10 times as likely for one person as for two"),
        (-7.0, "about 1,000 times as likely for two persons as for one"),
        (99.0, "more than 1,000,000 times as likely for one person"),
    ],
)
def test_ratios_in_words(nats, words):
    assert words in ratio_in_words(nats)


def test_the_recognition_file_of_another_network_is_refused(savedmodel, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    for name in ("saved_model.pb", "variables", "assets.extra"):
        (folder / name).symlink_to(savedmodel / name)
    write_recognition(folder / "recognition.json", RECOGNITION)
    with pytest.raises(ValueError, match="belongs to another network"):
        FaceRecognizer.load(folder)
    ours = dataclasses.replace(RECOGNITION, fingerprint=model_fingerprint(folder))
    write_recognition(folder / "recognition.json", ours)
    assert FaceRecognizer.load(folder).recognition == ours
    wrong = dataclasses.replace(ours, embedding_size=8)
    write_recognition(folder / "recognition.json", wrong)
    with pytest.raises(ValueError, match="embeddings of 16 numbers"):
        FaceRecognizer.load(folder)


def test_a_keras_file_is_opened(tmp_path):
    import keras_sphereface

    backbone = keras_sphereface.sphereface4(embedding_size=8, width=0.05)
    backbone.save(tmp_path / "net.keras")
    rows = keras_sphereface.FaceRecognizer.load(tmp_path / "net.keras").embed(
        noise(1, 2), detect=False
    )
    pixels = (np.stack(noise(1, 2)).astype(np.float32) - 127.5) / 128
    both = np.concatenate([backbone(pixels), backbone(pixels[:, :, ::-1])], axis=1)
    np.testing.assert_allclose(rows, both / np.linalg.norm(both, axis=1, keepdims=True), atol=1e-5)


def test_recognition_is_imported_without_tensorflow():
    code = (
        "import sys; from keras_sphereface.recognition import FaceRecognizer;"
        "print({'keras', 'tensorflow', 'mtcnn', 'matplotlib'} & set(sys.modules))"
    )
    lean = {**os.environ, startup.DATA_ONLY: "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=lean, capture_output=True, text=True)
    assert result.stdout == "set()\n", result.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mtcnn") is None, reason="mtcnn is an extra")
def test_mtcnn_finds_real_faces_and_a_face_matches_itself(real_faces, savedmodel):
    (left, points), (right, _) = read_lfw(real_faces, 2, seed=1)
    with_mtcnn = FaceRecognizer.load(savedmodel, detector="mtcnn")
    comparison = with_mtcnn.compare(left, left)
    assert isinstance(comparison, Comparison)
    assert comparison.score == pytest.approx(1, abs=1e-5)
    assert comparison.quality[0].eye_distance == pytest.approx(
        np.linalg.norm(points[0] - points[1]), abs=4
    )
    row = np.concatenate([left, right], axis=1)
    faces = with_mtcnn.find_faces(row)
    assert [face.box[0] > 176 for face in faces] == [False, True]


def test_rows_that_were_embedded_together_are_compared_as_two_images_are():
    network = recognizer(slope=20.0, alignment="as stored")
    pixels = noise(1, 2, 3)
    faces = [network.one_face(image, detect=False) for image in pixels]
    rows, faces = network.embed_faces(faces)
    together = network.compare_rows(rows[1:], faces[1:], detect=False)
    alone = network.compare(*pixels[1:], detect=False)
    assert together.score == pytest.approx(alone.score, abs=1e-6)
    assert together.notes == alone.notes
    assert together.threshold == alone.threshold == 0.5


@pytest.mark.parametrize(
    ("score", "nats", "verdict"),
    [
        (0.7, 5.0, "One person"),
        (0.3, 1.0, "Maybe one person"),  # likelier for one, but too often reached by two
        (0.2, 0.0, "Maybe one person"),
        (0.1, -2.0, "Two persons"),
        (0.1, None, "Two persons"),
    ],
)
def test_a_score_below_the_threshold_does_not_always_mean_two_persons(score, nats, verdict):
    quality = FaceQuality(41.0, 0.1, 0.99, 12.0, ())
    compared = Comparison(score, nats, score >= 0.5, 0.5, 0.001, (quality,) * 2, (None,) * 2)
    assert compared.verdict == verdict
    assert compared.describe().startswith(f"{verdict}: the score {score:.3f} ")
    without = dataclasses.replace(compared, is_match=None, threshold=None, fmr=None)
    assert without.verdict == ""
