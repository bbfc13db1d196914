"""The networks of `keras.applications`, with a layer of embeddings on top."""

import keras

from keras_sphereface.config.rules import check_keras_network


def keras_network(
    name: str,
    input_shape: tuple[int, int, int] = (112, 96, 3),
    embedding_size: int = 512,
    seed: int | None = None,
) -> keras.Model:
    """Return a network of `keras.applications`, untrained, from images to embeddings.

    Global average pooling and a fully connected layer give the embedding. Networks that scale their
    pixels themselves do so here too, see `models.input_contract`.

    Args:
        name: One of `config.choices.KERAS_NETWORKS`, for example "MobileNetV2".
        input_shape: (H, W, channels). Most networks need 32 pixels a side, some 71 or 75.
        embedding_size: Int >= 1. D.
        seed: Int. Seed for the start weights, by Keras' global one; None: different ones each time.

    Raises:
        ValueError: If there is no such network, or the images are too small for it.

    Example:
        >>> keras_network("MobileNetV2", (64, 64, 3), embedding_size=16, seed=0).output_shape
        (None, 16)
    """
    check_keras_network(name)
    if seed is not None:
        keras.utils.set_random_seed(seed)  # these networks take no seed of their own
    body = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=input_shape, pooling="avg"
    )
    embedding = keras.layers.Dense(embedding_size, name="embedding")(body.output)
    return keras.Model(body.input, embedding, name=name.lower())
