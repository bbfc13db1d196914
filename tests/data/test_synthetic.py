import numpy as np
import pytest

from keras_sphereface.data import alignment, images, synthetic
from keras_sphereface.data.conversion import exclusions
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.readers import class_folders


def render(person, picture):
    traits = synthetic.draw_traits(np.random.default_rng([0, person]))
    return synthetic.render_face(traits, np.random.default_rng([0, person, picture]))


def test_the_same_seed_draws_the_same_face():
    (first, points), (again, points_again) = render(1, 2), render(1, 2)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(points, points_again)
    assert np.any(first != render(1, 3)[0])


def test_landmarks_lie_where_the_features_are():
    """Aligned, the eyes of many faces fall together: their pupils are dark, the whites white."""
    contrasts = []
    for person in range(12):
        image, points = render(person, 1)
        assert image.shape == (synthetic.SIZE, synthetic.SIZE, 3)
        aligned = alignment.align(image, points).astype(float).mean(axis=2)
        for x, y in alignment.landmark_template()[:2].astype(int):
            eye = aligned[y - 5 : y + 6, x - 9 : x + 10]
            contrasts.append(eye.max() - aligned[y - 1 : y + 2, x - 1 : x + 2].min())
    assert np.median(contrasts) > 60


def test_images_of_a_person_are_more_alike_than_those_of_two():
    faces = np.stack(
        [[alignment.align(*render(person, picture)) for picture in range(6)] for person in range(8)]
    ).astype(float)
    faces = faces.reshape(8, 6, -1) - faces.mean(axis=(0, 1)).ravel()
    faces /= np.linalg.norm(faces, axis=-1, keepdims=True)
    cosines = np.einsum("pid,qjd->piqj", faces, faces)
    same = np.einsum("pipj->pij", cosines)[:, ~np.eye(6, dtype=bool)]
    different = cosines[~np.eye(8, dtype=bool)[:, None, :, None].repeat(6, 1).repeat(6, 3)]
    assert same.mean() > different.mean() + 0.1
    # But not so much alike that raw pixels tell them apart.
    assert np.mean(same > np.quantile(different, 0.99)) < 0.7


def test_the_folder_is_laid_out_as_lfw(faces):
    pairs = lfw.read_pairs(faces / "pairs.txt")
    landmarks = read_landmarks(faces / "landmarks.txt")
    pictures = [picture.key for picture in class_folders.read_class_folders(faces / "images")]
    assert len(pictures) == 19 * 6 == len(landmarks)
    assert set(pairs.first) | set(pairs.second) <= set(pictures)
    assert pairs.identities() <= exclusions.read_exclusions(faces / "test_identities.txt").lines
    assert np.bincount(pairs.folds).tolist() == [0] + [8] * 7
    people = [pairs.in_folds([fold]).identities() for fold in range(1, 8)]
    assert sum(map(len, people)) == len(set().union(*people))
    same = [a.split("/")[0] == b.split("/")[0] for a, b in zip(*pairs[:2], strict=True)]
    np.testing.assert_array_equal(same, pairs.is_same)
    assert all(a != b for a, b in zip(*pairs[:2], strict=True))
    assert len({frozenset(pair) for pair in zip(*pairs[:2], strict=True)}) == 56


def test_a_complete_folder_is_left_and_another_seed_replaces_it(tmp_path):
    numbers = {"num_identities": 1, "images_per_identity": 2, "num_test_identities": 0}
    folder = tmp_path / "faces"
    picture = folder / "images" / "person_0001" / "person_0001_0001.jpg"
    synthetic.generate_faces(folder, **numbers)
    written = picture.stat().st_mtime_ns
    synthetic.generate_faces(folder, **numbers)
    assert picture.stat().st_mtime_ns == written
    before = images.decode(picture.read_bytes())
    synthetic.generate_faces(folder, **{**numbers, "num_identities": 2})
    synthetic.generate_faces(folder, **numbers, seed=1)
    assert np.any(images.decode(picture.read_bytes()) != before)
    assert [path.name for path in (folder / "images").iterdir()] == ["person_0001"]
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match=r"generated faces\. Received: "):
        synthetic.generate_faces(tmp_path, **numbers)
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize(
    "numbers",
    [
        {"num_identities": 0, "num_test_identities": 0},
        {"images_per_identity": 1},
        {"num_test_identities": 3},
        {"num_folds": 1},
        {"pairs_per_class": 0},
    ],
)
def test_too_few_people_or_images_are_refused(tmp_path, numbers):
    with pytest.raises(ValueError, match="Received: "):
        synthetic.generate_faces(tmp_path, **numbers)
