"""The summary of a run: summary.md and curves.png."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.evaluation.face_pairs import PairSources
from keras_sphereface.utils import environment
from keras_sphereface.utils.atomic import atomic_file

SUMMARY_FILE = "summary.md"
CURVES_FILE = "curves.png"
LOG_FILE = "log.csv"
VERIFICATION_FILE = "verification.csv"  # if pairs were verified during the training
# Pairs that the evaluation is shown with where a run has none.
LFW = PairSources("lfw/pairs.txt", "lfw/images", "lfw/landmarks.txt")
# Of each column of the log: name, unit and format.
QUANTITIES = {
    "step": ("step", "", ",.0f"),
    "epoch": ("epoch", "", ".2f"),
    "loss": ("loss with margin", "nats", ".4g"),
    "accuracy": ("training accuracy without margin", "%", ".2%"),
    "annealing_lambda": ("lambda", "", ".4g"),
    "target_angle": ("mean angle to the target class weight", "degrees", ".1f"),
    "embedding_norm": ("mean norm of the embeddings", "", ".4g"),
    "learning_rate": ("learning rate", "", ".3g"),
    "images_per_second": ("speed", "images/s", ",.0f"),
}


def write_summary(
    workdir: Path,
    *,
    overview: str,
    export: Path,
    evaluate_command: Sequence[str],
    repeat_command: Sequence[str],
    seed: int,
    data_checksum: str,
    forgetting: str = "",
) -> Path:
    """Write WORKDIR/curves.png and WORKDIR/summary.md, each whole or not at all.

    The curves and the last numbers are read from WORKDIR/log.csv and, if it exists,
    WORKDIR/verification.csv.

    Args:
        workdir: Folder of the run.
        overview: Text of `overview.describe`.
        export: Folder of the SavedModel.
        evaluate_command: Words of the command that evaluates it.
        repeat_command: Words of the command that continues or repeats the run.
        seed: Int. Seed of the run.
        data_checksum: Checksum of the records.
        forgetting: Text of `forgetting.Forgetting.describe`; "": there is no old test set.

    Returns:
        The path of summary.md.

    Raises:
        FileNotFoundError: If there is no log.
    """
    log = pd.read_csv(workdir / LOG_FILE)
    path = workdir / VERIFICATION_FILE
    verification = pd.read_csv(path) if path.is_file() else None
    with atomic_file(workdir / CURVES_FILE) as partial:
        draw_curves(log, verification).savefig(partial, dpi=100)
    parts = [
        f"# Training run\n\n```text\n{overview}\n```",
        _last_row(log),
        _verified(verification),
        f"## What was forgotten\n\n{forgetting}" if forgetting else "",
        f"## Curves\n\n![loss, accuracies and other curves of the run]({CURVES_FILE})",
        f"## The model\n\nThe SavedModel is in `{export}`. This evaluates it:\n\n"
        + _command(evaluate_command)
        + "".join(f"\n\n{hint}" for hint in pairs_hint(evaluate_command)),
        "## Continue or repeat the run\n\nThis continues the run, or, with another `--workdir`, "
        "repeats it:\n\n" + _command(repeat_command),
        f"- seed: {seed}\n- checksum of the records: `{data_checksum}`\n"
        f"- made on: {environment.machine()}",
    ]
    with atomic_file(workdir / SUMMARY_FILE) as partial:
        partial.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return workdir / SUMMARY_FILE


def evaluate_command(export: Path, sources: PairSources, folds: Sequence[int] = ()) -> list[str]:
    """Return the words of the command that evaluates a SavedModel.

    Args:
        export: Folder of the SavedModel; the results go beside it.
        sources: The pairs that were verified during the training; LFW if there are none.
        folds: Numbers of folds; empty: all.
    """
    if not (sources.bin or sources.images):
        sources = LFW
    words = ["sphereface", "evaluate", "--model", str(export)]
    for name in ("bin", "images", "pairs", "landmarks"):
        if path := getattr(sources, name):
            words += [f"--{name}", path]
    if folds:
        words += ["--folds", *map(str, folds)]
    return [*words, "--out", str(export.parent / "evaluation")]


def pairs_hint(evaluate_command: Sequence[str]) -> list[str]:
    """Return where other pairs come from, as a sentence, if the command names those of LFW."""
    if LFW.pairs not in evaluate_command:
        return []
    return [
        "`lfw` stands for a set of pairs of faces; `sphereface pairs FOLDER --out pairs.txt` draws "
        "one from a folder of your own."
    ]


def repeat_command(settings: Path) -> list[str]:
    """Return the words of the command that continues the run with these settings."""
    return ["sphereface", "train", "--config", str(settings)]


def draw_curves(log: pd.DataFrame, verification: pd.DataFrame | None = None) -> Figure:
    """Draw the columns of a training log over the steps.

    Args:
        log: Columns of `QUANTITIES`.
        verification: Columns of verification.csv; None: pairs were not verified.
    """
    figure = Figure(figsize=(16, 7), layout="constrained")
    panels = figure.subplot_mosaic(
        [["loss", "loss", "accuracy", "lambda"], ["angle", "norm", "rate", "speed"]]
    )
    steps = log["step"].to_numpy()
    plots.plot_accuracies(panels["accuracy"], steps, log["accuracy"].to_numpy(), verification)
    plots.plot_lambda(panels["lambda"], steps, log["annealing_lambda"].to_numpy())
    for panel, column, title, unit, logarithmic in (
        ("loss", "loss", "Loss with margin", "nats", False),
        ("angle", "target_angle", "Mean angle to the target class weight", "degrees", False),
        ("norm", "embedding_norm", "Mean norm of the embeddings", "|x|", False),
        ("rate", "learning_rate", "Learning rate", "", True),
        ("speed", "images_per_second", "Speed", "images/s", False),
    ):
        values = log[column].to_numpy()
        plots.plot_training_curve(panels[panel], steps, values, title, unit, logarithmic)
    return figure


def _last_row(log: pd.DataFrame) -> str:
    if log.empty:
        return "## The last row of the log\n\nThe log has no rows."
    lines = [_row("quantity", "value", "unit"), "|---|---|---|"]
    for column, value in log.iloc[-1].items():
        name, unit, form = QUANTITIES.get(column, (column, "", ".4g"))
        lines.append(_row(name, format(value, form).removesuffix("%"), unit))
    return "## The last row of the log\n\n" + "\n".join(lines)


def _verified(verification: pd.DataFrame | None) -> str:
    if verification is None or verification.empty:
        return ""
    lines = [
        _row("", "step", "accuracy, %", "AUC", "EER, %", "pairs"),
        "|---|---|---|---|---|---|",
    ]
    # nan is never the best.
    best = verification["accuracy_mean"].fillna(-1.0).idxmax()
    for name, row in (("best", verification.loc[best]), ("last", verification.iloc[-1])):
        accuracy = f"{100 * row['accuracy_mean']:.2f} +- {100 * row['accuracy_std']:.2f}"
        lines.append(
            _row(
                name,
                f"{row['step']:,.0f}",
                accuracy,
                f"{row['auc']:.4f}",
                f"{100 * row['eer']:.2f}",
                f"{row['num_pairs']:,.0f}",
            )
        )
    return "## Verification during the training\n\n" + "\n".join(lines)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _command(words: Sequence[str]) -> str:
    return f"```sh\n{shlex.join(words)}\n```"
