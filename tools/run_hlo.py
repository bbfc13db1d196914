"""Run and time an XLA program written by `tools/benchmark.py head`, with JAX.

    python tools/run_hlo.py runs/benchmark/asoftmax.hlo [runs/benchmark/dense.hlo ...]

It stands alone: it needs JAX and NumPy, but neither TensorFlow nor keras_sphereface, so that the
same program can be timed on a device for which there is no TensorFlow at hand. Beside PROGRAM.hlo
lies PROGRAM.json, which says how the arguments are drawn and what the first result must be.
Programs given together are timed in turns, and the ratios are to the first one.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

TOLERANCE = 1e-3  # relative; devices may multiply matrices in less than float32


def load(path, device):
    """The compiled program, its arguments on the device, and what its first result must be."""
    import jax

    # JAX has no public way to take in an HLO module; these names served 0.6 to 0.10.
    from jax._src.lib import xla_client
    from jaxlib import _jax

    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    computation = xla_client.XlaComputation(path.read_bytes())
    module = _jax.mlir.xla_computation_to_mlir_module(computation)
    program = device.client.compile_and_load(
        module, _jax.DeviceList((device,)), xla_client.CompileOptions()
    )
    rng = np.random.default_rng(facts["seed"])
    arguments = []
    for part in facts["arguments"]:
        if "below" in part:
            value = rng.integers(0, part["below"], part["shape"])
        else:
            value = part["scale"] * rng.standard_normal(part["shape"])
        arguments.append(jax.device_put(value.astype(part["dtype"]), device))
    return program, arguments, facts["first_result"]


def run(program, arguments):
    """All results, and the seconds until the last of them was there."""
    start = time.perf_counter()
    results = program.execute(arguments)
    for result in results:
        result.block_until_ready()
    return results, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="+", type=Path, help="files ending in .hlo")
    parser.add_argument("--repeats", type=int, default=20, help="timed runs of each")
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
    loaded = [load(path, device) for path in options.programs]
    for path, (program, arguments, expected) in zip(options.programs, loaded, strict=True):
        value = float(np.asarray(run(program, arguments)[0][0]))
        if not abs(value - expected) <= TOLERANCE * abs(expected):
            parser.error(f"{path.name} gives {value}, and in TensorFlow it was {expected}")
        print(f"{path.name}: first result {value:.6f}, in TensorFlow {expected:.6f}")
    seconds = [[run(*entry[:2])[1] for entry in loaded] for _ in range(options.repeats)]
    seconds = np.array(seconds)
    for path, own in zip(options.programs, seconds.T, strict=True):
        ratio = np.median(own / seconds[:, 0])
        low, high = np.quantile(own, [0.25, 0.75]) * 1e3
        print(
            f"{path.name}: {1e3 * np.median(own):.3f} ms (quartiles {low:.3f} to {high:.3f}), "
            f"{ratio:.3f} times {options.programs[0].name}"
        )


if __name__ == "__main__":
    main()
