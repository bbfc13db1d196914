"""Which call of which head has returned a tensor.

A Keras loss sees one tensor, the output of the model. The loss of a head needs the embeddings, and
finds them here, by the identity of the tensor. An entry goes when its tensor goes. Nothing is
hidden in it that could not be computed anew: models that hand the embeddings to
`head.compute_losses` themselves, as `EmbeddingClassifier` does, need none of this.
"""

import collections
import weakref
from typing import Any, NamedTuple

from keras_sphereface.backend import Tensor
from keras_sphereface.losses.context import HeadContext

# Tensors of a trace may hold each other for ever; so much of them is kept at most.
MAX_CALLS = 64


class HeadCall(NamedTuple):
    """A call of a head.

    Attributes:
        head: The layer.
        context: What it has computed.
    """

    head: Any
    context: HeadContext


_calls: collections.OrderedDict[int, tuple[weakref.ref, HeadCall]] = collections.OrderedDict()


def remember(outputs: Tensor, call: HeadCall) -> None:
    """Keep `call` as that which has returned `outputs`, as long as these exist.

    Example:
        >>> outputs = ops.ones((2, 3))
        >>> remember(outputs, HeadCall("head", None))
        >>> call_of(outputs).head, call_of(ops.ones((2, 3)))
        ('head', None)
    """
    key = id(outputs)
    _calls[key] = weakref.ref(outputs, lambda _: _calls.pop(key, None)), call
    while len(_calls) > MAX_CALLS:
        _calls.popitem(last=False)


def call_of(outputs: Tensor) -> HeadCall | None:
    """Return the call that has returned the very tensor `outputs`, or None."""
    reference, call = _calls.get(id(outputs), (None, None))
    return call if reference is not None and reference() is outputs else None
