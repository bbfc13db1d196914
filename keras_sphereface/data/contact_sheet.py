"""A contact sheet: many faces on one image, for a look before a long run."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN = 8  # around and between the faces, pixels
CAPTION_SIZE = 11
LINE_HEIGHT = CAPTION_SIZE + 3
CAPTION_GAP = 2  # between a face and its caption, and below it
MIN_CAPTION_WIDTH = 88  # pixels; faces that are smaller stand further apart
WHITE, INK = (255, 255, 255), (60, 60, 60)


def draw_contact_sheet(
    faces: Sequence[np.ndarray],
    columns: int = 12,
    captions: Sequence[str] | None = None,
    cell_width: int = 0,
) -> np.ndarray:
    """Draw the faces, unchanged, row by row on white.

    Args:
        faces: At least one, uint8 (H, W, 3) RGB, all of one size.
        columns: Int. Faces in a row.
        captions: One below each face. What is too wide for one line breaks at its last slash; a
            line that still is, is clipped.
        cell_width: Int. Pixels that a face has for itself and its caption, if it is narrower.

    Returns:
        uint8 RGB image.

    Raises:
        ValueError: if there is no face or no column, or not one caption a face.

    Example:

    >>> draw_contact_sheet(np.zeros((6, 112, 96, 3), np.uint8), columns=3).shape
    (248, 320, 3)
    """
    if len(faces) == 0 or columns < 1:
        raise ValueError(
            "A contact sheet needs at least one face and one column. "
            f"Received: {len(faces)} faces, columns={columns}"
        )
    if captions is not None and len(captions) != len(faces):
        raise ValueError(
            "`captions` must have one entry for each face. "
            f"Received: {len(captions)} captions for {len(faces)} faces"
        )
    height, width = faces[0].shape[:2]
    columns = min(columns, len(faces))
    rows = -(-len(faces) // columns)
    font = ImageFont.load_default(size=CAPTION_SIZE)
    cell_width, caption_height = max(width, cell_width), 0
    lines: list[list[str]] = [[] for _ in faces]
    if captions is not None:
        cell_width = max(cell_width, MIN_CAPTION_WIDTH)
        lines = [_lines(caption, cell_width, font) for caption in captions]
        caption_height = max(map(len, lines)) * LINE_HEIGHT + CAPTION_GAP
    step_x, step_y = cell_width + MARGIN, height + MARGIN + caption_height
    sheet = Image.new("RGB", (MARGIN + columns * step_x, MARGIN + rows * step_y), WHITE)
    draw = ImageDraw.Draw(sheet)
    for index, face in enumerate(faces):
        x, y = MARGIN + index % columns * step_x, MARGIN + index // columns * step_y
        sheet.paste(Image.fromarray(face), (x + (cell_width - width) // 2, y))
        for number, line in enumerate(lines[index]):
            middle = (x + cell_width / 2, y + height + CAPTION_GAP + number * LINE_HEIGHT)
            draw.text(middle, line, INK, font, anchor="ma")
    return np.asarray(sheet)


def _lines(caption: str, width: int, font: Any) -> list[str]:
    """Return a caption as the one or two lines that it is drawn in."""
    # Pillow's own font has ASCII only: accents are dropped, other letters become "?".
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", caption) if not unicodedata.combining(c)
    )
    caption = " ".join(plain.encode("ascii", "replace").decode().split())
    if font.getlength(caption) <= width:
        return [caption]
    folder, slash, name = caption.rpartition("/")
    parts = [folder.strip(), name.strip()] if slash else [caption]
    return [_clipped(part, width, font) for part in parts]


def _clipped(caption: str, width: int, font: Any) -> str:
    """Return as much of a line as fits, with dots for what is cut off."""
    if font.getlength(caption) <= width:
        return caption
    end = len(caption)
    while end and font.getlength(caption[:end] + "...") > width:
        end -= 1
    return caption[:end] + "..."
