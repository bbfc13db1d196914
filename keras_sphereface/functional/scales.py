"""Scales of softmax heads whose embeddings have one length."""

import math

from keras_sphereface.utils.validation import require


def auto_scale(num_classes: int) -> float:
    """Return sqrt(2) ln(C - 1), the scale that suits a number of classes.

    With it the probability of the target class changes most where the angle to the target class
    weight is pi / 4, the middle of what it runs through, and the others are at right angles.

    Args:
        num_classes: Int >= 3. C, the number of classes.

    Raises:
        ValueError: If there are less than three classes: the scale would be 0.

    Reference: Zhang et al., "AdaCos", CVPR 2019, equation 9, the fixed scale.

    Example:
        >>> round(auto_scale(4069), 2)
        11.75
    """
    require(
        num_classes >= 3,
        "The scale sqrt(2) ln(C - 1) needs at least 3 classes; with less give `scale` as a number.",
        num_classes=num_classes,
    )
    return math.sqrt(2.0) * math.log(num_classes - 1.0)
