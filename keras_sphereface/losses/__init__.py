"""The losses of the heads, and the metric losses that A-Softmax is compared with."""

from keras_sphereface.losses.head_loss import ASoftmaxLoss, HeadLoss, embedding_norm
from keras_sphereface.losses.metric_losses import (
    ContrastiveLoss,
    TripletHardLoss,
    TripletSemiHardLoss,
)

__all__ = [
    "ASoftmaxLoss",
    "ContrastiveLoss",
    "HeadLoss",
    "TripletHardLoss",
    "TripletSemiHardLoss",
    "embedding_norm",
]
