"""What would train without the margin, or not at all, is said in a sentence, on every backend."""

import importlib

import keras
import numpy as np
import pytest

from keras_sphereface import ASoftmax, EmbeddingClassifier
from keras_sphereface.backend import BACKEND
from tests.helpers.backends import array, gradient_of_gradient, losses_and_gradients

B, IN, D, C = 8, 6, 4, 5
INPUTS = np.random.default_rng(0).normal(size=(B, IN)).astype("float32")
LABELS = np.arange(B) % C
# TensorFlow and JAX may wrap what is raised in a compiled step.
ERRORS = (ValueError, TypeError, NotImplementedError)


def sequential(*layers) -> keras.Sequential:
    return keras.Sequential([keras.Input((IN,)), keras.layers.Dense(D), *layers])


def fit(model: keras.Model, labels=LABELS) -> list[float]:
    return model.fit(INPUTS, labels, batch_size=4, verbose=0).history["loss"]


def other_loss() -> None:
    model = sequential(ASoftmax(C))
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    fit(model)


def layer_behind() -> None:
    head = ASoftmax(C)
    model = sequential(head, keras.layers.Softmax())
    model.compile("sgd", loss=head.loss)
    fit(model)


class WithoutTraining(keras.Model):
    def __init__(self):
        super().__init__()
        self.network, self.head = keras.layers.Dense(D), ASoftmax(C)

    def call(self, inputs):
        return self.head(self.network(inputs))


def subclass_without_training() -> None:
    model = WithoutTraining()
    model.compile("sgd", loss=model.head.loss)
    fit(model)


def two_outputs() -> None:
    image = keras.Input((IN,))
    outputs = [keras.layers.Dense(D)(image), keras.layers.Dense(D)(image)]
    model = EmbeddingClassifier(keras.Model(image, outputs), ASoftmax(C))
    model.compile("sgd")
    fit(model)


def map_of_features() -> None:
    reshaped = keras.layers.Reshape((2, 2, 1))
    model = EmbeddingClassifier(sequential(reshaped), ASoftmax(C))
    model.compile("sgd")
    fit(model)


def given_a_loss() -> None:
    EmbeddingClassifier(sequential(), ASoftmax(C)).compile("sgd", loss="mse")


def given_accuracy() -> None:
    EmbeddingClassifier(sequential(), ASoftmax(C)).compile("sgd", metrics=["accuracy"])


def no_head() -> None:
    EmbeddingClassifier(sequential(), keras.layers.Dense(C))


def one_hot_labels() -> None:
    model = EmbeddingClassifier(sequential(), ASoftmax(C))
    model.compile("sgd")
    fit(model, np.eye(C)[LABELS])


def one_hot_labels_of_the_loss() -> None:
    head = ASoftmax(C)
    model = sequential(head)
    model.compile("sgd", loss=head.loss)
    fit(model, np.eye(C)[LABELS])


def losses_of_no_step() -> None:
    head = ASoftmax(C)
    head.build((None, D))
    losses_and_gradients(head, INPUTS[:, :D], LABELS, step=None)


def second_derivative() -> None:
    head = ASoftmax(C)
    head.build((None, D))
    gradient_of_gradient(head, INPUTS[:, :D], LABELS)


MISTAKES = {
    other_loss: "What ASoftmax adds to a softmax is in `head.loss`, and another loss",
    layer_behind: "last layer",
    subclass_without_training: "Pass `training` on: `def call(self, x, training=None)",
    two_outputs: "must have one output, of shape",
    map_of_features: "needs a Flatten or pooling layer after it",
    given_a_loss: "trains by the loss of its head; leave `loss` out. Received: loss='mse'",
    given_accuracy: "leave 'accuracy' out of `metrics`",
    no_head: "`head` must be a head of keras_sphereface",
    one_hot_labels: "Labels must be integers of shape (B,) or (B, 1), not one-hot.",
    one_hot_labels_of_the_loss: "Labels must be integers of shape (B,) or (B, 1), not one-hot.",
    losses_of_no_step: "computed with training=False",
    second_derivative: "first derivatives only. Received: a gradient of its gradient",
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_ends_in_a_sentence_at_the_first_step(mistake):
    with pytest.raises(ERRORS) as caught:
        mistake()
    assert MISTAKES[mistake] in " ".join(str(caught.value).split())


@pytest.mark.slow
@pytest.mark.parametrize("label", [-1, C])
def test_a_label_out_of_range_never_trains_in_silence(label):
    head = ASoftmax(C)
    model = sequential(head)
    model.compile("sgd", loss=head.loss)
    labels = np.where(LABELS == 2, label, LABELS)
    if BACKEND == "jax":  # a compiled step cannot stop
        assert np.isnan(fit(model, labels)).all()
        return
    with pytest.raises(Exception, match=f"below num_classes = {C}"):
        fit(model, labels)


@pytest.mark.slow
def test_training_without_the_margin_on_purpose_is_allowed():
    head = ASoftmax(C, margin_required=False)
    model = sequential(head)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=loss)
    assert np.isfinite(fit(model)).all()
    assert int(array(head.step)) == 2


# Module, and the name in it; "": the whole module.
OF_TENSORFLOW = [
    *(("keras_sphereface.training", ""), ("keras_sphereface.evaluation", "")),
    *(("keras_sphereface.export", "export_savedmodel"), ("keras_sphereface.heads", "ShardedHead")),
    *(("keras_sphereface", "FacePreprocessing"), ("keras_sphereface.layers", "FacePreprocessing")),
    ("keras_sphereface.callbacks", "PairVerification"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), OF_TENSORFLOW)
def test_parts_of_tensorflow_say_so_on_another_backend(module, name):
    def find() -> None:
        getattr(importlib.import_module(module), name or "__name__")

    if BACKEND == "tensorflow":
        find()
        return
    with pytest.raises(ImportError) as caught:
        find()
    assert str(caught.value).startswith(f"{module}{'.' * bool(name)}{name} runs on TensorFlow only")
    assert f"Received: KERAS_BACKEND={BACKEND}" in str(caught.value)
