"""Tables of a run, CSV files with a column "step", that go on when the run does."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from keras_sphereface.utils.atomic import atomic_file


class StepTable:
    """A CSV file that grows by rows; what it says of steps after `start_step` is redone.

    Args:
        path: the file; made anew, with the rows up to `start_step` that it had.
        fields: the columns; the first is "step".
        start_step: the step from which the run begins or goes on.
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

    def add(self, row: dict) -> None:
        """Write the columns of a row at once; numbers with six digits."""
        cells = [row[name] for name in self.fields]
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(x if isinstance(x, int) else f"{x:.6g}" for x in cells)


def _step_of(row):
    """A row that was cut short by a kill has none, and counts as one to be redone."""
    last = list(row.values())[-1]
    return int(row["step"]) if last not in (None, "") else float("inf")
