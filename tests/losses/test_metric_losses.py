"""The contrastive and the triplet losses: their definition, TensorFlow Addons, Keras."""

import itertools
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sphereface.losses import metric_losses
from keras_sphereface.losses.metric_losses import METRICS
from keras_sphereface.utils import compat
from tests.conftest import ROOT

TRIPLETS = ["semi-hard", "hard", "soft"]
SHAPES = [(2, 2), (4, 3), (3, 7), (16, 4)]  # people, images each


@pytest.fixture
def addons():
    found = compat.addons_losses()
    if found is None:
        pytest.skip("TensorFlow Addons is not installed, or Keras is not 2.15")
    return found


def drawn_batch(people, each, unit=False, seed=0, size=8):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(10 + 3 * np.arange(people), each))
    centers = {label: rng.normal(size=size) for label in np.unique(labels)}
    embeddings = np.array([0.5 * centers[label] for label in labels])
    embeddings += rng.normal(size=embeddings.shape)
    if unit:
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return labels, embeddings


def triplet(kind, source=metric_losses, **settings_):
    if kind == "semi-hard":
        return source.TripletSemiHardLoss(**settings_)
    return source.TripletHardLoss(soft=kind == "soft", **settings_)


def value_and_gradient(loss, labels, embeddings):
    embeddings = tf.convert_to_tensor(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss.call(tf.convert_to_tensor(labels), embeddings)
    return value.numpy(), tape.gradient(value, embeddings).numpy()


def distance_by_definition(a, b, metric):
    if metric == "angular":
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    squared = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return squared if metric == "squared-L2" else math.sqrt(squared)


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


# Distances.


@pytest.mark.parametrize("metric", METRICS)
def test_pairwise_distances_are_those_of_the_definition(metric):
    embeddings = drawn_batch(3, 2)[1]
    found = metric_losses.pairwise_distances(embeddings, metric)
    assert found.dtype == tf.float64
    expected = [[distance_by_definition(a, b, metric) for b in embeddings] for a in embeddings]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (1.0, 2.0, -0.3)])
def test_distances_of_equal_embeddings_have_finite_gradients(metric, vector):
    embeddings = tf.constant([vector] * 3)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        distances = metric_losses.pairwise_distances(embeddings, metric)
    np.testing.assert_allclose(tape.gradient(distances, embeddings), np.zeros((3, 3)), atol=1e-6)


def test_an_embedding_has_no_distance_from_itself_whatever_the_rounding():
    embeddings = (1000 + 1e4 * drawn_batch(5, 4)[1]).astype(np.float32)
    assert not np.diag(metric_losses.pairwise_distances(embeddings)).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32_and_returned_as_it_came(dtype):
    labels, embeddings = drawn_batch(4, 3)
    half = tf.cast(embeddings, dtype)
    assert metric_losses.pairwise_distances(half).dtype == tf.float32
    for kind in TRIPLETS:
        value = triplet(kind).call(labels, half)
        assert value.dtype == dtype
        exact = triplet(kind).call(labels, tf.cast(half, tf.float32))
        assert float(value) == float(tf.cast(exact, dtype))
    assert metric_losses.contrastive_losses([1, 0], tf.cast([1, 2], dtype)).dtype == dtype


# The definitions.


def test_contrastive_losses_are_those_of_the_definition():
    is_same, distances = [1, 1, 0, 0, 0, 1], [0.0, 0.5, 0.0, 0.4, 0.8, 3.0]
    expected = [0.0, 0.25, 0.7**2, 0.3**2, 0.0, 9.0]
    for column in (False, True):
        arrays = np.array(is_same), np.array(distances)
        arrays = [array[:, None] for array in arrays] if column else arrays
        found = metric_losses.contrastive_losses(*arrays, margin=0.7)
        np.testing.assert_allclose(found, expected, atol=1e-15)
    mixed = metric_losses.contrastive_losses(np.array(is_same)[:, None] == 1, distances, 0.7)
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", TRIPLETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_triplet_losses_are_those_of_the_definition(kind, metric, shape):
    labels, embeddings = drawn_batch(*shape)
    for margin in (0.0, 0.3, 2.0):
        expected = triplet_by_definition(kind, labels, embeddings, margin, metric)
        loss = triplet(kind, margin=margin, distance_metric=metric)
        assert float(loss.call(labels, embeddings)) == pytest.approx(expected, rel=1e-10)


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


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", TRIPLETS)
def test_gradients_are_the_slopes_of_the_values(kind, metric):
    labels, embeddings = drawn_batch(4, 3)
    direction = np.random.default_rng(1).normal(size=embeddings.shape)
    loss, step = triplet(kind, distance_metric=metric), 1e-6
    gradient = value_and_gradient(loss, labels, embeddings)[1]
    ends = [float(loss.call(labels, embeddings + s * direction)) for s in (-step, step)]
    slope = (ends[1] - ends[0]) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-6)


@given(st.integers(0, 10**6))
@settings(max_examples=10)
def test_the_order_of_the_batch_does_not_matter(seed):
    labels, embeddings = drawn_batch(4, 3, seed=seed)
    embeddings = np.round(4 * embeddings) / 4  # exact, so that equal distances stay equal
    embeddings[3] = embeddings[5]  # of one person or of two
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


@pytest.mark.parametrize("metric", METRICS)
def test_without_a_positive_pair_semi_hard_is_zero(metric):
    for labels in ([0, 1, 2, 3], [0]):
        embeddings = drawn_batch(2, 2)[1][: len(labels)]
        loss = triplet("semi-hard", distance_metric=metric)
        value, gradient = value_and_gradient(loss, labels, embeddings)
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("kind", TRIPLETS)
def test_equal_embeddings_have_a_finite_gradient(kind):
    for metric in METRICS:
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


def test_a_batch_of_hundreds_takes_no_cube_of_it():
    labels = np.zeros(1500, np.int64)  # one cube of bools would be 3.4 GB
    labels[:3] = 1
    embeddings = drawn_batch(500, 3)[1].astype(np.float32)
    assert np.isfinite(value_and_gradient(triplet("semi-hard"), labels, embeddings)[1]).all()


# TensorFlow Addons.


@pytest.mark.parametrize("unit", [False, True], ids=["raw", "unit"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", TRIPLETS)
def test_triplet_losses_equal_those_of_tensorflow_addons(addons, kind, metric, unit):
    for shape, margin in itertools.product(SHAPES, (0.2, 1.0)):
        labels, embeddings = drawn_batch(*shape, unit=unit)
        embeddings = embeddings.astype(np.float32)
        settings_ = {"margin": margin, "distance_metric": metric}
        theirs = value_and_gradient(triplet(kind, addons, **settings_), labels, embeddings)
        ours = value_and_gradient(triplet(kind, **settings_), labels, embeddings)
        scale = float(tf.reduce_max(metric_losses.pairwise_distances(embeddings, metric)))
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
    for metric, margin in itertools.product(METRICS, (1.0, 4.0)):
        settings_ = {"margin": margin, "distance_metric": metric}
        theirs = value_and_gradient(triplet(kind, addons, **settings_), labels, embeddings)
        ours = value_and_gradient(triplet(kind, **settings_), labels, embeddings)
        if np.isinf(theirs[0]):
            assert kind == "soft"  # it overflows there
            continue
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6, atol=1e-6)


def test_tensorflow_addons_differ_where_the_module_says_so(addons):
    labels, embeddings = [0, 1, 2], np.eye(3, dtype=np.float32)
    assert np.isnan(triplet("semi-hard", addons).call(labels, embeddings))
    far = np.array([[0], [1000], [1]], np.float32)
    assert np.isinf(triplet("soft", addons).call([0, 0, 1], far))
    for kind in TRIPLETS:
        with pytest.raises(TypeError, match="float64"):
            triplet(kind, addons).call([0, 0, 1], embeddings.astype(np.float64))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("labels", ["float32", "int32", "bool"])
def test_contrastive_losses_equal_those_of_tensorflow_addons(addons, dtype, labels):
    rng = np.random.default_rng(0)
    is_same = rng.integers(0, 2, 30).astype(labels)
    distances = tf.cast(rng.uniform(0, 3, 30), dtype)
    for margin in (0.5, 1.0):
        theirs = value_and_gradient(addons.ContrastiveLoss(margin), is_same, distances)
        ours = value_and_gradient(metric_losses.ContrastiveLoss(margin), is_same, distances)
        for our, their in zip(ours, theirs, strict=True):
            assert our.dtype == their.dtype
            assert our.shape == their.shape == (30,)
            np.testing.assert_allclose(np.float64(our), np.float64(their), rtol=1e-6, atol=1e-7)


def test_the_classes_have_the_arguments_and_defaults_of_tensorflow_addons(addons):
    for name in ("ContrastiveLoss", "TripletSemiHardLoss", "TripletHardLoss"):
        ours, theirs = (getattr(s, name)().get_config() for s in (metric_losses, addons))
        assert ours.keys() == theirs.keys()
        for own in ("name", "reduction"):
            del ours[own], theirs[own]
        assert ours == theirs


# Keras.

LOSSES = {
    "contrastive": lambda: metric_losses.ContrastiveLoss(0.7, name="pairs"),
    "semi-hard": lambda: metric_losses.TripletSemiHardLoss(0.3, "angular"),
    "hard": lambda: metric_losses.TripletHardLoss(0.3, True, "squared-L2"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_comes_back_from_its_configuration(name):
    loss = LOSSES[name]()
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    for argument in ("margin", "soft", "distance_metric"):
        assert getattr(again, argument, None) == getattr(loss, argument, None)


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
    for found, value in zip(compiled(labels, embeddings), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-12)


def value_and_gradient_tensors(loss, labels, embeddings):
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss.call(labels, embeddings)
    return value, tape.gradient(value, embeddings)


@pytest.mark.parametrize("source", ["ours", "chosen"])
@pytest.mark.parametrize("kind", ["semi-hard", "hard"])
def test_a_model_learns_by_a_triplet_loss(kind, source):
    labels, inputs = drawn_batch(4, 4)
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, kernel_initializer=fixed_kernel)]
    )
    chosen = {"semi-hard": metric_losses.triplet_semi_hard, "hard": metric_losses.triplet_hard}
    loss = triplet(kind) if source == "ours" else chosen[kind]()
    model.compile(keras.optimizers.SGD(0.05), loss=loss)
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


@pytest.mark.parametrize("name", ["semi-hard", "hard"])
def test_a_model_is_saved_with_its_loss(name, tmp_path):
    labels, inputs = drawn_batch(4, 3)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    model.compile("sgd", loss=LOSSES[name]())
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == model.loss.get_config()
    before, after = (m.evaluate(inputs, labels, batch_size=12, verbose=0) for m in (model, again))
    assert after == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_margin_that_is_no_number_from_0_on_is_refused(margin):
    for make in (metric_losses.ContrastiveLoss, metric_losses.triplet_hard):
        with pytest.raises(ValueError, match="Received: margin="):
            make(margin=margin)


def test_a_distance_of_another_name_is_refused():
    for make in (metric_losses.TripletHardLoss, metric_losses.triplet_semi_hard):
        with pytest.raises(ValueError, match="Received: distance_metric='cosine'"):
            make(distance_metric="cosine")
    with pytest.raises(ValueError, match="Received: distance_metric='l2'"):
        metric_losses.pairwise_distances(np.ones((2, 2)), "l2")


# The choice between the two.


def test_the_implementation_is_tensorflow_addons_where_it_runs(addons):
    chosen = metric_losses.implementation()
    assert chosen.name.startswith("TensorFlow Addons 0.")
    assert type(metric_losses.contrastive()) is chosen.contrastive is addons.ContrastiveLoss
    assert type(metric_losses.triplet_semi_hard()) is addons.TripletSemiHardLoss
    assert type(metric_losses.triplet_hard()) is addons.TripletHardLoss


def test_the_implementation_is_this_module_elsewhere(monkeypatch):
    monkeypatch.setattr(metric_losses, "addons_losses", lambda: None)
    assert metric_losses.implementation().name == "keras_sphereface"
    assert type(metric_losses.contrastive()) is metric_losses.ContrastiveLoss
    assert type(metric_losses.triplet_semi_hard()) is metric_losses.TripletSemiHardLoss
    assert type(metric_losses.triplet_hard()) is metric_losses.TripletHardLoss


def test_the_chosen_losses_give_the_definition_inside_a_compiled_step():
    labels, embeddings = drawn_batch(4, 3)
    losses = {
        "semi-hard": metric_losses.triplet_semi_hard(0.5, "squared-L2"),
        "hard": metric_losses.triplet_hard(0.5, False, "squared-L2"),
        "soft": metric_losses.triplet_hard(0.5, True, "squared-L2"),
    }
    contrastive = metric_losses.contrastive(0.5)

    @tf.function
    def step(labels, embeddings, is_same, distances):
        found = {kind: loss.call(labels, embeddings) for kind, loss in losses.items()}
        return found, contrastive.call(is_same, distances)

    found, pairs = step(
        tf.cast(labels, tf.float32),
        tf.cast(embeddings, tf.float32),
        tf.constant([1.0, 0.0]),
        tf.constant([0.3, 0.1]),
    )
    for kind, value in found.items():
        assert value.shape == ()
        expected = triplet_by_definition(kind, labels, embeddings, 0.5, "squared-L2")
        assert float(value) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(pairs, [0.09, 0.16], atol=1e-6)


def run(program, path):
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{path}:{ROOT}", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.slow
def test_tensorflow_addons_is_imported_at_the_first_call_and_quietly(tmp_path):
    program = (
        "import sys\n"
        "from keras_sphereface import compat\n"
        "assert 'tensorflow_addons' not in sys.modules\n"
        "print(compat.addons_losses() is not None, 'tensorflow_addons' in sys.modules)\n"
    )
    there = str(compat.addons_losses() is not None)
    assert run(program, tmp_path) == [there, there]


@pytest.mark.slow
def test_a_broken_tensorflow_addons_is_as_none(tmp_path):
    package = tmp_path / "tensorflow_addons"
    package.mkdir()
    (package / "__init__.py").write_text(
        "print('imported')\nraise ImportError('of another Keras')\n"
    )
    program = (
        "from keras_sphereface import metric_losses\nprint(metric_losses.implementation().name)\n"
    )
    # Beside Keras 3 it is not even tried.
    tried = [] if compat.KERAS_3 else ["imported"]
    assert run(program, tmp_path) == [*tried, "keras_sphereface"]
