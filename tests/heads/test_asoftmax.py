"""`ASoftmax` and `ASoftmaxLoss` together: values, gradients, fit, saving, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import ASoftmax, CosFace
from tests.helpers.head_reference import psi_by_definition

NUM_CLASSES, SIZE = 5, 6
PURE = {"base": 0.0, "lambda_min": 0.0}


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, NUM_CLASSES, 64)
    embeddings = rng.normal(size=(64, SIZE)) + 2 * np.eye(NUM_CLASSES, SIZE)[labels]
    return embeddings.astype(np.float32), labels


def small_model(m=4, **kwargs):
    keras.utils.set_random_seed(3)
    head = ASoftmax(NUM_CLASSES, m=m, name="head", **kwargs)
    model = keras.Sequential([keras.Input((SIZE,)), keras.layers.Dense(SIZE), head])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=head.loss, metrics=["accuracy"])
    return model


def loss_by_definition(embeddings, kernel, labels, m, annealing_lambda):
    """Equation 7 with the annealing, in slow float64, a sample and a class at a time."""
    losses = []
    for x, label in zip(embeddings.astype(np.float64), labels, strict=True):
        norm, logits = np.sqrt(np.sum(x**2)), []
        for j, w in enumerate(kernel.astype(np.float64).T):
            theta = np.arccos(np.clip(np.sum(x * w) / norm / np.sqrt(np.sum(w**2)), -1, 1))
            if j == label:
                value = annealing_lambda * np.cos(theta) + psi_by_definition(theta, m)
                logits.append(norm * value / (1 + annealing_lambda))
            else:
                logits.append(norm * np.cos(theta))
        losses.append(np.log(np.sum(np.exp(logits))) - logits[label])
    return np.array(losses)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("annealing_lambda", [0.0, 5.0, 1000.0])
def test_loss_matches_the_definition(batch, m, annealing_lambda):
    embeddings, labels = batch
    head = ASoftmax(NUM_CLASSES, m=m, base=annealing_lambda, lambda_min=0.0)
    outputs = head(embeddings)
    losses = head.loss.call(labels, outputs)
    expected = loss_by_definition(embeddings, head.get_weights()[0], labels, m, annealing_lambda)
    np.testing.assert_allclose(losses, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("m", [1, 4])
def test_gradients_are_finite_at_zero_and_at_the_poles(m):
    head = ASoftmax(NUM_CLASSES, m=m, **PURE)
    head.build((None, SIZE))
    w = head.get_weights()[0][:, 0]
    extremes = [np.zeros(SIZE), w, -w, 1e6 * w, 1e-20 * w]
    x = tf.constant(np.array(extremes, np.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(head.loss.call(np.zeros(5, int), head(x, training=True)))
    for gradient in tape.gradient(loss, [x, head.trainable_variables[0]]):
        assert np.isfinite(gradient).all()


def test_a_zero_class_weight_gives_finite_numbers(batch):
    head = ASoftmax(NUM_CLASSES, kernel_initializer="zeros")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(head.loss.call(batch[1], head(batch[0], training=True)))
    assert float(loss) == pytest.approx(np.log(NUM_CLASSES), rel=0.2)
    assert np.isfinite(tape.gradient(loss, head.trainable_variables[0])).all()


def test_the_outputs_are_the_logits_without_the_margin(batch):
    head = ASoftmax(NUM_CLASSES, m=3)
    outputs = head(100.0 * batch[0])
    kernel = head.get_weights()[0]
    expected = 100.0 * batch[0] @ (kernel / np.linalg.norm(kernel, axis=0))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("label_shape", [(-1,), (-1, 1)])
def test_fit_learns_and_reads_accuracy_without_the_margin(batch, label_shape):
    embeddings, labels = batch
    model = small_model(base=10.0)
    history = model.fit(embeddings, labels.reshape(label_shape), epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]
    logits = model.predict(embeddings, verbose=0)
    expected = np.mean(np.argmax(logits, axis=1) == labels)
    reported = model.evaluate(embeddings, labels.reshape(label_shape), verbose=0)[1]
    assert reported == pytest.approx(expected)
    assert expected > 0.8


@pytest.mark.slow
def test_fit_works_in_a_functional_model(batch):
    image = keras.Input((SIZE,))
    embedding = keras.layers.Dense(SIZE)(image)
    head = ASoftmax(NUM_CLASSES, m=2)
    model = keras.Model(image, head(embedding))
    model.compile("sgd", loss=head.loss, metrics=["accuracy"])
    losses = model.fit(*batch, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_annealing_counts_optimizer_steps_only(batch):
    model = small_model()
    model.fit(*batch, batch_size=16, epochs=3, validation_data=batch, verbose=0)
    model.evaluate(*batch, verbose=0)
    model.predict(batch[0], verbose=0)
    assert int(model.layers[-1].step.numpy()) == 12 == int(model.optimizer.iterations.numpy())
    assert float(model.layers[-1].annealing_lambda) == pytest.approx(1000 / (1 + 0.12 * 12))


def test_the_first_step_trains_with_the_lambda_of_step_1(batch):
    head = ASoftmax(NUM_CLASSES)
    outputs = head(batch[0], training=True)
    expected = loss_by_definition(batch[0], head.get_weights()[0], batch[1], 4, 1000 / 1.12)
    np.testing.assert_allclose(head.loss.call(batch[1], outputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_resuming_from_a_checkpoint_equals_training_on(batch, tmp_path):
    model = small_model(base=10.0)
    model.fit(*batch, epochs=2, shuffle=False, verbose=0)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "c"))
    restored = small_model(base=10.0)
    restored.optimizer.build(restored.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=restored, optimizer=restored.optimizer)
    checkpoint.read(str(tmp_path / "c")).assert_consumed()
    for other in (model, restored):
        other.fit(*batch, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(model.get_weights(), restored.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "error", "received"),
    [
        ({"m": 0}, ValueError, "Received: m=0"),
        ({"m": 2.5}, TypeError, "Received: m=2.5"),
        ({"m": True}, TypeError, "Received: m=True"),
        ({"num_classes": 1}, ValueError, "Received: num_classes=1"),
        ({"num_classes": "10"}, TypeError, "Received: num_classes='10'"),
        ({"base": -1.0}, ValueError, "Received: base=-1.0"),
        ({"gamma": float("nan")}, ValueError, "Received: gamma=nan"),
        ({"dtype": "float16"}, ValueError, "Received: dtype='float16'"),
        ({"lambda_min": None}, TypeError, "Received: lambda_min=None"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, received):
    with pytest.raises(error) as caught:
        ASoftmax(**{"num_classes": 10, **arguments})
    assert str(caught.value).endswith(received)


def test_numbers_of_numpy_are_taken_and_saved_as_plain_ones():
    head = ASoftmax(np.int64(7), m=np.int32(2), base=np.float32(3.0))
    config = head.get_config()
    assert (config["num_classes"], config["m"], config["base"]) == (7, 2, 3.0)
    assert {type(config[name]) for name in ("num_classes", "m")} == {int}
    assert type(config["base"]) is float


@pytest.mark.parametrize("symbolic", [False, True])
def test_feature_maps_are_refused_with_the_layer_that_is_missing(symbolic):
    maps = keras.Input((4, 4, 3)) if symbolic else tf.zeros((2, 4, 4, 3))
    head = ASoftmax(10)
    with pytest.raises(ValueError) as caught:
        head(maps)
    for words in ("embeddings of shape (batch, D)", "Flatten()", "4, 4, 3)"):
        assert words in str(caught.value)
    assert not head.built


def test_a_sequential_model_that_ends_in_a_feature_map_is_refused():
    conv = keras.layers.Conv2D(4, 3)
    with pytest.raises(ValueError, match=r"GlobalAveragePooling2D\(\)"):
        keras.Sequential([keras.Input((8, 8, 3)), conv, ASoftmax(10)])


def test_one_embedding_without_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"Received: shape \(6,\)"):
        ASoftmax(10)(tf.zeros(6))


def test_losses_of_a_feature_map_are_refused():
    with pytest.raises(ValueError, match=r"Received: shape \(2, 4, 6\)"):
        ASoftmax(10).compute_losses(tf.zeros((2, 4, 6)), tf.zeros(2, tf.int32))


def test_a_gradient_of_the_gradient_is_refused(batch):
    head, x = ASoftmax(NUM_CLASSES), tf.constant(batch[0])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = head.loss(batch[1], head(x, training=True))
        penalty = tf.reduce_sum(inner.gradient(loss, x) ** 2)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        outer.gradient(penalty, x)


WAYS = {
    "weights of samples": ({}, {"sample_weight": np.arange(64) % 2.0}, {}),
    "eager": ({"run_eagerly": True}, {}, {}),
    "xla": ({"jit_compile": True}, {}, {}),
    "sampled in xla": ({"jit_compile": True}, {}, {"sample_rate": 0.5}),
    "float64": ({}, {}, {"dtype": "float64"}),
    "projected in blocks": ({}, {}, {"kernel_norm": "projected", "block_size": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_fit_works_in_every_way(batch, way, tmp_path):
    compile_, fit, arguments = WAYS[way]
    head = ASoftmax(NUM_CLASSES, m=2, **arguments)
    inner = keras.Sequential([keras.Input((SIZE,)), keras.layers.Dense(SIZE), head])
    model = keras.Sequential([keras.Input((SIZE,)), inner])  # a model in a model
    model.compile(keras.optimizers.SGD(0.05), loss=head.loss, metrics=["accuracy"], **compile_)
    # Batches of one size: XLA on CPU compiles each.
    history = model.fit(*batch, batch_size=32, epochs=8, verbose=0, **fit).history
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    expected = model.evaluate(*batch, verbose=0)
    np.testing.assert_allclose(restored.evaluate(*batch, verbose=0), expected, rtol=1e-5)


@pytest.mark.slow
def test_mixed_float16_with_a_scaled_loss_trains(batch):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = small_model(base=10.0)
        history = model.fit(*batch, epochs=20, verbose=0).history
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert "LossScale" in type(model.optimizer).__name__
    assert history["loss"][-1] < 0.8 * history["loss"][0]


@pytest.mark.slow
def test_two_heads_of_one_model_have_each_its_loss(batch):
    image = keras.Input((SIZE,))
    embedding = keras.layers.Dense(SIZE)(image)
    first, second = ASoftmax(NUM_CLASSES, name="a"), CosFace(NUM_CLASSES, scale=8.0, name="b")
    model = keras.Model(image, [first(embedding), second(embedding)])
    model.compile("sgd", loss=[first.loss, second.loss])
    losses = model.fit(batch[0], [batch[1], batch[1]], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("initializer", [lambda shape, dtype=None: tf.ones(shape, dtype)])
def test_any_initializer_serves_one_block_and_blocks_need_one_with_a_seed(initializer):
    head = ASoftmax(4, kernel_initializer=initializer)
    head.build((None, SIZE))
    np.testing.assert_array_equal(head.get_weights()[0], 1.0)
    with pytest.raises(ValueError, match="a seed that is an int or None"):
        ASoftmax(4, kernel_initializer=initializer, block_size=2).build((None, SIZE))


def test_nan_embeddings_give_a_nan_loss(batch):
    head = ASoftmax(NUM_CLASSES)
    losses = head.loss.call(batch[1], head(np.full_like(batch[0], np.nan)))
    assert np.isnan(losses).all()


def test_total_steps_bring_the_margin_in_by_four_sevenths_of_them():
    head = ASoftmax(NUM_CLASSES, m=4, total_steps=70)
    head.build((None, SIZE))
    lambdas = []
    for step in range(1, 71):
        head.step.assign(step)
        lambdas.append(float(head.annealing_lambda))
    assert lambdas[38] > 5.0
    assert lambdas[39:] == [5.0] * 31


def test_gamma_wins_over_total_steps_and_the_papers_holds_without_either():
    assert ASoftmax(NUM_CLASSES, gamma=0.5, total_steps=70).annealing.gamma == 0.5
    assert ASoftmax(NUM_CLASSES).annealing.gamma == 0.12


def test_a_head_made_for_some_steps_anneals_alike_after_a_round_trip():
    head = ASoftmax(NUM_CLASSES, base=100.0, total_steps=70)
    again = ASoftmax.from_config(head.get_config())
    assert again.annealing == head.annealing
    assert again.get_config() == head.get_config()


def test_total_steps_must_be_a_count():
    with pytest.raises(ValueError, match="Received: total_steps=0"):
        ASoftmax(NUM_CLASSES, total_steps=0)
