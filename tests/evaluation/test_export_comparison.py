"""A network as TFLite and ONNX files, compared with the network that it was made of."""

import importlib.util
import re
import shutil

import keras
import numpy as np
import pandas as pd
import pytest

from keras_sphereface.commands.export import run_export
from keras_sphereface.config import EvaluateConfig, ExportConfig
from keras_sphereface.config.choices import FORMATS
from keras_sphereface.data import alignment, images, preprocessing
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation import export_comparison
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.export_comparison import (
    FormatComparison,
    comparison_table,
    export_and_compare,
)
from keras_sphereface.export.runtime import open_network
from keras_sphereface.heads import ASoftmax
from keras_sphereface.models import sphereface4
from tests.helpers.small_training import one_layer

has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "tf2onnx"))
ALL = tuple(name for name in FORMATS if has_onnx or name != "onnx")
SIZE = (112, 96, 3)
COLUMNS = ["format", "file", "megabytes", "largest_difference", "smallest_cosine", "accuracy"]


@pytest.fixture(scope="module")
def backbone():
    return sphereface4(embedding_size=8, width=0.05, seed=0)


@pytest.fixture(scope="module")
def keras_file(backbone, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "network.keras"
    keras.Sequential([keras.Input(SIZE), backbone, ASoftmax(5)]).save(path)
    return path


@pytest.fixture(scope="module")
def pairs(faces):
    return lfw.read_pairs(faces / "pairs.txt")


def config_of(faces, model, out, **changes):
    settings = {
        "images": str(faces / "images"),
        "landmarks": str(faces / "landmarks.txt"),
        "pairs": str(faces / "pairs.txt"),
        "formats": ALL,
        "batch_size": 16,
    }
    return ExportConfig(model=str(model), out=str(out), **{**settings, **changes})


@pytest.fixture(scope="module")
def exported(faces, keras_file, tmp_path_factory):
    """The comparison, the folder and the settings."""
    out = tmp_path_factory.mktemp("exported") / "out"
    config = config_of(faces, keras_file, out)
    return export_and_compare(config), out, config


def aligned(folder, keys):
    landmarks = read_landmarks(folder / "landmarks.txt")
    faces = [images.decode((folder / "images" / key).read_bytes()) for key in keys]
    return np.stack([alignment.align(f, landmarks[k]) for f, k in zip(faces, keys, strict=True)])


def embed_by_hand(network, pixels):
    """The embeddings by the Keras model itself, of pixels scaled by hand."""
    return network.predict((pixels.astype(np.float32) - 127.5) / 128, verbose=0)


def cosines(one, other):
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.sum(one * other, axis=1) / lengths


@pytest.mark.slow
def test_all_files_and_their_comparison_are_written(exported):
    rows, out, config = exported
    assert [row.format for row in rows] == ["savedmodel", *config.formats]
    files = ["savedmodel", *(FORMATS[name].file for name in config.formats)]
    assert [row.file for row in rows] == files
    assert {path.name for path in out.iterdir()} == {
        "export.csv",
        "export.md",
        "evaluation",
        *files,
    }
    table = pd.read_csv(out / "export.csv")
    assert table.columns.tolist() == COLUMNS
    pd.testing.assert_frame_equal(table, pd.DataFrame(rows))
    assert (out / "export.md").read_text() == comparison_table(rows)
    for row in rows[1:]:
        assert row.megabytes == (out / row.file).stat().st_size / 1e6
    whole = sum(path.stat().st_size for path in (out / "savedmodel").rglob("*") if path.is_file())
    assert rows[0].megabytes * 1e6 == pytest.approx(whole, abs=20_000)  # folders have a size too


@pytest.mark.slow
def test_differences_are_those_from_the_keras_model(exported, backbone, faces, pairs):
    rows, out, _ = exported
    pixels = aligned(faces, sorted(keys_of(faces, pairs.identities())))
    expected = embed_by_hand(backbone, pixels)
    for row in rows:
        embeddings = open_network(out / row.file)(pixels)
        # Integers are rounded otherwise by some kernels, and which run depends on the threads.
        near = 2e-2 if row.format == "tflite-int8" else 2e-6
        difference = np.abs(embeddings - expected).max()
        assert row.largest_difference == pytest.approx(difference, abs=near)
        assert row.smallest_cosine == pytest.approx(cosines(embeddings, expected).min(), abs=near)
        limit = {"tflite-int8": 0.95, "tflite-float16": 0.99999}.get(row.format, 1 - 1e-6)
        assert limit < row.smallest_cosine < 1 + 1e-6
        if row.format in ("savedmodel", "tflite", "onnx"):
            assert row.largest_difference <= 1e-4


@pytest.mark.slow
def test_accuracies_are_those_of_an_evaluation_of_the_files(exported, tmp_path):
    rows, out, config = exported
    compared = [row for row in rows if row.format in ("savedmodel", "tflite-int8")]
    results = evaluate(
        EvaluateConfig(
            model=tuple(str(out / row.file) for row in compared),
            out=str(tmp_path),
            images=(config.images,),
            landmarks=(config.landmarks,),
            pairs=(config.pairs,),
            bootstrap=0,
        )
    )
    for row, metrics in zip(compared, results, strict=True):
        assert row.accuracy == metrics.verification.accuracy_mean
    assert all(0.5 < row.accuracy < 1 for row in rows)
    assert (out / "evaluation" / "report.html").is_file()


def keys_of(faces, identities):
    """The keys of all images of these identities."""
    return {
        f"{identity}/{file.name}"
        for identity in identities
        for file in (faces / "images" / identity).iterdir()
    }


def test_images_to_calibrate_with_are_of_no_identity_in_pairs(faces, pairs):
    config = config_of(faces, "model", "out")
    calibration, compared = export_comparison._choose_images(config)
    assert set(compared) == keys_of(faces, pairs.identities())
    assert len(calibration) == len(set(calibration)) == 30
    assert not keys_of(faces, pairs.identities()) & set(calibration)
    # In an order that depends on the seed alone.
    assert export_comparison._choose_images(config) == (calibration, compared)
    other = export_comparison._choose_images(config_of(faces, "model", "out", seed=1))
    assert other != (calibration, compared)
    assert set(other[0]) == set(calibration)


def test_identities_of_other_folds_may_calibrate(faces, pairs):
    config = config_of(faces, "model", "out", folds=(2, 5))
    calibration, compared = export_comparison._choose_images(config)
    inside = pairs.in_folds((2, 5)).identities()
    assert set(compared) == keys_of(faces, inside)
    everyone = {folder.name for folder in (faces / "images").iterdir()}
    assert {key.split("/")[0] for key in calibration} == everyone - inside


@pytest.mark.parametrize(("calibration", "compared"), [(200, 256), (20, 9), (1, 1)])
def test_without_pairs_no_image_is_taken_twice(faces, calibration, compared):
    config = config_of(
        *(faces, "model", "out"),
        pairs="",
        num_calibration=calibration,
        num_compared=compared,
    )
    first, second = export_comparison._choose_images(config)
    assert len({*first, *second}) == len(first) + len(second)
    # 19 identities with 6 images: to calibrate with 10 of them, and 9 to compare on.
    assert (len(first), len(second)) == (min(calibration, 60), min(compared, 54))
    identities = [{key.split("/")[0] for key in keys} for keys in (first, second)]
    assert not identities[0] & identities[1]


def test_images_of_a_single_identity_are_shared_out(faces, tmp_path):
    shutil.copytree(faces / "images" / "person_0001", tmp_path / "person_0001")
    config = ExportConfig(model="model", out="out", images=str(tmp_path))
    calibration, compared = export_comparison._choose_images(config)
    assert (len(calibration), len(compared)) == (3, 3)
    assert not {*calibration} & {*compared}


@pytest.mark.slow
def test_without_images_the_files_are_written_and_not_compared(savedmodel, tmp_path):
    config = ExportConfig(model=str(savedmodel), out=str(tmp_path), formats=("tflite",))
    rows = export_and_compare(config)
    assert (tmp_path / "model.tflite").is_file()
    for row in rows:
        assert (row.largest_difference, row.smallest_cosine, row.accuracy) == (None, None, None)
    lines = (tmp_path / "export.md").read_text().splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"\| tflite \| model.tflite \| \d+\.\d \|  \|  \|  \|", lines[3])
    assert (tmp_path / "export.csv").read_text().splitlines()[2].endswith(",,,")


@pytest.mark.slow
def test_a_savedmodel_is_left_where_it_is(faces, savedmodel, tmp_path):
    before = sorted((path, path.stat().st_mtime_ns) for path in savedmodel.rglob("*"))
    config = config_of(
        *(faces, savedmodel, tmp_path / "out"), formats=("tflite",), pairs="", num_compared=20
    )
    rows = export_and_compare(config)
    assert [row.file for row in rows] == ["export", "model.tflite"]
    assert {row.accuracy for row in rows} == {None}
    assert rows[0].largest_difference == 0
    assert rows[1].largest_difference < 1e-4
    assert sorted((path, path.stat().st_mtime_ns) for path in savedmodel.rglob("*")) == before
    assert not (tmp_path / "out" / "savedmodel").exists()


@pytest.mark.slow
def test_a_network_of_another_size_gets_faces_of_that_size(faces, tmp_path):
    network = one_layer((112, 112, 3), 6, seed=3)
    network.save(tmp_path / "network.keras")
    config = config_of(
        *(faces, tmp_path / "network.keras", tmp_path / "out"), formats=("tflite",), pairs=""
    )
    rows = export_and_compare(config)
    assert open_network(tmp_path / "out" / "model.tflite").image_size == (112, 112)
    assert max(row.largest_difference for row in rows) < 1e-4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"formats": ("tflite", "coreml")},
            ValueError,
            r"`formats` must be of tflite, .*\['coreml",
        ),
        ({"images": ""}, ValueError, "need the images they name. Give `images`. Received: images="),
        ({"images": "", "pairs": ""}, ValueError, "`landmarks` need the images they name"),
        ({"images": "", "pairs": "", "landmarks": ""}, ValueError, "must hold faces to calibrate"),
        ({"images": "absent"}, FileNotFoundError, "`images` must be a folder. Received: absent"),
        ({"landmarks": "absent.txt"}, FileNotFoundError, "absent.txt"),
        ({"pairs": "absent.txt"}, FileNotFoundError, "absent.txt"),
        ({"folds": (9,)}, ValueError, r"Received: \[9\]"),
        ({"model": "absent.keras"}, FileNotFoundError, "or a .keras file. Received: absent.keras"),
        ({"num_calibration": 0}, ValueError, "`num_calibration` must be >= 1. Received: num_cal"),
        ({"num_compared": 0}, ValueError, "Received: num_compared=0"),
        ({"batch_size": 0}, ValueError, "Received: batch_size=0"),
    ],
)
def test_bad_settings_are_refused_and_no_file_is_written(
    faces, savedmodel, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        export_and_compare(
            config_of(faces, **{"model": savedmodel, "out": tmp_path / "out", **changes})
        )
    assert list((tmp_path / "out").glob("*.tflite")) == []


def test_an_empty_folder_is_no_network(tmp_path):
    config = ExportConfig(model=str(tmp_path), out=str(tmp_path / "out"), formats=())
    with pytest.raises(FileNotFoundError, match=r"a folder without saved_model\.pb"):
        export_and_compare(config)


def test_identities_that_are_all_in_pairs_leave_none_to_calibrate_with(
    faces, savedmodel, pairs, tmp_path
):
    for identity in pairs.identities():
        shutil.copytree(faces / "images" / identity, tmp_path / "images" / identity)
    config = config_of(faces, savedmodel, tmp_path / "out", images=str(tmp_path / "images"))
    with pytest.raises(ValueError, match="faces of identities that are not in `pairs`, to calibra"):
        export_and_compare(config)


def test_faces_that_cannot_be_loaded_are_an_error_with_the_reason(faces, savedmodel, tmp_path):
    (tmp_path / "landmarks.txt").write_text("other.jpg 1 1 2 1 1 2 1 3 2 3")
    config = config_of(
        faces, savedmodel, tmp_path / "out", landmarks=str(tmp_path / "landmarks.txt")
    )
    with pytest.raises(ValueError, match=r"At least one face must be readable.* 'no landmarks'"):
        export_and_compare(config)


def test_the_table_has_a_line_for_each_format():
    rows = [
        FormatComparison("savedmodel", "export", 12.345, 0.0, 1.0, 0.98765),
        FormatComparison("tflite-int8", "model-int8.tflite", 0.04, 0.0123, 0.99123456),
    ]
    lines = comparison_table(rows).splitlines()
    assert lines[2] == "| savedmodel | export | 12.3 | 0 | 1.000000 | 98.77 |"
    assert lines[3] == "| tflite-int8 | model-int8.tflite | 0.0 | 0.012 | 0.991235 |  |"
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.slow
def test_users_read_a_table_or_one_sentence(faces, savedmodel, tmp_path, capsys):
    out = tmp_path / "out"
    run_export(config_of(faces, savedmodel, out, formats=(), pairs="", num_compared=9))
    printed = capsys.readouterr().out
    assert printed.startswith("| format | file | MB | largest difference |")
    assert (out / "export.md").read_text() in printed
    assert f"written to {out}" in printed
    (tmp_path / "bad.keras").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"bad\.keras cannot be loaded"):
        run_export(ExportConfig(model=str(tmp_path / "bad.keras"), out=str(out), formats=()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["with a head", pytest.param("backbone", marks=pytest.mark.full)])
def test_real_faces_are_embedded_as_the_keras_model_does(real_faces, kind, tmp_path):
    folder = real_faces / "lfw_dev"
    network = sphereface4(width=0.1, embedding_size=64, seed=1)
    model = network if kind == "backbone" else keras.Sequential([network, ASoftmax(9)])
    model.save(tmp_path / "network.keras")
    config = config_of(
        *(folder, tmp_path / "network.keras", tmp_path / "out"),
        pairs="",
        num_calibration=100,
        num_compared=32,
    )
    rows = {row.format: row for row in export_and_compare(config)}
    _, keys = export_comparison._choose_images(config)
    assert len(keys) == 32
    pixels = aligned(folder, keys)
    expected = embed_by_hand(network, pixels)
    np.testing.assert_allclose(expected, network(preprocessing.normalize(pixels)), atol=1e-4)
    embeddings = {
        name: open_network(tmp_path / "out" / row.file)(pixels) for name, row in rows.items()
    }
    for name, limit in {"savedmodel": 1e-5, "tflite": 1e-4, "onnx": 1e-4}.items():
        if name in rows:
            tolerance = limit * np.abs(expected).max()
            np.testing.assert_allclose(embeddings[name], expected, atol=tolerance)
            assert rows[name].largest_difference <= 1e-4 * max(1, np.abs(expected).max())
    for name, smallest in {"tflite-float16": 0.9999, "tflite-int8": 0.98}.items():
        assert cosines(embeddings[name], expected).min() > smallest
