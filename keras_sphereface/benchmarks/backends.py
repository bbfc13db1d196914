"""Time the heads on the backend of Keras at hand beside that backend's own Dense and cross-entropy.

    KERAS_BACKEND=jax python tools/bench_backends.py
    KERAS_BACKEND=torch python tools/bench_backends.py --num-classes 100000

A training step of the head alone: embeddings (B, D) and labels in; loss, gradients by embeddings
and class weights out. All cases run in every round, in an order drawn anew, and what counts is the
ratio to Dense in the same round. On PyTorch the common way of other implementations is timed too:
arccos, cos(m theta) of all classes, a one-hot mask.
"""

import argparse
import importlib
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_sphereface.backend import BACKEND, Tensor, ops
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.registry import make_head

Loss = Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]

DENSE, COMMON = "Dense + cross-entropy", "A-Softmax by arccos, all classes, one-hot"
CASES: dict[str, dict[str, Any]] = {
    "A-Softmax": {"kind": "asoftmax"},
    "A-Softmax, unit kernel": {"kind": "asoftmax", "kernel_norm": "projected"},
    "A-Softmax, in blocks": {"kind": "asoftmax", "block_size": -1},
    "A-Softmax, 10 % of the classes": {"kind": "asoftmax", "sample_rate": 0.1},
    "CosFace": {"kind": "cosface"},
    "ArcFace": {"kind": "arcface"},
    "SphereFace2": {"kind": "sphereface2"},
}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--embedding-size", type=int, default=512)
    parser.add_argument("--num-classes", type=int, default=10_572)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--cases", nargs="*", default=[], help="those to time; all by default")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _head(case: str, arguments: argparse.Namespace) -> Head:
    settings = dict(CASES[case])
    if settings.get("block_size") == -1:  # at least four blocks
        settings["block_size"] = min(16_320, -(-arguments.num_classes // 4))
    head = make_head(settings.pop("kind"), arguments.num_classes, **settings)
    head.build((None, arguments.embedding_size))
    return head


def _dense_loss(x: Tensor, weights: Sequence[Tensor], labels: Tensor) -> Tensor:
    logits = ops.matmul(x, weights[0])
    if BACKEND == "torch":
        torch = importlib.import_module("torch")

        return torch.nn.functional.cross_entropy(logits, labels)
    if BACKEND == "tensorflow":
        tf = importlib.import_module("tensorflow")

        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_mean(losses)
    jax = importlib.import_module("jax")

    picked = jax.numpy.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=1) - picked).mean()


def _common_loss(
    x: Tensor,
    weights: Sequence[Tensor],
    labels: Tensor,
    m: int = 4,
    annealing_lambda: float = 5.0,
) -> Tensor:
    """What most implementations do: psi of all classes, and a mask of ones for the targets."""
    torch = importlib.import_module("torch")

    unit = weights[0] / weights[0].norm(dim=0, keepdim=True)
    norms = x.norm(dim=1, keepdim=True)
    cosines = (x.mm(unit) / norms).clamp(-1.0, 1.0)
    multiplied = 8.0 * cosines**4 - 8.0 * cosines**2 + 1.0  # cos(4 theta)
    k = (m * cosines.detach().acos() / np.pi).floor()
    psi = (-1.0) ** k * multiplied - 2.0 * k
    logits, margin_logits = cosines * norms, psi * norms
    is_target = torch.zeros_like(logits).scatter(1, labels[:, None], 1.0).bool()
    blended = logits.clone()
    share = 1.0 / (1.0 + annealing_lambda)
    blended[is_target] += share * (margin_logits[is_target] - logits[is_target])
    log_probabilities = torch.nn.functional.log_softmax(blended, dim=1)
    return -log_probabilities.gather(1, labels[:, None]).mean()


def _step(loss: Loss, weights: Sequence[Tensor], x: Tensor, labels: Tensor) -> Callable[[], Any]:
    """A function that takes a step and waits for it; `loss` maps x, weights, labels to a scalar."""
    if BACKEND == "jax":
        jax = importlib.import_module("jax")

        step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        values = [jax.numpy.asarray(weight) for weight in weights]
        return lambda: jax.block_until_ready(step(x, values, labels))
    if BACKEND == "torch":
        torch = importlib.import_module("torch")

        def step() -> Any:
            source = x.detach().requires_grad_()
            gradients = torch.autograd.grad(loss(source, weights, labels), [source, *weights])
            if x.is_cuda:
                torch.cuda.synchronize()
            return gradients

        return step
    tf = importlib.import_module("tensorflow")

    @tf.function
    def compiled(x: Tensor, labels: Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x, weights, labels)
        return value, tape.gradient(value, [x, *weights])

    def run() -> Any:
        results = compiled(x, labels)
        tf.test.experimental.sync_devices()
        return results

    return run


def _head_step(
    case: str, x: Tensor, labels: Tensor, arguments: argparse.Namespace
) -> Callable[[], Any]:
    head = _head(case, arguments)
    variables = head.trainable_variables

    def loss(x: Tensor, weights: Sequence[Tensor], labels: Tensor) -> Tensor:
        if BACKEND == "jax":
            with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
                return ops.mean(head.compute_losses(x, labels, True, step=2000).losses)
        return ops.mean(head.compute_losses(x, labels, True, step=2000).losses)

    values = [variable.value for variable in variables]
    return _step(loss, values, x, labels)


def benchmark_backend() -> None:
    """Measure and print a table, in Markdown."""
    arguments = _parse()
    rng = np.random.default_rng(arguments.seed)
    shape = arguments.batch_size, arguments.embedding_size
    x = ops.convert_to_tensor(rng.standard_normal(shape).astype("float32"))
    labels = ops.convert_to_tensor(rng.integers(0, arguments.num_classes, shape[0]))
    kernel = rng.standard_normal((shape[1], arguments.num_classes)).astype("float32") * 0.04
    wanted = [case for case in CASES if not arguments.cases or case in arguments.cases]
    steps = {}
    own = {DENSE: _dense_loss, **({COMMON: _common_loss} if BACKEND == "torch" else {})}
    for name, loss in own.items():
        weights = [keras.Variable(kernel).value]
        steps[name] = _step(loss, weights, x, labels)
    for case in wanted:
        steps[case] = _head_step(case, x, labels, arguments)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(arguments.rounds + 2):
        for name in rng.permutation(list(steps)):
            start = time.perf_counter()
            steps[name]()
            if round_ >= 2:  # the first ones trace, compile and fill caches
                seconds[name].append(time.perf_counter() - start)
    print(
        f"{BACKEND}, Keras {keras.__version__}, Python {platform.python_version()}, "
        f"B = {shape[0]}, D = {shape[1]}, C = {arguments.num_classes:,}, {arguments.rounds} rounds"
    )
    print("| head | ms | times Dense | quartiles |\n|---|---|---|---|")
    for name, values in seconds.items():
        low, middle, high = np.quantile(np.divide(values, seconds[DENSE]), [0.25, 0.5, 0.75])
        print(
            f"| {name} | {1e3 * np.median(values):.1f} | {middle:.2f} | {low:.2f} to {high:.2f} |"
        )


if __name__ == "__main__":
    benchmark_backend()
