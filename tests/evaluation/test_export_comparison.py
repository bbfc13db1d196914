"""A network as TFLite and ONNX files, compared with the network that it was made of."""

import importlib.util
import re
import shutil
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest

from keras_sphereface.commands.export import main
from keras_sphereface.config import FORMATS, EvaluateConfig, ExportConfig
from keras_sphereface.data import alignment, images, preprocessing
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation import exported_files
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.export import runtime, saved_model
from keras_sphereface.heads import registry
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.layers import face_preprocessing
from keras_sphereface.models.sphereface import sphereface4
from tests.helpers.small_training import one_layer

has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "tf2onnx"))
ALL = tuple(name for name in FORMATS if has_onnx or name != "onnx")
FILES = dict(
    zip(
        FORMATS,
        ("model.tflite", "model-float16.tflite", "model-int8.tflite", "model.onnx"),
        strict=True,
    )
)
SIZE = (112, 96, 3)


@pytest.fixture(scope="module")
def backbone():
    return sphereface4(width=0.1, embedding_size=8, seed=0)


@pytest.fixture(scope="module")
def keras_file(backbone, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "network.keras"
    keras.Sequential([keras.Input(SIZE), backbone, ASoftmax(5)]).save(path)
    return path


@pytest.fixture(scope="module")
def pairs(faces):
    return lfw.read_pairs(faces / "pairs.txt")


def config_of(faces, model, out, **changes):
    given = {
        "images": str(faces / "images"),
        "landmarks": str(faces / "landmarks.txt"),
        "pairs": str(faces / "pairs.txt"),
        "formats": ALL,
        "batch_size": 16,
    }
    return ExportConfig(model=str(model), out=str(out), **{**given, **changes})


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("tflite-float16",), id="one format"),
        pytest.param(ALL, id="all formats", marks=pytest.mark.slow),
    ],
)
def exported(request, faces, keras_file, tmp_path_factory):
    """The table, the folder and the settings."""
    out = tmp_path_factory.mktemp("exported") / "out"
    config = config_of(faces, keras_file, out, formats=request.param)
    return exported_files.export_all(config), out, config


def aligned(folder, keys):
    landmarks = read_landmarks(folder / "landmarks.txt")
    decode = lambda key: images.decode((folder / "images" / key).read_bytes())  # noqa: E731
    return np.stack([alignment.align(decode(key), landmarks[key]) for key in keys])


def embedded(network, pictures):
    """By the Keras model itself, of pixels scaled by hand."""
    return network.predict((pictures.astype(np.float32) - 127.5) / 128, verbose=0)


def cosines(one, other):
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.sum(one * other, axis=1) / lengths


def test_all_files_are_written_and_told(exported):
    table, out, config = exported
    assert table.columns.tolist() == list(exported_files.COLUMNS)
    assert table["format"].tolist() == ["savedmodel", *config.formats]
    assert table["file"].tolist() == ["savedmodel", *(FILES[name] for name in config.formats)]
    expected = {"export.csv", "export.md", "evaluation", *table["file"]}
    assert {path.name for path in out.iterdir()} == expected
    pd.testing.assert_frame_equal(pd.read_csv(out / "export.csv"), table)
    assert (out / "export.md").read_text() == exported_files.describe(table, config)
    sizes = dict(zip(table["format"], table["megabytes"], strict=True))
    for name in config.formats:
        assert sizes[name] == (out / FILES[name]).stat().st_size / 1e6
    whole = sum(path.stat().st_size for path in (out / "savedmodel").rglob("*") if path.is_file())
    assert sizes["savedmodel"] * 1e6 == pytest.approx(whole, abs=20_000)  # folders have a size too


def test_differences_are_those_from_the_keras_model(exported, backbone, faces, pairs):
    table, out, _ = exported
    pictures = aligned(faces, sorted(roll_of(faces, pairs.identities())))
    expected = embedded(backbone, pictures)
    for row in table.itertuples():
        found = runtime.open_network(out / row.file)(pictures)
        # Integers are rounded otherwise by some kernels, and which run depends on the threads.
        near = 2e-2 if row.format == "tflite-int8" else 2e-6
        assert row.largest_difference == pytest.approx(np.abs(found - expected).max(), abs=near)
        assert row.smallest_cosine == pytest.approx(cosines(found, expected).min(), abs=near)
        limit = {"tflite-int8": 0.95, "tflite-float16": 0.99999}.get(row.format, 1 - 1e-6)
        assert limit < row.smallest_cosine < 1 + 1e-6
        if row.format in ("savedmodel", "tflite", "onnx"):
            assert row.largest_difference <= 1e-4


def test_accuracies_are_those_of_an_evaluation_of_each_file(exported, faces, tmp_path):
    table, out, config = exported
    for row in table.itertuples():
        (metrics,) = evaluate(
            EvaluateConfig(
                model=(str(out / row.file),),
                out=str(tmp_path / row.format),
                images=(config.images,),
                landmarks=(config.landmarks,),
                pairs=(config.pairs,),
                bootstrap=0,
            )
        )
        assert row.accuracy == metrics["accuracy_mean"]
    assert (out / "evaluation" / "report.html").is_file()


def roll_of(faces, people):
    """The keys of all images of these people."""
    return {
        f"{person}/{file.name}"
        for person in people
        for file in (faces / "images" / person).iterdir()
    }


def test_images_to_calibrate_with_are_of_none_who_is_in_pairs(faces, keras_file, pairs):
    config = config_of(faces, keras_file, "out")
    calibration, compared = exported_files._images(config)
    assert set(compared) == roll_of(faces, pairs.identities())
    assert len(calibration) == len(set(calibration)) == 30
    assert not roll_of(faces, pairs.identities()) & set(calibration)
    # In an order that depends on the seed alone.
    assert exported_files._images(config) == (calibration, compared)
    other = exported_files._images(config_of(faces, keras_file, "out", seed=1))
    assert other != (calibration, compared)
    assert set(other[0]) == set(calibration)


def test_people_of_folds_that_are_not_asked_for_are_others(faces, keras_file, pairs):
    config = config_of(faces, keras_file, "out", folds=(2, 5))
    calibration, compared = exported_files._images(config)
    inside = pairs.in_folds((2, 5)).identities()
    assert set(compared) == roll_of(faces, inside)
    assert {key.split("/")[0] for key in calibration} == {
        *pairs.identities().difference(inside),
        *(f"person_{i:04d}" for i in range(1, 6)),
    }


@pytest.mark.parametrize(("calibration", "compared"), [(200, 256), (20, 9), (1, 1)])
def test_without_pairs_no_image_is_taken_twice(faces, keras_file, calibration, compared):
    config = config_of(
        *(faces, keras_file, "out"),
        pairs="",
        num_calibration=calibration,
        num_compared=compared,
    )
    first, second = exported_files._images(config)
    assert len({*first, *second}) == len(first) + len(second)
    # 19 people with 6 images: to calibrate with 10 of them, and 9 to compare on.
    assert (len(first), len(second)) == (min(calibration, 60), min(compared, 54))
    people = [{key.split("/")[0] for key in keys} for keys in (first, second)]
    assert not people[0] & people[1]


def test_without_images_the_files_are_written_and_not_compared(keras_file, tmp_path):
    config = ExportConfig(model=str(keras_file), out=str(tmp_path), formats=("tflite",))
    table = exported_files.export_all(config)
    assert (tmp_path / "model.tflite").is_file()
    assert table[["largest_difference", "smallest_cosine", "accuracy"]].isna().all(axis=None)
    lines = (tmp_path / "export.md").read_text().splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"\| tflite \| model.tflite \| \d+\.\d \|  \|  \|  \|", lines[3])


def test_a_savedmodel_is_left_where_it_is(faces, backbone, tmp_path):
    folder = saved_model.export_savedmodel(backbone, tmp_path / "casia" / "export")
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    config = config_of(faces, folder, tmp_path / "out", formats=("tflite",), pairs="")
    table = exported_files.export_all(config)
    assert table["file"].tolist() == ["export", "model.tflite"]
    assert table["accuracy"].isna().all()
    assert table["largest_difference"][0] == 0
    assert table["largest_difference"][1] < 1e-4
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
    assert not (tmp_path / "out" / "savedmodel").exists()


def functional(backbone):
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, ASoftmax(5)(backbone(inputs)))


def with_softmax(backbone):
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, keras.layers.Softmax()(ASoftmax(5)(backbone(inputs))))


def of_two_outputs(backbone):
    inputs = keras.Input(SIZE)
    embeddings = backbone(inputs)
    return keras.Model(inputs, [embeddings, ASoftmax(5)(embeddings)])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda backbone: backbone, id="backbone"),
        pytest.param(functional, id="functional"),
        pytest.param(with_softmax, id="with softmax"),
        pytest.param(of_two_outputs, id="two outputs"),
        *(
            pytest.param(
                lambda backbone, kind=kind: keras.Sequential(
                    [keras.Input(SIZE), backbone, registry.make_head(kind, 5)]
                ),
                id=kind,
            )
            for kind in registry.HEADS
        ),
    ],
)
def test_a_keras_file_is_its_network_without_the_head(make, tmp_path):
    network = one_layer(SIZE, 6, seed=3)
    make(network).save(tmp_path / "network.keras")
    found = exported_files.without_head(exported_files._load(str(tmp_path / "network.keras")))
    pictures = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    np.testing.assert_allclose(embedded(found, pictures), embedded(network, pictures), atol=1e-6)


def test_a_network_of_another_size_is_given_faces_of_that_size(faces, tmp_path):
    network = one_layer((112, 112, 3), 6, seed=3)
    network.save(tmp_path / "network.keras")
    config = config_of(
        *(faces, tmp_path / "network.keras", tmp_path / "out"), formats=("tflite",), pairs=""
    )
    table = exported_files.export_all(config)
    assert runtime.open_network(tmp_path / "out" / "model.tflite").image_size == (112, 112)
    assert table["largest_difference"].max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"formats": ("tflite", "coreml")},
            ValueError,
            r"`formats` must be of tflite, .*\['coreml",
        ),
        ({"images": ""}, ValueError, "those of images in `images`. Received: images=''"),
        ({"images": "", "pairs": ""}, ValueError, "those of images in `images`"),
        ({"images": "", "pairs": "", "landmarks": ""}, ValueError, "must hold faces to calibrate"),
        ({"images": "absent"}, FileNotFoundError, "`images` must be a folder. Received: absent"),
        ({"landmarks": "absent.txt"}, FileNotFoundError, "absent.txt"),
        ({"pairs": "absent.txt"}, FileNotFoundError, "absent.txt"),
        ({"folds": (9,)}, ValueError, r"Folds must be among .* Received: \[9\]"),
        ({"model": "absent.keras"}, FileNotFoundError, "or a .keras file. Received: absent.keras"),
        ({"model": "absent"}, FileNotFoundError, "a SavedModel folder or a .keras file. Received"),
        ({"model": __file__}, ValueError, "a SavedModel folder or a .keras file. Received: .*py$"),
        ({"num_calibration": 0}, ValueError, "`num_calibration` must be >= 1. Received: num_cal"),
        ({"num_compared": 0}, ValueError, "Received: num_compared=0"),
        ({"batch_size": 0}, ValueError, "Received: batch_size=0"),
    ],
)
def test_bad_settings_are_refused_and_no_network_written(
    faces, keras_file, tmp_path, changes, error, message
):
    model = changes.get("model", keras_file)
    rest = {name: value for name, value in changes.items() if name != "model"}
    with pytest.raises(error, match=message):
        exported_files.export_all(config_of(faces, model, tmp_path / "out", **rest))
    assert list((tmp_path / "out").glob("*.tflite")) == []


def test_an_empty_folder_is_no_network(tmp_path):
    config = ExportConfig(model=str(tmp_path), out=str(tmp_path / "out"), formats=())
    with pytest.raises(FileNotFoundError, match=r"a folder without saved_model\.pb"):
        exported_files.export_all(config)


def test_people_who_are_all_in_pairs_leave_none_to_calibrate_with(
    faces, keras_file, pairs, tmp_path
):
    for person in pairs.identities():
        shutil.copytree(faces / "images" / person, tmp_path / "images" / person)
    config = config_of(faces, keras_file, tmp_path / "out", images=str(tmp_path / "images"))
    with pytest.raises(ValueError, match="hold faces of people who are not in `pairs`, to calib"):
        exported_files.export_all(config)


def test_no_face_to_be_had_is_an_error_that_tells_why(faces, keras_file, tmp_path):
    (tmp_path / "landmarks.txt").write_text("other.jpg 1 1 2 1 1 2 1 3 2 3")
    config = config_of(
        faces, keras_file, tmp_path / "out", landmarks=str(tmp_path / "landmarks.txt")
    )
    with pytest.raises(ValueError, match=r"No face is to be had.* 'no landmarks'"):
        exported_files.export_all(config)


def images_of(dtype, shape=SIZE):
    inputs = keras.Input(shape, dtype=dtype)
    scaled = keras.layers.Rescaling(1 / 128)(inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(scaled)))


def of_two_inputs():
    inputs = [keras.Input(SIZE), keras.Input(SIZE)]
    pooled = [keras.layers.GlobalAveragePooling2D()(one) for one in inputs]
    return keras.Model(inputs, keras.layers.Add()(pooled))


@keras.saving.register_keras_serializable(package="tests")
class NoGraph(keras.Model):
    """A subclass, of which Keras knows neither inputs nor outputs."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.pool = keras.layers.GlobalAveragePooling2D()

    def call(self, pictures):
        return self.pool(pictures)


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda: images_of("uint8"), r"\[\(None, 112, 96, 3\)\] of \['uint8'\] ->"),
        (lambda: images_of("float32", (112, 96, 1)), r"\(None, 112, 96, 1\)"),
        (lambda: images_of("float32", (3, 112, 96)), r"\(None, 3, 112, 96\)"),
        (lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)]), r"\(None, 8\)"),
        (
            lambda: keras.Sequential([keras.Input(SIZE), keras.layers.AveragePooling2D(2)]),
            r"-> \[\(None, 56, 48, 3\)\]",
        ),
        (of_two_inputs, r"\[\(None, 112, 96, 3\), \(None, 112, 96, 3\)\]"),
        (NoGraph, ""),
    ],
    ids=["uint8", "gray", "channels first", "vectors in", "images out", "two inputs", "subclass"],
)
def test_a_model_that_is_no_network_of_faces_is_refused(make, received):
    message = r"must take float images \(N, H, W, 3\) and give embeddings \(N, D\). Received: .*"
    with pytest.raises(ValueError, match=message + received):
        exported_files.without_head(make())


def test_a_model_that_scales_by_itself_is_refused():
    scaling = face_preprocessing.FacePreprocessing()
    model = keras.Sequential([keras.Input(SIZE), scaling, one_layer(SIZE, 4, seed=0), ASoftmax(5)])
    with pytest.raises(ValueError, match=r"must come without `FacePreprocessing`.* Received: "):
        exported_files.without_head(model)


@pytest.mark.parametrize("spoil", ["empty", "text", "truncated", "damaged", "emptied"])
def test_a_damaged_keras_file_is_refused_by_its_name(keras_file, tmp_path, spoil):
    whole, path = keras_file.read_bytes(), tmp_path / "bad.keras"
    if spoil == "emptied":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", "{}")
    else:
        damaged = whole[:100] + b"\0" * 50 + whole[150:]
        contents = {"empty": b"", "text": b"text", "truncated": whole[: len(whole) // 2]}
        path.write_bytes(contents.get(spoil, damaged))
    config = ExportConfig(model=str(path), out=str(tmp_path / "out"), formats=())
    with pytest.raises(ValueError, match=r"bad\.keras cannot be loaded. Received: "):
        exported_files.export_all(config)
    with pytest.raises(SystemExit, match=r"^error: .*bad\.keras cannot be loaded"):
        main(config)


def test_the_table_has_a_line_for_each_format():
    rows = [
        ("savedmodel", "export", 12.345, 0.0, 1.0, 0.98765),
        ("tflite-int8", "model-int8.tflite", 0.04, 0.0123, 0.99123456, np.nan),
    ]
    table = pd.DataFrame(rows, columns=exported_files.COLUMNS)
    lines = exported_files.describe(table, ExportConfig("x", "y")).splitlines()
    assert lines[2] == "| savedmodel | export | 12.3 | 0 | 1.000000 | 98.77 |"
    assert lines[3] == "| tflite-int8 | model-int8.tflite | 0.0 | 0.012 | 0.991235 |  |"
    assert len({line.count("|") for line in lines}) == 1


def test_users_read_a_table(faces, keras_file, tmp_path, capsys):
    config = config_of(faces, keras_file, tmp_path / "out", formats=(), pairs="", num_compared=9)
    main(config)
    printed = capsys.readouterr().out
    assert printed.startswith("| format | file | MB | largest difference |")
    assert (tmp_path / "out" / "export.md").read_text() in printed
    assert f"written to {tmp_path / 'out'}" in printed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["backbone", "with a head"])
def test_real_faces_are_embedded_as_the_keras_model_does(real_faces, kind, tmp_path):
    folder = real_faces / "lfw_dev"
    network = sphereface4(width=0.25, embedding_size=64, seed=1)
    model = network if kind == "backbone" else keras.Sequential([network, ASoftmax(9)])
    model.save(tmp_path / "network.keras")
    config = config_of(
        *(folder, tmp_path / "network.keras", tmp_path / "out"),
        pairs="",
        num_calibration=100,
        num_compared=32,
    )
    table = exported_files.export_all(config).set_index("format")
    _, keys = exported_files._images(config)
    assert len(keys) == 32
    pictures = aligned(folder, keys)
    expected = embedded(network, pictures)
    np.testing.assert_allclose(expected, network(preprocessing.normalize(pictures)), atol=1e-4)
    for name, limit in {"savedmodel": 1e-5, "tflite": 1e-4, "onnx": 1e-4}.items():
        if name in table.index:
            found = runtime.open_network(tmp_path / "out" / table["file"][name])(pictures)
            np.testing.assert_allclose(found, expected, atol=limit * np.abs(expected).max())
            assert table["largest_difference"][name] <= 1e-4 * max(1, np.abs(expected).max())
    for name, least in {"tflite-float16": 0.9999, "tflite-int8": 0.98}.items():
        found = runtime.open_network(tmp_path / "out" / table["file"][name])(pictures)
        assert cosines(found, expected).min() > least
