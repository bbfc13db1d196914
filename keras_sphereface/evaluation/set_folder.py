"""Known verification sets in a folder, and the table of them as papers print it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from keras_sphereface.data import images
from keras_sphereface.data.known_sets import (
    KNOWN_SETS,
    KnownSet,
    count_warnings,
    recognize_set,
)
from keras_sphereface.data.pairs import insightface_bin
from keras_sphereface.evaluation.face_pairs import PairDataset, PairSources
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.reporting.blocks import Block, Heading, Table
from keras_sphereface.utils.progress import log

BIN_SIZE = (112, 112)  # (height, width) of the aligned faces that InsightFace distributes
IMAGE_FOLDERS = ("images", "aligned", "loose_crop", "faces", "data")


class FoundSet(NamedTuple):
    """A known set with its files.

    Example:
        >>> FoundSet(KNOWN_SETS["lfw"], PairSources(bin="sets/lfw.bin")).known.title
        'LFW'
    """

    known: KnownSet
    sources: PairSources


def find_sets(folder: str | os.PathLike) -> list[FoundSet]:
    """Find the known sets in a folder, in the order of `KNOWN_SETS`, each once.

    A set is `NAME.bin`, or a folder NAME with a list of pairs (a text or csv file with "pair" in
    its name), the images (in `images`, `aligned`, `loose_crop`, `faces`, `data`, or beside the
    list), maybe landmarks ("landmarks" or "5pts") and, of IJB, templates ("tid_mid"). Where there
    are both, the list is taken: it names identities.

    Raises:
        ValueError: If there is none, with the names that are known.

    Example:
        >>> import shutil
        >>> _ = shutil.copytree("faces", "sets/LFW")
        >>> [(found.known.name, found.sources.landmarks) for found in find_sets("sets")]
        [('lfw', 'sets/LFW/landmarks.txt')]
    """
    root, found = Path(folder), dict[str, FoundSet]()
    unknown = []
    for path in sorted(root.iterdir(), key=lambda path: (not path.is_dir(), path.name)):
        known = recognize_set(path.name if path.is_dir() else path.stem)
        sources = None if known is None else _sources(path)
        if known is None or sources is None:
            unknown.append(path.name)
        elif known.name in found:
            log(f"{path} is left out: {known.title} is {found[known.name].sources.file}")
        else:
            found[known.name] = FoundSet(known, sources)
    if unknown:
        log(f"Not known as verification sets in {folder}: {', '.join(unknown)}")
    if not found:
        raise ValueError(
            f"`sets` must be a folder with known verification sets: {', '.join(KNOWN_SETS)}, each "
            f"as NAME.bin or as a folder NAME with a list of pairs. Received: {folder} with "
            f"{', '.join(unknown) or 'nothing in it'}"
        )
    return [found[name] for name in KNOWN_SETS if name in found]


def _sources(path: Path) -> PairSources | None:
    """Return the paths of a set; None if there are no pairs."""
    if path.is_file():
        return PairSources(bin=str(path)) if path.suffix == ".bin" else None
    folders = [path, *(path / name for name in ("meta", "protocol", *IMAGE_FOLDERS))]
    files = [file for one in folders if one.is_dir() for file in sorted(one.iterdir())]

    def first(*words: str) -> str:
        named = (
            str(file)
            for word in words
            for file in files
            if word in file.name.lower() and file.suffix in (".txt", ".csv")
        )
        return next(named, "")

    pairs = first("pair")
    if not pairs:
        bins = [file for file in files if file.suffix == ".bin"]
        return PairSources(bin=str(bins[0])) if len(bins) == 1 else None
    below = (path / name for name in IMAGE_FOLDERS)
    faces = next((str(one) for one in below if one.is_dir()), str(path))
    return PairSources(pairs, faces, first("landmark", "5pts"), templates=first("tid_mid"))


def set_warnings(found: FoundSet, dataset: PairDataset, all_folds: bool) -> list[str]:
    """Return how a set differs from the published one: in its counts, or in the size of images.

    Args:
        found: A known set.
        dataset: Its pairs.
        all_folds: Bool. Whether no folds were chosen; of chosen folds the counts are not compared.
    """
    is_same = dataset.pairs.is_same
    warnings = []
    if all_folds:
        warnings += count_warnings(found.known, int(is_same.sum()), int((~is_same).sum()))
    if found.sources.bin:
        encoded, _ = insightface_bin.read_bin(found.sources.bin)
        height, width = images.decode(encoded[0]).shape[:2]
        if (height, width) != BIN_SIZE:
            warnings.append(
                f"The images of {found.sources.bin} are {width} x {height} pixels; as distributed "
                f"they are aligned faces of {BIN_SIZE[1]} x {BIN_SIZE[0]}. They are cropped at "
                "their center."
            )
    return warnings


def published_table(results: Sequence[EvaluationMetrics]) -> pd.DataFrame:
    """Return a row for each model on each known set: what papers print, with its interval.

    Values are in per cent.
    """
    rows = []
    for metrics, known, value, interval in _printed(results):
        rows.append(
            {
                "model": metrics.model,
                "set": known.title,
                "measure": f"TAR at FAR {known.far}" if known.far else "accuracy",
                "value": None if value is None else 100 * value,
                "low": None if interval is None else 100 * interval.low,
                "high": None if interval is None else 100 * interval.high,
                "num_pairs": metrics.verification.num_pairs,
                "num_pairs_published": known.num_pairs,
            }
        )
    return pd.DataFrame(rows)


def published_blocks(results: Sequence[EvaluationMetrics]) -> list[Block]:
    """Return the table as papers print it, a row for each model; nothing without a known set."""
    cells: dict[str, dict[str, str]] = {}
    for metrics, known, value, interval in _printed(results):
        text = "none" if value is None else f"{100 * value:.2f}"
        if value is not None and interval is not None:
            text += f" ({100 * interval.low:.2f} to {100 * interval.high:.2f})"
        if metrics.verification.num_pairs != known.num_pairs:
            text += " *"
        cells.setdefault(metrics.model, {})[_title(known)] = text
    if not cells:
        return []
    columns = list(dict.fromkeys(name for row in cells.values() for name in row))
    rows = [[model, *(row.get(name, "") for name in columns)] for model, row in cells.items()]
    note = "Per cent, with 95 % intervals. * marks other pairs than the published ones."
    return [Heading("As papers print it"), Table(["model", *columns], rows, note)]


def _title(known: KnownSet) -> str:
    return f"{known.title}, TAR at FAR {known.far}" if known.far else known.title


def _printed(
    results: Sequence[EvaluationMetrics],
) -> Iterator[tuple[EvaluationMetrics, KnownSet, float | None, Interval | None]]:
    for metrics in results:
        known, numbers = KNOWN_SETS.get(metrics.set), metrics.verification
        if known is None:
            continue
        if known.far:
            interval = numbers.intervals.tar_at_far.get(known.far)
            yield metrics, known, numbers.tar_at_far[known.far], interval
        else:
            yield metrics, known, numbers.accuracy_mean, numbers.intervals.accuracy
