"""Triplet losses against their definition, TensorFlow Addons and Keras."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sphereface.functional.distances import DISTANCES, pairwise_distances
from keras_sphereface.losses import triplet as triplet_module
from keras_sphereface.losses.triplet import TripletHardLoss, TripletSemiHardLoss
from tests.functional.test_distances import distance_by_definition
from tests.helpers.addons import addons_module

TRIPLETS = ["semi-hard", "hard", "soft"]
SHAPES = [(2, 2), (4, 3), (3, 7), (16, 4)]  # identities, images of each


@pytest.fixture(scope="module")
def addons():
    return addons_module("losses")


def drawn_batch(identities, each, unit=False, seed=0, size=8):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(10 + 3 * np.arange(identities), each))
    centers = {label: rng.normal(size=size) for label in np.unique(labels)}
    embeddings = np.array([0.5 * centers[label] for label in labels])
    embeddings += rng.normal(size=embeddings.shape)
    if unit:
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return labels, embeddings


def triplet(kind, source=triplet_module, **settings_):
    if kind == "semi-hard":
        return source.TripletSemiHardLoss(**settings_)
    return source.TripletHardLoss(soft=kind == "soft", **settings_)


def value_and_gradient(loss, labels, embeddings):
    embeddings = tf.convert_to_tensor(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss.call(tf.convert_to_tensor(labels), embeddings)
    return value.numpy(), tape.gradient(value, embeddings).numpy()


def triplet_by_definition(kind, labels, embeddings, margin, metric):
    numbers = range(len(labels))
    distances = [[distance_by_definition(a, b, metric) for b in embeddings] for a in embeddings]
    losses = []
    for a in numbers:
        positives = [distances[a][p] for p in numbers if p != a and labels[p] == labels[a]]
        negatives = [distances[a][n] for n in numbers if labels[n] != labels[a]]
        if kind == "semi-hard":
            for to_positive in positives:
                farther = [d for d in negatives if d > to_positive]
                to_negative = min(farther) if farther else max(negatives, default=0)
                losses.append(max(to_positive - to_negative + margin, 0))
            continue
        gap = max(positives, default=0) - min(negatives) if negatives else 0
        losses.append(math.log1p(math.exp(gap)) if kind == "soft" else max(gap + margin, 0))
    return sum(losses) / len(losses) if losses else 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", TRIPLETS)
def test_half_precision_is_computed_in_float32_and_returned_as_it_came(kind, dtype):
    labels, embeddings = drawn_batch(4, 3)
    half = tf.cast(embeddings, dtype)
    value = triplet(kind).call(labels, half)
    assert value.dtype == dtype
    exact = triplet(kind).call(labels, tf.cast(half, tf.float32))
    assert float(value) == float(tf.cast(exact, dtype))


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("kind", TRIPLETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_triplet_losses_are_those_of_the_definition(kind, metric, shape):
    labels, embeddings = drawn_batch(*shape)
    for margin in (0.0, 0.3, 2.0):
        expected = triplet_by_definition(kind, labels, embeddings, margin, metric)
        loss = triplet(kind, margin=margin, distance_metric=metric)
        assert float(loss.call(labels, embeddings)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRIPLETS)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=7).flatmap(
        lambda labels: st.tuples(
            st.just(labels),
            st.lists(
                st.tuples(st.integers(-2, 2), st.integers(-2, 2)),
                min_size=len(labels),
                max_size=len(labels),
            ),
        )
    ),
    st.sampled_from([0.0, 1.0, 2.5]),
)
@settings(max_examples=60)
def test_any_labels_and_equal_distances_give_the_definition_and_a_finite_gradient(
    kind, batch, margin
):
    # Squares of whole numbers are exact, so that ties are ties.
    labels, embeddings = np.array(batch[0]), np.array(batch[1], np.float64)
    loss = triplet(kind, margin=margin, distance_metric="squared-L2")
    value, gradient = value_and_gradient(loss, labels, embeddings)
    expected = triplet_by_definition(kind, labels, embeddings, margin, "squared-L2")
    assert value == pytest.approx(expected, abs=1e-9)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("kind", TRIPLETS)
def test_gradients_are_the_slopes_of_the_values(kind, metric):
    labels, embeddings = drawn_batch(4, 3)
    direction = np.random.default_rng(1).normal(size=embeddings.shape)
    loss, step = triplet(kind, distance_metric=metric), 1e-6
    gradient = value_and_gradient(loss, labels, embeddings)[1]
    ends = [float(loss.call(labels, embeddings + s * direction)) for s in (-step, step)]
    slope = (ends[1] - ends[0]) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-6)


@pytest.mark.slow
@given(st.integers(0, 10**6))
@settings(max_examples=10)
def test_the_order_of_the_batch_does_not_matter(seed):
    labels, embeddings = drawn_batch(4, 3, seed=seed)
    embeddings = np.round(4 * embeddings) / 4  # exact, so that equal distances stay equal
    embeddings[3] = embeddings[5]  # of one identity or of two
    order = np.random.default_rng(seed).permutation(len(labels))
    for kind in TRIPLETS:
        value, gradient = value_and_gradient(triplet(kind), labels, embeddings)
        other_value, other = value_and_gradient(triplet(kind), labels[order], embeddings[order])
        assert other_value == pytest.approx(value, rel=1e-9)
        np.testing.assert_allclose(other, gradient[order], atol=1e-7)


@pytest.mark.parametrize("kind", ["semi-hard", "hard"])
def test_negatives_at_the_same_distance_share_the_gradient(kind):
    embeddings = np.array([[0.0, 0], [1, 0], [0, 2], [0, -2], [0, 9]])
    gradient = value_and_gradient(triplet(kind, margin=1.5), [0, 0, 1, 2, 3], embeddings)[1]
    np.testing.assert_allclose(gradient[2], -gradient[3] * [-1, 1], atol=1e-9)
    assert gradient[2][1] < 0 < gradient[3][1]


@pytest.mark.parametrize("metric", DISTANCES)
def test_without_a_positive_pair_semi_hard_is_zero(metric):
    for labels in ([0, 1, 2, 3], [0]):
        embeddings = drawn_batch(2, 2)[1][: len(labels)]
        loss = triplet("semi-hard", distance_metric=metric)
        value, gradient = value_and_gradient(loss, labels, embeddings)
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("kind", TRIPLETS)
def test_equal_embeddings_have_a_finite_gradient(kind):
    for metric in DISTANCES:
        loss = triplet(kind, distance_metric=metric)
        value, gradient = value_and_gradient(loss, [0, 0, 1, 1], np.ones((4, 3), np.float32))
        assert value == pytest.approx(math.log(2) if kind == "soft" else 1, abs=1e-6)
        np.testing.assert_allclose(gradient, np.zeros((4, 3)), atol=1e-6)


@pytest.mark.parametrize("kind", TRIPLETS)
def test_a_nan_embedding_is_not_hidden(kind):
    labels, embeddings = drawn_batch(3, 2)
    embeddings[2, 1] = np.nan
    assert np.isnan(triplet(kind).call(labels, embeddings))


def test_a_soft_margin_does_not_overflow():
    embeddings = np.array([[0], [1000], [1], [2]], np.float32)
    value, gradient = value_and_gradient(triplet("soft"), [0, 0, 1, 1], embeddings)
    assert value == pytest.approx((999 + 2 + 1 / 2) / 4, abs=0.5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("kind", TRIPLETS)
@pytest.mark.parametrize("form", ["float32", "int64", "column"])
def test_labels_may_have_any_form(kind, form):
    labels, embeddings = drawn_batch(4, 3)
    formed = labels[:, None] if form == "column" else labels.astype(form)
    value = float(triplet(kind).call(labels, embeddings))
    assert float(triplet(kind).call(formed, embeddings)) == value
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="reshape"):
        triplet(kind).call(np.eye(12), embeddings)


@pytest.mark.slow
def test_a_batch_of_hundreds_takes_no_cube_of_it():
    labels = np.zeros(1500, np.int64)  # one cube of bools would be 3.4 GB
    labels[:3] = 1
    embeddings = drawn_batch(500, 3)[1].astype(np.float32)
    assert np.isfinite(value_and_gradient(triplet("semi-hard"), labels, embeddings)[1]).all()


# TensorFlow Addons.


@pytest.mark.parametrize("unit", [False, True], ids=["raw", "unit"])
@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("kind", TRIPLETS)
def test_triplet_losses_equal_those_of_tensorflow_addons(addons, kind, metric, unit):
    for shape, margin in itertools.product(SHAPES, (0.2, 1.0)):
        labels, embeddings = drawn_batch(*shape, unit=unit)
        embeddings = embeddings.astype(np.float32)
        settings_ = {"margin": margin, "distance_metric": metric}
        theirs = value_and_gradient(triplet(kind, addons, **settings_), labels, embeddings)
        ours = value_and_gradient(triplet(kind, **settings_), labels, embeddings)
        scale = float(tf.reduce_max(pairwise_distances(embeddings, metric)))
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6 * scale)
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6 * np.abs(theirs[1]).max())


SPECIAL = {
    "an anchor without a positive": ([0, 0, 1, 1, 2], [[1, 0], [0, 1], [3, 4], [-1, 2], [2, 1]]),
    "no negative": ([0, 0, 0], [[1, 0], [0, 1], [3, 4]]),
    "no negative farther": ([0, 0, 1, 1], [[1, 1], [10, 1], [2, 1], [3, 2]]),
    "equal embeddings": ([0, 0, 1, 1], [[1, 2]] * 4),
    "equal negatives": ([0, 0, 1, 1, 2], [[1, 0], [0.5, 0.5], [0, 2], [0, 2], [4, 4]]),
    "ties": ([0, 0, 1, 1], [[1, 0], [-1, 0], [0, 1], [0, -1]]),
    "at the margin": ([0, 0, 1], [[0, 0.5], [0, 1.5], [0, 3.5]]),
}


@pytest.mark.parametrize("case", SPECIAL)
@pytest.mark.parametrize("kind", TRIPLETS)
def test_special_batches_equal_those_of_tensorflow_addons(addons, kind, case):
    labels, embeddings = SPECIAL[case][0], np.array(SPECIAL[case][1], np.float32)
    for metric, margin in itertools.product(DISTANCES, (1.0, 4.0)):
        settings_ = {"margin": margin, "distance_metric": metric}
        theirs = value_and_gradient(triplet(kind, addons, **settings_), labels, embeddings)
        ours = value_and_gradient(triplet(kind, **settings_), labels, embeddings)
        if np.isinf(theirs[0]):
            assert kind == "soft"  # TensorFlow Addons' overflows
            continue
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6, atol=1e-6)


def test_tensorflow_addons_differ_where_the_module_documents_it(addons):
    labels, embeddings = [0, 1, 2], np.eye(3, dtype=np.float32)
    assert np.isnan(triplet("semi-hard", addons).call(labels, embeddings))
    far = np.array([[0], [1000], [1]], np.float32)
    assert np.isinf(triplet("soft", addons).call([0, 0, 1], far))
    for kind in TRIPLETS:
        with pytest.raises(TypeError, match="float64"):
            triplet(kind, addons).call([0, 0, 1], embeddings.astype(np.float64))


def test_the_classes_have_the_arguments_and_defaults_of_tensorflow_addons(addons):
    for name in ("TripletSemiHardLoss", "TripletHardLoss"):
        ours, theirs = (getattr(s, name)().get_config() for s in (triplet_module, addons))
        assert ours.keys() == theirs.keys()
        for name in ("name", "reduction"):
            del ours[name], theirs[name]
        assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("kind", TRIPLETS)
def test_triplet_losses_in_a_graph_of_unknown_batch_size_equal_the_eager_ones(kind, xla):
    labels, embeddings = drawn_batch(4, 3)
    embeddings[np.flatnonzero(labels == 10)] = [1, 2, 3, 4, 5, 6, 7, 8]  # a distance of 0
    compiled = tf.function(
        lambda y, x: value_and_gradient_tensors(triplet(kind), y, x),
        input_signature=[tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 8], tf.float64)],
        jit_compile=xla,
    )
    expected = value_and_gradient(triplet(kind), labels, embeddings)
    for actual, value in zip(compiled(labels, embeddings), expected, strict=True):
        np.testing.assert_allclose(actual, value, atol=1e-12)


def value_and_gradient_tensors(loss, labels, embeddings):
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss.call(labels, embeddings)
    return value, tape.gradient(value, embeddings)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["semi-hard", "hard"])
def test_a_model_learns_by_a_triplet_loss(kind):
    labels, inputs = drawn_batch(4, 4)
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, kernel_initializer=fixed_kernel)]
    )
    model.compile(keras.optimizers.SGD(0.05), loss=triplet(kind))
    dataset = tf.data.Dataset.from_tensors((inputs.astype(np.float32), labels)).repeat(30)
    losses = model.fit(dataset, verbose=0, steps_per_epoch=1, epochs=30, shuffle=False).history[
        "loss"
    ]
    outputs = inputs @ fixed_kernel((8, 4)).numpy()
    first = triplet_by_definition(kind, labels, outputs, 1.0, "L2")
    assert losses[0] == pytest.approx(first, rel=1e-5)
    assert losses[-1] < 0.8 * first


def fixed_kernel(shape, dtype=None):
    del dtype
    return tf.constant(np.random.default_rng(2).normal(size=shape) / 2, tf.float32)


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_margin_that_is_no_number_from_0_on_is_refused(margin):
    for loss in (TripletSemiHardLoss, TripletHardLoss):
        with pytest.raises(ValueError, match="Received: margin="):
            loss(margin=margin)


def test_a_distance_of_another_name_is_refused():
    for loss in (TripletSemiHardLoss, TripletHardLoss):
        with pytest.raises(ValueError, match="Received: distance_metric='cosine'"):
            loss(distance_metric="cosine")
