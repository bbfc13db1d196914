"""TensorFlow's errors in words that a user can act on."""

import pytest
import tensorflow as tf

from keras_sphereface.utils.tensorflow_errors import explain_tensorflow_errors

GRAPH_ERROR = """Graph execution error:

Detected at node IteratorGetNext defined at (most recent call last):
<stack traces unavailable>
corrupted record at 12
\t [[{{node IteratorGetNext}}]]"""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            tf.errors.DataLossError(None, None, GRAPH_ERROR),
            ValueError,
            r"convert --verify faces names the files\..* Received: corrupted record at 12$",
        ),
        (
            tf.errors.FailedPreconditionError(
                None, None, "Input dataset was expected to contain 20 elements but has 3."
            ),
            ValueError,
            "in faces are damaged",
        ),
        (
            tf.errors.InvalidArgumentError(None, None, "Expected image (JPEG, PNG); decode failed"),
            ValueError,
            "cannot be decoded",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), MemoryError, "half of --batch-size"),
        (
            tf.errors.InternalError(None, None, "lost"),
            RuntimeError,
            "TensorFlow cannot go on: lost",
        ),
    ],
)
def test_an_error_of_tensorflow_says_what_to_do(error, kind, message):
    with pytest.raises(kind, match=message) as raised, explain_tensorflow_errors("faces"):
        raise error
    assert raised.value.__cause__ is error
    assert "\n" not in str(raised.value)


def test_other_errors_pass():
    with pytest.raises(KeyError), explain_tensorflow_errors("faces"):
        raise KeyError("x")
