"""Rules on file names: images, files of the operating system, and names that are not UTF-8."""

import os

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".pgm", ".ppm", ".bmp", ".webp"})
NO_IMAGE_SUFFIX = "the name has no image suffix"
NOT_UTF8 = "the name is not valid UTF-8"


def is_hidden(name: str) -> bool:
    """Return whether a file or folder belongs to the operating system rather than the user."""
    return name.startswith(".") or name == "__MACOSX"


def is_image_name(name: str) -> bool:
    """Return whether a file name has one of the `IMAGE_SUFFIXES` and is not hidden."""
    # `pathlib` would take as long as all other work on a name.
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not is_hidden(name)


def without_image_suffix(name: str) -> str:
    """Return a name without its image suffix, if it has one; other dots stay."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def is_utf8(name: str) -> bool:
    """Return whether a record can hold a name; other names come as surrogates."""
    return name.isprintable() or with_question_marks(name) == name


def with_question_marks(name: str) -> str:
    """Return the name with a question mark for each byte that is not UTF-8."""
    return name.encode("utf-8", "replace").decode()
