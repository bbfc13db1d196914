"""A compiled training step as a file, so that the same program can be timed anywhere.

`tools/run_hlo.py` reads such a folder with JAX, on whatever device JAX finds; it needs neither
TensorFlow nor this package.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf


def draw_arguments(recipe: Sequence[dict], seed: int) -> list[np.ndarray]:
    """The arguments that a recipe describes, drawn one after another from one generator.

    `tools/run_hlo.py` draws them in the same way without this package, as it must stand alone.

    Args:
        recipe: for each argument its "shape" and "dtype", and either "scale", for normal numbers
            times that, or "below", for whole numbers in [0, below).
        seed: of the generator.
    """
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, part["below"], part["shape"]).astype(part["dtype"])
        if "below" in part
        else (part["scale"] * rng.standard_normal(part["shape"])).astype(part["dtype"])
        for part in recipe
    ]


def write_program(
    path: Path, function: Callable[..., Sequence[tf.Tensor]], recipe: Sequence[dict], seed: int = 0
) -> None:
    """Write a function of tensors as an XLA program, with what is needed to run and check it.

    Args:
        path: the program goes to PATH.hlo (a serialized HloModuleProto), arguments and first
            result to PATH.json.
        function: takes the tensors of `recipe` and returns tensors, the first of them a scalar.
        recipe: the arguments, as for `draw_arguments`.
        seed: of the arguments.
    """
    arguments = [tf.constant(value) for value in draw_arguments(recipe, seed)]
    compiled = tf.function(function, jit_compile=True, autograph=False)
    program = compiled.experimental_get_compiler_ir(*arguments)(stage="hlo_serialized")
    path.with_suffix(".hlo").write_bytes(program)
    first = float(compiled(*arguments)[0])
    facts = {"arguments": list(recipe), "seed": seed, "first_result": first}
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
