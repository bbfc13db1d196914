"""Tables of a run: CSV files with a column "step" that continue when the run does."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_sphereface.utils.atomic import atomic_file


class StepTable:
    """A CSV file that grows by rows; rows of steps after `start_step` are removed.

    Args:
        path: Path of the file; written anew with its rows up to `start_step`.
        fields: Sequence of str. The columns; the first is "step".
        start_step: Int. The step from which the run begins or continues.
    """

    def __init__(self, path: str | os.PathLike, fields: Sequence[str], start_step: int):
        self.path, self.fields = Path(path), tuple(fields)
        kept = []
        if self.path.is_file():
            with open(self.path, newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if _step_of(row) <= start_step]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not in place: a run that is killed here must not lose its rows.
        with (
            atomic_file(self.path) as partial,
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            table = csv.DictWriter(file, self.fields)
            table.writeheader()
            table.writerows(kept)

    def add(self, row: Mapping[str, float]) -> None:
        """Write the columns of a row at once; floats with six digits."""
        cells = [row[name] for name in self.fields]
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(x if isinstance(x, int) else f"{x:.6g}" for x in cells)


def _step_of(row: Mapping[str, str | None]) -> float:
    """Return the step of a row; infinity if a kill cut the row short, so that it is redone."""
    is_whole = list(row.values())[-1] not in (None, "")
    return int(row["step"] or 0) if is_whole else float("inf")
