"""One run of a comparison of losses: a training and its evaluation, in a process of its own.

    python -m keras_sphereface.comparison_run FOLDER

trains as FOLDER/plan.json says, and writes FOLDER/result.json.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from keras_sphereface import run_summary
from keras_sphereface.config import EvaluateConfig, TrainConfig
from keras_sphereface.evaluation import evaluate
from keras_sphereface.folders import written_file
from keras_sphereface.measuring import first_gpu, held_memory
from keras_sphereface.training import train

PLAN_FILE, RESULT_FILE, OUTPUT_FILE = "plan.json", "result.json", "output.txt"


class Run(NamedTuple):
    """A loss and a seed, and what is done with them."""

    loss: str
    seed: int
    training: TrainConfig
    evaluation: EvaluateConfig

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
        )


def _tuples(settings):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def result_of(run: Run) -> dict:
    """The numbers of a run; it is trained and evaluated unless that is done already.

    Raises:
        ValueError: if its folder holds a run with other settings.
        RuntimeError: if it failed, with the file that holds what it printed.
    """
    plan, result = run.folder / PLAN_FILE, run.folder / RESULT_FILE
    if plan.is_file() and Run.from_json(plan.read_text(encoding="utf-8")) != run:
        raise ValueError(
            f"{run.folder} holds a run with other settings; choose another `out`. "
            f"Received: out={str(run.folder.parent)!r}"
        )
    if not result.is_file():
        run.folder.mkdir(parents=True, exist_ok=True)
        with written_file(plan) as partial:
            partial.write_text(run.to_json(), encoding="utf-8")
        output = run.folder / OUTPUT_FILE
        with open(output, "a", encoding="utf-8") as file:
            command = [sys.executable, "-m", "keras_sphereface.comparison_run", str(run.folder)]
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RuntimeError(
                f"{run.loss} with seed {run.seed} failed with exit status {done.returncode}; what "
                f"it printed is in {output}"
            )
    return json.loads(result.read_text(encoding="utf-8"))


def train_and_evaluate(run: Run) -> dict:
    """The numbers of a run; of one whose loss became infinite only why it has none."""
    try:
        train(run.training)
    except FloatingPointError as error:
        print(error, flush=True)
        return {"diverged": str(error)}
    memory = held_memory(first_gpu())[1] / 1e6
    (metrics,) = evaluate(run.evaluation)
    log = pd.read_csv(run.folder / run_summary.LOG_FILE)
    # The first row holds the compilation.
    rate = log["images_per_second"].iloc[1:].median()
    return {
        "accuracy": metrics["accuracy_mean"],
        "auc": metrics["auc"],
        "tar_at_far_0.01": metrics["tar_at_far"]["0.01"],
        "training_accuracy": float(log["accuracy"].iloc[-1]),
        "ms_per_step": 1e3 * run.training.batch_size / float(rate),
        "memory_mb": memory,
    }


def main(folder: Path) -> None:
    """Do what the plan in a folder says, and write the result."""
    result = train_and_evaluate(Run.from_json((folder / PLAN_FILE).read_text(encoding="utf-8")))
    with written_file(folder / RESULT_FILE) as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
