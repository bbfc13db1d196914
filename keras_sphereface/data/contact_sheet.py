"""A contact sheet: many faces on one image, for a look before a long run."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN = 8  # around and between the faces, pixels
CAPTION_SIZE = 11
CAPTION_HEIGHT = CAPTION_SIZE + 5  # with what hangs below the line
WHITE, INK = (255, 255, 255), (60, 60, 60)


def draw_contact_sheet(
    faces: Sequence[np.ndarray], columns: int = 12, captions: Sequence[str] | None = None
) -> np.ndarray:
    """Draw the faces, unchanged, row by row on white.

    Args:
        faces: At least one, uint8 (H, W, 3) RGB, all of one size.
        columns: Int. Faces in a row.
        captions: One line below each face, clipped to its width.

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
    step_x = width + MARGIN
    step_y = height + MARGIN + (CAPTION_HEIGHT if captions is not None else 0)
    sheet = Image.new("RGB", (MARGIN + columns * step_x, MARGIN + rows * step_y), WHITE)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=CAPTION_SIZE)
    for index, face in enumerate(faces):
        x, y = MARGIN + index % columns * step_x, MARGIN + index // columns * step_y
        sheet.paste(Image.fromarray(face), (x, y))
        if captions is not None:
            middle = (x + width / 2, y + height + 2)
            draw.text(middle, _clipped(captions[index], width, font), INK, font, anchor="ma")
    return np.asarray(sheet)


def _clipped(caption: str, width: int, font: Any) -> str:
    """Return as much of the caption as fits in one line, with dots for what is cut off."""
    # Pillow's own font has ASCII only: accents are dropped, other letters become "?".
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", caption) if not unicodedata.combining(c)
    )
    caption = " ".join(plain.encode("ascii", "replace").decode().split())
    if font.getlength(caption) <= width:
        return caption
    end = len(caption)
    while end and font.getlength(caption[:end] + "...") > width:
        end -= 1
    return caption[:end] + "..."
