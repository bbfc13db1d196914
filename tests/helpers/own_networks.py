"""Networks of users, of every kind that Keras allows, as functions that `--backbone` takes.

Most of them give the same embeddings of an image: what differs is how they take it.
"""

import keras

from keras_sphereface import FacePreprocessing

layers = keras.layers
# What each network takes, in the words of its contract.
UNIT, RAW = "RGB, float32 in [-1, 1)", "RGB, float32 0..255, scaled by the network"


def body(embedding_size, seed):
    """Layers from values in [-1, 1) to embeddings; with batch normalization and dropout."""
    kernel = keras.initializers.GlorotUniform(seed=seed)
    return [
        layers.AveragePooling2D(4),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dropout(0.3, seed=seed),
        layers.Dense(embedding_size, kernel_initializer=kernel),
    ]


def chained(inputs, parts):
    outputs = inputs
    for part in parts:
        outputs = part(outputs)
    return keras.Model(inputs, outputs)


def functional(input_shape, embedding_size, seed):
    return chained(keras.Input(input_shape), body(embedding_size, seed))


def nested(input_shape, embedding_size, seed):
    inner = functional(input_shape, embedding_size, seed)
    return chained(keras.Input(input_shape), [inner])


def built_late(input_shape, embedding_size, seed):
    return keras.Sequential(body(embedding_size, seed))


def of_any_size(input_shape, embedding_size, seed):
    parts = body(embedding_size, seed)
    parts[2] = layers.GlobalAveragePooling2D()
    return chained(keras.Input((None, None, 3)), parts)


def scaled(input_shape, embedding_size, seed):
    scaling = layers.Rescaling(1 / 128, offset=-127.5 / 128)
    return chained(keras.Input(input_shape), [scaling, *body(embedding_size, seed)])


def scaled_after_a_flip(input_shape, embedding_size, seed):
    inner = scaled(input_shape, embedding_size, seed)
    return chained(keras.Input(input_shape), [layers.RandomFlip("horizontal", seed=1), inner])


def normalized(input_shape, embedding_size, seed):
    scaling = layers.Normalization(mean=[127.5] * 3, variance=[128.0**2] * 3)
    return chained(keras.Input(input_shape), [scaling, *body(embedding_size, seed)])


def scaled_uint8(input_shape, embedding_size, seed):
    scaling = layers.Rescaling(1 / 128, offset=-127.5 / 128)
    inputs = keras.Input(input_shape, dtype="uint8")
    return chained(inputs, [scaling, *body(embedding_size, seed)])


def preprocessed(input_shape, embedding_size, seed):
    inputs = keras.Input(input_shape, dtype="uint8")
    return chained(inputs, [FacePreprocessing(), *body(embedding_size, seed)])


def preprocessed_floats(input_shape, embedding_size, seed):
    return chained(keras.Input(input_shape), [FacePreprocessing(), *body(embedding_size, seed)])


def gray(input_shape, embedding_size, seed):
    return chained(keras.Input((*input_shape[:2], 1)), body(embedding_size, seed))


def frozen(input_shape, embedding_size, seed):
    network = functional(input_shape, embedding_size, seed)
    network.layers[2].trainable = False
    return network


def of_unit_norm(input_shape, embedding_size, seed):
    parts = [*body(embedding_size, seed), layers.UnitNormalization()]
    return chained(keras.Input(input_shape), parts)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A subclass whose `call` takes no `training`."""

    def __init__(self, embedding_size=8, seed=0, **settings):
        super().__init__(**settings)
        self.embedding_size, self.seed = embedding_size, seed
        parts = body(embedding_size, seed)
        self.pool, self.normalization, self.flatten, self.dropout, self.dense = parts

    def call(self, images):
        return self.dense(self.dropout(self.flatten(self.normalization(self.pool(images)))))

    def get_config(self):
        return {"embedding_size": self.embedding_size, "seed": self.seed}


@keras.saving.register_keras_serializable(package="tests")
class TakesTraining(Subclassed):
    def call(self, images, training=False):
        normal = self.normalization(self.pool(images), training=training)
        return self.dense(self.dropout(self.flatten(normal), training=training))


@keras.saving.register_keras_serializable(package="tests")
class NeedsTraining(TakesTraining):
    def call(self, images, training):
        return super().call(images, training)


@keras.saving.register_keras_serializable(package="tests")
class ScalesItself(Subclassed):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.scaling = layers.Rescaling(1 / 128, offset=-127.5 / 128)

    def call(self, images):
        return super().call(self.scaling(images))


@keras.saving.register_keras_serializable(package="tests")
class StatesRaw(Subclassed):
    """Its scaling is no layer, so it states the range."""

    input_range = "raw"

    def call(self, images):
        return super().call((images - 127.5) / 128.0)


def subclassed(input_shape, embedding_size, seed):
    return Subclassed(embedding_size, seed)


def takes_training(input_shape, embedding_size, seed):
    return TakesTraining(embedding_size, seed)


def needs_training(input_shape, embedding_size, seed):
    return NeedsTraining(embedding_size, seed)


def scales_itself(input_shape, embedding_size, seed):
    return ScalesItself(embedding_size=embedding_size, seed=seed)


def states_raw(input_shape, embedding_size, seed):
    return StatesRaw(embedding_size, seed)


# The function of each kind, and what its network takes.
KINDS = {
    functional: UNIT,
    nested: UNIT,
    built_late: UNIT,
    of_any_size: UNIT,
    frozen: UNIT,
    of_unit_norm: UNIT,
    gray: "gray, float32 in [-1, 1)",
    subclassed: UNIT,
    takes_training: UNIT,
    needs_training: UNIT,
    scaled: RAW,
    scaled_after_a_flip: RAW,
    normalized: RAW,
    scales_itself: RAW,
    states_raw: RAW,
    preprocessed_floats: RAW,
    scaled_uint8: "RGB, uint8 0..255, scaled by the network",
    preprocessed: "RGB, uint8 0..255, scaled by the network",
}


# Networks that cannot serve.


def without_pooling(input_shape, embedding_size, seed):
    return chained(keras.Input(input_shape), [layers.Conv2D(embedding_size, 3)])


def of_two_outputs(input_shape, embedding_size, seed):
    inputs = keras.Input(input_shape)
    features = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(embedding_size)(features), features])


def of_two_inputs(input_shape, embedding_size, seed):
    inputs = [keras.Input(input_shape), keras.Input(input_shape)]
    pooled = [layers.GlobalAveragePooling2D()(one) for one in inputs]
    return keras.Model(inputs, layers.Add()(pooled))


def constant(input_shape, embedding_size, seed):
    parts = [layers.Flatten(), layers.Dense(embedding_size, kernel_initializer="zeros")]
    return chained(keras.Input(input_shape), [*parts, layers.Activation("sigmoid")])


def not_finite(input_shape, embedding_size, seed):
    initializer = keras.initializers.Constant(float("nan"))
    parts = [layers.Flatten(), layers.Dense(embedding_size, kernel_initializer=initializer)]
    return chained(keras.Input(input_shape), parts)


def of_another_size(input_shape, embedding_size, seed):
    return functional((32, 32, 3), embedding_size, seed)


def of_four_channels(input_shape, embedding_size, seed):
    return functional((*input_shape[:2], 4), embedding_size, seed)


def too_deep(input_shape, embedding_size, seed):
    """Built late, so that the mistake shows in its call."""
    return keras.Sequential([layers.Conv2D(2, 9, strides=4) for _ in range(4)])


def with_a_function(input_shape, embedding_size, seed):
    scaling = layers.Lambda(lambda images: images / 255.0)
    return chained(keras.Input(input_shape), [scaling, *body(embedding_size, seed)])


def no_network(input_shape, embedding_size, seed):
    return 3


# The function of each kind, and the beginning and end of the sentence by which it is refused.
REFUSED = {
    without_pooling: r"must give vectors.*pooling.*Received: .*, of \(None, 26, 22, 8\)",
    of_two_outputs: "must have one output.*Received: .* with 2 outputs",
    of_two_inputs: r"must take one input.*Received: .* inputs of \[\(None, 28, 24, 3\), ",
    constant: "give different images different embeddings.*Received: .*4 equal embeddings",
    not_finite: "must give finite embeddings. Received: nan or infinity from ",
    of_another_size: "take the images as they are, 28 x 24.*Received: .* images of 32 x 32",
    of_four_channels: r"3 channels \(RGB\) or 1.*Received: .* \(None, 28, 24, 4\)",
    too_deep: "must embed images of 28 x 24. Received: .*and ValueError: .*output",
    with_a_function: "must be raw .* or unit .*begins with lambda.*Received: input_range=None",
    no_network: "must be a Keras model. Received: int",
}
