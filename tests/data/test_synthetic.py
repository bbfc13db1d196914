import numpy as np
import pytest

from keras_sphereface.data import images, synthetic
from keras_sphereface.data.conversion import exclusions
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.readers import class_folders


def test_the_folder_is_laid_out_as_lfw(faces):
    pairs = lfw.read_pairs(faces / "pairs.txt")
    landmarks = read_landmarks(faces / "landmarks.txt")
    keys = [image.key for image in class_folders.read_class_folders(faces / "images")]
    assert len(keys) == 19 * 6 == len(landmarks)
    assert set(pairs.first) | set(pairs.second) <= set(keys)
    assert pairs.identities() <= exclusions.read_exclusions(faces / "test_identities.txt").lines
    assert np.bincount(pairs.folds).tolist() == [0] + [8] * 7
    identities = [pairs.in_folds([fold]).identities() for fold in range(1, 8)]
    assert sum(map(len, identities)) == len(set().union(*identities))
    same = [a.split("/")[0] == b.split("/")[0] for a, b in zip(*pairs[:2], strict=True)]
    np.testing.assert_array_equal(same, pairs.is_same)
    assert all(a != b for a, b in zip(*pairs[:2], strict=True))
    assert len({frozenset(pair) for pair in zip(*pairs[:2], strict=True)}) == 56


def test_a_complete_folder_is_left_and_another_seed_replaces_it(tmp_path):
    numbers = {"num_identities": 1, "images_per_identity": 2, "num_test_identities": 0}
    folder = tmp_path / "faces"
    image = folder / "images" / "person_0001" / "person_0001_0001.jpg"
    synthetic.generate_faces(folder, **numbers)
    written = image.stat().st_mtime_ns
    synthetic.generate_faces(folder, **numbers)
    assert image.stat().st_mtime_ns == written
    before = images.decode(image.read_bytes())
    synthetic.generate_faces(folder, **{**numbers, "num_identities": 2})
    synthetic.generate_faces(folder, **numbers, seed=1)
    assert np.any(images.decode(image.read_bytes()) != before)
    assert [path.name for path in (folder / "images").iterdir()] == ["person_0001"]
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match=r"generated faces\. Received: "):
        synthetic.generate_faces(tmp_path, **numbers)
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize(
    "numbers",
    [
        {"num_identities": 0},
        {"num_test_identities": -1},
        {"images_per_identity": 1},
        {"num_test_identities": 3},
        {"num_folds": 1},
        {"pairs_per_class": 0},
    ],
)
def test_too_few_identities_or_images_are_refused(tmp_path, numbers):
    with pytest.raises(ValueError, match="Received: "):
        synthetic.generate_faces(tmp_path, **numbers)
