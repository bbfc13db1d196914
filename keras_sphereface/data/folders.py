"""Folders of records and of images: which of the two one is, and where what was meant lies nearby.

The sentences complete errors: what a folder holds in place of what is needed, and what to do next.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from keras_sphereface.data.filenames import is_hidden, is_image_name
from keras_sphereface.data.image_folder import ImageFolder
from keras_sphereface.utils.atomic import partial_folder

INFO_FILE = "dataset.json"
SHARD_SUFFIX = ".tfrecord"
FILES_OF_IMAGES = (".rec", ".parquet", ".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
LOOKED_AT = 200  # entries of a folder: there may be millions


def is_records_folder(folder: Path) -> bool:
    """Return whether a conversion has finished in a folder."""
    return (folder / INFO_FILE).is_file()


def instead_of_records(folder: str | os.PathLike) -> str:
    """Return what a folder without dataset.json holds, and what to do next.

    Example:
        >>> instead_of_records("faces").partition(": ")[2]
        'sphereface convert --source faces/images --out records'
    """
    folder = Path(folder)
    if not folder.exists():
        return "There is no such folder."
    if near := next(filter(is_records_folder, _nearby(folder)), None):
        return f"The records are in {near}"
    if is_records_folder(partial_folder(Path(os.path.abspath(folder)))):
        return "A conversion into it has not finished; the same command continues it."
    if source := source_at(folder):
        return (
            "It holds images; make records of them first: "
            f"sphereface convert --source {source} --out records"
        )
    if any(name.endswith(SHARD_SUFFIX) for name in _names(folder)):
        return "It holds shards, but is not whole: convert the images again, or copy all its files."
    if _holds_image(folder):
        return f"It holds images. {_needs_class_folders(folder)}"
    return _other_contents(folder)


def check_class_folders(folder: str | os.PathLike, name: str) -> None:
    """Refuse a folder that does not hold a folder of images for each person.

    Args:
        folder: The folder.
        name: Name of the setting, for the message.

    Raises:
        ValueError: With what it holds, and which folder is meant.

    Example:
        >>> check_class_folders("faces", "images")
        Traceback (most recent call last):
        ValueError: `images` must hold ... Received: faces. The class folders are in faces/images
    """
    folder = Path(folder)
    if is_records_folder(folder) or class_folders_near(folder) != folder:
        raise ValueError(
            f"`{name}` must hold a folder of images for each person. Received: {folder}. "
            + instead_of_class_folders(folder)
        )


def check_holds_some(root: str | os.PathLike, keys: Iterable[str], file: str | os.PathLike) -> None:
    """Refuse a folder without any image of a list.

    Args:
        root: The folder.
        keys: Keys of the images, relative to it.
        file: Path of the list, for the message.

    Raises:
        ValueError: With an image that is missing, and the folder that is meant.
    """
    keys = list(keys)
    found = folder_with(root, keys)
    if keys and found != Path(root):
        raise ValueError(
            f"`images` must be the folder below which {keys[0]} and the other images of {file} "
            f"are. Received: {root}, with none of the {len(keys)}"
            + (f". They are in {found}" if found else "")
        )


def instead_of_class_folders(folder: str | os.PathLike) -> str:
    """Return what a folder without images in class folders holds, and which folder is right."""
    folder = Path(folder)
    if is_records_folder(folder):
        return "It holds records already: sphereface train --data " + str(folder)
    if near := class_folders_near(folder):
        return f"The class folders are in {near}" + _beside(folder, near)
    if _holds_image(folder):
        return _needs_class_folders(folder)
    return _other_contents(folder)


def class_folders_near(folder: Path) -> Path | None:
    """Return the folder of class folders with images: it, one or two below it, or its parent.

    One below is meant where it has more class folders: the output folder of a demo holds figures in
    some folders beside that of the faces. The parent is meant where the folder is one of several
    class folders.
    """
    if _has_class_folders(folder):
        return _larger_below(folder) or folder
    for depth in (1, 2):
        if found := list(filter(_has_class_folders, _below(folder, depth))):
            # Of the parts of a set, that to train on.
            of_training = (below for below in found if below.name.lower().startswith("train"))
            return next(of_training, found[0])
    if _holds_image(folder):
        siblings = list(_below(_above(folder), 1))
        # Not where it lies among other things, of which some hold pictures too.
        if len(siblings) > 1 and sum(map(_holds_image, siblings)) > len(siblings) / 2:
            return _larger_below(_above(folder)) or _above(folder)
    return None


def _beside(folder: Path, near: Path) -> str:
    """Name what else a folder holds beside its folder of class folders; "" if there is nothing."""
    if near.parent != folder:
        return ""
    others = [below for below in _below(folder, 1) if below != near]
    parts = [below for below in others if _has_class_folders(below)]
    if parts:
        return (
            f"; {', '.join(map(str, parts[:3]))} {'has' if len(parts) == 1 else 'have'} class "
            "folders too: convert the parts of a set one by one"
        )
    if identities := [below for below in others if _holds_image(below)]:
        return (
            f"; beside it {len(identities)} folders hold images, such as {identities[0]}: move "
            "those of identities into it"
        )
    return ""


def _larger_below(folder: Path) -> Path | None:
    """The folder one or two levels below that has more class folders than this one, if any has."""
    # Of a usual source none: a folder of images is not searched.
    others = [below for below in _below(folder, 1) if not _holds_image(below)]
    candidates = [found for depth in (0, 1) for other in others for found in _below(other, depth)]
    largest = max(candidates, key=_num_class_folders, default=folder)
    return largest if _num_class_folders(largest) > _num_class_folders(folder) else None


def _num_class_folders(folder: Path) -> int:
    """Number of folders directly below that hold images themselves, among the first ones."""
    return sum(map(_holds_image, _below(folder, 1)))


def source_at(folder: Path) -> Path | None:
    """Return the source of images that a folder is, or that lies close to it."""
    if any(name.lower().endswith(FILES_OF_IMAGES) for name in _names(folder)):
        return folder
    return class_folders_near(folder)


def folder_with(root: str | os.PathLike, keys: Iterable[str]) -> Path | None:
    """Return the folder below which an image of `keys` lies: `root`, one below, or one above it.

    Example:
        >>> print(folder_with("faces", ["person_0001/person_0001_0001.jpg"]))
        faces/images
    """
    keys = list(keys)
    root = Path(root)
    if _holds_some(root, keys):
        return root
    few = keys[:: max(1, len(keys) // LOOKED_AT)]
    return next((folder for folder in _nearby(root) if _holds_some(folder, few)), None)


def _holds_some(folder: Path, keys: Iterable[str]) -> bool:
    images = ImageFolder(folder)
    return any(images.path_of(key) is not None for key in keys)


def _nearby(folder: Path) -> Iterator[Path]:
    """The folders below a folder, and that above it."""
    yield from _below(folder, 1)
    yield from _below(folder, 2)
    yield _above(folder)


def _above(folder: Path) -> Path:
    # Of "." and ".." `parent` is ".".
    is_named = folder.name not in ("", "..")
    return folder.parent if is_named else Path(os.path.abspath(folder)).parent


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Folders `depth` levels below, in the order of their names."""
    if depth == 0:
        yield folder
        return
    for name in _names(folder):
        if not is_hidden(name) and (folder / name).is_dir():
            yield from _below(folder / name, depth - 1)


def _has_class_folders(folder: Path) -> bool:
    """Return whether a folder directly below holds images itself."""
    with _scan(folder) as entries:
        return any(
            entry.is_dir() and not is_hidden(entry.name) and _holds_image(Path(entry.path))
            for entry in entries
        )


def _holds_image(folder: Path) -> bool:
    with _scan(folder) as entries:
        return any(is_image_name(entry.name) for entry in entries)


def _names(folder: Path) -> list[str]:
    """The first entries of a folder, sorted."""
    with _scan(folder) as entries:
        return sorted(entry.name for entry in itertools.islice(entries, LOOKED_AT))


@contextlib.contextmanager
def _scan(folder: Path) -> Iterator[Iterable[os.DirEntry]]:
    """The entries of a folder; none of what is no folder or cannot be read."""
    try:
        entries = os.scandir(folder)
    except OSError:
        yield ()
        return
    with entries:
        yield entries


def _needs_class_folders(folder: Path) -> str:
    return f"Images must be in a folder for each person: {folder / 'PERSON' / 'IMAGE.jpg'}"


def _other_contents(folder: Path) -> str:
    names = [name for name in _names(folder) if not is_hidden(name)]
    return f"It holds {names[0]}, but no images" if names else "It is empty"
