import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.metrics import templates


def means_by_loops(embeddings, names, media):
    expected = {}
    for name in sorted(set(names)):
        frames = {}
        for embedding, other, medium in zip(embeddings, names, media, strict=True):
            if other == name:
                frames.setdefault(medium, []).append(embedding)
        of_media = [sum(rows) / len(rows) for rows in frames.values()]
        expected[name] = sum(of_media) / len(of_media)
    return expected


@given(
    st.lists(st.tuples(st.sampled_from("cab"), st.integers(-2, 2)), min_size=1, max_size=15),
    st.integers(0, 99),
)
def test_means_are_those_of_loops(images, seed):
    names, media = (np.array(side) for side in zip(*images, strict=True))
    embeddings = np.random.default_rng(seed).normal(size=(len(images), 3))
    expected = means_by_loops(embeddings, names, media)
    template_names, means = templates.template_means(embeddings, names, media)
    assert template_names.tolist() == list(expected)
    np.testing.assert_allclose(means, list(expected.values()), atol=1e-12)


def test_a_video_counts_as_much_as_an_image():
    embeddings = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    _, means = templates.template_means(embeddings, np.zeros(4, int), np.array([7, 7, 7, 9]))
    np.testing.assert_array_equal(means, [[0.5, 0.5]])


def test_without_media_every_image_has_the_same_weight():
    embeddings = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    _, means = templates.template_means(embeddings, np.zeros(4, int))
    np.testing.assert_array_equal(means, [[0.75, 0.25]])


@pytest.mark.parametrize(("normalize", "expected"), [(False, [2.0, 0.5]), (True, [0.5, 0.5])])
def test_short_embeddings_count_for_less_unless_normalized(normalize, expected):
    embeddings, names = np.array([[4.0, 0], [0, 1]]), np.array(["a", "a"])
    _, means = templates.template_means(embeddings, names, normalize=normalize)
    np.testing.assert_array_equal(means, [expected])


@pytest.mark.parametrize(
    ("dtype", "result"), [(np.float16, np.float32), (np.float32, np.float32), (float, float)]
)
def test_type_of_the_means(dtype, result):
    embeddings = np.full((2048, 1), 1000, dtype)  # in float16 the sum would overflow
    one = np.zeros(2048, int)
    _, means = templates.template_means(embeddings, one, one)
    assert means.dtype == result
    np.testing.assert_array_equal(means, [[1000]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, t, m: (e[0], t, m), r"Received: \{'embeddings': \(2,\)"),
        (lambda e, t, m: (e, t[1:], m), r"'templates': \(2,\)"),
        (lambda e, t, m: (e, t, m[1:]), r"'media': \(2,\)"),
        (lambda e, t, m: (e[:0], t[:0], m[:0]), "N >= 1"),
        (lambda e, t, m: (e + [[0], [np.nan], [0]], t, m), "nan or infinity in row 1"),
    ],
)
def test_arrays_of_unequal_lengths_or_with_nan_are_refused(change, message):
    images = np.ones((3, 2)), np.arange(3), np.arange(3)
    with pytest.raises(ValueError, match=message):
        templates.template_means(*change(*images))


def test_a_zero_embedding_cannot_be_normalized():
    embeddings = np.array([[1.0, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"`embeddings` must be other than zero.* row 1"):
        templates.template_means(embeddings, np.zeros(2, int), normalize=True)
