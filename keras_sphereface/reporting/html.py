"""Reports as one HTML file that holds everything it shows, so that it can be sent as it is.

A page loads nothing from elsewhere and runs no script; its Content-Security-Policy forbids both.
"""

import base64
import itertools
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from keras_sphereface.reporting.blocks import (
    Block,
    Details,
    Heading,
    ImageBlock,
    KeyNumbers,
    Paragraph,
    Table,
    Warnings,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MIN_SECTIONS = 5  # headings of level 2, from which on a page has a table of contents
WIDE = 1.6  # an image that is so many times wider than high has a row of its own
# What HTML forbids even as a character reference, and what UTF-8 cannot hold.
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_AMOUNT = r"[-+\u2212]?\d[\d.,'\u2009\u202f\u00a0 ]*(?:e[-+]?\d+)?\s*(?:%|\u00b0)?"
NUMBER = re.compile(rf"{_AMOUNT}(?:\s*(?:\u00b1|\+-|\u2013|/|to)\s*{_AMOUNT})?", re.IGNORECASE)

_POLICY = {
    "default-src": "'none'",
    "img-src": "data:",
    "style-src": "'unsafe-inline'",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def render_page(title: str, blocks: Sequence[Block]) -> str:
    """Return a report as HTML, to be written as UTF-8.

    Every text is shown as it is; none of it is taken for HTML.

    Args:
        title: Heading of level 1, and the name of the page.
        blocks: Content of the page, in this order.

    Raises:
        ValueError: if a heading's level, a table's rows or an image are not as they must be.
        TypeError: if a block is of another type.

    Example:
        >>> page = render_page("Verification", [Heading("Accuracy"), Paragraph("99.2 %")])
        >>> Path("report.html").write_text(page, encoding="utf-8") > 0
        True
    """
    prepared = list(_prepared(blocks, (f"section-{i}" for i in itertools.count(1))))
    sections = [data for kind, data in prepared if kind == "heading" and data["id"]]
    return (
        template_environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            policy=security_policy(),
            sections=sections if len(sections) >= MIN_SECTIONS else [],
            blocks=prepared,
        )
    )


def security_policy(**sources: str) -> str:
    """Return the Content-Security-Policy of a page: nothing is loaded, no script runs.

    Args:
        **sources: Further directives, for example `script_src="'unsafe-inline'"`.

    Example:
        >>> security_policy()
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; ..."
    """
    added = {name.replace("_", "-"): value for name, value in sources.items()}
    return "; ".join(f"{name} {value}" for name, value in (_POLICY | added).items())


def template_environment(*folders: Path) -> jinja2.Environment:
    """Return the Jinja environment of pages: it escapes every value.

    Args:
        *folders: Folders with further templates; they may extend `page.html.j2`, which needs
            `title` and `policy`, and has the blocks `style`, `main` and `scripts`.

    Example:
        >>> template = template_environment().from_string("<p>{{ text }}</p>")
        >>> template.render(text="1 < 2")
        '<p>1 &lt; 2</p>'
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_without_forbidden,
        keep_trailing_newline=True,
    )


def _without_forbidden(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, markupsafe.Markup):
        return FORBIDDEN.sub("\ufffd", value)
    return value


def _prepared(
    blocks: Sequence[Block], ids: Iterator[str] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (macro, its arguments) for each block, and for each row of images.

    Headings of level 2 take the next of `ids`.
    """
    for is_image, group in itertools.groupby(blocks, lambda block: isinstance(block, ImageBlock)):
        if is_image:
            row = [block for block in group if isinstance(block, ImageBlock)]
            place = "alone" if len(row) == 1 else ""
            yield "images", {"figures": [_image(block, place) for block in row]}
        else:
            yield from (_prepared_block(block, ids) for block in group)


def _prepared_block(block: Block, ids: Iterator[str] | None) -> tuple[str, dict[str, Any]]:
    match block:
        case Heading():
            return "heading", _heading(block, ids)
        case Paragraph():
            return "paragraph", {"text": block.text}
        case Warnings():
            return "warnings", {"texts": block.texts}
        case KeyNumbers():
            return "key_numbers", {"numbers": block.numbers}
        case Table():
            return "table", _table(block)
        case Details():
            return "details", {"summary": block.summary, "blocks": list(_prepared(block.blocks))}
    raise TypeError(f"`blocks` must hold blocks of this module. Received: {block!r}")


def _heading(block: Heading, ids: Iterator[str] | None) -> dict[str, Any]:
    if block.level not in (2, 3, 4):
        raise ValueError(f"`level` must be 2, 3 or 4. Received: level={block.level!r}")
    id_ = next(ids) if ids is not None and block.level == 2 else ""
    return {"text": block.text, "level": block.level, "id": id_}


def _table(block: Table) -> dict[str, Any]:
    widths = {len(row) for row in block.rows} | {len(block.header)}
    if len(widths) > 1 or not block.header:
        raise ValueError(
            "`rows` must all be as long as `header`, at least one cell. "
            f"Received: lengths {sorted(widths)}"
        )
    columns = zip(*block.rows, strict=True) if block.rows else [()] * len(block.header)
    return {
        "header": block.header,
        "rows": block.rows,
        "note": block.note,
        "caption": block.caption,
        "are_numbers": [_are_numbers(column) for column in columns],
    }


def _are_numbers(cells: Sequence[str]) -> bool:
    """Return whether at least half of the cells that are not empty or dashes are numbers."""
    texts = [cell.strip() for cell in cells if cell.strip(" -\u2013\u2014")]
    return bool(texts) and 2 * sum(bool(NUMBER.fullmatch(text)) for text in texts) >= len(texts)


def _image(block: ImageBlock, place: str) -> dict[str, Any]:
    if not block.png.startswith(PNG_SIGNATURE):
        raise ValueError(f"`png` must be a PNG file. Received: png={block.png[:8]!r}...")
    if not block.alt.strip():
        raise ValueError(f"`alt` must describe the image. Received: alt={block.alt!r}")
    width, height = struct.unpack(">II", block.png[16:24])
    return {
        "base64": base64.b64encode(block.png).decode(),
        "width": width,
        "height": height,
        "classes": f"{place} wide".strip() if width > WIDE * height else place,
        "alt": block.alt,
        "caption": block.caption,
    }
