"""Reports as one HTML file that holds everything it shows, so that it can be sent as it is.

A page loads nothing from elsewhere and runs no script; its Content-Security-Policy forbids both.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2
import markupsafe

from keras_sphereface.reporting.blocks import Block, Heading

MIN_SECTIONS = 5  # headings of level 2, from which on a page has a table of contents
# What HTML forbids even as a character reference, and what UTF-8 cannot hold.
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def render_page(title: str, blocks: Sequence[Block]) -> str:
    """Return a report as HTML, to be written as UTF-8.

    Every text is shown as it is; none of it is taken for HTML.

    Args:
        title: Heading of level 1, and the name of the page.
        blocks: Content of the page, in this order.

    Raises:
        TypeError: if a block is not one of `reporting.blocks`.

    Example:
        >>> from keras_sphereface.reporting import Paragraph
        >>> page = render_page("Verification", [Heading("Accuracy"), Paragraph("99.2 %")])
        >>> Path("report.html").write_text(page, encoding="utf-8") > 0
        True
    """
    sections = [b.text for b in blocks if isinstance(b, Heading) and b.level == 2]
    template = template_environment().get_template("report.html.j2")
    return template.render(
        title=title,
        policy=security_policy(),
        contents=sections if len(sections) >= MIN_SECTIONS else [],
        blocks=blocks,
        groups_of=_groups_of,
    )


def security_policy(**sources: str) -> str:
    """Return the Content-Security-Policy of a page: nothing is loaded, no script runs.

    Args:
        **sources: Further directives, for example `script_src="'unsafe-inline'"`.

    Example:
        >>> security_policy()
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; ..."
    """
    directives = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
        **{name.replace("_", "-"): value for name, value in sources.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


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


def _groups_of(blocks: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Yield the name of a class and neighboring blocks of that class."""
    for block in blocks:
        if not isinstance(block, Block):
            raise TypeError(f"`blocks` must hold blocks of reporting. Received: {block!r}")
    for block_class, group in itertools.groupby(blocks, type):
        yield block_class.__name__, list(group)
