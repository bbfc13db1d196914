"""A folder to an .npz file that galleries and evaluations read."""

import numpy as np
import pytest

from keras_sphereface.data import images
from keras_sphereface.evaluation.embeddings import load_embeddings
from keras_sphereface.export.recognition_file import OrdinaryNorms
from keras_sphereface.recognition.enrollment import read_enrollment
from keras_sphereface.recognition.face_finder import FaceFinder, images_below
from keras_sphereface.recognition.folder_embeddings import embed_folder, write_embeddings
from tests.recognition.test_face_recognizer import noise, recognizer


@pytest.fixture
def folder(tmp_path):
    for seed, key in enumerate(("ada/1.png", "ada/2.png", "bob/1.png")):
        path = tmp_path / "faces" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.encode_png(noise(seed)[0]))
    (tmp_path / "faces" / "bob" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "faces" / "notes.txt").write_text("")
    return tmp_path / "faces"


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_galleries_and_evaluations_read_what_is_written(folder, tmp_path, batch_size):
    finder = FaceFinder(recognizer(), detect=False)
    result = embed_folder(finder, folder, images_below(folder), batch_size=batch_size)
    assert list(result.refused) == ["bob/bad.jpg"]
    write_embeddings(result, tmp_path / "out" / "faces.npz", "5a")
    loaded = load_embeddings(tmp_path / "out" / "faces.npz")
    assert loaded.keys == ["ada/1.png", "ada/2.png", "bob/1.png"]
    enrollment = read_enrollment(tmp_path / "out" / "faces.npz")
    assert enrollment.identities == ["ada", "ada", "bob"]
    assert enrollment.fingerprint == "5a"
    rows = loaded.features / np.linalg.norm(loaded.features, axis=1, keepdims=True)
    expected = recognizer().embed(noise(0, 1, 2), detect=False)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    np.testing.assert_array_equal(enrollment.embeddings, loaded.features)


def test_folders_without_faces_are_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="without any"):
        images_below(tmp_path / "empty")
    for path in folder.rglob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"all refused, the first, bob/bad\.jpg"):
        embed_folder(FaceFinder(recognizer(), detect=False), folder, images_below(folder))


def test_parquet_has_a_row_an_image(folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    result = embed_folder(FaceFinder(recognizer(), detect=False), folder, images_below(folder))
    write_embeddings(result, tmp_path / "faces.parquet", "5a")
    table = parquet.read_table(tmp_path / "faces.parquet")
    assert table.column_names == ["key", "embedding", "norm"]
    assert table["key"].to_pylist() == result.keys
    assert table.schema.metadata == {b"fingerprint": b"5a"}
    rows = np.array(table["embedding"].to_pylist(), np.float32)
    np.testing.assert_array_equal(rows, result.views.reshape(3, 16))
    norms = np.linalg.norm(result.views[:, 0], axis=1)
    np.testing.assert_allclose(table["norm"], norms, rtol=1e-6)


def test_short_embeddings_are_strictly_left_out(folder):
    keys = ["ada/1.png", "ada/2.png", "bob/1.png"]
    norms = np.linalg.norm(
        recognizer().views_of(
            [FaceFinder(recognizer(), detect=False).face(folder / key, key) for key in keys]
        )[:, 0],
        axis=1,
    )
    ordinary = OrdinaryNorms(float(np.sort(norms)[1]) - 1e-3, 1e6, 2e6, 900)
    finder = FaceFinder(recognizer(norms=ordinary), detect=False, strict=True)
    for batch_size in (1, 64):
        result = embed_folder(finder, folder, keys, batch_size)
        shortest = keys[int(np.argmin(norms))]
        assert result.keys == [key for key in keys if key != shortest]
        assert list(result.refused) == [shortest]
        assert len(result.views) == 2
