"""The relatives of `ASoftmax`, each a head with its own loss.

All are used as `ASoftmax` is: `model.add(head)`, `loss=head.loss`. Every argument of
`AngularHead` is one of theirs too.
"""

import keras
import tensorflow as tf

from keras_sphereface.functional import margins, norms
from keras_sphereface.heads import _logits
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.utils import validation
from keras_sphereface.utils.validation import check_choice, check_real

SPHEREFACE_R_VERSIONS = ("v1", "v2")
EMBEDDING_NORMS = ("hard", "free", "soft")


@keras.saving.register_keras_serializable(package="keras_sphereface")
class PlainSoftmax(AngularHead):
    """Softmax with class weights of any length and a bias: logits x.w_j + b_j.

    What A-Softmax is compared with. It is a `Dense` layer with the loss, the blocks and the
    sampling of this family.

    Args:
        num_classes: C, an int >= 2.
        **kwargs: `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.
    """

    use_bias = True

    def __init__(self, num_classes: int, **kwargs):
        super().__init__(num_classes, **kwargs)
        for name, only in (("scale", None), ("gradient", "exact"), ("kernel_norm", "through")):
            if getattr(self, name) != only:
                raise ValueError(f"`{name}` means nothing here. Received: {getattr(self, name)!r}")

    @property
    def normalize(self) -> bool:
        return False


@keras.saving.register_keras_serializable(package="keras_sphereface")
class NormFace(AngularHead):
    """Softmax of s cos(theta_j), without a margin.

    Args:
        num_classes: C, an int >= 2.
        scale: s, > 0.
        **kwargs: as for `AngularHead`.

    Reference: Wang et al., "NormFace", ACM Multimedia 2017.
    """

    def __init__(self, num_classes: int, scale: float = 30.0, **kwargs):
        super().__init__(num_classes, scale=scale, **kwargs)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class CosFace(AngularHead):
    """Softmax of s cos(theta_j), the target being s (cos(theta_y) - m).

    Args:
        num_classes: C, an int >= 2.
        m: the margin, a number in [0, 2].
        scale: s, > 0.
        **kwargs: as for `AngularHead`.

    Reference: Wang et al., "CosFace", CVPR 2018, equation 4.
    """

    def __init__(self, num_classes: int, m: float = 0.35, scale: float = 64.0, **kwargs):
        super().__init__(num_classes, scale=scale, **kwargs)
        self.m = check_real(m, "m", 0.0, 2.0)

    def target_cosine(self, cos_theta, context):
        return margins.subtracted_cosine(cos_theta, self.m)

    def get_config(self):
        return {**super().get_config(), "m": self.m}


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ArcFace(AngularHead):
    """Softmax of s cos(theta_j), the target being s cos(theta_y + m).

    Args:
        num_classes: C, an int >= 2.
        m: the margin in radians, in [0, 3].
        scale: s, > 0.
        **kwargs: as for `AngularHead`.

    Reference: Deng et al., "ArcFace", CVPR 2019, equation 3.
    """

    def __init__(self, num_classes: int, m: float = 0.5, scale: float = 64.0, **kwargs):
        super().__init__(num_classes, scale=scale, **kwargs)
        self.m = check_real(m, "m", 0.0, 3.0)

    def target_cosine(self, cos_theta, context):
        return margins.added_angle(cos_theta, self.m)

    def get_config(self):
        return {**super().get_config(), "m": self.m}


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SphereFaceR(AngularHead):
    """SphereFace revived: a multiplicative margin for any real m, with a detached gradient.

    v1 makes the target harder, s cos(min(m theta_y, pi)); v2 makes the other classes harder,
    s cos(theta_j / m). s is a fixed number ("hard": every embedding gets that length), the
    embedding's own norm ("free"), or the own norm with a penalty `norm_weight` (|x| - s)^2 that
    draws it towards the number ("soft").

    Args:
        num_classes: C, an int >= 2.
        m: the margin, a number >= 1; 1.3 to 1.7 in the paper.
        version: "v1" or "v2".
        embedding_norm: "hard", "free" or "soft".
        scale: s of "hard" and "soft", > 0.
        norm_weight: of the penalty of "soft", >= 0.
        loss_weight: the loss is multiplied by `loss_weight` / s, except with "free".
        gradient: "detached", as in the paper; "exact" for v1 only.
        **kwargs: `kernel_norm` and further ones as for `AngularHead`.

    Reference: Liu et al., "SphereFace Revived: Unifying Hyperspherical Face Recognition", TPAMI
    2022.
    """

    def __init__(
        self,
        num_classes: int,
        m: float = 1.5,
        version: str = "v1",
        embedding_norm: str = "hard",
        scale: float = 30.0,
        norm_weight: float = 0.01,
        loss_weight: float = 30.0,
        gradient: str = "detached",
        **kwargs,
    ):
        self.embedding_norm = check_choice(embedding_norm, "embedding_norm", EMBEDDING_NORMS)
        self.target_norm = check_real(scale, "scale", 1e-6)
        fixed = self.target_norm if embedding_norm == "hard" else None
        super().__init__(num_classes, scale=fixed, gradient=gradient, **kwargs)
        self.m = check_real(m, "m", 1.0)
        self.version = check_choice(version, "version", SPHEREFACE_R_VERSIONS)
        self.norm_weight = check_real(norm_weight, "norm_weight", 0.0)
        self.loss_weight = check_real(loss_weight, "loss_weight", 0.0)
        if version == "v2" and gradient != "detached":
            raise ValueError(f"`gradient` must be 'detached' with v2. Received: {gradient!r}")

    def target_cosine(self, cos_theta, context):
        if self.version == "v1":
            return margins.multiplied_angle(cos_theta, self.m)
        return cos_theta

    def rest(self, context):
        if self.version == "v1":
            return _logits.LogSumExp()
        lengths = tf.stop_gradient(norms.l2_norm(context.rows))
        return _logits.LogSumExp(lambda z: lengths * margins.divided_angle(z / lengths, self.m))

    @property
    def uninformative_loss(self):
        return super().uninformative_loss if self.embedding_norm == "free" else None

    def sample_losses(self, own, rest, labels, context):
        losses = super().sample_losses(own, rest, labels, context)
        if self.embedding_norm != "free":
            losses *= self.loss_weight / self.target_norm
        if self.embedding_norm == "soft":
            losses += self.norm_weight * tf.square(context.norms[:, 0] - self.target_norm)
        return losses

    def get_config(self):
        return {
            **super().get_config(),
            "m": self.m,
            "version": self.version,
            "embedding_norm": self.embedding_norm,
            "scale": self.target_norm,
            "norm_weight": self.norm_weight,
            "loss_weight": self.loss_weight,
        }


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SphereFacePlus(ASoftmax):
    """A-Softmax and a force that spreads the class weights over the sphere.

    To the loss of every sample comes `energy_weight` times the mean of angle^-2 (radians) over
    pairs of class weights. Up to `energy_classes` classes are paired; of more, as many are
    drawn at each training step, which leaves the mean unbiased.

    Args:
        num_classes: C, an int >= 2.
        m: the margin, an int >= 1.
        energy_weight: >= 0.
        energy_classes: an int >= 2.
        **kwargs: as for `ASoftmax`.

    Reference: Liu et al., "Learning towards Minimum Hyperspherical Energy", NeurIPS 2018.
    """

    def __init__(
        self,
        num_classes: int,
        m: int = 4,
        energy_weight: float = 1.0,
        energy_classes: int = 512,
        **kwargs,
    ):
        super().__init__(num_classes, m=m, **kwargs)
        self.energy_weight = check_real(energy_weight, "energy_weight", 0.0)
        self.energy_classes = validation.check_integer(energy_classes, "energy_classes", 2)

    def sample_losses(self, own, rest, labels, context):
        losses = super().sample_losses(own, rest, labels, context)
        return losses + self.energy_weight * self.energy(context)

    @property
    def uninformative_loss(self):
        return None

    def energy(self, context) -> tf.Tensor:
        """The mean of angle^-2 over the pairs, a scalar."""
        weights = self._energy_weights(context)
        weights *= norms.inverse_norms(weights)
        cosines = tf.matmul(weights, weights, transpose_a=True)
        angles = margins.safe_angle(cosines)
        count = tf.shape(weights)[1]
        pairs = 1.0 - tf.eye(count, dtype=weights.dtype)
        total = tf.reduce_sum(pairs / tf.square(angles))
        return total / tf.cast(count * (count - 1), weights.dtype)

    def _energy_weights(self, context):
        """The class weights to be paired, (D, K)."""
        part = context.part
        if self.num_classes > self.energy_classes:
            seed = tf.stack([self.seed + 1, tf.cast(context.step % 2**20, tf.int32)])
            keys = tf.random.stateless_uniform([self.num_classes], seed)
            chosen = tf.math.top_k(keys, self.energy_classes).indices
        elif part is None:
            return tf.concat(context.kernels, axis=1)
        else:
            chosen = tf.range(self.num_classes)
        places = _logits.places_of(chosen, self.num_classes)
        columns, start = 0.0, part.start if part else 0
        for kernel in context.kernels:
            width = kernel.shape[1]
            inside, within = _logits.within_block(chosen, start, width)
            here = _logits.gather_columns(kernel, within, places[start:][:width])
            columns += tf.where(inside, here, tf.zeros_like(here))
            start += width
        return columns if part is None else part.collect(columns)

    def get_config(self):
        return {
            **super().get_config(),
            "energy_weight": self.energy_weight,
            "energy_classes": self.energy_classes,
        }


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SphereFace2(AngularHead):
    """A binary classification of every class: is it this person or not?

    With g(z) = 2 ((z + 1) / 2)^3 - 1 and a trainable bias b, the loss of a sample is

        alpha / r softplus(-(r (g(cos theta_y) - m) + b))
        + (1 - alpha) / r sum over the others softplus(r (g(cos theta_j) + m) + b).

    The logits of this layer are the cosines.

    Args:
        num_classes: C, an int >= 2.
        m: the margin, in [0, 1].
        r: the scale inside the loss, > 0.
        alpha: the weight of the own class, in (0, 1).
        **kwargs: `kernel_norm` and further ones as for `AngularHead`.

    Reference: Wen et al., "SphereFace2: Binary Classification is All You Need for Deep Face
    Recognition", ICLR 2022.
    """

    gradients = ("exact",)

    def __init__(
        self, num_classes: int, m: float = 0.4, r: float = 40.0, alpha: float = 0.7, **kwargs
    ):
        if kwargs.pop("scale", 1.0) != 1.0:
            raise ValueError("`scale` must be 1: the logits are cosines. The loss has `r`.")
        super().__init__(num_classes, scale=1.0, **kwargs)
        self.m = check_real(m, "m", 0.0, 1.0)
        self.r = check_real(r, "r", 1e-6)
        self.alpha = check_real(alpha, "alpha", 1e-6, 1.0 - 1e-6)

    def build_shared(self, input_shape):
        super().build_shared(input_shape)
        start = margins.balanced_bias(self.num_classes, self.r, self.m, self.alpha)
        self.bias = self.add_weight(
            name="bias", shape=(), initializer=keras.initializers.Constant(start)
        )

    def rest(self, context):
        def entry(cosines, bias):
            return tf.nn.softplus(self.r * (margins.stretched_cosine(cosines) + self.m) + bias)

        return _logits.SumOver(entry, [tf.convert_to_tensor(self.bias)])

    def sample_losses(self, own, rest, labels, context):
        bias = tf.convert_to_tensor(self.bias)
        positive = self.r * (margins.stretched_cosine(own) - self.m) + bias
        return (self.alpha * tf.nn.softplus(-positive) + (1.0 - self.alpha) * rest) / self.r

    def get_config(self):
        return {**super().get_config(), "m": self.m, "r": self.r, "alpha": self.alpha}
