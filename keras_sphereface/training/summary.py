"""What a training run leaves to be read: summary.md and curves.png."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.utils import environment
from keras_sphereface.utils.atomic import atomic_file

SUMMARY_FILE = "summary.md"
CURVES_FILE = "curves.png"
LOG_FILE = "log.csv"
VERIFICATION_FILE = "verification.csv"  # if there was verification during the training
# For each column of the log: what it is, its unit, and how it is written.
QUANTITIES = {
    "step": ("step", "", ",.0f"),
    "epoch": ("epoch", "", ".2f"),
    "loss": ("loss, with the margin", "nats", ".4g"),
    "accuracy": ("accuracy on training images, without the margin", "%", ".2%"),
    "annealing_lambda": ("lambda", "", ".4g"),
    "target_angle": ("mean angle to the own class weight", "degrees", ".1f"),
    "embedding_norm": ("mean length of the embeddings", "", ".4g"),
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
) -> Path:
    """Write WORKDIR/curves.png and WORKDIR/summary.md, each whole or not at all.

    The curves and the last numbers are read from WORKDIR/log.csv and, if there is one,
    WORKDIR/verification.csv.

    Args:
        workdir: the folder of the run.
        overview: what was trained, `overview.describe`.
        export: the folder of the SavedModel.
        evaluate_command: the words of the command that evaluates it.
        repeat_command: the words of the command that continues or repeats the run.
        seed: of the run.
        data_checksum: of the records.

    Returns:
        The path of summary.md.

    Raises:
        FileNotFoundError: if there is no log.
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
        f"## Curves\n\n![loss, accuracies and other curves of the run]({CURVES_FILE})",
        f"## The model\n\nThe SavedModel is in `{export}`. This evaluates it:\n\n"
        + _command(evaluate_command),
        "## The run again\n\nThis continues the run, or, in another `workdir`, repeats it:\n\n"
        + _command(repeat_command),
        f"- seed: {seed}\n- checksum of the records: `{data_checksum}`\n"
        f"- made on: {environment.machine()}",
    ]
    with atomic_file(workdir / SUMMARY_FILE) as partial:
        partial.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return workdir / SUMMARY_FILE


def draw_curves(log: pd.DataFrame, verification: pd.DataFrame | None = None) -> Figure:
    """The columns of a training log over the steps."""
    figure = Figure(figsize=(16, 7), layout="constrained")
    panels = figure.subplot_mosaic(
        [["loss", "loss", "accuracy", "lambda"], ["angle", "norm", "rate", "speed"]]
    )
    steps = log["step"].to_numpy()
    plots.plot_accuracies(panels["accuracy"], steps, log["accuracy"].to_numpy(), verification)
    plots.plot_lambda(panels["lambda"], steps, log["annealing_lambda"].to_numpy())
    for panel, column, title, unit, logarithmic in (
        ("loss", "loss", "Loss with margin", "nats", False),
        ("angle", "target_angle", "Mean angle to the own class weight", "degrees", False),
        ("norm", "embedding_norm", "Mean length of the embeddings", "|x|", False),
        ("rate", "learning_rate", "Learning rate", "", True),
        ("speed", "images_per_second", "Speed", "images/s", False),
    ):
        values = log[column].to_numpy()
        plots.plot_log(panels[panel], steps, values, title, unit, logarithmic)
    return figure


def _last_row(log):
    if log.empty:
        return "## The end\n\nThe log has no rows."
    lines = [_row("quantity", "value", "unit"), "|---|---|---|"]
    for column, value in log.iloc[-1].items():
        name, unit, form = QUANTITIES.get(column, (column, "", ".4g"))
        lines.append(_row(name, format(value, form).removesuffix("%"), unit))
    return "## The last row of the log\n\n" + "\n".join(lines)


def _verified(verification):
    if verification is None or verification.empty:
        return ""
    lines = [
        _row("", "step", "accuracy, %", "AUC", "EER, %", "pairs"),
        "|---|---|---|---|---|---|",
    ]
    # What is not a number is never the best.
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


def _row(*cells):
    return f"| {' | '.join(cells)} |"


def _command(words):
    return f"```sh\n{shlex.join(words)}\n```"
