"""The runs of a comparison: what each loss sets, what all share, and in which order they run."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_sphereface.config import EvaluateConfig, TrainConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.config.experiments import ASOFTMAX_MARGINS, LOSSES
from keras_sphereface.config.fields import names_of_settings
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.config.rules import check_train_settings
from keras_sphereface.config.scaling import PAPER_GAMMA
from keras_sphereface.data.keys import names_in_both
from keras_sphereface.data.records import LABELS_FILE, data_checksum, read_info
from keras_sphereface.data.samplers import check_identities_per_batch
from keras_sphereface.evaluation import quality_checks
from keras_sphereface.evaluation.evaluate import checked_dataset, pair_sources
from keras_sphereface.functional.annealing import Annealing
from keras_sphereface.reporting.metrics_file import as_json
from keras_sphereface.training.backbones import backbone_by_name
from keras_sphereface.training.build_head import check_batches, head_of, images_per_identity
from keras_sphereface.training.run_config import planned_steps
from keras_sphereface.utils.environment import machine
from keras_sphereface.utils.text import counted

ANNEALED_SHARE = 2 / 3  # of the steps, after which lambda is as low as it gets
LAMBDA_MIN = 5.0  # of Liu et al.
SHORT_SCALE = 16.0  # of a short training; 64, as in the papers, suits long ones
# Settings that suit a short training on few identities better than the defaults of the heads.
SHORT_SETTINGS: dict[str, dict[str, float]] = {
    **{
        head: {"scale": SHORT_SCALE}
        for head in (
            *("normface", "cosface", "arcface", "subcenter-arcface", "curricularface"),
            *("elasticface-arc", "elasticface-cos", "magface", "adaface", "uniface"),
        )
    },
    # A quarter of that of the paper, as the others.
    "circle": {"scale": 64.0},
    # Ten times that of the paper, for a tenth of the steps and shorter embeddings.
    "softmax+center": {"term_weight": 0.03},
}
# Settings that the comparison chooses itself.
CHOSEN_SETTINGS = ("data", "workdir", "seed", "head", "m", "scale", "term_weight")
LOSS_SETTINGS = ("m", "scale", "term_weight", *Annealing._fields)
NUM_ROWS = 10  # of the log of a run
# The training of all, unless flags after `--` change it: a small network in a short run.
BUDGET = (
    "--backbone sphereface4 --width 0.25 --batch-size 64 --total-steps 300 "
    "--optimizer adam --learning-rate 0.001 --lr-warmup-steps 0 --clipnorm 0 --gamma 0.12"
).split()


@dataclasses.dataclass(frozen=True)
class Run:
    """A training with one loss and one seed, and its evaluation.

    Attributes:
        loss: One of `LOSSES`.
        seed: Seed of the training.
        training: Settings of the training.
        evaluation: Settings of the evaluation.
        conditions: What the result depends on beside the settings: machine, versions, records.
    """

    loss: str
    seed: int
    training: TrainConfig
    evaluation: EvaluateConfig
    conditions: dict[str, str]

    @property
    def folder(self) -> Path:
        return Path(self.training.workdir)

    def to_json(self) -> str:
        """Return the text of plan.json, which the process of the run reads."""
        return json.dumps(as_json(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Run":
        """Return the run of a plan.json, the inverse of `to_json`."""
        values = json.loads(text)
        classes: dict[str, Any] = {"training": TrainConfig, "evaluation": EvaluateConfig}
        for name, config_class in classes.items():
            settings = values[name].items()
            tuples = {key: tuple(v) if isinstance(v, list) else v for key, v in settings}
            values[name] = config_class(**tuples)
        return cls(**values)


def plan_runs(
    out: Path,
    data: str,
    evaluation: EvaluateConfig,
    losses: Sequence[str],
    seeds: Sequence[int],
    flags: tuple[str, ...] = (),
) -> Iterator[Run]:
    """Yield the runs in their order: in each seed every loss, in an order drawn anew.

    Args:
        out: Folder of the comparison.
        data: Folder of records.
        evaluation: Settings of every evaluation; `out` and `model` are set for each run.
        losses: Of `LOSSES`.
        seeds: Seeds of the trainings; the first is also that of the orders.
        flags: Flags of the training that hold for all.
    """
    rng = np.random.default_rng(seeds[0])
    conditions = {"machine": machine(), "data_checksum": data_checksum(read_info(data))}
    for seed in seeds:
        for loss in rng.permutation(losses).tolist():
            folder = out / f"{loss}-seed{seed}"
            yield Run(
                loss,
                seed,
                training_config(loss, data, str(folder), seed, flags),
                dataclasses.replace(
                    evaluation, out=str(folder / "evaluation"), model=(str(folder / "export"),)
                ),
                conditions,
            )


def training_config(
    loss: str, data: str, workdir: str, seed: int, flags: tuple[str, ...] = ()
) -> TrainConfig:
    """Return the settings of one run: the budget, flags that change it, and those of the loss.

    lambda falls to `LAMBDA_MIN` in the first two thirds of the steps, unless flags set the
    annealing.

    Raises:
        ValueError: If a flag sets what differs between the runs.
        SystemExit: If a flag is unknown or its value of a wrong type.
    """
    shared = parse_config(TrainConfig, [*BUDGET, *flags], "sphereface train")
    default, names = TrainConfig(gamma=PAPER_GAMMA), names_of_settings(TrainConfig)
    words = {word[2:].split("=")[0].replace("-", "_") for word in flags if word.startswith("--")}
    flagged = {names.get(word, word) for word in words}
    # A file of settings may set others.
    flagged |= {name for name, value in vars(shared).items() if value != getattr(default, name)}
    if refused := sorted(flagged & set(CHOSEN_SETTINGS)):
        raise ValueError(
            f"`{refused[0]}` is set by the comparison itself and must not stand after `--`. "
            f"Received: {refused[0]}={getattr(shared, refused[0])!r}"
        )
    steps = planned_steps(shared, read_info(data).num_images)
    settings: dict[str, Any] = {"head": LOSSES[loss], **SHORT_SETTINGS.get(loss, {})}
    if loss in ASOFTMAX_MARGINS:
        settings["m"] = float(ASOFTMAX_MARGINS[loss])
    if "log_steps" not in flagged:
        settings["log_steps"] = max(1, steps // NUM_ROWS)
    annealing = {name: getattr(default, name) for name in Annealing._fields}
    if not annealing.keys() <= HEADS[LOSSES[loss]].settings.keys():
        settings |= annealing  # the head has none
    elif not flagged & annealing.keys():
        decay = (default.base / LAMBDA_MIN) ** (1.0 / default.power) - 1.0
        settings |= {"gamma": decay / (ANNEALED_SHARE * steps), "lambda_min": LAMBDA_MIN}
    return dataclasses.replace(shared, data=data, workdir=workdir, seed=seed, **settings)


def check_runs(runs: Sequence[Run]) -> None:
    """Check before the first run what would end a later one.

    Raises:
        FileNotFoundError, ValueError: If settings, network or pairs cannot be used.
    """
    data, evaluation = runs[0].training.data, runs[0].evaluation
    num_identities = read_info(data).num_identities
    for run in runs:
        check_train_settings(run.training)
        check_batches(run.training, head_of(run.training, num_identities), replicas=1)
        backbone_by_name(run.training.backbone, run.training.width, run.training.batch_norm)
        if count := images_per_identity(run.training):
            check_identities_per_batch(run.training.batch_size, count, num_identities)
    training_identities = quality_checks.read_training_identities(Path(data) / LABELS_FILE)
    for sources in pair_sources(evaluation):
        pairs = checked_dataset(sources, evaluation.folds)
        names = pairs.pairs.identities() if pairs.has_names else ()
        shared = names_in_both(names, training_identities)
        if shared:
            raise ValueError(
                f"{pairs.file}: no identity of the pairs may be in the records. "
                f"Received: {len(shared)} of them, for example {min(shared)}"
            )


def describe_budget(run: Run) -> str:
    """Return in sentences what all runs share, and which identities they verify."""
    training, info = run.training, read_info(run.training.data)
    default, steps = parse_config(TrainConfig, BUDGET), planned_steps(training, info.num_images)
    named = {"backbone", "width", "batch_size", "total_steps", "epochs", "optimizer"}
    named |= {"learning_rate", "log_steps", "images_per_identity"}
    changed = [
        f", {name} {value}"
        for name, value in vars(training).items()
        if name not in (*named, *CHOSEN_SETTINGS, *LOSS_SETTINGS)
        and value != getattr(default, name)
    ]
    height, width = info.image_size
    overlap = "Verification of identities that were not trained on."
    if run.evaluation.bin:
        overlap = "Whether the identities in the pairs were trained on is unknown: a .bin has none."
    return (
        f"{training.backbone} at width {training.width:g}, {counted(info.num_images, 'image')} of "
        f"{counted(info.num_identities, 'identity')}, {height} x {width} pixels, "
        f"{counted(steps, 'step')} of {counted(training.batch_size, 'image')}, "
        f"{training.optimizer}, learning rate {training.learning_rate:g}{''.join(changed)}. "
        f"{overlap}"
    )


def describe_loss(training: TrainConfig) -> str:
    """Return the settings of a run that differ from the defaults because of its loss."""
    default = TrainConfig(gamma=PAPER_GAMMA)
    words = [
        f"{name} {getattr(training, name):.4g}"
        for name in LOSS_SETTINGS
        if getattr(training, name) != getattr(default, name)
    ]
    if count := images_per_identity(training):
        words.append(f"{counted(count, 'image')} of each identity in a batch")
    return ", ".join(words)
