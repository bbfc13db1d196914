"""Crops of a face, shifted and scaled, and the mean of their embeddings."""

import numpy as np
import pytest

from keras_sphereface.config import EvaluateConfig
from keras_sphereface.config.choices import MAX_CROPS
from keras_sphereface.config.rules import check_crops
from keras_sphereface.evaluation import evaluate, open_embedders
from keras_sphereface.export.crops import crops_of, with_crops
from keras_sphereface.export.network import Network

FACES = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), np.uint8)


@pytest.mark.parametrize(
    ("number", "kept", "of"),
    [
        (1, np.s_[:, :, :-3], np.s_[:, :, 3:]),
        (2, np.s_[:, :, 3:], np.s_[:, :, :-3]),
        (3, np.s_[:, :-3], np.s_[:, 3:]),
        (4, np.s_[:, 3:], np.s_[:, :-3]),
    ],
)
def test_a_shift_moves_by_three_pixels(number, kept, of):
    np.testing.assert_array_equal(crops_of(FACES, number)[kept], FACES[of])


def test_zooms_are_about_the_center():
    ramp = np.tile(np.linspace(40, 200, 96), (112, 1))
    ramp = np.round(ramp).astype(np.uint8)[None, :, :, None].repeat(3, axis=-1)
    larger, smaller = (crops_of(ramp, number)[0, 56, :, 0].astype(float) for number in (5, 6))
    inside = slice(10, -10)
    x = np.arange(96)[inside]
    slope = 160 / 95
    expected = [40 + slope * (47.5 + (x - 47.5) / zoom) for zoom in (1.05, 1 / 1.05)]
    np.testing.assert_allclose(larger[inside], expected[0], atol=1)
    np.testing.assert_allclose(smaller[inside], expected[1], atol=1)


def first_pixels(images):
    """Embeddings of 6 numbers that differ from crop to crop."""
    return images[:, 50:52, 40].reshape(len(images), 6).astype(np.float32) + 1


def test_the_embedding_is_the_mean_of_unit_embeddings_at_their_mean_length():
    network = Network("toy", (112, 96), None, 6, first_pixels)
    mean, lengths = np.zeros((2, 6)), np.zeros(2)
    for number in range(3):
        rows = first_pixels(crops_of(FACES, number))
        lengths += np.linalg.norm(rows, axis=1) / 3
        mean += rows / np.linalg.norm(rows, axis=1, keepdims=True)
    averaged = with_crops(network, 3)(FACES)
    expected = mean * (lengths / np.linalg.norm(mean, axis=1))[:, None]
    np.testing.assert_allclose(averaged, expected, rtol=1e-6)
    assert averaged.dtype == np.float32
    assert with_crops(network, 1) is network


def test_a_file_of_one_batch_size_is_filled_up():
    network = with_crops(Network("toy", (112, 96), 4, 6, first_pixels), MAX_CROPS)
    assert network(FACES).shape == (2, 6)
    assert network.both_views(FACES).shape == (2, 12)


@pytest.mark.parametrize("crops", [0, 8])
def test_other_numbers_are_refused(crops):
    network = Network("toy", (112, 96), None, 6, first_pixels)
    with pytest.raises(ValueError, match=f"Received: num_crops={crops}"):
        with_crops(network, crops)
    with pytest.raises(ValueError, match=f"from 1 to 7. Received: crops={crops}"):
        check_crops(crops)


def test_averages_are_not_calibrated():
    with pytest.raises(ValueError, match="for single embeddings"):
        evaluate(EvaluateConfig(out="out", crops=3, calibrate=True))


@pytest.mark.slow
def test_networks_under_evaluation_are_cropped(savedmodel):
    rows = [
        open_embedders(str(savedmodel), crops=crops)[0].embed(["a"], lambda key: FACES[0]).features
        for crops in (1, 3)
    ]
    assert np.abs(rows[0] - rows[1]).max() > 1e-4
