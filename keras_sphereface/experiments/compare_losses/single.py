"""One run of a comparison of losses: a training and its evaluation, in a separate process.

    python -m keras_sphereface.experiments.compare_losses.single FOLDER

trains with the settings of FOLDER/plan.json, and writes FOLDER/result.json.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.experiments.compare_losses.plan import Run
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.training.summary import LOG_FILE
from keras_sphereface.training.train import train
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.environment import first_gpu, held_memory
from keras_sphereface.utils.progress import log

PLAN_FILE, RESULT_FILE, OUTPUT_FILE = "plan.json", "result.json", "output.txt"
MEMORY_FILE, LOCK_FILE = "memory.json", "lock"
MODULE = "keras_sphereface.experiments.compare_losses.single"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """The numbers of a run. All but `diverged` are missing if the loss became infinite.

    Attributes:
        accuracy: Verification accuracy, the mean over the folds, in [0, 1].
        auc: Area under the ROC, in [0, 1].
        tar_at_far_0_01: True accept rate at a false accept rate of 0.01, in [0, 1].
        training_accuracy: Accuracy of the last row of the log, without the margin, in [0, 1]; of
            triplets the share of images whose nearest neighbor in the batch is of their identity.
        ms_per_step: Time of a step in milliseconds, the median over the rows of the log.
        memory_mb: The most memory of the training, of the GPU if there is one, in 10^6 bytes.
        diverged: Reason why there are no numbers.
    """

    accuracy: float | None = None
    auc: float | None = None
    tar_at_far_0_01: float | None = None
    training_accuracy: float | None = None
    ms_per_step: float | None = None
    memory_mb: float | None = None
    diverged: str | None = None


def check_run_folder(run: Run) -> None:
    """Check that the folder of a run is new, or holds the same run.

    Raises:
        ValueError: With the settings that differ.
    """
    plan = run.folder / PLAN_FILE
    if not plan.is_file():
        return
    before, now = json.loads(plan.read_text("utf-8")), json.loads(run.to_json())
    differing = [
        f"{name}: {before.get(section, {}).get(name)!r} before, {value!r} now"
        for section in ("training", "evaluation", "conditions")
        for name, value in now[section].items()
        if before.get(section, {}).get(name) != value
    ]
    if differing:
        raise ValueError(
            f"{run.folder} holds a run with other settings; choose another --out. "
            f"Received: {'; '.join(differing)}"
        )


def finish_run(run: Run) -> RunResult:
    """Return the numbers of a run; train and evaluate unless that is done already.

    Raises:
        RuntimeError: If it failed, with the file that holds its output.
    """
    result, output = run.folder / RESULT_FILE, run.folder / OUTPUT_FILE
    if not result.is_file():
        run.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(run.folder / PLAN_FILE) as partial:
            partial.write_text(run.to_json(), encoding="utf-8")
        with open(output, "a", encoding="utf-8") as file:
            command = [sys.executable, "-m", MODULE, str(run.folder)]
            process = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
        if process.returncode:
            raise RuntimeError(
                f"{run.loss} with seed {run.seed} failed with exit status {process.returncode}; "
                f"its output is in {output}"
            )
    values = json.loads(result.read_text(encoding="utf-8"))
    return RunResult(**{field.name: values[field.name] for field in dataclasses.fields(RunResult)})


class PeakMemory(keras.callbacks.Callback):
    """Callback that writes the peak memory, in bytes, to a file when a training ends.

    A process that is started again after that trains no more, and could not measure it.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        write_metrics(self.file, {"peak_bytes": held_memory(first_gpu())[1]})


def train_and_evaluate(run: Run) -> RunResult:
    """Train and evaluate a run in this process."""
    memory = run.folder / MEMORY_FILE
    try:
        train(run.training, callbacks=[PeakMemory(memory)])
    except FloatingPointError as error:
        log(str(error))
        return RunResult(diverged=str(error))
    (metrics,) = evaluate(run.evaluation)
    rows = pd.read_csv(run.folder / LOG_FILE)
    # The first row includes the compilation.
    rate = float(rows["images_per_second"].iloc[1:].median())
    peak_bytes = json.loads(memory.read_text(encoding="utf-8"))["peak_bytes"]
    return RunResult(
        accuracy=metrics.verification.accuracy_mean,
        auc=metrics.verification.auc,
        tar_at_far_0_01=metrics.verification.tar_at_far["0.01"],
        training_accuracy=float(rows["accuracy"].iloc[-1]),
        ms_per_step=None if math.isnan(rate) else 1e3 * run.training.batch_size / rate,
        memory_mb=peak_bytes / 1e6,
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file for the block; a second process is refused."""
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"{path.parent} is in use by another process") from None
        yield


def run_plan(folder: Path) -> None:
    """Do the run that FOLDER/plan.json describes, and write FOLDER/result.json."""
    with _locked(folder / LOCK_FILE):
        run = Run.from_json((folder / PLAN_FILE).read_text(encoding="utf-8"))
        write_metrics(folder / RESULT_FILE, train_and_evaluate(run))


if __name__ == "__main__":
    run_plan(Path(sys.argv[1]))
