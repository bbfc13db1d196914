"""The losses of the heads, and the losses on distances that A-Softmax is compared with."""

from keras_sphereface.losses.context import HeadContext, HeadOutput
from keras_sphereface.losses.contrastive import ContrastiveLoss, contrastive_losses
from keras_sphereface.losses.head_loss import ASoftmaxLoss, HeadLoss, embedding_norm
from keras_sphereface.losses.triplet import (
    TripletHardLoss,
    TripletSemiHardLoss,
    triplet_hard_loss,
    triplet_semi_hard_loss,
)

__all__ = [
    "ASoftmaxLoss",
    "ContrastiveLoss",
    "HeadContext",
    "HeadLoss",
    "HeadOutput",
    "TripletHardLoss",
    "TripletSemiHardLoss",
    "contrastive_losses",
    "embedding_norm",
    "triplet_hard_loss",
    "triplet_semi_hard_loss",
]
