"""Compiled training steps as files, so that the same program can be timed on any device.

`tools/run_hlo.py` reads such a folder with JAX, on whatever device JAX finds; it needs neither
TensorFlow nor this package.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sphereface.benchmarks.head_cases import (
    ASOFTMAX,
    BLOCKS,
    PROJECTED,
    StepShape,
    dense_losses,
    make_case_head,
)

Recipe = Sequence[Mapping[str, Any]]


def draw_arguments(recipe: Recipe, seed: int) -> list[np.ndarray]:
    """Draw the arguments that a recipe describes, one after another from one generator.

    `tools/run_hlo.py` draws them in the same way without this package.

    Args:
        recipe: For each argument its "shape" and "dtype", and either "scale", the standard
            deviation of normal numbers, or "below", the end of uniform integers from 0.
        seed: Int. Seed of the generator.

    Example:
        >>> draw_arguments([{"shape": [3], "dtype": "int32", "below": 1}], seed=0)
        [array([0, 0, 0], dtype=int32)]
    """
    rng = np.random.default_rng(seed)
    return [
        (
            rng.integers(0, argument["below"], argument["shape"])
            if "below" in argument
            else argument["scale"] * rng.standard_normal(argument["shape"])
        ).astype(argument["dtype"])
        for argument in recipe
    ]


def write_program(
    path: Path, function: Callable[..., Sequence[tf.Tensor]], recipe: Recipe, seed: int = 0
) -> None:
    """Write a function of tensors as an XLA program, with what is needed to run and check it.

    Args:
        path: PATH.hlo gets the program (a serialized HloModuleProto), PATH.json the recipe,
            the seed and the first result.
        function: Takes the tensors of `recipe` and returns tensors, the first of them a scalar.
        recipe: The arguments, as for `draw_arguments`.
        seed: Int. Seed of the arguments.
    """
    arguments = [tf.constant(value) for value in draw_arguments(recipe, seed)]
    compiled = tf.function(function, jit_compile=True, autograph=False)
    program = compiled.experimental_get_compiler_ir(*arguments)(stage="hlo_serialized")
    path.with_suffix(".hlo").write_bytes(program)
    first = float(compiled(*arguments)[0])
    description = {"arguments": list(recipe), "seed": seed, "first_result": first}
    path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n", "utf-8")


def write_head_programs(folder: Path, shape: StepShape, seed: int) -> None:
    """Write the steps of the baseline and of three A-Softmax heads.

    Args:
        folder: Gets dense, asoftmax, asoftmax_unit and asoftmax_blocks, as .hlo and .json.
        shape: Sizes of the step.
        seed: Int. Seed of embeddings, class weights and labels.
    """
    programs = {
        "dense": dense_losses,
        "asoftmax": _losses(ASOFTMAX, shape),
        "asoftmax_unit": _losses(PROJECTED, shape),
        "asoftmax_blocks": _losses(BLOCKS, shape),
    }
    size, classes = shape.embedding_size, shape.num_classes
    recipe = [
        {"shape": [shape.batch_size, size], "dtype": "float32", "scale": 1.0},
        # Of unit length to within a few per cent, as the unit kernel must be.
        {"shape": [size, classes], "dtype": "float32", "scale": size**-0.5},
        {"shape": [shape.batch_size], "dtype": "int32", "below": classes},
    ]
    for name, losses in programs.items():
        write_program(folder / name, _step(losses), recipe, seed)


def _losses(case: str, shape: StepShape) -> Callable[..., tf.Tensor]:
    head: Any = make_case_head(case, shape.num_classes)

    def losses(embeddings: tf.Tensor, kernel: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        kernels = tf.split(kernel, head.block_sizes(), axis=1)
        context = head.context(embeddings, tf.constant(1, tf.int64), True, kernels)
        return head.losses_of(context, labels).losses

    return losses


def _step(losses: Callable[..., tf.Tensor]) -> Callable[..., Sequence[tf.Tensor]]:
    """Return a step: (embeddings, kernel, labels) -> mean loss, gradients by the first two."""

    def step(
        embeddings: tf.Tensor, kernel: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([embeddings, kernel])
            loss = tf.reduce_mean(losses(embeddings, kernel, labels))
        return loss, *tape.gradient(loss, [embeddings, kernel])

    return step
