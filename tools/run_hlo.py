"""Run and time XLA programs written by `tools/benchmark.py head`, with JAX.

    python tools/run_hlo.py runs/benchmark/dense.hlo runs/benchmark/asoftmax.hlo

It needs JAX and NumPy, but neither TensorFlow nor keras_sphereface, so that the same program can be
timed on a device without a TensorFlow. PROGRAM.json beside PROGRAM.hlo describes how the arguments
are drawn, and holds the first result. Programs given together are timed in interleaved rounds, and
the ratios are to the first one.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-3  # relative; devices may multiply matrices in less than float32


def load(path: Path, device: Any) -> tuple[Callable[[], list[Any]], float]:
    """Return a function that runs the program on its arguments, and its expected first result."""
    import jax

    # JAX has no public way to load an HLO module; these names served 0.6 to 0.10.
    from jax._src.lib import xla_client
    from jaxlib import _jax

    description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    computation = xla_client.XlaComputation(path.read_bytes())
    module = _jax.mlir.xla_computation_to_mlir_module(computation)
    program = device.client.compile_and_load(
        module, _jax.DeviceList((device,)), xla_client.CompileOptions()
    )
    rng = np.random.default_rng(description["seed"])
    arguments = []
    for argument in description["arguments"]:
        if "below" in argument:
            value = rng.integers(0, argument["below"], argument["shape"])
        else:
            value = argument["scale"] * rng.standard_normal(argument["shape"])
        arguments.append(jax.device_put(value.astype(argument["dtype"]), device))
    return lambda: program.execute(arguments), description["first_result"]


def run(program: Callable[[], list[Any]]) -> tuple[list[Any], float]:
    """Return all results, and the seconds until the last of them is ready."""
    start = time.perf_counter()
    results = program()
    for result in results:
        result.block_until_ready()
    return results, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="+", type=Path, help="files ending in .hlo")
    parser.add_argument("--repeats", type=int, default=20, help="timed runs of each (default: 20)")
    options = parser.parse_args()
    try:
        import jax
    except ImportError as error:
        parser.error(f"JAX is needed (`pip install jax`): {error}")
    for path in options.programs:
        for needed in (path, path.with_suffix(".json")):
            if not needed.is_file():
                parser.error(f"there is no such file: {needed}")
    device = jax.devices()[0]
    print(f"device: {device.device_kind} ({device.platform}), JAX {jax.__version__}")
    programs = []
    for path in options.programs:
        program, expected = load(path, device)
        value = float(np.asarray(run(program)[0][0]))
        if not abs(value - expected) <= TOLERANCE * abs(expected):
            parser.error(f"{path.name} gives {value}, and in TensorFlow it was {expected}")
        print(f"{path.name}: first result {value:.6f}, in TensorFlow {expected:.6f}")
        programs.append(program)
    rounds = [[run(program)[1] for program in programs] for _ in range(options.repeats)]
    seconds = np.array(rounds).T  # (programs, rounds)
    for path, times in zip(options.programs, seconds, strict=True):
        low, median, high = 1e3 * np.quantile(times, [0.25, 0.5, 0.75])
        print(
            f"{path.name}: {median:.3f} ms (quartiles {low:.3f} to {high:.3f}), "
            f"{np.median(times / seconds[0]):.3f} times {options.programs[0].name}"
        )


if __name__ == "__main__":
    main()
