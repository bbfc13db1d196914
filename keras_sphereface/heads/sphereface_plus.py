"""`SphereFacePlus`: A-Softmax with class weights spread over the sphere."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, dtype_of, matmul, ops, uniform
from keras_sphereface.functional.margins import safe_angle
from keras_sphereface.functional.norms import inverse_norms
from keras_sphereface.heads._partial_fc import gather_columns, ranks_of
from keras_sphereface.heads._reductions import columns_in_block
from keras_sphereface.heads.asoftmax import AnnealedArguments, ASoftmax
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.validation import check_integer, check_real


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SphereFacePlus(ASoftmax):
    """A-Softmax and an energy that spreads the class weights over the sphere.

    `energy_weight` times the mean of angle^-2 (radians) over pairs of class weights is added to
    the loss of every sample. Up to `energy_classes` classes are paired; of more, as many are
    drawn at each training step, which leaves the mean unbiased.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Int >= 1. The margin.
        energy_weight: Float >= 0. Weight of the energy.
        energy_classes: Int >= 2. Largest number of classes that are paired.
        **kwargs: Further arguments as for `ASoftmax`.

    Reference: Liu et al., "Learning towards Minimum Hyperspherical Energy", NeurIPS 2018.

    Example:
        >>> head = SphereFacePlus(num_classes=3, kernel_initializer="identity")
        >>> head.build((None, 3))
        >>> energy = head.energy(head.context(np.ones((2, 3), "float32")))
        >>> round(float(energy) ** -0.5 / np.pi, 3)  # all pairs at pi / 2
        0.5
    """

    def __init__(
        self,
        num_classes: int,
        m: int = 4,
        energy_weight: float = 1.0,
        energy_classes: int = 512,
        **kwargs: Unpack[AnnealedArguments],
    ):
        super().__init__(num_classes, m=m, **kwargs)
        self.energy_weight = check_real(energy_weight, "energy_weight", 0.0)
        self.energy_classes = check_integer(energy_classes, "energy_classes", 2)

    def sample_losses(
        self, target: Tensor, negatives: Tensor, labels: Tensor, context: HeadContext
    ) -> Tensor:
        losses = super().sample_losses(target, negatives, labels, context)
        return losses + self.energy_weight * self.energy(context)

    @property
    def uninformative_loss(self) -> float | None:
        return None

    def energy(self, context: HeadContext) -> Tensor:
        """Return the mean of angle^-2 over pairs of class weights, a scalar."""
        weights = self._energy_weights(context)
        weights = weights * inverse_norms(weights)
        angles = safe_angle(matmul(weights, weights, transpose_a=True))
        count, dtype = ops.shape(weights)[1], dtype_of(weights)
        pairs = 1.0 - ops.eye(count, dtype=dtype)
        total = ops.sum(pairs / ops.square(angles))
        return total / ops.cast(count * (count - 1), dtype)

    def _energy_weights(self, context: HeadContext) -> Tensor:
        """The class weights to be paired, (D, K)."""
        shard = context.shard
        if self.num_classes > self.energy_classes:
            seed = (self.seed + 1, ops.cast(context.step % 2**20, "int32"))
            keys = ops.convert_to_tensor(uniform(self.num_classes, seed))
            chosen = ops.cast(ops.top_k(keys, self.energy_classes)[1], "int32")
        elif shard is None:
            return ops.concatenate(context.kernels, axis=1)
        else:
            chosen = ops.arange(self.num_classes, dtype="int32")
        ranks = ranks_of(chosen, self.num_classes)
        columns, start = 0.0, shard.start if shard else 0
        for kernel in context.kernels:
            width = kernel.shape[1]
            inside, within = columns_in_block(chosen, start, width)
            in_block = gather_columns(kernel, within, ranks[start:][:width])
            columns = columns + ops.where(inside, in_block, ops.zeros_like(in_block))
            start += width
        return columns if shard is None else shard.collect(columns)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "energy_weight": self.energy_weight,
            "energy_classes": self.energy_classes,
        }
