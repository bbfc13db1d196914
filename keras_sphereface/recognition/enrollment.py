"""Saved embeddings (.npz) and the identity of each, for a gallery to enroll."""

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sphereface.data.filenames import without_image_suffix
from keras_sphereface.data.keys import matched_keys
from keras_sphereface.data.readers import list_file
from keras_sphereface.utils.npz import read_npz
from keras_sphereface.utils.text import numbered_lines


@dataclasses.dataclass(frozen=True)
class Enrollment:
    """Embeddings of N images with their identities.

    Attributes:
        identities: N names.
        embeddings: (N, D); that of the image joined with that of its mirror image, if there is one.
        sources: N texts that tell the images apart; None: not known.
        quality: (N,), nan where unknown; None: not known.
        fingerprint: That of the model; "": not known.
    """

    identities: list[str]
    embeddings: np.ndarray
    sources: list[str] | None = None
    quality: np.ndarray | None = None
    fingerprint: str = ""

    def by_identity(self) -> dict[str, np.ndarray]:
        """Return {name: rows of its embeddings}, in the order in which the names first occur."""
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.identities):
            rows.setdefault(name, []).append(row)
        return {name: np.array(of_name) for name, of_name in rows.items()}


def read_enrollment(path: str | os.PathLike, identity_list: str | os.PathLike = "") -> Enrollment:
    """Read embeddings that `sphereface evaluate --save-embeddings` or `Gallery.export` wrote.

    Args:
        path: Path of an .npz file: `keys` (N,), `embeddings` (N, D) and maybe `mirrored` (N, D),
            `identities` (N,), `sources` (N,), `quality` (N,) and `fingerprint`.
        identity_list: List with lines `key identity`; images that are not on it are left out. "":
            the identity is that of the file, or else the folder in the key, `IDENTITY/IMAGE`.

    Raises:
        ValueError: If the file has another form, or an image has no identity.
    """
    arrays = read_npz(path, _form_error)
    keys, rows = arrays.get("keys"), arrays.get("embeddings")
    if keys is None or rows is None or keys.dtype.kind != "U" or keys.ndim != 1:
        raise _form_error(path, _shapes(arrays))
    if "mirrored" in arrays and rows.shape == arrays["mirrored"].shape:
        rows = np.concatenate([rows, arrays["mirrored"]], axis=-1)
    if rows.dtype.kind != "f" or rows.ndim != 2 or len(rows) != len(keys):
        raise _form_error(path, _shapes(arrays))
    of_images = {
        name: arrays[name] for name in ("identities", "sources", "quality") if name in arrays
    }
    if any(array.shape != keys.shape for array in of_images.values()):
        raise _form_error(path, _shapes(arrays))
    identities = _identities(keys.tolist(), of_images.get("identities"), path, identity_list)
    kept = np.array([i for i, name in enumerate(identities) if name is not None], np.int64)
    return Enrollment(
        [name for name in identities if name is not None],
        rows[kept],
        [str(source) for source in of_images["sources"][kept]] if "sources" in of_images else None,
        of_images["quality"][kept] if "quality" in of_images else None,
        str(arrays.get("fingerprint", "")),
    )


def _identities(
    keys: list[str],
    of_file: np.ndarray | None,
    path: str | os.PathLike,
    identity_list: str | os.PathLike,
) -> list[str | None]:
    """The identity of each key; None: to be left out."""
    if identity_list:
        return listed_identities(keys, identity_list, path)
    if of_file is not None:
        return [str(name) for name in of_file]
    return list(folder_identities(keys, path))


def listed_identities(
    keys: Sequence[str], identity_list: str | os.PathLike, place: str | os.PathLike
) -> list[str | None]:
    """Return the identity of each key by a list with lines `key identity`; None: not on the list.

    Args:
        keys: Keys of images.
        identity_list: The list.
        place: Where the keys come from, for messages.

    Raises:
        ValueError: If an image of the list is not among the keys.
    """
    layout = list_file.find_list_layout(identity_list, numbered_lines(identity_list), None)
    lines = list_file.list_entries(identity_list, layout, numbered_lines(identity_list))
    listed = {key: identity for _, key, identity in lines}
    name_of = matched_keys(listed, keys)  # {key of the list: key of the file}
    if missing := [key for key in listed if key not in name_of]:
        raise ValueError(
            f"Every image of the list must be in {place}. Received: {len(missing)} of "
            f"{len(listed)} that are not, the first is {missing[0]}"
        )
    identity_of = {name_of[key]: identity for key, identity in listed.items()}
    return [identity_of.get(key) for key in keys]


def folder_identities(keys: Sequence[str], place: str | os.PathLike) -> list[str]:
    """Return the identity of each key IDENTITY/IMAGE.

    Raises:
        ValueError: If a key has no folder.
    """
    without = [key for key in keys if "/" not in key.strip("/")]
    if without:
        raise ValueError(
            "Keys must be IDENTITY/IMAGE, or a list must give the identities: --identities FILE. "
            f"Received: {place} with the key {without[0]}"
        )
    return [key.split("/")[-2] for key in keys]


def identity_of_file_name(key: str) -> str:
    """Return the identity that a file is named after: its name without suffix and number.

    Example:
        >>> [identity_of_file_name(key) for key in ("ada 2.jpg", "x/Ada_0002.png", "ada (2).webp")]
        ['ada', 'Ada', 'ada']
    """
    stem = without_image_suffix(key.rsplit("/", 1)[-1])
    # A name that is a number stays one.
    named = re.fullmatch(r"(.*?[^\d\s_.()-].*?)[\s_.-]*\(?\d*\)?", stem)
    return named[1] if named else stem


def _shapes(arrays: dict[str, np.ndarray]) -> str:
    return str({name: f"{array.dtype} {array.shape}" for name, array in arrays.items()})


def _form_error(path: str | os.PathLike, received: Any) -> ValueError:
    return ValueError(
        f"{path} must be an .npz file with `keys` (N,) of text and `embeddings` (N, D) of floats, "
        "as `sphereface evaluate --save-embeddings` and `sphereface gallery export` write it. "
        f"Received: {received}"
    )
