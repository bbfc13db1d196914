"""Everything from a file to a batch.

`training_batches` is imported when it is first asked for: processes that only prepare images must
import neither Keras nor TensorFlow.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_sphereface.data.pipeline import training_batches

__all__ = ["training_batches"]


def __getattr__(name: str):
    if name == "training_batches":
        from keras_sphereface.data.pipeline import training_batches

        return training_batches
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
