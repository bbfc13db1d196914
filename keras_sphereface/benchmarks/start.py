"""Benchmark of the start: seconds from `sphereface train` to the end of its first step.

    python tools/bench_start.py

The command runs as users run it, on generated faces and with a row of the log for each step; when
the first row is there, the process is ended.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from keras_sphereface.benchmarks.training import timing_records
from keras_sphereface.training.summary import LOG_FILE
from keras_sphereface.utils.environment import machine
from keras_sphereface.utils.progress import progress_bar

INTERVAL = 0.02  # seconds between two looks at the log
LONGEST = 600.0  # seconds to wait for a step


def benchmark_start() -> None:
    """Parse the command line, measure, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="sphereface20")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    words = ["--backbone", arguments.backbone, "--batch-size", str(arguments.batch_size)]
    with tempfile.TemporaryDirectory() as folder:
        data = timing_records(Path(folder), num_classes=128, seed=0)
        rounds = progress_bar(range(arguments.rounds), unit="start", desc="starting")
        seconds = [
            seconds_to_first_step(["--data", data, *words], Path(folder) / f"run-{number}")
            for number in rounds
        ]
    print(f"Machine: {machine()}.\n")
    print(
        f"From the command to the end of its first step: {statistics.median(seconds):.1f} s, "
        f"median of {len(seconds)} ({min(seconds):.1f} to {max(seconds):.1f})."
    )


def seconds_to_first_step(words: Sequence[str], workdir: Path) -> float:
    """Start a training, and return the seconds until its log has a row.

    Args:
        words: Flags of `sphereface train`.
        workdir: A new folder.

    Raises:
        RuntimeError: If the process ends, or takes no step in `LONGEST` seconds.
    """
    flags = ["--workdir", str(workdir), "--total-steps", "1000", "--log-steps", "1"]
    command = [sys.executable, "-m", "keras_sphereface", "train", *words, *flags]
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            while not _has_row(workdir / LOG_FILE):
                seconds = time.perf_counter() - start
                if process.poll() is not None or seconds > LONGEST:
                    output.seek(0)
                    lines = output.read().decode(errors="replace").strip().splitlines()
                    raise RuntimeError(
                        f"The training took no step in {seconds:.0f} s. Received: "
                        f"{lines[-1] if lines else 'no output'}"
                    )
                time.sleep(INTERVAL)
            return time.perf_counter() - start
        finally:
            process.kill()
            process.wait()


def _has_row(path: Path) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8").count("\n") > 1
