"""`fit` with every head, in both forms, against the same training in NumPy; saving, steps."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_sphereface import ASoftmax, EmbeddingClassifier
from keras_sphereface.backend import uniform
from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads import head_class
from tests.helpers import head_reference as reference
from tests.helpers.backends import array
from tests.helpers.head_reference import CASES, Weights, slopes

B, IN, D, C = 8, 5, 4, 5
BATCHES, EPOCHS, RATE = 2, 2, 0.05
FORMS = ("EmbeddingClassifier", "loss=head.loss")
# Heads with a trained or moving bias, with centers, and without classes are among these.
SAVED = ("asoftmax", "sphereface2", "softmax+center", "triplet", "adaface", "curricularface")
# Of float32, after four steps.
TOLERANCE = 2e-4


def annealed(losses):
    """The settings and, by the number of the step, the losses of a head with an annealing."""
    settings = {"base": 8.0, "gamma": 1.0, "lambda_min": 2.0}
    return settings, lambda step: losses(max(8.0 / (1.0 + step), 2.0))


def elastic(target, m):
    """The same of a head that draws its margins, with their spread large enough to be seen."""

    def losses_at(step):
        uniforms = array(uniform(2 * B, (2, step))).astype(float)
        return reference.scaled(9.0, target(reference.normal_margins(uniforms, m, 0.2)))

    return {"scale": 9.0, "margin_std": 0.2}, losses_at


TRAININGS = {
    **{
        kind: (CASES[kind].settings, lambda step, kind=kind: CASES[kind].losses)
        for kind in HEADS
        if kind not in ("asoftmax", "sphereface+", "softmax+center") and "elastic" not in kind
    },
    "elasticface-arc": elastic(reference.added_angle, 0.5),
    "elasticface-cos": elastic(lambda margin: lambda theta: np.cos(theta) - margin, 0.35),
    # Much of it, so that centers that move otherwise show.
    "softmax+center": ({"term_weight": 1.0}, lambda step: reference.softmax_center(1.0)),
    "asoftmax": annealed(lambda annealing_lambda: reference.asoftmax(4, annealing_lambda)),
    "sphereface+": annealed(
        lambda annealing_lambda: reference.sphereface_plus(4, annealing_lambda, 1.0)
    ),
}


def data() -> tuple[np.ndarray, np.ndarray]:
    """Inputs near a corner of their class, and labels; every batch has several of a class."""
    labels = np.arange(BATCHES * B) % 3
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(len(labels), IN)) + 2.0 * np.eye(3, IN)[labels]
    return inputs.astype("float32"), labels


def network() -> keras.Model:
    """A layer without a bias, so that embeddings are the inputs times a matrix."""
    start = keras.initializers.GlorotUniform(seed=3)
    layer = keras.layers.Dense(D, use_bias=False, kernel_initializer=start)
    return keras.Sequential([keras.Input((IN,)), layer])


def make(kind: str, **settings):
    if HEADS[kind].has_class_weights:
        settings["kernel_initializer"] = keras.initializers.LecunUniform(seed=4)
    return head_class(kind)(C, **settings)


def model_of(form: str, head, optimizer=None) -> keras.Model:
    optimizer = keras.optimizers.SGD(RATE) if optimizer is None else optimizer
    if form == "EmbeddingClassifier":
        model = EmbeddingClassifier(network(), head)
        model.compile(optimizer)
    else:
        model = keras.Sequential([network(), head])
        model.compile(optimizer, loss=head.loss)
    model(data()[0][:1])  # makes the weights
    return model


def fit(model: keras.Model, epochs: int = EPOCHS, **settings) -> dict[str, list[float]]:
    settings = {"batch_size": B, "shuffle": False, "verbose": 0, **settings}
    return model.fit(*data(), epochs=epochs, **settings).history


def weights_of(head) -> Weights:
    """The weights of a head in float64; zeros where it has none."""
    kernel = array(head.kernel) if head.block_sizes() else np.zeros((D, C))
    bias = head.biases[0] if getattr(head, "biases", None) else getattr(head, "bias", None)
    bias = np.zeros(()) if bias is None else array(bias)
    names = ("norm_mean", "norm_std", "t", "adaptive_scale")
    state = {name: float(array(getattr(head, name))) for name in names if hasattr(head, name)}
    return Weights(kernel.astype(float), bias.astype(float), np.zeros((C, D)), state)


def train_in_numpy(
    losses_at,
    start: np.ndarray,
    weights: Weights,
    sample_weights: np.ndarray | None = None,
    moved_state=lambda x, labels, weights: {},
) -> tuple[list[float], np.ndarray]:
    """SGD with the formulas of the papers: the mean loss of each epoch, and the last matrix."""
    (inputs, labels), matrix, means, step = data(), start.astype(float), [], 0
    every = np.ones(len(labels)) if sample_weights is None else sample_weights
    for _ in range(EPOCHS):
        losses = []
        for first in range(0, len(labels), B):
            x, y = inputs[first : first + B].astype(float), labels[first : first + B]
            share, step = every[first : first + B] / B, step + 1
            weights = dataclasses.replace(weights, state=moved_state(x @ matrix, y, weights))

            def loss(matrix, weights, x=x, y=y, share=share, step=step):
                return share * losses_at(step)(x @ matrix, y, weights)

            losses.append(np.sum(loss(matrix, weights)))
            by_matrix = slopes(lambda m, w=weights: loss(m, w), matrix)
            moved = {
                name: getattr(weights, name)
                - RATE
                * slopes(
                    lambda v, n=name, m=matrix, w=weights: loss(
                        m, dataclasses.replace(w, **{n: v})
                    ),
                    getattr(weights, name),
                )
                for name in ("kernel", "bias")
            }
            centers = reference.moved_centers(x @ matrix, y, weights.centers)
            matrix = matrix - RATE * by_matrix
            weights = Weights(**moved, centers=centers, state=weights.state)
        means.append(np.mean(losses))
    return means, matrix


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", HEADS)
def test_fit_is_the_training_of_the_formulas(kind, form):
    settings, losses_at = TRAININGS[kind]
    head = make(kind, **settings)
    model = model_of(form, head)
    start = array(model.layers[0].weights[0])
    moved_state = reference.MOVED.get(kind, lambda x, labels, weights: {})
    expected, last = train_in_numpy(losses_at, start, weights_of(head), moved_state=moved_state)
    history = fit(model)
    np.testing.assert_allclose(history["loss"], expected, rtol=TOLERANCE, atol=1e-6)
    np.testing.assert_allclose(array(model.layers[0].weights[0]), last, rtol=0.0, atol=TOLERANCE)
    assert history["loss"][-1] < history["loss"][0]
    assert int(array(head.step)) == BATCHES * EPOCHS == int(array(model.optimizer.iterations))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAVED)
def test_a_saved_model_evaluates_and_continues_as_the_one_in_memory(kind, tmp_path):
    model = model_of("EmbeddingClassifier", make(kind))
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs, labels = data()
    results = []
    for one in (model, loaded):
        numbers = one.evaluate(inputs, labels, batch_size=B, verbose=0, return_dict=True)
        embeddings = one.predict(inputs, verbose=0)
        assert embeddings.shape == (len(labels), D)
        results.append((numbers, embeddings, fit(one, epochs=1)["loss"]))
        assert int(array(one.head.step)) == BATCHES * (EPOCHS + 1)
    names = {"loss", "accuracy", "target_angle", "embedding_norm", "annealing_lambda"}
    assert names <= results[0][0].keys()
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-6)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-6, atol=1e-7)
    assert results[1][2] == pytest.approx(results[0][2], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_weights_of_samples_and_of_classes_weigh_the_losses(form):
    by_class = {0: 2.0, 1: 0.5, 2: 0.0, 3: 1.0, 4: 1.0}
    by_sample = np.array([by_class[label] for label in data()[1]], "float32")
    settings, losses_at = TRAININGS["asoftmax"]
    head = make("asoftmax", **settings)
    model = model_of(form, head)
    start = array(model.layers[0].weights[0])
    expected, _ = train_in_numpy(losses_at, start, weights_of(head), by_sample)
    np.testing.assert_allclose(fit(model, class_weight=by_class)["loss"], expected, rtol=TOLERANCE)
    again = model_of(form, make("asoftmax", **settings))
    losses = fit(again, sample_weight=by_sample)["loss"]
    np.testing.assert_allclose(losses, expected, rtol=TOLERANCE)


@pytest.mark.slow
def test_the_metrics_are_measured_without_the_margin():
    model = model_of("EmbeddingClassifier", make("asoftmax"))
    inputs, labels = data()
    numbers = model.evaluate(inputs, labels, batch_size=B, verbose=0, return_dict=True)
    embeddings = inputs @ array(model.backbone.weights[0])
    theta = reference.angles_of(embeddings, array(model.head.kernel))
    own = theta[np.arange(len(labels)), labels]
    assert numbers["accuracy"] == pytest.approx(np.mean(np.argmin(theta, axis=1) == labels))
    assert numbers["target_angle"] == pytest.approx(np.degrees(own).mean(), rel=1e-5)
    norms = np.linalg.norm(embeddings, axis=1)
    assert numbers["embedding_norm"] == pytest.approx(norms.mean(), rel=1e-5)
    assert numbers["annealing_lambda"] == pytest.approx(1000.0)


# What counts as a step.


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_accumulated_gradients_are_one_step(form):
    head = ASoftmax(C, gradient_accumulation_steps=1 if form == FORMS[0] else 4)
    optimizer = keras.optimizers.SGD(RATE, gradient_accumulation_steps=4)
    model = model_of(form, head, optimizer)
    fit(model, epochs=4)
    assert int(array(head.last_step)) == BATCHES * 4 / 4
    assert float(array(head.annealing_lambda)) == pytest.approx(1000.0 / (1.0 + 0.12 * 2))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2.0**10, float("inf")], ids=["good", "infinite"])
def test_updates_that_a_loss_scale_skips_do_not_count(scale):
    plain = model_of("EmbeddingClassifier", make("asoftmax"))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=scale)
    model = model_of("EmbeddingClassifier", make("asoftmax"), optimizer)
    start = model.backbone.get_weights()[0]
    losses = fit(model)["loss"]
    if scale < 1e9:
        assert losses == pytest.approx(fit(plain)["loss"], rel=1e-5)
        assert int(array(model.head.step)) == BATCHES * EPOCHS
    else:  # every gradient is infinite: nothing is learned, and every step is the first again
        np.testing.assert_array_equal(model.backbone.get_weights()[0], start)
        assert int(array(model.head.step)) == 1
