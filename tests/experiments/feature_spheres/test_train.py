"""Small networks with 2-D and 3-D embeddings, which differ in their loss only."""

import numpy as np
import pytest
from PIL import Image

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.experiments.feature_spheres import statistics
from keras_sphereface.experiments.feature_spheres.train import (
    SphereFaces,
    identities_with_most_images,
    split_faces,
    train_sphere,
)


@pytest.fixture(scope="module")
def four_identities(records_folder):
    return identities_with_most_images(str(records_folder), 4)


def test_the_identities_with_most_images_are_named_and_split(four_identities):
    assert four_identities.names == tuple(f"person_{n:04d}" for n in (1, 2, 3, 4))
    train, test = split_faces(four_identities, 0)
    assert np.bincount(train.labels).tolist() == [4] * 4
    assert np.bincount(test.labels).tolist() == [2] * 4
    whole = {image.tobytes() for image in four_identities.images}
    assert whole == {image.tobytes() for faces in (train, test) for image in faces.images}
    again = split_faces(four_identities, 0)[1]
    np.testing.assert_array_equal(test.images, again.images)
    assert not np.array_equal(test.images, split_faces(four_identities, 1)[1].images)


def test_faces_keep_images_and_labels_together():
    faces = SphereFaces(np.arange(5), np.arange(5) % 2, ("a", "b")).take(np.array([3, 0]))
    assert (faces.images.tolist(), faces.labels.tolist()) == ([3, 0], [1, 0])


def test_identities_may_be_called_anything_and_those_with_most_images_come_first(tmp_path):
    """Counts 3, 9, 5 and 9, and names that pandas would take for missing."""
    images = np.random.default_rng(0).integers(0, 255, (26, 112, 96, 3), np.uint8)
    names = ["few"] * 3 + ["NA"] * 9 + ["None"] * 5 + ["0017"] * 9
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        path = tmp_path / "faces" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    out = tmp_path / "records"
    make_records(ConvertConfig(source=str(tmp_path / "faces"), out=str(out), workers=1))
    chosen = identities_with_most_images(str(out), 3)
    assert set(chosen.names[:2]) == {"NA", "0017"}
    assert chosen.names[2] == "None"
    assert np.bincount(chosen.labels).tolist() == [9, 9, 5]
    expected = {i.tobytes() for i, name in zip(images, names, strict=True) if name == "None"}
    assert {i.tobytes() for i in chosen.images[chosen.labels == 2]} == expected
    with pytest.raises(ValueError, match="has 3 with at least 4 images"):
        identities_with_most_images(str(out), 4)
    with pytest.raises(FileNotFoundError, match="make records of them first"):
        identities_with_most_images(str(tmp_path / "faces"), 2)


@pytest.mark.slow
def test_losses_share_their_start_and_one_seed_gives_one_sphere(four_identities):
    train, test = split_faces(four_identities, 0)
    softmax, first, again = (train_sphere(train, test, 2, m, 3, 5, 3) for m in (None, 4, 4))
    for sphere in (softmax, first):
        start = sphere.history[0]
        np.testing.assert_array_equal(start.embeddings, first.history[0].embeddings)
        np.testing.assert_array_equal(start.kernel, first.history[0].kernel)
        assert [cloud.step for cloud in sphere.history] == [0, 2, 3]
    assert not np.array_equal(first.test.embeddings, first.history[0].embeddings)
    assert not np.array_equal(first.test.kernel, softmax.test.kernel)
    np.testing.assert_array_equal(first.test.embeddings, again.test.embeddings)
    assert len(first.train.labels) == len(train.labels)


@pytest.mark.full
def test_the_cloud_shrinks_with_m(tmp_path):
    """The claim of the paper, on generated faces: clouds are narrower the larger m is."""
    folder = generated_records(tmp_path, 8, 45, 0, 0).records
    train, test = split_faces(identities_with_most_images(str(folder), 8), 0)
    spheres = [train_sphere(train, test, 3, m, 200, 0) for m in (1, 2, 4)]
    table = statistics.statistics_table([*map(statistics.sphere_statistics, spheres)])
    assert statistics.find_growing_clouds(table) == [], table.to_string()
    for column in ("mean_intra", "train_mean_intra"):
        assert table[column].iloc[-1] < 0.8 * table[column].iloc[0], table.to_string()
