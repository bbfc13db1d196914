"""`SubCenterArcFace`: ArcFace with several class weights for each class."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads.arcface import ArcFace
from keras_sphereface.utils.validation import check_integer


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SubCenterArcFace(ArcFace):
    """ArcFace with K class weights for each class, of which the nearest to the embedding counts.

    The cosine to a class is cos(theta_j) = max over k of x.w_jk / (|x| |w_jk|), and only the weight
    that has it gets a gradient. So images with a wrong label gather around other weights of their
    class than the right ones. The class weights are (D, K C), those of class j the columns K j to
    K j + K - 1; parameters, memory and time of the head are K times those of ArcFace.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 3]. The margin in radians.
        scale: Float > 0, or "auto". s.
        num_centers: Int >= 1. K, the class weights of each class; 1 is ArcFace.
        gradient: "exact" or "detached", as for `AngularHead`.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web
    Faces", ECCV 2020, section 3.2.

    Example:
        >>> head = SubCenterArcFace(num_classes=3, num_centers=2)
        >>> head(np.ones((2, 4), "float32")).shape, head.kernel.shape
        (TensorShape([2, 3]), TensorShape([4, 6]))
    """

    def __init__(
        self,
        num_classes: int,
        m: float = 0.5,
        scale: float | str = 64.0,
        num_centers: int = 3,
        gradient: str = "exact",
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, m=m, scale=scale, gradient=gradient, **kwargs)
        self.num_centers = check_integer(num_centers, "num_centers", 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_centers": self.num_centers}
