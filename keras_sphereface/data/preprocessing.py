"""The one preprocessing inside TensorFlow: the bytes of a record -> pixels -> what a network sees.

Training, the SavedModel and the evaluator all use these functions, so they cannot drift apart.
"""

import tensorflow as tf

# What a network needs of a record; `identity` and `key` are for people.
_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


def parse_records(records: tf.Tensor) -> dict[str, tf.Tensor]:
    """Serialized records (B,) -> `image`, still encoded, and int32 `label`, (B,) each."""
    parsed = tf.io.parse_example(records, _FEATURES)
    return {"image": parsed["image"], "label": tf.cast(parsed["label"], tf.int32)}


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
