"""Benchmark of training beside PyTorch: the whole step of both in one interleaved run."""

import argparse
import contextlib
import dataclasses
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pandas as pd

from keras_sphereface.benchmarks.interleaved import (
    RateComparison,
    compare_rates,
    interleaved_seconds,
    rates_table,
)
from keras_sphereface.benchmarks.processes import ProcessCase, Program
from keras_sphereface.benchmarks.training import (
    WHOLE,
    run_training,
    timing_records,
    training_settings,
)
from keras_sphereface.config import TrainBenchmarkConfig
from keras_sphereface.utils.environment import machine
from keras_sphereface.utils.startup import ONEDNN

# Names of the modes of tools/pytorch_step.py.
PYTORCH_MODES = ("eager", "channels-last", "compiled", "compiled-channels-last")
GOAL = 1.4
OTHER_KERNELS = "whole step, oneDNN off"


class ScriptCase:
    """A case of an interleaved timing: a program that another interpreter runs; a context manager.

    For each line that the program reads it prints the seconds of a round.

    Args:
        name: String. Name of the case, and of the file with its errors.
        folder: Folder for this file.
        command: Program and arguments.
    """

    def __init__(self, name: str, folder: Path, command: Sequence[str]) -> None:
        self.name, self.log = name, folder / f"{name.replace(' ', '-').replace(',', '')}.txt"
        self.errors: IO[str] = open(self.log, "w", encoding="utf-8")
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def run_round(self) -> float:
        """Let the program do a round; returns the seconds that it prints.

        Raises:
            RuntimeError: If it ends.
        """
        assert self.process.stdin
        assert self.process.stdout
        answer = ""
        with contextlib.suppress(OSError):
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The case {self.name!r} ended; its output is in {self.log}.")
        return float(answer)

    def __enter__(self) -> "ScriptCase":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


def benchmark_pytorch(script: Path) -> None:
    """Parse the command line, measure, and print a table in Markdown.

    Args:
        script: tools/pytorch_step.py.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--out", type=Path, default=Path("runs/pytorch"), help="folder of outputs")
    parser.add_argument("--modes", nargs="*", choices=PYTORCH_MODES, default=PYTORCH_MODES)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--num-classes", type=int, default=10_572)
    parser.add_argument("--steps", type=int, default=2, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    command = [arguments.python, str(script), "--batch-size", str(arguments.batch_size)]
    command += ["--num-classes", str(arguments.num_classes), "--steps", str(arguments.steps)]
    others = {f"PyTorch, {mode}": [*command, "--mode", mode] for mode in arguments.modes}
    data = timing_records(folder, arguments.num_classes, arguments.seed)
    config = TrainBenchmarkConfig(
        out=str(folder),
        data=data,
        batch_size=arguments.batch_size,
        steps=arguments.steps,
        repeats=arguments.rounds,
        seed=arguments.seed,
    )
    seconds = measure_beside(others, config)
    seconds.to_csv(folder / "seconds.csv", index=False)
    comparisons = [RateComparison(WHOLE, name, GOAL) for name in others]
    comparisons.append(RateComparison(WHOLE, OTHER_KERNELS))
    rates = compare_rates(seconds, comparisons, arguments.steps * arguments.batch_size)
    print(
        f"SphereFace-20, batches of {arguments.batch_size}, {arguments.num_classes:,} classes, "
        f"float32; {arguments.rounds} interleaved rounds of {arguments.steps} steps.\n"
        f"Machine: {machine()}.\n\n{rates_table(rates)}"
    )


def measure_beside(
    others: Mapping[str, Sequence[str]], config: TrainBenchmarkConfig
) -> pd.DataFrame:
    """Return the seconds of a round of `training.train`, and of other programs in the same rounds.

    Args:
        others: {name of a case: program and arguments}, each as `ScriptCase` takes it.
        config: Of the training and its rounds, with a folder of records.
    """
    settings, folder = training_settings(config), Path(config.out)

    def whole(name: str, onednn: str) -> ProcessCase:
        workdir = folder / f"run-{name}"
        shutil.rmtree(workdir, ignore_errors=True)  # a run that has begun would be continued
        run = dataclasses.replace(settings, workdir=str(workdir))
        program = Program(run_training, (run, 1, config.steps), {ONEDNN: onednn})
        return ProcessCase(name, folder, [program])

    with contextlib.ExitStack() as stack:
        cases: dict[str, Any] = {
            WHOLE: stack.enter_context(whole(WHOLE, "1")),
            OTHER_KERNELS: stack.enter_context(whole(OTHER_KERNELS, "0")),
        }
        for name, command in others.items():
            cases[name] = stack.enter_context(ScriptCase(name, folder, command))
        return interleaved_seconds(
            {name: case.run_round for name, case in cases.items()}, config.repeats, config.seed
        )
