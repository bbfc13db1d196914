"""The blocks of which `reporting.html.render_page` makes a report."""

import base64
import dataclasses
import re
import struct
from collections.abc import Sequence

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
LONG = 20  # letters of a cell; with more, its column is not squeezed on a phone
WIDE = 1.6  # an image that is so many times wider than high gets a whole row
_AMOUNT = r"[-+\u2212]?\d[\d.,'\u2009\u202f\u00a0 ]*(?:e[-+]?\d+)?\s*(?:%|\u00b0)?"
NUMBER = re.compile(rf"{_AMOUNT}(?:\s*(?:\u00b1|\+-|\u2013|/|to)\s*{_AMOUNT})?\*?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading below the title.

    Attributes:
        text: Text of the heading.
        level: 2, 3 or 4.

    Raises:
        ValueError: if `level` is another one.

    Example:
        >>> Heading("Accuracy").level
        2
    """

    text: str
    level: int = 2

    def __post_init__(self) -> None:
        if self.level not in (2, 3, 4):
            raise ValueError(f"`level` must be 2, 3 or 4. Received: level={self.level!r}")


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text.

    Example:
        >>> from keras_sphereface.reporting import render_page
        >>> "<p>1 &lt; 2</p>" in render_page("Report", [Paragraph("1 < 2")])
        True
    """

    text: str


@dataclasses.dataclass(frozen=True)
class Warnings:
    """A box of warnings; without texts there is no box.

    Example:
        >>> from keras_sphereface.reporting import render_page
        >>> "Please note" in render_page("Report", [Warnings(["3 images are missing"])])
        True
    """

    texts: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Statements:
    """A list of questions and their answers in a sentence or two: (question, answer) each.

    Example:
        >>> from keras_sphereface.reporting import render_page
        >>> page = render_page("Report", [Statements([("How good is it?", "99.2 % right.")])])
        >>> "<dd>99.2 % right.</dd>" in page
        True
    """

    statements: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class KeyNumbers:
    """The most important numbers as tiles: (label, value, detail) each.

    Example:
        >>> from keras_sphereface.reporting import render_page
        >>> tiles = KeyNumbers([("Accuracy", "99.2 %", "mean of 10 folds")])
        >>> "mean of 10 folds" in render_page("Report", [tiles])
        True
    """

    numbers: Sequence[tuple[str, str, str]]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts; columns of numbers are aligned to the right.

    Attributes:
        header: Names of the columns, at least one.
        rows: Cells of each row; the first one names the row.
        note: Text below the table.
        caption: Text above the table.

    Raises:
        ValueError: if there is no column, or rows have other lengths than the header.

    Example:
        >>> table = Table(["model", "accuracy"], [["m = 4", "99.2 %"]])
        >>> table.are_numbers
        [False, True]
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        lengths = {len(row) for row in self.rows} | {len(self.header)}
        if len(lengths) > 1 or not self.header:
            raise ValueError(
                "`rows` must all be as long as `header`, at least one cell. "
                f"Received: lengths {sorted(lengths)}"
            )

    @property
    def are_numbers(self) -> list[bool]:
        """For each column, whether at least half of its cells with a text are numbers."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return [_are_numbers(column) for column in columns]

    @property
    def kinds(self) -> list[str]:
        """For each column "number", "text" if a cell is a long text, or ""."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return [
            "number" if is_number else "text" if max(map(len, cells), default=0) > LONG else ""
            for is_number, cells in zip(self.are_numbers, columns, strict=True)
        ]


@dataclasses.dataclass(frozen=True)
class ImageBlock:
    """A PNG image; neighboring images stand side by side where there is room.

    Attributes:
        png: Bytes of the file.
        alt: Description of the image for readers who do not see it.
        caption: Text below the image.
        dark_png: Bytes of the same image for dark pages; empty: `png` there too.

    Raises:
        ValueError: if `png` or `dark_png` is another kind of file, or `alt` is empty.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from keras_sphereface.reporting import figure_png
        >>> ImageBlock(figure_png(Figure(figsize=(3, 2)), dpi=50), alt="An empty figure").size
        (150, 100)
    """

    png: bytes
    alt: str
    caption: str = ""
    dark_png: bytes = b""

    def __post_init__(self) -> None:
        for name in ("png", "dark_png") if self.dark_png else ("png",):
            if not (data := getattr(self, name)).startswith(PNG_SIGNATURE):
                raise ValueError(f"`{name}` must be a PNG file. Received: {name}={data[:8]!r}...")
        if not self.alt.strip():
            raise ValueError(f"`alt` must describe the image. Received: alt={self.alt!r}")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height

    @property
    def is_wide(self) -> bool:
        """True if the image needs a whole row."""
        return self.size[0] > WIDE * self.size[1]

    @property
    def url(self) -> str:
        """The image as a `data:` URL."""
        return _data_url(self.png)

    @property
    def dark_url(self) -> str:
        """The image for dark pages as a `data:` URL; empty if there is none."""
        return _data_url(self.dark_png) if self.dark_png else ""


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks that are folded away below their summary.

    Example:
        >>> from keras_sphereface.reporting import render_page
        >>> "<summary>Settings</summary>" in render_page("Report", [Details("Settings", [])])
        True
    """

    summary: str
    blocks: Sequence["Block"]


Block = Heading | Paragraph | Warnings | Statements | KeyNumbers | Table | ImageBlock | Details


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _are_numbers(cells: Sequence[str]) -> bool:
    texts = [cell.strip() for cell in cells if cell.strip(" -\u2013\u2014")]
    return bool(texts) and 2 * sum(bool(NUMBER.fullmatch(text)) for text in texts) >= len(texts)
