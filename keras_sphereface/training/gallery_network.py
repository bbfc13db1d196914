"""`GalleryNetwork`: the slow copy of a network that gives prototypes in semi-siamese training."""

import dataclasses
import math

import keras
import tensorflow as tf

from keras_sphereface.heads.prototype_queue import PrototypeQueue, Prototypes
from keras_sphereface.utils.compat import tf_variable


@dataclasses.dataclass(frozen=True)
class GalleryNetwork:
    """What semi-siamese training has beside the network that it trains, the probe network.

    After each step the trainable weights of the gallery network move towards those of the probe
    network, v = m v + (1 - m) w with m = min(momentum, t / (t + 9)) after step t. Its other
    weights, such as the statistics of batch normalization, are those of the probe network.

    Attributes:
        network: The gallery network, which gives the prototypes, in inference mode.
        queue: The prototypes, and the head over them.
        momentum: Float in [0, 1).

    Example:
        >>> from keras_sphereface.heads import CosFace
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> GalleryNetwork(network, PrototypeQueue(CosFace(4), 3), momentum=0.999).num_bytes
        116
    """

    network: keras.Model
    queue: PrototypeQueue
    momentum: float

    @property
    def num_bytes(self) -> int:
        """Bytes of the network and of the queue on one device."""
        weights = [tf_variable(weight) for weight in self.network.weights]
        shared = sum(math.prod(weight.shape) * weight.dtype.size for weight in weights)
        return shared + self.queue.num_bytes

    def prototypes(self, images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> Prototypes:
        """In replica context: embed images as prototypes, and put them into the queue.

        Args:
            images: (b, H, W, 3) as the networks take them, the replica's own.
            labels: (b,) their identities, in pairs.
            step: Integer scalar, the number of the training step; the first is 1.
        """
        return self.queue.enqueue(self.network(images, training=False), labels, step)
