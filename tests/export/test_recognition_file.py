"""recognition.json: what is written is read back, and what is wrong with a file is said."""

import dataclasses
import json
import re

import numpy as np
import pytest

from keras_sphereface.export.recognition_file import (
    CarriedOver,
    OrdinaryNorms,
    Recognition,
    RecognitionThreshold,
    model_fingerprint,
    read_recognition,
    recognition_path,
    write_recognition,
)

RECOGNITION = Recognition(
    model="runs/export",
    fingerprint="0" * 64,
    score="cosine",
    fusion="concatenate",
    embedding_size=1024,
    image_size=(112, 96),
    color_order="RGB",
    alignment="five points",
    template=((30.0, 51.5), (65.0, 51.5), (48.0, 71.5), (33.5, 92.0), (62.5, 92.0)),
    slope=21.5,
    offset=-8.25,
    cllr=0.31,
    min_cllr=0.28,
    thresholds=(
        RecognitionThreshold(0.01, 0.41, (0.38, 0.44), 0.012, (0.004, 0.03), 0.2, (0.15, 0.26)),
        RecognitionThreshold(0.001, 0.52),
    ),
    data="lfw",
    date="2026-11-29",
    identities_are_apart=True,
    num_calibration_identities=900,
    num_calibration_pairs=3000,
    num_judged_identities=350,
    num_judged_pairs=1200,
)


@pytest.fixture
def file(tmp_path):
    write_recognition(tmp_path / "recognition.json", RECOGNITION)
    return tmp_path / "recognition.json"


def test_what_is_written_is_read_back(file):
    assert read_recognition(file) == RECOGNITION
    assert read_recognition(file.parent) == RECOGNITION
    values = json.loads(file.read_text())
    assert (values["format"], values["version"]) == ("keras_sphereface.recognition", 1)


def test_saved_embeddings_have_no_size_and_no_template(tmp_path):
    without = dataclasses.replace(
        RECOGNITION,
        image_size=None,
        template=None,
        num_calibration_identities=None,
        num_judged_identities=None,
        identities_are_apart=False,
    )
    write_recognition(tmp_path / "saved.npz.recognition.json", without)
    assert read_recognition(tmp_path / "saved.npz.recognition.json") == without


def test_files_of_networks_have_it_beside_them(tmp_path):
    network = tmp_path / "net.onnx"
    network.touch()
    write_recognition(recognition_path(network), RECOGNITION)
    assert (tmp_path / "net.onnx.recognition.json").is_file()
    assert read_recognition(network) == RECOGNITION


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "must be of version 1.*Received: version 2"),
        ({"format": "other"}, 'with "format": "keras_sphereface.recognition"'),
        ({"slope": "steep"}, "`slope` must be float. Received: 'steep'"),
        ({"slope": True}, "`slope` must be float. Received: True"),
        ({"embedding_size": 2.5}, "`embedding_size` must be int. Received: 2.5"),
        ({"identities_are_apart": 1}, "`identities_are_apart` must be bool. Received: 1"),
        ({"image_size": [112]}, "`image_size` must be tuple"),
        ({"score": "distance"}, "`score` must be cosine. Received: 'distance'"),
        ({"color_order": "BGR"}, "`color_order` must be RGB"),
        ({"fusion": "sum"}, "`fusion` must be concatenate or none"),
        ({"thresholds": [{"fmr": 0.1}]}, r"`thresholds`\[0\] must have the keys fmr, threshold"),
        ({"surplus": 1}, r"with other \['surplus'\]"),
        ({"cllr": None}, "`cllr` must be float. Received: None"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(file, change, message):
    values = {**json.loads(file.read_text()), **change}
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        read_recognition(file)


def test_a_missing_key_is_named(file):
    values = json.loads(file.read_text())
    del values["offset"]
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"Received: without \['offset'\]"):
        read_recognition(file)


def test_first_files_do_not_say_whether_faces_are_generated(file):
    values = json.loads(file.read_text())
    assert values.pop("generated_faces") is False
    file.write_text(json.dumps(values))
    assert read_recognition(file).generated_faces is False
    file.write_text(json.dumps({**values, "generated_faces": True}))
    assert read_recognition(file).generated_faces is True


def test_damaged_and_missing_files_are_refused(file):
    file.write_text("{")
    with pytest.raises(ValueError, match="must be a recognition file in JSON"):
        read_recognition(file)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="`sphereface evaluate --calibrate` writes it"):
        read_recognition(file.parent)


def test_threshold_of_a_rate():
    assert RECOGNITION.threshold_at(1e-3).threshold == 0.52
    with pytest.raises(ValueError, match=r"rate 0\.05\. Available: 0\.01, 0\.001"):
        RECOGNITION.threshold_at(0.05)
    with pytest.raises(ValueError, match=re.escape("too few for it. Available: 0.01, 0.001")):
        RECOGNITION.threshold_at(1e-4)


def test_fingerprints_are_of_the_weights_and_of_nothing_else(tmp_path):
    folder = tmp_path / "export"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    weights = folder / "variables" / "variables.data"
    weights.write_bytes(b"weights")
    before = model_fingerprint(folder)
    write_recognition(recognition_path(folder), RECOGNITION)
    assert model_fingerprint(folder) == before
    weights.write_bytes(b"others.")
    assert model_fingerprint(folder) != before
    file = tmp_path / "net.onnx"
    file.write_bytes(b"graph")
    assert model_fingerprint(file) != model_fingerprint(weights)


def test_norms_and_the_first_network_are_read_back_and_may_be_missing(file):
    full = dataclasses.replace(
        RECOGNITION,
        norms=OrdinaryNorms(8.5, 12.0, 17.25, 900),
        carried_over=CarriedOver("runs/export", "1" * 64, 64, "drawn", 2e-7),
    )
    write_recognition(file, full)
    assert read_recognition(file) == full
    values = json.loads(file.read_text())
    del values["norms"], values["carried_over"]
    file.write_text(json.dumps(values))
    assert read_recognition(file) == RECOGNITION
    del values["slope"]
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"without \['slope'\]"):
        read_recognition(file)


def test_ordinary_norms_are_quantiles_unless_all_are_equal():
    norms = np.random.default_rng(0).permutation(np.arange(1, 1002.0))
    assert OrdinaryNorms.of(norms) == OrdinaryNorms(11.0, 501.0, 991.0, 1001)
    assert OrdinaryNorms.of(1 + 1e-6 * norms) is None
