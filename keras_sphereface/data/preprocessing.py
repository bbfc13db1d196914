"""Preprocessing inside TensorFlow, from the bytes of a record to the input of a network.

Training, the SavedModel and the evaluation all use these functions, so they cannot drift apart.
"""

import tensorflow as tf

from keras_sphereface.models.pixels import unit_from_pixels

# A network needs these features of a record; `identity` and `key` are for readers of the file.
_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


def parse_records(records: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parse serialized records (B,) to `image`, still encoded, and int32 `label`, (B,) each."""
    parsed = tf.io.parse_example(records, _FEATURES)
    return {"image": parsed["image"], "label": tf.cast(parsed["label"], tf.int32)}


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Return (value - 127.5) / 128, float32, of pixels 0..255; as Liu et al. did.

    Example:

    >>> normalize(np.array([0, 255], np.uint8)).numpy().tolist()
    [-0.99609375, 0.99609375]
    """
    return unit_from_pixels(tf.cast(images, tf.float32))


def mirror(images: tf.Tensor) -> tf.Tensor:
    """Flip (..., H, W, C) left to right."""
    return tf.reverse(images, axis=[-2])


def decode_record_image(encoded: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Decode the image of one record to uint8 (H, W, 3)."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (*size, 3))
