"""Time the heads on the backend of Keras at hand beside that backend's own Dense and cross-entropy.

    KERAS_BACKEND=jax python tools/bench_backends.py
    KERAS_BACKEND=torch python tools/bench_backends.py --num-classes 100000

A training step of the head alone: embeddings (B, D) and labels in; loss, gradients by embeddings
and class weights out. All cases run in every round, in an order drawn anew, and what counts is the
ratio to Dense in the same round. On PyTorch the common way of other implementations is timed too:
arccos, cos(m theta) of all classes, a one-hot mask.
"""

import argparse
import platform
import time

import keras
import numpy as np

from keras_sphereface.backend import BACKEND, ops
from keras_sphereface.heads import make_head

DENSE, COMMON = "Dense + cross-entropy", "A-Softmax by arccos, all classes, one-hot"
CASES = {
    "A-Softmax": {"kind": "asoftmax"},
    "A-Softmax, unit kernel": {"kind": "asoftmax", "kernel_norm": "projected"},
    "A-Softmax, in blocks": {"kind": "asoftmax", "block_size": -1},
    "A-Softmax, 10 % of the classes": {"kind": "asoftmax", "sample_rate": 0.1},
    "CosFace": {"kind": "cosface"},
    "ArcFace": {"kind": "arcface"},
    "SphereFace2": {"kind": "sphereface2"},
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--embedding-size", type=int, default=512)
    parser.add_argument("--num-classes", type=int, default=10_572)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--cases", nargs="*", default=[], help="those to time; all by default")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def head_of(case: str, arguments: argparse.Namespace) -> keras.layers.Layer:
    settings = dict(CASES[case])
    if settings.get("block_size") == -1:  # at least four blocks
        settings["block_size"] = min(16_320, -(-arguments.num_classes // 4))
    head = make_head(settings.pop("kind"), arguments.num_classes, **settings)
    head.build((None, arguments.embedding_size))
    return head


def dense_loss(x, weights, labels):
    logits = ops.matmul(x, weights[0])
    if BACKEND == "torch":
        import torch

        return torch.nn.functional.cross_entropy(logits, labels)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_mean(losses)
    import jax

    picked = jax.numpy.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=1) - picked).mean()


def common_loss(x, weights, labels, m=4, annealing_lambda=5.0):
    """What most implementations do: psi of all classes, and a mask of ones for the targets."""
    import torch

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


def step_of(loss, weights, x, labels):
    """A function that takes a step and waits for it; `loss` maps x, weights, labels to a scalar."""
    if BACKEND == "jax":
        import jax

        step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        values = [jax.numpy.asarray(weight) for weight in weights]
        return lambda: jax.block_until_ready(step(x, values, labels))
    if BACKEND == "torch":
        import torch

        def step():
            source = x.detach().requires_grad_()
            gradients = torch.autograd.grad(loss(source, weights, labels), [source, *weights])
            if x.is_cuda:
                torch.cuda.synchronize()
            return gradients

        return step
    import tensorflow as tf

    @tf.function
    def step(x, labels):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x, weights, labels)
        return value, tape.gradient(value, [x, *weights])

    def run():
        results = step(x, labels)
        tf.test.experimental.sync_devices()
        return results

    return run


def head_step(case, x, labels, arguments):
    head = head_of(case, arguments)
    variables = head.trainable_variables

    def loss(x, weights, labels):
        if BACKEND == "jax":
            with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
                return ops.mean(head.compute_losses(x, labels, True, step=2000).losses)
        return ops.mean(head.compute_losses(x, labels, True, step=2000).losses)

    values = [variable.value for variable in variables]
    return step_of(loss, values, x, labels)


def main() -> None:
    arguments = parse()
    rng = np.random.default_rng(arguments.seed)
    shape = arguments.batch_size, arguments.embedding_size
    x = ops.convert_to_tensor(rng.standard_normal(shape).astype("float32"))
    labels = ops.convert_to_tensor(rng.integers(0, arguments.num_classes, shape[0]))
    kernel = rng.standard_normal((shape[1], arguments.num_classes)).astype("float32") * 0.04
    wanted = [case for case in CASES if not arguments.cases or case in arguments.cases]
    steps = {}
    own = {DENSE: dense_loss, **({COMMON: common_loss} if BACKEND == "torch" else {})}
    for name, loss in own.items():
        weights = [keras.Variable(kernel).value]
        steps[name] = step_of(loss, weights, x, labels)
    for case in wanted:
        steps[case] = head_step(case, x, labels, arguments)
    seconds = {name: [] for name in steps}
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
    main()
