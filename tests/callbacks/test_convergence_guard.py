"""The guard warns of failures, once each, and not in a run that converges."""

import warnings

import keras
import numpy as np
import pytest

from keras_sphereface import (
    ASoftmax,
    ConvergenceGuard,
    CosFace,
    EmbeddingClassifier,
    SphereFacePlus,
    SphereFaceR,
    embedding_norm,
)
from keras_sphereface.backend import KERAS_3
from keras_sphereface.callbacks.convergence_guard import ConvergenceWatch
from keras_sphereface.functional import annealing_lambda, l2_normalize

C, D = 20, 8


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, C, 640)
    directions = rng.normal(size=(C, D))
    embeddings = 2 * directions[labels] + 0.3 * rng.normal(size=(640, D))
    return embeddings.astype(np.float32), labels


def model(head, rate, zero=False):
    keras.utils.set_random_seed(0)
    start = "zeros" if zero else "glorot_uniform"
    network = keras.Sequential(
        [keras.Input((D,)), keras.layers.Dense(D, kernel_initializer=start), head]
    )
    network.compile(keras.optimizers.SGD(rate), loss=head.loss, metrics=[embedding_norm])
    return network


def warnings_of(network, data, epochs=4, **guard):
    callback = ConvergenceGuard(**guard)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network.fit(*data, batch_size=32, epochs=epochs, verbose=0, callbacks=[callback])
    return [str(w.message) for w in caught if w.category is UserWarning]


@pytest.mark.slow
def test_a_run_that_converges_gets_no_warning(data):
    assert warnings_of(model(ASoftmax(C, m=2, total_steps=80), 0.1), data, patience=30) == []


@pytest.mark.slow
def test_a_collapsed_run_is_reported_once_with_advice(data):
    head = ASoftmax(C, total_steps=80)
    # All embeddings zero, and no rate to leave that point: the loss is ln C.
    messages = warnings_of(model(head, 0.0, zero=True), data, patience=30)
    assert len(messages) == 1
    assert "stayed at ln C = 3.00 for 30 steps" in messages[0]
    assert "margin_warmup_steps" in messages[0]


@pytest.mark.slow
def test_an_exploding_run_is_reported_and_can_be_stopped(data):
    network = model(ASoftmax(C, m=4, base=0.0, lambda_min=0.0), 1e3)
    messages = warnings_of(network, data, stop=True)
    assert len(messages) == 1
    assert "lower learning rate" in messages[0]
    assert int(network.optimizer.iterations.numpy()) < 4 * 20


@pytest.mark.slow
def test_an_annealing_that_cannot_end_is_reported_when_the_training_begins(data):
    # 20 steps an epoch; the paper's annealing takes 1,659.
    messages = warnings_of(model(ASoftmax(C, m=2), 0.01), data, epochs=2)
    assert len(messages) == 1
    assert "lambda is 172 at step 40, the last, and not lambda_min = 5" in messages[0]
    assert "`total_steps=40`" in messages[0]


@pytest.mark.slow
def test_the_annealing_of_a_continued_training_counts_the_steps_before(data):
    network = model(ASoftmax(C, m=2, total_steps=80), 0.01)
    network.fit(*data, batch_size=32, epochs=2, verbose=0)
    assert warnings_of(network, data, epochs=2) == []


def test_the_guard_needs_one_angular_head(data):
    network = keras.Sequential([keras.Input((D,)), keras.layers.Dense(C)])
    network.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="one head of keras_sphereface"):
        network.fit(data[0], np.zeros((640, C)), verbose=0, callbacks=[ConvergenceGuard()])


def test_the_losses_that_the_guard_adds_are_those_of_single_steps(data):
    """Keras hands over running means; the guard must undo them."""
    network, seen = model(ASoftmax(C), 0.1), []
    guard = ConvergenceGuard()
    guard.set_model(network)
    guard.on_train_begin()
    guard.watch.add = lambda *arguments: seen.append(arguments)
    guard.on_epoch_begin(0)
    losses, norms = [3.0, 5.0, 1.0, 2.0], [7.0, 7.0, 1.0, 9.0]
    for i in (0, 1, 3):  # the last call stands for two steps
        mean = {"loss": np.mean(losses[: i + 1]), "embedding_norm": np.mean(norms[: i + 1])}
        guard.on_train_batch_end(i, mean)
    assert seen == [(3.0, 7.0, 1), (5.0, 7.0, 1), (1.5, 5.0, 2)]


@pytest.mark.parametrize(
    ("losses", "norm", "word"),
    [
        ([8.0] * 20 + [81.0], None, "rose from 8 to 81"),
        ([3.0] * 2 + [1e6], None, "rose from 3 to 1e"),
        ([3.0] * 6 + [1e6] * 5, None, "rose from 3 to 1e"),
        ([8.0, float("nan")], None, "loss is nan"),
        ([8.0], 2e4, "mean |x| is 2e"),
        ([8.0], float("nan"), "mean |x| is nan"),
        ([3.0] * 9, None, None),
        ([3.0] * 10, None, "stayed at ln C"),
        ([3.0] * 9 + [2.0] + [3.0] * 9, None, None),
        ([8.0] * 100, 300.0, None),
    ],
)
def test_the_watch_distinguishes_failures(losses, norm, word):
    watch = ConvergenceWatch(ASoftmax(C), patience=10)
    messages = [m for m in (watch.add(loss, norm) for loss in losses) if m]
    assert len(messages) == (word is not None)
    if word:
        assert word in messages[0]


@pytest.mark.parametrize(
    "head", [CosFace(C), SphereFacePlus(C), SphereFaceR(C, embedding_norm="soft")]
)
def test_other_heads_have_no_uninformative_loss(head):
    watch = ConvergenceWatch(head, patience=10)
    assert not any(watch.add(3.0) for _ in range(100))


def test_a_patience_of_zero_is_refused():
    with pytest.raises(ValueError, match="Received: patience=0"):
        ConvergenceGuard(patience=0)


def classifier(head, *layers, **options):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((D,)), *layers])
    classified = EmbeddingClassifier(network, head)
    classified.compile(keras.optimizers.SGD(0.05, **options))
    return classified


def unit_length():
    return keras.layers.UnitNormalization() if KERAS_3 else keras.layers.Lambda(l2_normalize)


@pytest.mark.slow
def test_a_classifier_that_learns_gets_no_warning(data):
    network = classifier(ASoftmax(C, m=2, total_steps=80), keras.layers.Dense(D))
    assert warnings_of(network, data) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["equal norms", "constant", "one identity"])
def test_a_fault_of_the_batches_is_reported_once(data, fault):
    images, labels = data
    head = ASoftmax(C, total_steps=80)
    layers = [keras.layers.Dense(D), unit_length()] if fault == "equal norms" else []
    if fault == "constant":
        images = np.tile(images[:1], (len(images), 1))
    if fault == "one identity":
        order = np.argsort(labels, kind="stable")
        images, labels = images[order][:32].repeat(4, axis=0), np.zeros(128, int)
    network = classifier(head, *(layers or [keras.layers.Dense(D)]))
    words = {
        "equal norms": "one length, |x| = 1",
        "constant": "point in one direction",
        "one identity": "a single identity",
    }
    messages = warnings_of(network, (images, labels))
    assert len([message for message in messages if words[fault] in message]) == 1
    others = [word for name, word in words.items() if name != fault]
    assert not [m for m in messages if any(word in m for word in others)]


def test_a_head_with_a_scale_takes_embeddings_of_one_length(data):
    network = classifier(CosFace(C), keras.layers.Dense(D), unit_length())
    assert not [m for m in warnings_of(network, data, epochs=1) if "one length" in m]


@pytest.mark.skipif(not KERAS_3, reason="Keras 2.15 accumulates no gradients")
@pytest.mark.parametrize("counted", [1, 4])
def test_accumulation_that_the_head_does_not_know_of_is_reported(data, counted):
    head = ASoftmax(C, total_steps=5, gradient_accumulation_steps=counted)
    network = model(head, 0.01)
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=4)
    network.compile(optimizer, loss=head.loss)
    messages = warnings_of(network, data, epochs=1)
    assert [("one update of 4 batches" in m) for m in messages] == [True] * (counted == 1)
    steps = int(np.ceil(20 / counted))
    assert float(head.annealing_lambda) == pytest.approx(
        float(annealing_lambda(steps, head.annealing))
    )


def test_a_head_that_counts_no_step_is_reported(data):
    class Stuck(ASoftmax):
        """Called as in evaluation, whatever the model does."""

        def call(self, embeddings, training=False):
            return super().call(embeddings, training=False)

        def losses_of_call(self, call, labels):
            return self.losses_of(call.context, labels)

    messages = warnings_of(model(Stuck(C, total_steps=40), 0.01), data, epochs=2)
    assert ["counted no step in an epoch of 20 batches" in m for m in messages] == [True]
