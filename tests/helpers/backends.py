"""Calls of heads with gradients, on whatever backend of Keras the process runs."""

import contextlib
from typing import Any

import keras
import numpy as np

from keras_sphereface.backend import BACKEND
from keras_sphereface.heads import Head

if BACKEND == "jax":
    import jax
elif BACKEND == "torch":
    import torch
else:
    import tensorflow as tf


def double_precision() -> contextlib.AbstractContextManager:
    """Allow 64-bit numbers; JAX has them only where they are asked for."""
    return jax.enable_x64(True) if BACKEND == "jax" else contextlib.nullcontext()


def array(tensor: Any) -> np.ndarray:
    """The values of a tensor or weight."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def losses_and_gradients(
    head: Head,
    embeddings: np.ndarray,
    labels: np.ndarray,
    step: int | None,
    training: bool = False,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Losses (B,), and the gradients of their sum by embeddings and trainable weights.

    On JAX the call is compiled, as in `fit`.
    """
    weights = head.trainable_variables

    def losses_of(embeddings: Any) -> Any:
        return head.compute_losses(embeddings, labels, training, step).losses

    if BACKEND == "jax":

        def total(embeddings: Any, values: list) -> tuple:
            pairs = list(zip(weights, values, strict=True))
            with keras.StatelessScope(state_mapping=pairs):
                losses = losses_of(embeddings)
            return losses.sum(), losses

        run = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
        values = [weight.value for weight in weights]
        (_, losses), (by_embeddings, by_weights) = run(embeddings, values)
        gradients = [by_embeddings, *by_weights]
    elif BACKEND == "torch":
        embeddings = torch.tensor(embeddings, requires_grad=True)
        losses = losses_of(embeddings)
        sources = [embeddings, *(weight.value for weight in weights)]
        gradients = list(torch.autograd.grad(losses.sum(), sources))
    else:
        embeddings = tf.constant(embeddings)
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            losses = losses_of(embeddings)
            loss = tf.reduce_sum(losses)
        sources = [embeddings, *(weight.value for weight in weights)]
        gradients = tape.gradient(loss, sources)
    return array(losses), [array(gradient) for gradient in gradients]


def gradient_of_gradient(head: Head, embeddings: np.ndarray, labels: np.ndarray) -> None:
    """Differentiate the sum of squares of the gradient by the embeddings; it is an error."""

    def loss_of(embeddings: Any) -> Any:
        return keras.ops.sum(head.compute_losses(embeddings, labels, step=1).losses)

    if BACKEND == "jax":
        by_embeddings = jax.grad(loss_of)
        jax.grad(lambda x: (by_embeddings(x) ** 2).sum())(embeddings)
    elif BACKEND == "torch":
        x = torch.tensor(embeddings, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss_of(x), x, create_graph=True)
        (gradient**2).sum().backward()
    else:
        x = tf.constant(embeddings)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = loss_of(x)
            squares = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        outer.gradient(squares, x)
