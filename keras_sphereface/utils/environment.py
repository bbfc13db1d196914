"""The machine, and the memory that processes hold."""

import contextlib
import os
import platform
import threading
from collections.abc import Iterator

import keras
import tensorflow as tf

from keras_sphereface.version import __version__


@contextlib.contextmanager
def most_memory(process: int, interval: float = 0.05) -> Iterator[list[int]]:
    """Measure the peak memory of a process and its children, in bytes, until the block ends.

    Memory that processes share counts once (the proportional set size that Linux reports).

    Args:
        process: Int. Process id.
        interval: Float. Seconds between two measurements.

    Yields:
        A list of one int, the peak so far.
    """
    peak, stopped = [0], threading.Event()

    def watch() -> None:
        while not stopped.wait(interval):
            total = sum(map(_proportional_bytes, _with_children(process)))
            peak[0] = max(peak[0], total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stopped.set()
        thread.join()


def first_gpu() -> str:
    """Return the name of the first GPU, such as "GPU:0"; empty if there is none."""
    gpus = tf.config.list_logical_devices("GPU")
    return gpus[0].name.removeprefix("/device:") if gpus else ""


def held_memory(gpu: str = "") -> tuple[int, int]:
    """Return the current and the peak memory, in bytes, of a GPU or else of this process.

    Args:
        gpu: Str. Device such as "GPU:0".
    """
    if gpu:
        info = tf.config.experimental.get_memory_info(gpu)
        return info["current"], info["peak"]
    with open("/proc/self/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    current, peak = (1024 * int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return current, peak


def _with_children(process: int) -> list[int]:
    processes = [process]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{task}/children", encoding="ascii") as file:
                for child in file.read().split():
                    processes += _with_children(int(child))
    return processes


def _proportional_bytes(process: int) -> int:
    with (
        contextlib.suppress(OSError),  # the process may have ended meanwhile
        open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file,
    ):
        for line in file:
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


def machine() -> str:
    """Return device, cores, system and versions in a line."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        device = f"{len(gpus)} x {details.get('device_name', 'GPU')}"
    else:
        names = []
        # Only Linux has it.
        with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        device = f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
    return (
        f"{device}, {platform.system()}, Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, keras_sphereface {__version__}"
    )
