"""What a network forgets of its old test set while it is trained on other identities."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_sphereface.callbacks.pair_verification import PairVerification
from keras_sphereface.evaluation.embeddings import Embeddings, load_embeddings, save_embeddings
from keras_sphereface.evaluation.face_pairs import PairSources, load_pair_dataset
from keras_sphereface.evaluation.formatting import format_range
from keras_sphereface.evaluation.model_differences import ModelDifference, compare_models
from keras_sphereface.evaluation.verification import verify_pairs
from keras_sphereface.evaluation.verification_metrics import VerificationMetrics
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.utils.text import counted

BEFORE_FILE = "old_test_set_before.npz"  # embeddings by the network as it was at the start
RESULT_FILE = "forgetting.json"
NUM_DRAWS = 1000
BEFORE, AFTER = "before", "after"
# Of each measure: its name and whether it is a rate in per cent.
MEASURES = {
    "accuracy": ("accuracy, %", True),
    "auc": ("AUC", False),
    "eer": ("EER, %", True),
}


@dataclasses.dataclass(frozen=True)
class Forgetting:
    """The old test set before the first and after the last step, on the same pairs.

    Attributes:
        set: Name of the set.
        file: Path of its pairs.
        start_from: Path of the network before.
        before: Numbers of the network that the training started from.
        after: Numbers of the network that was exported.
        differences: After minus before, of each measure, with intervals.

    Example:
        >>> [field.name for field in dataclasses.fields(Forgetting)][-1]
        'differences'
    """

    set: str
    file: str
    start_from: str
    before: VerificationMetrics
    after: VerificationMetrics
    differences: tuple[ModelDifference, ...]

    def describe(self) -> str:
        """The differences as a Markdown table with a sentence."""
        has_names = all(row.interval is not None for row in self.differences)
        rows = [self._row(row) for row in self.differences]
        drawn = "identities" if has_names else "pairs, which name no identities,"
        return (
            f"The old test set, `{self.file}` ({counted(self.after.num_pairs, 'pair')}), by the "
            f"network of `{self.start_from}` and by the one that was trained on from it:\n\n"
            + markdown_table(["", BEFORE, AFTER, "after - before", "95 % interval", "p"], rows)
            + f"\nBoth networks judged the same pairs; {drawn} were drawn {NUM_DRAWS:,} times. "
            + self._verdict()
        )

    def _row(self, row: ModelDifference) -> list[str]:
        name, is_rate = MEASURES.get(row.measure, (f"TAR at FAR {row.measure}, %", True))
        before, after = (_value(metrics, row.measure) for metrics in (self.before, self.after))

        def show(value: float | None) -> str:
            if value is None:
                return "too few pairs"
            return f"{100 * value:.2f}" if is_rate else f"{value:.4f}"

        interval = row.interval or row.pair_interval
        difference = f"{100 * row.difference:+.2f}" if is_rate else f"{row.difference:+.4f}"
        ends = format_range(interval, lambda end: show(end))
        return [name, show(before), show(after), difference, ends, f"{row.p_value:.3f}"]

    def _verdict(self) -> str:
        """What the interval of the AUC, which needs no threshold, says."""
        auc = next(row for row in self.differences if row.measure == "auc")
        interval = auc.interval or auc.pair_interval
        if interval.high < 0:
            return "The network has forgotten: the whole interval of the AUC is below 0."
        if interval.low > 0:
            return "The network has become better here: the whole interval of the AUC is above 0."
        return "The interval of the AUC holds 0: no difference is shown, and none is excluded."


def _value(metrics: VerificationMetrics, measure: str) -> float | None:
    if measure in MEASURES:
        return getattr(metrics, "accuracy_mean" if measure == "accuracy" else measure)
    return metrics.tar_at_far.get(measure)


class OldTestSet:
    """The old test set of a run, embedded before its first step and after its last.

    All workers of the strategy take part in embedding; one of them writes.

    Args:
        sources: Paths of the pairs and of their faces.
        folds: Numbers of the folds, from 1; all if empty.
        image_size: (height, width) of the faces.
        backbone: Network that is trained.
        batch_size: Int >= 1. Faces in one forward pass, over all replicas.
        workdir: Folder of the run.
    """

    def __init__(
        self,
        sources: PairSources,
        folds: Sequence[int],
        image_size: tuple[int, int],
        backbone: keras.Model,
        batch_size: int,
        workdir: Path,
    ) -> None:
        self.sources, self.workdir = sources, workdir
        self.dataset = load_pair_dataset(sources, image_size, folds)
        self.verification = PairVerification(self.dataset, backbone, 1, batch_size)
        self.verification.on_train_begin()

    def embed_before(self, is_writer: bool) -> None:
        """Keep the embeddings by the network as it is before the first step."""
        embeddings = self.verification.embeddings()
        if is_writer:
            save_embeddings(embeddings, self.workdir / BEFORE_FILE)

    def compare(self, start_from: str) -> Forgetting | None:
        """Embed by the network as it is now, and compare; None if nothing was kept of before."""
        after = self.verification.embeddings()
        if not (self.workdir / BEFORE_FILE).is_file():
            return None
        before = load_embeddings(self.workdir / BEFORE_FILE).select(after.keys)
        return forgetting(self.sources, self.dataset, before, after, start_from)


def forgetting(
    sources: PairSources,
    dataset: Any,
    before: Embeddings,
    after: Embeddings,
    start_from: str,
) -> Forgetting:
    """Return the numbers before and after, and their paired differences.

    Args:
        sources: Paths of the pairs.
        dataset: The pairs, as `load_pair_dataset` returns them.
        before, after: Embeddings of their faces by both networks.
        start_from: Path of the network before.
    """
    names = dataset.has_names
    results = [
        verify_pairs(dataset.pairs, embeddings, file=dataset.file, has_names=names)
        for embeddings in (after, before)
    ]
    differences = compare_models(
        sources.name, list(zip((AFTER, BEFORE), results, strict=True)), names, NUM_DRAWS, 0
    )
    return Forgetting(
        sources.name,
        dataset.file,
        start_from,
        results[1].metrics,
        results[0].metrics,
        tuple(differences),
    )


def write_forgetting(workdir: Path, result: Forgetting) -> None:
    """Write WORKDIR/forgetting.json, whole or not at all."""
    write_metrics(workdir / RESULT_FILE, result)
