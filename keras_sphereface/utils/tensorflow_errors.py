"""TensorFlow's errors in words that a user can act on."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

# Of `assert_cardinality`: a shard holds another number of images than dataset.json states.
_OTHER_NUMBER = "was expected to contain"


@contextlib.contextmanager
def explain_tensorflow_errors(records: str) -> Iterator[None]:
    """Replace the errors of TensorFlow by those of Python, with what to do next.

    Args:
        records: Folder of the records that the block reads.

    Raises:
        ValueError: If the records are damaged.
        MemoryError: If memory does not suffice.
        RuntimeError: For any other error of TensorFlow, with its first line.

    Example:
        >>> with explain_tensorflow_errors("records"):
        ...     raise tf.errors.DataLossError(None, None, "corrupted record at 12")
        Traceback (most recent call last):
        ValueError: Records in records are damaged: ...
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(
            "The memory is full. Smaller batches need less, for example half of --batch-size; "
            "--accumulate-steps 2 keeps the size of a batch and needs half of the memory."
        ) from error
    except tf.errors.OpError as error:
        reason = _reason(error)
        if isinstance(error, tf.errors.DataLossError) or _OTHER_NUMBER in str(error):
            raise ValueError(
                f"Records in {records} are damaged: sphereface convert --verify {records} names "
                f"the files. Convert the images again. Received: {reason}"
            ) from error
        if isinstance(error, tf.errors.InvalidArgumentError) and "ecode" in reason:
            raise ValueError(
                f"An image of the records in {records} cannot be decoded. Convert the images "
                f"again. Received: {reason}"
            ) from error
        raise RuntimeError(f"TensorFlow cannot go on: {reason}") from error


def _reason(error: tf.errors.OpError) -> str:
    """The line of a message that says what happened; the first often is a heading."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    told = [line for line in lines if not (line.endswith(":") or line.startswith(("[[", "<")))]
    described = [line for line in told if "Detected at node" not in line and 'File "' not in line]
    return (described or lines or [type(error).__name__])[0][:300]
