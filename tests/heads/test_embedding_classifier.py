"""`EmbeddingClassifier` on both stacks of TensorFlow; `tests/backends` has it on every backend."""

import keras
import numpy as np
import pytest

from keras_sphereface import ASoftmax, CosFace, EmbeddingClassifier

C, D = 4, 16


@pytest.fixture
def data():
    labels = np.arange(64) % C
    noise = np.random.default_rng(0).normal(size=(64, D))
    return (noise + 3 * np.eye(C, D)[labels]).astype(np.float32), labels


def dense():
    return keras.layers.Dense(8, kernel_initializer=keras.initializers.GlorotUniform(seed=1))


def head(**settings):
    return ASoftmax(C, kernel_initializer=keras.initializers.LecunUniform(seed=0), **settings)


@keras.saving.register_keras_serializable(package="tests")
class Network(keras.Model):
    """A subclass whose `call` takes no `training`, not built before its first call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense()

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        return {"name": self.name}


def networks():
    yield "functional", keras.Sequential([keras.Input((D,)), dense()])
    yield "late", keras.Sequential([dense()])
    yield "subclass", Network()


def classifier(network, **settings):
    model = EmbeddingClassifier(network, head(**settings))
    model.compile(keras.optimizers.SGD(0.05))
    return model


@pytest.mark.slow
def test_it_trains_as_the_head_on_a_plain_model(data):
    final = head()
    plain = keras.Sequential([keras.Input((D,)), dense(), final])
    plain.compile(keras.optimizers.SGD(0.05), loss=final.loss)
    options = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    expected = plain.fit(*data, **options).history["loss"]
    for _, network in networks():
        model = classifier(network)
        assert model.fit(*data, **options).history["loss"] == pytest.approx(expected, rel=1e-5)
        assert int(model.head.step) == 12


@pytest.mark.slow
def test_weights_of_samples_and_classes_count(data):
    images, labels = data
    weights = (labels < 2).astype(np.float32)
    runs = {"sample_weight": weights, "class_weight": {0: 1.0, 1: 1.0, 2: 0.0, 3: 0.0}}
    losses = [
        classifier(keras.Sequential([keras.Input((D,)), dense()]))
        .fit(images, labels, batch_size=16, shuffle=False, verbose=0, **{name: value})
        .history["loss"][0]
        for name, value in runs.items()
    ]
    assert losses[0] == pytest.approx(losses[1])
    unweighted = classifier(keras.Sequential([keras.Input((D,)), dense()]))
    assert losses[0] != pytest.approx(
        unweighted.fit(images, labels, batch_size=16, shuffle=False, verbose=0).history["loss"][0]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["functional", "subclass"])
def test_a_saved_model_continues(data, tmp_path, name):
    model = classifier(dict(networks())[name])
    model.fit(*data, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(data[0]), model.predict(data[0]), rtol=1e-6)
    measured = [each.evaluate(*data, verbose=0, return_dict=True) for each in (model, loaded)]
    assert measured[0] == pytest.approx(measured[1])
    assert {"loss", "accuracy", "target_angle", "embedding_norm", "annealing_lambda"} <= set(
        measured[0]
    )
    again = [
        each.fit(*data, batch_size=16, shuffle=False, verbose=0).history["loss"]
        for each in (model, loaded)
    ]
    assert again[0] == pytest.approx(again[1], rel=1e-5)
    assert int(loaded.head.step) == 8


@pytest.mark.slow
def test_a_regularizer_of_the_network_adds_to_the_loss(data):
    layers = [keras.layers.Dense(8, kernel_initializer="ones", kernel_regularizer="l2")]
    model = classifier(keras.Sequential([keras.Input((D,)), *layers]))
    plain = classifier(keras.Sequential([keras.Input((D,)), keras.layers.Dense(8)]))
    plain.backbone.set_weights(model.backbone.get_weights())
    losses = [m.evaluate(*data, verbose=0, return_dict=True)["loss"] for m in (model, plain)]
    assert losses[0] - losses[1] == pytest.approx(0.01 * D * 8, rel=1e-4)


def test_what_is_measured_is_without_the_margin(data):
    network = keras.Sequential([keras.Input((D,)), keras.layers.Dense(D, use_bias=False)])
    network.set_weights([np.eye(D, dtype=np.float32)])
    model = EmbeddingClassifier(network, ASoftmax(C, base=0.0, lambda_min=0.0))
    model.compile("sgd")
    model.head.build((None, D))
    model.head.kernels[0].assign(np.eye(D, C, dtype=np.float32))
    measured = model.evaluate(*data, verbose=0, return_dict=True)
    cosines = data[0][:, :C] / np.linalg.norm(data[0], axis=1, keepdims=True)
    correct = cosines.argmax(axis=1) == data[1]
    angles = np.degrees(np.arccos(cosines[np.arange(64), data[1]]))
    assert measured["accuracy"] == pytest.approx(correct.mean())
    assert measured["target_angle"] == pytest.approx(angles.mean(), rel=1e-5)
    assert measured["embedding_norm"] == pytest.approx(
        np.linalg.norm(data[0], axis=1).mean(), rel=1e-5
    )


def test_other_losses_and_metrics_of_logits_are_refused():
    model = EmbeddingClassifier(keras.Sequential([keras.Input((D,)), dense()]), CosFace(C))
    with pytest.raises(ValueError, match="trains by the loss of its head; leave `loss` out"):
        model.compile("sgd", loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="leave 'accuracy' out of `metrics`"):
        model.compile("sgd", metrics=["accuracy"])


def test_a_network_without_one_embedding_is_refused():
    inputs = keras.Input((D,))
    two = keras.Model(inputs, [dense()(inputs), dense()(inputs)])
    with pytest.raises(ValueError, match=r"must have one output, .* Received: 2 outputs"):
        EmbeddingClassifier(two, CosFace(C))
    pictures = keras.Input((8, 8, 3))
    features = keras.Model(pictures, keras.layers.Conv2D(4, 3)(pictures))
    with pytest.raises(ValueError, match=r"pooling layer after it. Received: shape \(None, 6, 6"):
        EmbeddingClassifier(features, CosFace(C))


def test_wrong_heads_are_refused():
    network = keras.Sequential([keras.Input((D,)), dense()])
    with pytest.raises(TypeError, match="must be a head of keras_sphereface"):
        EmbeddingClassifier(network, keras.layers.Dense(C))
    with pytest.raises(ValueError, match=r"the optimizer counts. Received: .*=4"):
        EmbeddingClassifier(network, ASoftmax(C, gradient_accumulation_steps=4))


@pytest.mark.parametrize("labels", [[0, 7], [0, -1], [0, 0.5]])
def test_wrong_labels_in_arrays_are_refused_before_the_first_step(labels):
    model = classifier(keras.Sequential([keras.Input((D,)), dense()]))
    with pytest.raises(ValueError, match=f"Received: {labels[1]} at index 1"):
        model.fit(np.ones((2, D)), np.array(labels), verbose=0)
    assert not model.head.built


def test_build_makes_the_weights_of_network_and_head():
    model = EmbeddingClassifier(keras.Sequential([dense()]), head())
    model.build((None, D))
    assert [tuple(w.shape) for w in model.trainable_weights] == [(D, 8), (8,), (8, C)]
