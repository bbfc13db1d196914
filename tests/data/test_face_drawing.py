import numpy as np

from keras_sphereface.data import alignment, face_drawing


def render(identity, number):
    traits = face_drawing.draw_traits(np.random.default_rng([0, identity]))
    return face_drawing.render_face(traits, np.random.default_rng([0, identity, number]))


def test_the_same_seed_draws_the_same_face():
    (first, points), (again, points_again) = render(1, 2), render(1, 2)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(points, points_again)
    assert np.any(first != render(1, 3)[0])


def test_landmarks_lie_where_the_features_are():
    """Aligned, the eyes of many faces fall together: their pupils are dark, the whites white."""
    contrasts = []
    for identity in range(12):
        image, points = render(identity, 1)
        assert image.shape == (face_drawing.SIZE, face_drawing.SIZE, 3)
        aligned = alignment.align(image, points).astype(float).mean(axis=2)
        for x, y in alignment.landmark_template()[:2].astype(int):
            eye = aligned[y - 5 : y + 6, x - 9 : x + 10]
            contrasts.append(eye.max() - aligned[y - 1 : y + 2, x - 1 : x + 2].min())
    assert np.median(contrasts) > 60


def test_images_of_an_identity_are_more_similar_than_those_of_two():
    faces = np.stack(
        [
            [alignment.align(*render(identity, number)) for number in range(6)]
            for identity in range(8)
        ]
    ).astype(float)
    faces = faces.reshape(8, 6, -1) - faces.mean(axis=(0, 1)).ravel()
    faces /= np.linalg.norm(faces, axis=-1, keepdims=True)
    cosines = np.einsum("pid,qjd->piqj", faces, faces)
    same = np.einsum("pipj->pij", cosines)[:, ~np.eye(6, dtype=bool)]
    different = cosines[~np.eye(8, dtype=bool)[:, None, :, None].repeat(6, 1).repeat(6, 3)]
    assert same.mean() > different.mean() + 0.1
    # But not so similar that raw pixels distinguish the identities.
    assert np.mean(same > np.quantile(different, 0.99)) < 0.7
