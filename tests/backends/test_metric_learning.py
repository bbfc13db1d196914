"""CosFace, NormFace and ArcFace in float64, against pytorch-metric-learning."""

import math

import numpy as np
import pytest

from keras_sphereface.heads import ArcFace, CosFace, NormFace
from tests.helpers.backends import double_precision, losses_and_gradients

oracle = pytest.importorskip("pytorch_metric_learning.losses")
torch = pytest.importorskip("torch")

B, D, C, SCALE = 32, 16, 10, 9.0
# Both round each operation; their losses are below 20.
TOLERANCE = 5e-15
PAIRS = {
    "cosface": (
        lambda: CosFace(C, m=0.35, scale=SCALE, dtype="float64"),
        lambda: oracle.CosFaceLoss(C, D, margin=0.35, scale=SCALE),
    ),
    "normface": (
        lambda: NormFace(C, scale=SCALE, dtype="float64"),
        lambda: oracle.NormalizedSoftmaxLoss(C, D, temperature=1.0 / SCALE),
    ),
    "arcface": (
        lambda: ArcFace(C, m=0.5, scale=SCALE, dtype="float64"),
        lambda: oracle.ArcFaceLoss(C, D, margin=math.degrees(0.5), scale=SCALE),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_loss_and_gradients_are_those_of_pytorch_metric_learning(name):
    rng = np.random.default_rng(7)
    kernel, labels = rng.normal(size=(D, C)), rng.integers(0, C, B)
    embeddings = rng.normal(size=(B, D)) + kernel[:, labels].T
    make, make_theirs = PAIRS[name]
    with double_precision():
        head = make()
        head.build((None, D))
        head.kernel.assign(kernel)
        losses, gradients = losses_and_gradients(head, embeddings, labels, step=1)
    theirs = make_theirs().double()
    theirs.W.data = torch.tensor(kernel)
    x = torch.tensor(embeddings, requires_grad=True)
    loss = theirs(x, torch.tensor(labels))
    loss.backward()
    assert np.mean(losses) == pytest.approx(loss.item(), abs=TOLERANCE)
    for ours, parameter in zip(gradients, (x, theirs.W), strict=True):
        # Ours are those of the sum, theirs those of the mean.
        np.testing.assert_allclose(ours / B, parameter.grad.numpy(), rtol=0.0, atol=TOLERANCE)
