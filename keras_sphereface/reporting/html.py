"""One HTML file that holds all it shows: text, tables and images, to be mailed as it is.

It loads nothing from elsewhere and runs no script; a browser is told to refuse both.
"""

import base64
import html
import io
import itertools
import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TOC_FROM = 5  # headings of level 2: fewer are found without a table of contents
WIDE = 1.6  # an image that is so many times wider than high has a row of its own
# What HTML forbids even as a character reference, and what no UTF-8 can hold.
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_AMOUNT = r"[-+\u2212]?\d[\d.,'\u2009\u202f\u00a0 ]*(?:e[-+]?\d+)?\s*(?:%|\u00b0)?"
NUMBER = re.compile(rf"{_AMOUNT}(?:\s*(?:\u00b1|\+-|\u2013|/|to)\s*{_AMOUNT})?", re.IGNORECASE)

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6570; --page: #fff;
  --line: #dde1e6; --tint: #f5f7f9; --link: #0a5fa8; --alarm: #fff5e0; --alarm-line: #d98a00; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a3acb5;
  --page: #16191d; --line: #343a41; --tint: #1f2429; --link: #7bbcf5; --alarm: #33280f; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: var(--page);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "Liberation Sans", sans-serif; overflow-wrap: anywhere; }
h1, h2, h3, h4 { line-height: 1.25; margin: 2.2em 0 .6em; font-weight: 650; }
h1 { font-size: 1.75rem; margin: .5rem 0 1.25rem; }
h2 { font-size: 1.3rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; }
h4 { font-size: 1rem; }
p, nav, aside, dl, .scroll, details { margin: 0 0 1.1rem; }
p { max-width: 46rem; }
a { color: var(--link); }
nav ul { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap;
  gap: .2rem 1.4rem; }
aside { background: var(--alarm); border-left: 4px solid var(--alarm-line); border-radius: 4px;
  padding: .75rem 1rem; }
aside ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.5rem), 1fr));
  gap: .75rem; }
.tiles div { background: var(--tint); border: 1px solid var(--line); border-radius: 6px;
  padding: .7rem .9rem; }
dt, .detail, figcaption, caption, .note { color: var(--soft); font-size: .875rem; }
dd { margin: 0; }
.value { font-size: 1.5rem; font-weight: 650; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums;
  overflow-wrap: break-word; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; min-width: 6rem; max-width: 24rem; }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
tbody th { font-weight: inherit; }
.number { text-align: right; white-space: nowrap; min-width: 0; }
.note { margin-top: -.7rem; }
.images { display: grid; gap: 1.25rem; align-items: start; margin: 0 0 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; }
.images .wide { grid-column: 1 / -1; }
.alone { max-width: 38rem; margin: 0 0 1.25rem; }
.wide { max-width: none; overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; background: #fff;
  border: 1px solid var(--line); border-radius: 6px; }
/* On a phone a wide image would be too small to read: it scrolls. */
.wide img { min-width: 36rem; }
figcaption { padding-top: .4rem; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .6rem 1rem; }
summary { cursor: pointer; font-weight: 600; }
details[open] > summary { margin-bottom: .8rem; }
details > :last-child { margin-bottom: 0; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { overflow: visible; } table { font-size: 8pt; } .number { white-space: normal; }
  th, td { min-width: 0; overflow-wrap: anywhere; } .wide img { min-width: 0; }
  .images { grid-template-columns: 1fr 1fr; } .alone { max-width: 28rem; }
  .alone.wide { max-width: none; }
  figure, tr, aside, .tiles div { break-inside: avoid; }
  h1, h2, h3, h4, caption { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; } }
"""


class Heading(NamedTuple):
    """A heading below the title, of level 2, 3 or 4."""

    text: str
    level: int = 2


class Paragraph(NamedTuple):
    """A paragraph of plain text."""

    text: str


class Warnings(NamedTuple):
    """What the reader must not miss, in a box; none, no box."""

    texts: Sequence[str]


class KeyNumbers(NamedTuple):
    """The numbers that one looks for first: (label, value, detail) each, as tiles."""

    numbers: Sequence[tuple[str, str, str]]


class Table(NamedTuple):
    """Cells of text; the first of a row names the row. Columns of numbers stand to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""  # below the table
    caption: str = ""  # above it


class ImageBlock(NamedTuple):
    """A PNG; neighbors stand side by side where there is room."""

    png: bytes
    alt: str  # what it shows, for those who do not see it
    caption: str = ""


class Details(NamedTuple):
    """Blocks that are folded away below their summary."""

    summary: str
    blocks: Sequence["Block"]


Block = Heading | Paragraph | Warnings | KeyNumbers | Table | ImageBlock | Details


def render(title: str, blocks: Sequence[Block]) -> str:
    """The page as a text, to be written as UTF-8.

    Every text is shown as it is: nothing in it is taken for HTML.

    Args:
        title: the heading of level 1, and the name of the page.
        blocks: what follows, in this order.

    Raises:
        ValueError: if a heading's level, a table's rows or an image are not as they must be.
        TypeError: if a block is of another kind.
    """
    sections = [b.text for b in blocks if isinstance(b, Heading) and b.level == 2]
    ids = (f"section-{number}" for number in itertools.count(1))
    return "\n".join(
        [
            opening(title, POLICY, STYLE),
            *([_contents(sections)] if len(sections) >= TOC_FROM else []),
            *_rendered(blocks, ids),
            "</main>\n</body>\n</html>\n",
        ]
    )


def opening(title: str, policy: str, style: str) -> str:
    """A page up to and with its heading: what a browser may load, and how it looks.

    Args:
        title: the heading of level 1, and the name of the page.
        policy: the Content-Security-Policy.
        style: CSS.
    """
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            # Without it a browser asks the server of the page for one.
            '<link rel="icon" href="data:,">',
            f"<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>",
        ]
    )


def escape(text: str) -> str:
    """The text as HTML that shows it as it is."""
    return html.escape(FORBIDDEN.sub("\ufffd", text))


def figure_png(figure: Figure, dpi: int = 144) -> bytes:
    """The figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _rendered(blocks, ids=None):
    """The HTML of each block; top-level headings of level 2 take the next of `ids`."""
    parts = []
    for is_image, group in itertools.groupby(blocks, lambda b: isinstance(b, ImageBlock)):
        if not is_image:
            parts += [_block(block, ids) for block in group]
            continue
        images = list(group)
        if len(images) == 1:
            parts.append(_image(images[0], "alone"))
        else:
            parts += ['<div class="images">', *map(_image, images), "</div>"]
    return parts


def _block(block, ids):
    match block:
        case Heading():
            return _heading(block, ids)
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case Warnings():
            return _warnings(block)
        case KeyNumbers():
            return _key_numbers(block)
        case Table():
            return _table(block)
        case Details():
            inside = "\n".join(_rendered(block.blocks))
            return f"<details>\n<summary>{escape(block.summary)}</summary>\n{inside}\n</details>"
    raise TypeError(f"`blocks` must hold the blocks of this module. Received: {block!r}")


def _contents(sections):
    items = [
        f'<li><a href="#section-{number}">{escape(text)}</a></li>'
        for number, text in enumerate(sections, start=1)
    ]
    return "\n".join(['<nav aria-label="Contents">\n<ul>', *items, "</ul>\n</nav>"])


def _heading(block, ids):
    if block.level not in (2, 3, 4):
        raise ValueError(f"`level` must be 2, 3 or 4. Received: level={block.level!r}")
    name = f' id="{next(ids)}"' if ids is not None and block.level == 2 else ""
    return f"<h{block.level}{name}>{escape(block.text)}</h{block.level}>"


def _warnings(block):
    if not block.texts:
        return ""
    items = "\n".join(f"<li>{escape(text)}</li>" for text in block.texts)
    return f"<aside>\n<strong>Please note</strong>\n<ul>\n{items}\n</ul>\n</aside>"


def _key_numbers(block):
    tiles = []
    for label, value, detail in block.numbers:
        more = f'<dd class="detail">{escape(detail)}</dd>' if detail else ""
        tiles.append(
            f'<div><dt>{escape(label)}</dt><dd class="value">{escape(value)}</dd>{more}</div>'
        )
    return "\n".join(['<dl class="tiles">', *tiles, "</dl>"])


def _table(block):
    widths = {len(row) for row in block.rows} | {len(block.header)}
    if len(widths) > 1 or not block.header:
        raise ValueError(
            "`rows` must all be as long as `header`, at least one cell. "
            f"Received: lengths {sorted(widths)}"
        )
    columns = zip(*block.rows, strict=True) if block.rows else [()] * len(block.header)
    classes = [' class="number"' if _are_numbers(column) else "" for column in columns]

    def line(cells, first, rest):
        tags = [first, *[rest] * (len(cells) - 1)]
        filled = zip(cells, tags, classes, strict=True)
        inside = (f"<{tag}{kind}>{escape(cell)}</{tag[:2]}>" for cell, tag, kind in filled)
        return f"<tr>{''.join(inside)}</tr>"

    column, row_name = 'th scope="col"', 'th scope="row"'
    caption = f"<caption>{escape(block.caption)}</caption>" if block.caption else ""
    name = escape(block.caption or "Table: " + ", ".join(block.header))
    return "\n".join(
        [
            # With the keyboard one scrolls only what takes the focus.
            f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">',
            f"<table>{caption}",
            f"<thead>{line(block.header, column, column)}</thead>",
            "<tbody>",
            *(line(row, row_name, "td") for row in block.rows),
            "</tbody>\n</table>\n</div>",
            *([f'<p class="note">{escape(block.note)}</p>'] if block.note else []),
        ]
    )


def _are_numbers(cells):
    """Whether half of the cells that say something, or more, are numbers."""
    texts = [cell.strip() for cell in cells if cell.strip(" -\u2013\u2014")]
    return bool(texts) and 2 * sum(bool(NUMBER.fullmatch(text)) for text in texts) >= len(texts)


def _image(block, place=""):
    if not block.png.startswith(PNG_SIGNATURE):
        raise ValueError(f"`png` must be a PNG file. Received: png={block.png[:8]!r}...")
    if not block.alt.strip():
        raise ValueError(f"`alt` must say what the image shows. Received: alt={block.alt!r}")
    width, height = struct.unpack(">II", block.png[16:24])
    kind = f"{place} wide" if width > WIDE * height else place
    caption = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
    return (
        f'<figure class="{kind.strip()}"><img src="data:image/png;base64,'
        f'{base64.b64encode(block.png).decode()}" width="{width}" height="{height}" '
        f'alt="{escape(block.alt)}">{caption}</figure>'
    )
