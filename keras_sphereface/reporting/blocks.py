"""The blocks of which `reporting.html.render_page` makes a report."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading below the title.

    Attributes:
        text: Text of the heading.
        level: 2, 3 or 4.

    Example:
        >>> Heading("Accuracy").level
        2
    """

    text: str
    level: int = 2


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

    Example:
        >>> from keras_sphereface.reporting import render_page
        >>> table = Table(["model", "accuracy"], [["m = 4", "99.2 %"]])
        >>> '<td class="number">99.2 %</td>' in render_page("Report", [table])
        True
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class ImageBlock:
    """A PNG image; neighboring images stand side by side where there is room.

    Attributes:
        png: Bytes of the file.
        alt: Description of the image for readers who do not see it.
        caption: Text below the image.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from keras_sphereface.reporting import figure_png, render_page
        >>> image = ImageBlock(figure_png(Figure()), alt="An empty figure")
        >>> 'alt="An empty figure"' in render_page("Report", [image])
        True
    """

    png: bytes
    alt: str
    caption: str = ""


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


Block = Heading | Paragraph | Warnings | KeyNumbers | Table | ImageBlock | Details
