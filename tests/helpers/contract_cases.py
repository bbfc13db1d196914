"""The heads, losses and models that `tests/test_contract.py` walks, for its two processes."""

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads import Head, head_class
from keras_sphereface.layers import FacePreprocessing
from keras_sphereface.losses import ContrastiveLoss, TripletHardLoss, TripletSemiHardLoss

C, D, B = 7, 5, 24
# Every head by its name, and variants with other code.
CASES: dict[str, tuple[str, dict]] = {
    **{kind: (kind, {}) for kind in HEADS},
    "asoftmax caffe": ("asoftmax", {"m": 3, "base": 10.0, "gradient": "caffe"}),
    "cosface sampled": ("cosface", {"sample_rate": 0.5}),
    "sphereface-r soft": ("sphereface-r-v2", {"embedding_norm": "soft"}),
    "elasticface sorted": ("elasticface-arc", {"sort_margins": True, "margin_std": 0.2}),
}
KINDS_OF_GLOBAL_BATCH = [kind for kind in HEADS if head_class(kind)(C).needs_global_batch]


def make_case(case: str, num_classes: int = C, **more) -> Head:
    """A head whose class weights, if it has any, start from a seed."""
    kind, settings = CASES[case]
    if HEADS[kind].has_class_weights:
        settings = {"kernel_initializer": keras.initializers.LecunUniform(seed=1), **settings}
    return head_class(kind)(num_classes, **{**settings, **more})


def case_batch(num_classes: int = C) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (B, D), float32, and labels (B,), of which the last class is missing."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(num_classes - 1, 2), B)
    embeddings = rng.normal(size=(B, D)) + 2 * np.eye(C, D)[labels]
    return embeddings.astype(np.float32), labels


def head_model(case: str, **more) -> keras.Model:
    """A compiled network of one layer and a head; SGD keeps a momentum."""
    keras.utils.set_random_seed(0)
    head = make_case(case, **more)
    model = keras.Sequential([keras.Input((D,)), keras.layers.Dense(D), head])
    model.compile(keras.optimizers.SGD(0.02, momentum=0.5), loss=head.loss)
    return model


def fit(model: keras.Model, epochs: int) -> list[float]:
    """The losses of a fit on the whole batch, by epoch."""
    settings = {"batch_size": B, "epochs": epochs, "shuffle": False, "verbose": 0}
    return model.fit(*case_batch(), **settings).history["loss"]


LOSSES = {
    "contrastive": lambda: ContrastiveLoss(0.7, name="pairs"),
    "triplet semi-hard": lambda: TripletSemiHardLoss(0.3, "angular"),
    "triplet hard": lambda: TripletHardLoss(0.3, True, "squared-L2"),
}


def loss_model(name: str) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A model that is compiled with one of `LOSSES`, its inputs and its targets."""
    embeddings, labels = case_batch()
    if name == "contrastive":
        outputs = keras.layers.Dense(1, activation="softplus")
        targets = (labels % 2).astype(np.float32)[:, None]
    else:
        outputs, targets = keras.layers.Dense(4), labels
    model = keras.Sequential([keras.Input((D,)), outputs])
    model.compile("sgd", loss=LOSSES[name]())
    return model, embeddings, targets


IMAGES = np.random.default_rng(0).integers(0, 256, (B, 20, 16, 3), dtype=np.uint8)


def image_model() -> keras.Model:
    """Augmentation, a network and a head in one model."""
    head = make_case("asoftmax")
    model = keras.Sequential(
        [
            keras.Input(IMAGES.shape[1:], dtype="uint8"),
            FacePreprocessing(shift=2.0, brightness=0.1, seed=2),
            keras.layers.Flatten(),
            keras.layers.Dense(D),
            head,
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), loss=head.loss)
    return model


def fit_images(model: keras.Model, epochs: int) -> None:
    model.fit(IMAGES, case_batch()[1], batch_size=B, epochs=epochs, shuffle=False, verbose=0)


def value_and_gradients(head: Head, embeddings: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
    """Losses of a training call, and the gradients by embeddings and weights of their sum."""
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        losses = head.compute_losses(embeddings, labels, training=True).losses
        total = tf.reduce_sum(losses)
    return [losses, *tape.gradient(total, [embeddings, *head.trainable_variables])]
