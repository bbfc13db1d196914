"""Heads in float64, against pytorch-metric-learning."""

import math

import numpy as np
import pytest

from keras_sphereface.heads import ArcFace, Circle, CosFace, NormFace, SubCenterArcFace
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
    "subcenter-arcface": (
        lambda: SubCenterArcFace(C, m=0.5, scale=SCALE, num_centers=2, dtype="float64"),
        lambda: oracle.SubCenterArcFaceLoss(
            num_classes=C, embedding_size=D, margin=math.degrees(0.5), scale=SCALE, sub_centers=2
        ),
    ),
    "arcface": (
        lambda: ArcFace(C, m=0.5, scale=SCALE, dtype="float64"),
        lambda: oracle.ArcFaceLoss(C, D, margin=math.degrees(0.5), scale=SCALE),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_loss_and_gradients_are_those_of_pytorch_metric_learning(name):
    rng = np.random.default_rng(7)
    make, make_theirs = PAIRS[name]
    count = make().num_centers
    kernel, labels = rng.normal(size=(D, C * count)), rng.integers(0, C, B)
    embeddings = rng.normal(size=(B, D)) + kernel[:, labels * count].T
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


def test_the_circle_loss_is_that_of_pytorch_metric_learning_on_class_weights():
    rng = np.random.default_rng(7)
    kernel, labels = rng.normal(size=(D, C)), rng.integers(0, C, B)
    embeddings = rng.normal(size=(B, D)) + kernel[:, labels].T
    with double_precision():
        head = Circle(C, m=0.25, scale=SCALE, dtype="float64")
        head.build((None, D))
        head.kernel.assign(kernel)
        losses, gradients = losses_and_gradients(head, embeddings, labels, step=1)
    x, w = (torch.tensor(values, requires_grad=True) for values in (embeddings, kernel))
    # Their losses are of pairs of images; here the second of each is a class weight.
    theirs = oracle.CircleLoss(m=0.25, gamma=SCALE)
    loss = theirs(x, torch.tensor(labels), ref_emb=w.T, ref_labels=torch.arange(C))
    loss.backward()
    assert np.mean(losses) == pytest.approx(loss.item(), abs=TOLERANCE)
    for ours, parameter in zip(gradients, (x, w), strict=True):
        np.testing.assert_allclose(ours / B, parameter.grad.numpy(), rtol=0.0, atol=TOLERANCE)
