"""recognition.json goes with a converted network exactly where its scores are the same."""

import dataclasses

import numpy as np
import pytest

from keras_sphereface.evaluation import carried_recognition
from keras_sphereface.evaluation.carried_recognition import carry_recognition, drawn_faces
from keras_sphereface.export.network import Network
from keras_sphereface.export.recognition_file import (
    model_fingerprint,
    read_recognition,
    recognition_path,
    write_recognition,
)
from tests.recognition.test_face_recognizer import RECOGNITION, SIZE, run

FACES = drawn_faces(12, SIZE)


def nearly(batch):
    return run(batch) + np.arange(8, dtype=np.float32) / 10


def scores(embed, faces, has_mirror=True):
    rows = embed(faces)
    if has_mirror:
        rows = np.concatenate([rows, embed(faces[:, :, ::-1])], axis=1)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A calibrated network, a format that is nearly the same, and one that is not."""
    networks = {
        "same.onnx": nearly,
        "other.tflite": lambda batch: run(batch) ** 2,
    }

    def open_network(path):
        return Network(path.name, SIZE, None, 8, networks[path.name])

    monkeypatch.setattr(carried_recognition, "open_network", open_network)
    for name in ("net.keras", *networks):
        (tmp_path / name).write_text(name)
    own = model_fingerprint(tmp_path / "net.keras")
    recognition = dataclasses.replace(RECOGNITION, fingerprint=own)
    write_recognition(recognition_path(tmp_path / "net.keras"), recognition)
    return tmp_path


def carry(place, names=("same.onnx", "other.tflite"), model="net.keras", faces=FACES):
    files = {name: place / name for name in names}
    return carry_recognition(place / model, files, run, SIZE, faces)


def test_equal_scores_carry_it_over_and_others_do_not(place):
    differences = carry(place)
    expected = np.abs(scores(nearly, FACES) - scores(run, FACES)).max()
    assert differences["same.onnx"] == pytest.approx(expected, rel=0.05)
    assert 0 < differences["same.onnx"] < 0.005 < differences["other.tflite"]
    carried = read_recognition(place / "same.onnx")
    assert carried.fingerprint == model_fingerprint(place / "same.onnx")
    assert carried.carried_over.fingerprint == model_fingerprint(place / "net.keras")
    assert carried.carried_over.score_difference == differences["same.onnx"]
    assert (carried.carried_over.faces, carried.carried_over.num_faces) == ("given", 12)
    kept = dataclasses.replace(
        carried, carried_over=None, fingerprint=RECOGNITION.fingerprint, model="net"
    )
    assert kept == RECOGNITION
    assert not recognition_path(place / "other.tflite").exists()


def test_without_images_faces_are_drawn(place):
    carry(place, ["same.onnx"], faces=None)
    carried = read_recognition(place / "same.onnx").carried_over
    assert (carried.faces, carried.num_faces) == ("drawn", 64)


def test_a_network_converted_twice_names_the_first_and_the_sum(place):
    first = carry(place, ["same.onnx"])["same.onnx"]
    (place / "again").mkdir()
    write_recognition(recognition_path(place / "net.keras"), read_recognition(place / "same.onnx"))
    again = dataclasses.replace(
        read_recognition(place / "net.keras"), fingerprint=model_fingerprint(place / "net.keras")
    )
    write_recognition(recognition_path(place / "net.keras"), again)
    carry(place, ["same.onnx"])
    twice = read_recognition(place / "same.onnx").carried_over
    assert twice.score_difference == pytest.approx(2 * first)
    assert twice.model == RECOGNITION.model


@pytest.mark.parametrize("what", ["none", "foreign"])
def test_nothing_is_carried_from_a_network_without_its_own(place, what):
    path = recognition_path(place / "net.keras")
    if what == "none":
        path.unlink()
    else:
        write_recognition(path, RECOGNITION)
    assert carry(place) == {}
    assert not recognition_path(place / "same.onnx").exists()


def test_a_file_of_an_earlier_network_is_removed(place):
    write_recognition(recognition_path(place / "other.tflite"), RECOGNITION)
    carry(place)
    assert not recognition_path(place / "other.tflite").exists()
