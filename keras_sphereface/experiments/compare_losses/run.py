"""A comparison of losses on one network, one set of faces and one budget."""

from pathlib import Path

import pandas as pd

from keras_sphereface.config import CompareConfig, EvaluateConfig
from keras_sphereface.config.rules import check_compare_settings
from keras_sphereface.data import synthetic
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.evaluation.artifacts import PAIRS_FILE
from keras_sphereface.experiments.compare_losses import report
from keras_sphereface.experiments.compare_losses.plan import (
    check_runs,
    describe_budget,
    describe_loss,
    plan_runs,
)
from keras_sphereface.experiments.compare_losses.single import check_run_folder, finish_run
from keras_sphereface.reporting import save_figure
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import log, progress_bar, stage

NUM_IDENTITIES, IMAGES_PER_IDENTITY, NUM_TEST_IDENTITIES = 60, 20, 40  # of generated faces


def compare_losses(config: CompareConfig) -> pd.DataFrame:
    """Train and verify with every loss, and write losses.csv, losses.md and losses.png.

    Every run is a separate process with a folder; in each seed the losses run in an order drawn
    anew. Runs that are finished are not repeated when the same command is given again; one that
    was stopped continues from its last checkpoint.

    Returns:
        The table of losses.csv: loss, seed and `RunResult` of each run.

    Raises:
        FileNotFoundError, ValueError: If data or settings cannot be used, before the first run.
        RuntimeError: If a run failed, with the file that holds its output.
    """
    check_compare_settings(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    data, evaluation = _sources(config, out)
    seeds = range(config.seed, config.seed + config.num_seeds)
    runs = list(plan_runs(out, data, evaluation, config.losses, seeds, config.training))
    for run in runs:
        check_run_folder(run)
    check_runs(runs)
    results, pairs = {}, {}
    with progress_bar(total=len(runs), unit="run", desc="comparing losses") as bar:
        for run in runs:
            bar.describe(notes=(f"{run.loss}, seed {run.seed}",))
            result = results[run.loss, run.seed] = finish_run(run)
            if result.diverged is None:
                pairs[run.loss, run.seed] = pd.read_csv(Path(run.evaluation.out) / PAIRS_FILE)
            bar.update()
    table = report.results_table(results, config.losses)
    with stage("describing the comparison"):
        text = report.describe_comparison(
            table,
            pairs,
            describe_budget(runs[0]),
            {run.loss: describe_loss(run.training) for run in runs},
            runs[0].conditions["machine"],
            config.seed,
        )
    with atomic_file(out / "losses.csv") as partial:
        table.to_csv(partial, index=False)
    with atomic_file(out / "losses.md") as partial:
        partial.write_text(text, encoding="utf-8")
    with stage("drawing the comparison"):
        save_figure(report.draw_comparison(table), out / "losses")
    return table


def _sources(config: CompareConfig, out: Path) -> tuple[str, EvaluateConfig]:
    """Return the records, and the settings of the evaluations; generate faces if there are none."""
    data, images, pairs, landmarks = config.data, config.images, config.pairs, config.landmarks
    if not data:
        log("No --data given: comparing on generated faces.")
        sizes = (NUM_IDENTITIES, IMAGES_PER_IDENTITY, NUM_TEST_IDENTITIES)
        generated = generated_records(out / "generated", *sizes, config.seed)
        data, faces = str(generated.records), generated.faces
        images, pairs = str(faces / synthetic.IMAGES), str(faces / synthetic.PAIRS)
        landmarks = str(faces / synthetic.LANDMARKS)
    evaluation = EvaluateConfig(
        out="",
        images=(images,) * bool(images),
        pairs=(pairs,) * bool(pairs),
        landmarks=(landmarks,) * bool(landmarks),
        landmark_columns=config.landmark_columns,
        pair_columns=config.pair_columns,
        bin=(config.bin,) * bool(config.bin),
        folds=config.folds,
        bootstrap=0,
    )
    return data, evaluation
