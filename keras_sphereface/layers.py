"""`ASoftmax`: the classification layer of SphereFace."""

import keras
import tensorflow as tf

from keras_sphereface import angular
from keras_sphereface.compat import add_step_counter
from keras_sphereface.losses import CARRIER_COLUMNS, ASoftmaxLoss, pack_head_output

HALF_DTYPES = ("float16", "bfloat16")


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ASoftmax(keras.layers.Layer):
    """Angular softmax: embeddings (B, D) -> |x| cos(theta_j) for each of C classes.

    The margin enters in the loss, which knows the labels; the layer needs none:

        head = ASoftmax(num_classes, m=4)
        model.add(head)
        model.compile("sgd", loss=head.loss, metrics=["accuracy"])

    The layer owns m and the annealing. It counts the training steps it has seen in a weight
    of its own, so lambda continues after any way of saving and restoring weights. A training
    step is one call with `training=True`.

    The output has C + 3 columns: the logits and three that carry |x|, lambda and m to the
    loss. They are below every logit, so argmax and accuracy are those of the logits.
    `unpack_head_output` takes the columns apart.

    Args:
        num_classes: C, an int >= 2.
        m: the margin, an int >= 1. m = 1 is the modified softmax: normalised class weights,
            no margin. The paper recommends 4.
        base, gamma, power, lambda_min: the annealing
            lambda = max(lambda_min, base * (1 + gamma * step)^(-power)); the authors' values
            by default. `base=0, lambda_min=0` is the pure margin.
        kernel_initializer: of the class weights (D, C). By default uniform with variance
            1 / D, as in the authors' code.
        kernel_regularizer: of the class weights.
        dtype: float32 (the default, also under a mixed policy) or float64: half precision
            cannot count classes and costs the cosines three digits.

    Raises:
        TypeError, ValueError: if an argument is out of range.

    Reference: Liu et al., "SphereFace", CVPR 2017, equations 6 and 7.
    """

    def __init__(
        self,
        num_classes: int,
        m: int = 4,
        base: float = 1000.0,
        gamma: float = 0.12,
        power: float = 1.0,
        lambda_min: float = 5.0,
        kernel_initializer="lecun_uniform",
        kernel_regularizer=None,
        dtype=None,
        **kwargs,
    ):
        if dtype is None and keras.mixed_precision.global_policy().compute_dtype in HALF_DTYPES:
            dtype = "float32"
        super().__init__(dtype=dtype, **kwargs)
        if self.compute_dtype in HALF_DTYPES:
            raise ValueError(f"`dtype` must be float32 or float64. Received: dtype={dtype!r}")
        self.num_classes = angular.check_integer(num_classes, "num_classes", 2)
        self.m = angular.check_integer(m, "m", 1)
        self.annealing = angular.check_annealing(angular.Annealing(base, gamma, power, lambda_min))
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.num_classes),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.step = add_step_counter(self, name="step")
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})
        self.built = True

    @property
    def loss(self) -> ASoftmaxLoss:
        """The matching loss, with this layer's m."""
        return ASoftmaxLoss(self.m)

    @property
    def annealing_lambda(self) -> tf.Tensor:
        """lambda after the steps counted so far, a float32 scalar."""
        return angular.annealing_lambda(tf.convert_to_tensor(self.step), self.annealing)

    def call(self, embeddings, training=False):
        if training:
            # The first step is number 1, as in the authors' code.
            self.step.assign_add(1)
        logits, norms = angular.cosine_logits(embeddings, tf.convert_to_tensor(self.kernel))
        return pack_head_output(logits, norms, self.annealing_lambda, self.m)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes + CARRIER_COLUMNS)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "m": self.m,
            **self.annealing._asdict(),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
