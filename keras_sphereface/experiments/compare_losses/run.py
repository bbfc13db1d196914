"""All losses of the project on one network, one set of faces and one budget."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_sphereface.config import LOSSES, CompareConfig, EvaluateConfig, TrainConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.data import synthetic
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.data.records import LABELS_FILE, read_info
from keras_sphereface.data.samplers import check_identities_per_batch
from keras_sphereface.evaluation import artifacts, quality_checks
from keras_sphereface.evaluation.evaluate import checked_dataset, pair_sources
from keras_sphereface.experiments.compare_losses import report
from keras_sphereface.experiments.compare_losses.single import Run, check_folder, result_of
from keras_sphereface.functional.annealing import Annealing
from keras_sphereface.reporting.figures import save_figure
from keras_sphereface.training.backbones import backbone_by_name
from keras_sphereface.training.build_head import check_batches, head_of, images_per_identity
from keras_sphereface.training.run_config import check_settings, data_checksum, planned_steps
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.environment import machine
from keras_sphereface.utils.progress import progress_bar

NUM_PEOPLE, IMAGES_PER_PERSON, NUM_TEST_PEOPLE = 60, 20, 40  # of generated faces
ANNEALED_SHARE = 2 / 3  # of the steps, after which lambda is as low as it gets
LAMBDA_MIN = 5.0  # the authors'
# The scale of a short training on few people; 64, as in the papers, suits long ones.
SHORT_SCALE = 16.0
# Ten times that of the paper, for a tenth of the steps and embeddings that are not as long.
SHORT_CENTER_WEIGHT = 0.03
# What each loss sets in a training; the rest is the default of its head.
SETTINGS: dict[str, dict] = {
    "softmax": {"head": "softmax"},
    "modified-softmax": {"head": "asoftmax", "m": 1.0},
    **{f"asoftmax-{m}": {"head": "asoftmax", "m": float(m)} for m in (2, 3, 4)},
    **{name: {"head": name} for name in LOSSES if name.startswith("sphereface")},
    **{name: {"head": name, "scale": SHORT_SCALE} for name in ("normface", "cosface", "arcface")},
    "softmax+contrastive": {"head": "softmax+contrastive"},
    "softmax+center": {"head": "softmax+center", "term_weight": SHORT_CENTER_WEIGHT},
    **{name: {"head": name} for name in ("triplet", "triplet-hard")},
}
# What must not be set for all runs.
OWN_SETTINGS = ("data", "workdir", "seed", "head", "m", "scale", "term_weight")
NUM_ROWS = 10  # of the log of a run
TOLD_BY_LOSS = ("m", "scale", "term_weight", *Annealing._fields)
# The budget of all, unless flags after `--` say something else: a small network in a short run.
BUDGET = (
    "--backbone sphereface4 --width 0.25 --batch-size 64 --total-steps 300 "
    "--optimizer adam --learning-rate 0.001"
).split()


def compare_losses(config: CompareConfig) -> pd.DataFrame:
    """Train and evaluate as `config` says, and write what came of it.

    Every run has a process and a folder of its own. Of each seed all losses take turns, in an
    order drawn anew. Runs that are finished are not repeated when the same command is given
    again; one that was stopped goes on from its last checkpoint.

    Returns:
        What stands in losses.csv: a row for each run, with `comparison_report.COLUMNS`. Of a run
        whose loss became infinite the numbers are missing.

    Raises:
        FileNotFoundError, ValueError: if data or settings cannot be used, before the first run.
        RuntimeError: if a run failed otherwise, with the file that tells why.
    """
    _check(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    runs = list(planned_runs(_with_faces(config, out)))
    _check_runs(runs)
    results = []
    with progress_bar(runs, unit="run", desc="comparing losses") as bar:
        for run in bar:
            bar.set_postfix_str(f"{run.loss}, seed {run.seed}")
            results.append({"loss": run.loss, "seed": run.seed, **result_of(run)})
    table = report.table_of(results, config.losses)
    with atomic_file(out / "losses.csv") as partial:
        table.to_csv(partial, index=False)
    pairs = {
        (run.loss, run.seed): pd.read_csv(Path(run.evaluation.out) / artifacts.PAIRS_FILE)
        for run, result in zip(runs, results, strict=True)
        if "diverged" not in result
    }
    text = report.report(
        table, pairs, shared_words(runs[0]), own_words(runs), runs[0].conditions, config.seed
    )
    with atomic_file(out / "losses.md") as partial:
        partial.write_text(text, encoding="utf-8")
    save_figure(report.draw(table), out / "losses")
    return table


def _check(config):
    if config.num_seeds < 1 or config.seed < 0:
        raise ValueError(
            "`num_seeds` must be at least 1 and `seed` at least 0. "
            f"Received: num_seeds={config.num_seeds}, seed={config.seed}"
        )
    if not config.losses or len(set(config.losses)) < len(config.losses):
        raise ValueError(f"`losses` must be different names. Received: losses={config.losses}")
    has_pairs = bool(config.bin or (config.images and config.pairs))
    if bool(config.data) != has_pairs:
        raise ValueError(
            "`data` and pairs of other people, either `bin` or both `images` and `pairs`, belong "
            f"together. Received: data={config.data!r}, images={config.images!r}, "
            f"pairs={config.pairs!r}, bin={config.bin!r}"
        )


def _with_faces(config, out):
    """The settings with generated faces, where there are no others."""
    if config.data:
        return config
    print("No --data given: comparing on generated faces.", flush=True)
    made = generated_records(
        out / "generated", NUM_PEOPLE, IMAGES_PER_PERSON, NUM_TEST_PEOPLE, config.seed
    )
    return dataclasses.replace(
        config,
        data=str(made.records),
        images=str(made.faces / synthetic.IMAGES),
        pairs=str(made.faces / synthetic.PAIRS),
        landmarks=str(made.faces / synthetic.LANDMARKS),
    )


def planned_runs(config: CompareConfig) -> Iterator[Run]:
    """The runs in their order: of each seed all losses take turns."""
    rng, info = np.random.default_rng(config.seed), read_info(config.data)
    conditions = {
        "machine": machine(),
        "data_checksum": data_checksum(info),
    }
    for seed in range(config.seed, config.seed + config.num_seeds):
        for place in rng.permutation(len(config.losses)):
            loss = config.losses[place]
            folder = Path(config.out) / f"{loss}-seed{seed}"
            yield Run(
                loss,
                seed,
                training_config(loss, config.data, str(folder), seed, config.training),
                EvaluateConfig(
                    out=str(folder / "evaluation"),
                    model=(str(folder / "export"),),
                    images=(config.images,) * bool(config.images),
                    pairs=(config.pairs,) * bool(config.pairs),
                    landmarks=(config.landmarks,) * bool(config.landmarks),
                    bin=(config.bin,) * bool(config.bin),
                    folds=config.folds,
                    bootstrap=0,
                ),
                conditions,
            )


def training_config(
    loss: str, data: str, workdir: str, seed: int, flags: tuple[str, ...] = ()
) -> TrainConfig:
    """The settings of one run: the budget, flags that change it, and what the loss needs.

    lambda falls to `LAMBDA_MIN` in the first two thirds of the steps, unless flags say how it
    falls.

    Raises:
        ValueError: if a flag sets what differs between the runs.
        SystemExit: if a flag is unknown or its value of a wrong type.
    """
    shared, plain = parse_config(TrainConfig, [*BUDGET, *flags]), TrainConfig()
    given = {word[2:].split("=")[0].replace("-", "_") for word in flags if word.startswith("--")}
    # Those in a file of settings too.
    given |= {name for name, value in vars(shared).items() if value != getattr(plain, name)}
    taken = sorted(given & set(OWN_SETTINGS))
    if taken:
        raise ValueError(
            f"`{taken[0]}` is set by the comparison itself and must not stand after `--`. "
            f"Received: {taken[0]}={getattr(shared, taken[0])!r}"
        )
    steps = planned_steps(shared, read_info(data).num_images)
    changes = {"data": data, "workdir": workdir, "seed": seed, **SETTINGS[loss]}
    if "log_steps" not in given:
        changes["log_steps"] = max(1, steps // NUM_ROWS)
    annealing = {name: getattr(plain, name) for name in Annealing._fields}
    if not set(annealing) <= HEADS[changes["head"]].settings.keys():
        changes |= annealing  # the head has none
    elif not given & set(annealing):
        fall = (plain.base / LAMBDA_MIN) ** (1.0 / plain.power) - 1.0
        changes |= {"gamma": fall / (ANNEALED_SHARE * steps), "lambda_min": LAMBDA_MIN}
    return dataclasses.replace(shared, **changes)


def _check_runs(runs):
    """Find out before the first run what would end a later one."""
    info = read_info(runs[0].training.data)
    for run in runs:
        check_folder(run)
        check_settings(run.training)
        check_batches(run.training, head_of(run.training, info.num_identities), replicas=1)
        backbone_by_name(run.training.backbone, run.training.width)
        if count := images_per_identity(run.training):
            check_identities_per_batch(run.training.batch_size, count, info.num_identities)
    trained_on = quality_checks.read_training_identities(str(Path(runs[0].training.data) / LABELS_FILE))
    evaluation = runs[0].evaluation
    for sources in pair_sources(
        evaluation.pairs,
        evaluation.bin,
        images=evaluation.images,
        landmarks=evaluation.landmarks,
    ):
        faces = checked_dataset(sources, evaluation.folds)
        if faces.has_names and (shared := quality_checks.identity_overlap_warnings(faces.pairs, trained_on)):
            raise ValueError(
                f"{faces.file}: nobody in the pairs may be in the records. Received: {shared[0]}"
            )


def shared_words(run: Run) -> str:
    """What all runs share, and whom they verify, in sentences."""
    training, info = run.training, read_info(run.training.data)
    plain, steps = parse_config(TrainConfig, BUDGET), planned_steps(training, info.num_images)
    told = {"backbone", "width", "batch_size", "total_steps", "epochs", "optimizer"}
    told |= {"learning_rate", "log_steps", "images_per_identity", *OWN_SETTINGS, *TOLD_BY_LOSS}
    further = [
        f"{name} {value}"
        for name, value in vars(training).items()
        if name not in told and value != getattr(plain, name)
    ]
    return (
        f"{training.backbone} at width {training.width:g}, {info.num_images:,} images of "
        f"{info.num_identities:,} people, {info.image_size[0]} x {info.image_size[1]} pixels, "
        f"{steps:,} steps of {training.batch_size:,} images, {training.optimizer}, learning rate "
        f"{training.learning_rate:g}{''.join(', ' + words for words in further)}. "
        + (
            "Whether the people in the pairs were trained on cannot be told from a .bin."
            if run.evaluation.bin
            else "Verification of people who were not trained on."
        )
    )


def own_words(runs: Sequence[Run]) -> dict[str, str]:
    """{loss: what its runs set that others do not}."""
    found = {}
    for run in runs:
        training, plain = run.training, TrainConfig()
        words = [
            f"{name} {getattr(training, name):.4g}"
            for name in TOLD_BY_LOSS
            if getattr(training, name) != getattr(plain, name)
        ]
        if count := images_per_identity(training):
            words.append(f"{count} images of each person in a batch")
        found[run.loss] = ", ".join(words)
    return found
