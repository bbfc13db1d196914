"""What the names of files say: images, what the operating system left, and what is no text."""

import os

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".bmp", ".webp"})
STRAY = "no image by its name"
NOT_TEXT = "its name is not valid UTF-8"


def is_hidden(name: str) -> bool:
    """Whether a file or folder is of the operating system rather than the user."""
    return name.startswith(".") or name == "__MACOSX"


def is_image_name(name: str) -> bool:
    """Whether a file name is that of an image."""
    # Not by pathlib, which takes as long as all else that is done with a name.
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not is_hidden(name)


def is_text(name: str) -> bool:
    """Whether a record can hold a name: one that is no UTF-8 comes as surrogates."""
    return name.isprintable() or shown(name) == name


def shown(name: str) -> str:
    """A name as it can be written, with question marks for what is no text."""
    return name.encode("utf-8", "replace").decode()
