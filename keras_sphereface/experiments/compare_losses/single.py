"""One run of a comparison of losses: a training and its evaluation, in a process of its own.

    python -m keras_sphereface.experiments.compare_losses.single FOLDER

trains as FOLDER/plan.json says, and writes FOLDER/result.json.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import pandas as pd

from keras_sphereface.config import EvaluateConfig, TrainConfig
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.training import summary
from keras_sphereface.training.train import train
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.environment import first_gpu, held_memory

PLAN_FILE, RESULT_FILE, OUTPUT_FILE = "plan.json", "result.json", "output.txt"
MEMORY_FILE, LOCK_FILE = "memory.json", "lock"


class Run(NamedTuple):
    """A loss and a seed, what is done with them, and on what the result depends beside that."""

    loss: str
    seed: int
    training: TrainConfig
    evaluation: EvaluateConfig
    conditions: dict[str, str]  # machine and versions, losses that are used, records

    @property
    def folder(self) -> Path:
        return Path(self.training.workdir)

    def to_json(self) -> str:
        """The text of the file that a process is given."""
        return json.dumps(self._asdict(), default=dataclasses.asdict, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Run":
        """The inverse of `to_json`."""
        values = json.loads(text)
        return cls(
            values["loss"],
            values["seed"],
            TrainConfig(**_tuples(values["training"])),
            EvaluateConfig(**_tuples(values["evaluation"])),
            values["conditions"],
        )


def _tuples(settings):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def check_folder(run: Run) -> None:
    """Refuse a folder that holds a run with other settings, or made under other conditions.

    Raises:
        ValueError: with what differs.
    """
    plan = run.folder / PLAN_FILE
    if not plan.is_file():
        return
    before, now = (json.loads(text) for text in (plan.read_text("utf-8"), run.to_json()))
    differing = [
        f"{name}: {before.get(part, {}).get(name)!r} before, {value!r} now"
        for part in ("training", "evaluation", "conditions")
        for name, value in now[part].items()
        if before.get(part, {}).get(name) != value
    ]
    if differing:
        raise ValueError(
            f"{run.folder} holds a run that was made otherwise; choose another `out`. "
            f"Received: {'; '.join(differing)}"
        )


def result_of(run: Run) -> dict:
    """The numbers of a run; it is trained and evaluated unless that is done already.

    Raises:
        RuntimeError: if it failed, with the file that holds what it printed.
    """
    result, output = run.folder / RESULT_FILE, run.folder / OUTPUT_FILE
    if not result.is_file():
        run.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(run.folder / PLAN_FILE) as partial:
            partial.write_text(run.to_json(), encoding="utf-8")
        with open(output, "a", encoding="utf-8") as file:
            command = [
                sys.executable,
                "-m",
                "keras_sphereface.experiments.compare_losses.single",
                str(run.folder),
            ]
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RuntimeError(
                f"{run.loss} with seed {run.seed} failed with exit status {done.returncode}; what "
                f"it printed is in {output}"
            )
    return json.loads(result.read_text(encoding="utf-8"))


class KeepMemory(keras.callbacks.Callback):
    """Writes the most bytes that were ever held when a training ends.

    A process that is started again after that trains no more, and would know nothing of it.
    """

    def __init__(self, file: Path):
        super().__init__()
        self.file = file

    def on_train_end(self, logs=None):
        with atomic_file(self.file) as partial:
            partial.write_text(json.dumps(held_memory(first_gpu())[1]), encoding="utf-8")


def train_and_evaluate(run: Run) -> dict:
    """The numbers of a run; of one whose loss became infinite only why it has none."""
    memory = run.folder / MEMORY_FILE
    try:
        train(run.training, callbacks=[KeepMemory(memory)])
    except FloatingPointError as error:
        print(error, flush=True)
        return {"diverged": str(error)}
    (metrics,) = evaluate(run.evaluation)
    log = pd.read_csv(run.folder / summary.LOG_FILE)
    # The first row holds the compilation.
    rate = float(log["images_per_second"].iloc[1:].median())
    return {
        "accuracy": metrics.verification.accuracy_mean,
        "auc": metrics.verification.auc,
        "tar_at_far_0.01": metrics.verification.tar_at_far["0.01"],
        "training_accuracy": float(log["accuracy"].iloc[-1]),
        "ms_per_step": None if math.isnan(rate) else 1e3 * run.training.batch_size / rate,
        "memory_mb": json.loads(memory.read_text(encoding="utf-8")) / 1e6,
    }


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """No two processes are in this block with one file; the second one is refused."""
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"{path.parent} is being worked on by another process") from None
        yield


def main(folder: Path) -> None:
    """Do what the plan in a folder says, and write the result."""
    with _locked(folder / LOCK_FILE):
        run = Run.from_json((folder / PLAN_FILE).read_text(encoding="utf-8"))
        result = train_and_evaluate(run)
        with atomic_file(folder / RESULT_FILE) as partial:
            partial.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
