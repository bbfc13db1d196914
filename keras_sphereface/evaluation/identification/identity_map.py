"""Which identity each image shows, read from lists, folders, records or pairs."""

import os
from collections.abc import Iterable
from pathlib import Path

from keras_sphereface.data import records
from keras_sphereface.data.folders import instead_of_class_folders
from keras_sphereface.data.keys import canonical_name
from keras_sphereface.data.readers import class_folders, list_file
from keras_sphereface.data.types import ImageRecord
from keras_sphereface.utils.text import numbered_lines

IdentityMap = dict[str, str]  # {key of an image or name of a template: identity}


def read_identity_list(
    path: str | os.PathLike, columns: str = "", images: str | os.PathLike = ""
) -> IdentityMap:
    """Read a list with a line `path<TAB or space>identity` for each image or template.

    Other layouts of lists of images are recognized, as `read_list_file` does.

    Args:
        path: The list.
        columns: Str. Names of the columns, `path`, `label` and any other; "": recognize them.
        images: Folder of the images, in which paths are looked up to recognize columns; "": they
            are not.

    Raises:
        ValueError: With file and line, if a line has another form or a key has two identities.
    """
    identities: IdentityMap = {}
    root = Path(images) if images else None
    layout = list_file.find_list_layout(path, numbered_lines(path), root, columns)
    for number, key, identity in list_file.list_entries(path, layout, numbered_lines(path)):
        if identities.setdefault(key, identity) != identity:
            raise ValueError(
                f"{path}, line {number}: an image must have one identity. Received: {identity} "
                f"for {key}, which has {identities[key]} on a line above"
            )
    if not identities:
        raise ValueError(f"{path}, line 1: expected `path<TAB or space>identity`. Received: none")
    return identities


def identities_of_folders(root: str | os.PathLike, flag: str = "images") -> IdentityMap:
    """Return the images of class folders ROOT/IDENTITY/IMAGE, in the order of their keys.

    Args:
        root: Folder of the class folders.
        flag: Name of the setting, for messages.

    Raises:
        FileNotFoundError: If there is no folder.
        ValueError: If it holds no class folder with an image.

    Example:
        >>> len(identities_of_folders("faces/images"))
        114
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"`{flag}` must be a folder. Received: {root}")
    # Links may lead anywhere: people gather the folders of a test from others by links.
    found = class_folders.read_class_folders(root, follow_links=True)
    entries = [entry for entry in found if isinstance(entry, ImageRecord)]
    if not entries:
        raise ValueError(
            f"`{flag}` must hold a folder of images for each person. Received: {root}. "
            + instead_of_class_folders(root)
        )
    return dict(sorted((entry.key, str(entry.identity)) for entry in entries))


def identities_of_records(folder: str | os.PathLike) -> IdentityMap:
    """Return the images of a folder of records, in the order of their keys."""
    return dict(sorted((record.key, record.identity) for record in records.read_folder(folder)))


def select_identities(identity_map: IdentityMap, identities: Iterable[str]) -> IdentityMap:
    """Return the images of these identities, compared in one Unicode form."""
    selected = set(map(canonical_name, identities))
    return {key: n for key, n in identity_map.items() if canonical_name(n) in selected}


def exclude_identities(identity_map: IdentityMap, identities: Iterable[str]) -> IdentityMap:
    """Return the images of all other identities."""
    excluded = set(map(canonical_name, identities))
    return {key: n for key, n in identity_map.items() if canonical_name(n) not in excluded}
