"""Training images and identities among those of the pairs, found without their names."""

import dataclasses

import numpy as np
import pytest

from keras_sphereface.config import ConvertConfig, EvaluateConfig
from keras_sphereface.data import alignment, images, near_duplicates, records
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.data.pairs.lfw import Pairs
from keras_sphereface.evaluation import training_overlap
from keras_sphereface.evaluation.embedders import Embedder
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.faces import Faces, MissingFaceError

pytestmark = pytest.mark.skipif(
    not near_duplicates.is_imagehash_installed(), reason="ImageHash is not installed"
)


def brighter(face):
    return np.clip(face * 1.1 + 5, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def training(records_folder):
    return training_overlap.read_training_set(records_folder)


@pytest.fixture(scope="module")
def unseen(faces):
    """{key: face} of identities that are not in the records."""
    landmarks = read_landmarks(faces / "landmarks.txt")
    keys = [key for key in sorted(landmarks) if key > "person_0006"][:40]
    decoded = {key: images.decode((faces / "images" / key).read_bytes()) for key in keys}
    return {key: alignment.align(image, landmarks[key]) for key, image in decoded.items()}


@pytest.mark.parametrize("width", [96, 112])
def test_copies_of_training_images_under_other_names_are_found(
    training, unseen, records_folder, width
):
    tests = dict(unseen)
    copied = list(records.read_folder(records_folder))[::10]
    for number, record in enumerate(copied):
        face = brighter(images.decode(record.image))
        side = (width - 96) // 2
        tests[f"somebody/{number}.jpg"] = np.pad(face, ((0, 0), (side, side), (0, 0)))
    faces = Faces(tests.__getitem__)
    matches = training_overlap.find_duplicates(training, faces, list(tests))
    assert [match.key for match in matches] == [f"somebody/{i}.jpg" for i in range(len(copied))]
    assert [match.training_key for match in matches] == [record.key for record in copied]
    (warning,) = training_overlap.duplicate_warnings(training, faces, list(tests))
    assert f"{len(copied)} of {len(tests)} look like a training record (somebody/0.jpg" in warning


def test_of_unseen_faces_none_is_found_and_missing_ones_are_passed_over(training, unseen):
    def load(key):
        if key.endswith("1.jpg"):
            raise MissingFaceError("no such image")
        return unseen[key]

    assert training_overlap.duplicate_warnings(training, Faces(load), list(unseen)) == []


def test_without_the_library_it_is_said(training):
    (warning,) = training_overlap.duplicate_warnings(
        training._replace(hashes=None), Faces(lambda key: None), []
    )
    assert "pip install 'keras-sphereface[duplicates]'" in warning


def test_test_images_nearer_to_a_training_identity_than_any_mismatched_pair_are_suspects(training):
    assert len(training.first_images) == 5
    directions = np.eye(8, dtype=np.float32)
    known = dict(zip(training.first_images, directions, strict=False))
    embedded = {
        "a/1": directions[6] + 0.1 * directions[7],
        "a/2": directions[6],
        "b/1": directions[7] + 0.5 * directions[6],
        "c/1": directions[2] + 0.1 * directions[7],  # person_0003 under another name
    }
    pairs = Pairs(["a/1", "a/1"], ["a/2", "b/1"], np.array([True, False]), np.array([1, 1]))
    of_tests = Embeddings(list(embedded), np.stack(list(embedded.values()))[:, None], {})

    def embed(keys, load):
        assert load(keys[0]).shape == (112, 96, 3)
        return Embeddings(list(keys), np.stack([known[key] for key in keys])[:, None], {})

    embedder = Embedder("network", (112, 96), embed)
    (warning,) = training_overlap.identity_warnings(training, embedder, pairs, of_tests)
    assert "1 of 4 test images" in warning
    assert f"(c/1 and {list(known)[2]} at 1.00)" in warning
    others = of_tests.select(["a/1", "a/2", "b/1"])
    assert training_overlap.identity_warnings(training, embedder, pairs, others) == []


@pytest.mark.slow
def test_the_evaluation_looks_for_names_images_and_embeddings(faces, savedmodel, tmp_path):
    config = EvaluateConfig(
        out=str(tmp_path / "out"),
        model=(str(savedmodel),),
        pairs=(str(faces / "pairs.txt"),),
        images=(str(faces / "images"),),
        landmarks=(str(faces / "landmarks.txt"),),
        bootstrap=0,
    )
    (plain,) = evaluate(config)
    assert not any("training" in text for text in plain.warnings)
    # The same images, as if they had been trained on.
    make_records(
        ConvertConfig(
            source=str(faces / "images"),
            landmarks=str(faces / "landmarks.txt"),
            out=str(tmp_path / "records"),
        )
    )
    config = dataclasses.replace(config, train_records=str(tmp_path / "records"))
    (metrics,) = evaluate(config)
    texts = "\n".join(metrics.warnings)
    assert "Identity overlap with the training set: 14" in texts
    assert "look like a training record" in texts
    assert "Suspected identity overlap" in texts
