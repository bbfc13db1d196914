"""The one preprocessing inside TensorFlow: the bytes of a record -> pixels -> what a network sees.

Training, the SavedModel and the evaluator all use these functions, so they cannot drift apart.
"""

import tensorflow as tf

_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "identity": tf.io.FixedLenFeature([], tf.string),
    "key": tf.io.FixedLenFeature([], tf.string),
}


def parse_record(record: tf.Tensor) -> dict[str, tf.Tensor]:
    """The inverse of `records.serialize`; the image stays encoded."""
    return tf.io.parse_single_example(record, _FEATURES)


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Pixels 0..255 -> (value - 127.5) / 128, float32, as the authors did."""
    return (tf.cast(images, tf.float32) - 127.5) / 128.0


def mirror(images: tf.Tensor) -> tf.Tensor:
    """(..., H, W, C) flipped left to right."""
    return tf.reverse(images, axis=[-2])


def decode_record_image(encoded: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """The bytes of one record -> uint8 (H, W, 3), inside TensorFlow."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (*size, 3))
