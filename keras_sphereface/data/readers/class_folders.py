"""Images in class folders: ROOT/IDENTITY/IMAGE."""

import os
from collections.abc import Iterator
from pathlib import Path

from keras_sphereface.data.filenames import (
    NO_IMAGE_SUFFIX,
    NOT_UTF8,
    is_hidden,
    is_image_name,
    is_utf8,
    with_question_marks,
)
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage

NO_IMAGE = "the folder holds no image"
DEEPER = "the folder holds folders of images, one level deeper than the others"


def read_class_folders(
    root: str | os.PathLike, follow_links: bool = False
) -> Iterator[ImageRecord | SkippedImage]:
    """Yield the images of ROOT/IDENTITY/IMAGE, in the order of the file system.

    Files without an image suffix are skipped. A symbolic link may lead to any place below ROOT. As
    nothing deeper is read, links cannot lead in circles.

    Args:
        root: Folder of the class folders.
        follow_links: Bool. Follow symbolic links out of ROOT too.

    Raises:
        ValueError: if a symbolic link leads out of ROOT and is not to be followed.

    Example:

    >>> first = min(read_class_folders("faces/images"))
    >>> first.key, first.identity
    ('person_0001/person_0001_0001.jpg', 'person_0001')
    """
    root = Path(root)
    resolved_root = None if follow_links else root.resolve()
    for folder in scan_folder(root, resolved_root):
        if not is_utf8(folder.name):
            yield SkippedImage(with_question_marks(folder.name), NOT_UTF8)
        elif not folder.is_dir():
            yield SkippedImage(folder.name, f"{NO_IMAGE_SUFFIX}, or it is in no class folder")
        elif not is_hidden(folder.name):
            yield from _read_class_folder(folder, resolved_root)


def _read_class_folder(
    folder: os.DirEntry, resolved_root: Path | None
) -> Iterator[ImageRecord | SkippedImage]:
    has_images, has_deeper = False, False
    for entry in scan_folder(folder.path, resolved_root):
        key = f"{folder.name}/{entry.name}"
        if not is_utf8(entry.name):
            yield SkippedImage(with_question_marks(key), NOT_UTF8)
        elif is_image_name(entry.name) and entry.is_file():
            has_images = True
            yield ImageRecord(key, folder.name, ByteRange(entry.path, 0, entry.stat().st_size))
        else:
            has_deeper = has_deeper or (not has_images and _holds_image(entry))
            yield SkippedImage(key, NO_IMAGE_SUFFIX)
    if not has_images:
        yield SkippedImage(f"{folder.name}/", DEEPER if has_deeper else NO_IMAGE)


def _holds_image(entry: os.DirEntry) -> bool:
    if not entry.is_dir():
        return False
    with os.scandir(entry.path) as entries:
        return any(is_image_name(each.name) for each in entries)


def scan_folder(folder: str | Path, resolved_root: Path | None) -> Iterator[os.DirEntry]:
    """Yield the entries of a folder one by one: there may be millions.

    Args:
        folder: Path of the folder.
        resolved_root: Folder that links must not lead out of; None: they may lead anywhere.

    Raises:
        ValueError: if an entry is a symbolic link that leads out of `resolved_root`.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if (
                resolved_root is not None
                and entry.is_symlink()
                and not Path(entry.path).resolve().is_relative_to(resolved_root)
            ):
                raise ValueError(
                    "A symbolic link in the source must not lead out of it. To use images "
                    "elsewhere, set --follow-links, or name them in a list file. "
                    f"Received: {entry.path} -> {os.readlink(entry.path)}"
                )
            yield entry
