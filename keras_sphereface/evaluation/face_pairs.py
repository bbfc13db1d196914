"""Pairs of faces to verify, and where the faces come from: images, records or a `.bin`."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sphereface.data import alignment, images, records
from keras_sphereface.data.landmarks import line_of, read_landmarks
from keras_sphereface.data.pairs import insightface_bin, lfw, pair_list
from keras_sphereface.data.pairs.templates import read_templates
from keras_sphereface.data.readers import filenames

NO_IMAGE, NO_LANDMARKS = "no such image", "no landmarks"
Load = Callable[[str], np.ndarray]  # key -> uint8 (H, W, 3)


class MissingFaceError(ValueError):
    """A face is not to be had; the message says why."""


class Faces(NamedTuple):
    """How to get a face by its key.

    Attributes:
        load: as the network should see it.
        crop: without alignment, where `load` aligns by landmarks; else None.
    """

    load: Load
    crop: Load | None = None


class PairSources(NamedTuple):
    """The files of a set of pairs; either `bin`, or `pairs` with what holds their faces."""

    pairs: str = ""
    images: str = ""
    landmarks: str = ""
    records: str = ""
    templates: str = ""
    bin: str = ""

    @property
    def name(self) -> str:
        """A short name, for tables and folders."""
        path = Path(self.bin or self.pairs)
        # LFW's list is called pairs.txt by everyone: the folder tells more.
        return path.stem if self.bin or path.stem != "pairs" else path.resolve().parent.name


class PairDataset(NamedTuple):
    """Pairs of faces, and how to get a face by its key.

    Attributes:
        pairs: of keys of images or of names of templates.
        faces: None where there is nothing but saved embeddings.
        templates: {name: [(key of an image, its medium)]} of names that are not keys.
        file: where the pairs stand, for errors.
        has_names: whether the first folder of a key, or of a template's name, is a person's name.
    """

    pairs: lfw.Pairs
    faces: Faces | None
    templates: Mapping[str, Sequence[tuple[str, str]]]
    file: str
    has_names: bool

    def keys(self) -> list[str]:
        """The keys of all images that the pairs need, each once, sorted."""
        names_or_keys = self.pairs.keys()
        if not self.templates:
            return names_or_keys
        needed = {key for key in names_or_keys if key not in self.templates}
        needed.update(key for entries in self.templates.values() for key, _ in entries)
        return sorted(needed)


def face_set(
    paths: PairSources, image_size: tuple[int, int], folds: Iterable[int] = ()
) -> PairDataset:
    """Read the pairs, and prepare for their faces of `image_size`, (height, width).

    Args:
        paths: the files.
        image_size: of the faces.
        folds: only these; all if empty.

    Raises:
        FileNotFoundError, ValueError: if the files do not fit together or one is not as it
            should be.
    """
    found = read_set(paths, folds)
    return found._replace(faces=faces_of_set(paths, found.keys(), image_size))


def read_set(paths: PairSources, folds: Iterable[int] = (), num_folds: int = 10) -> PairDataset:
    """As `face_set`, but without the faces; a set that names no folds is cut into `num_folds`."""
    _check_paths(paths)
    if paths.bin:
        pairs = _in_folds(
            insightface_bin.pairs_from_bin(*insightface_bin.read_bin(paths.bin), paths.bin, num_folds),
            folds,
            paths.bin,
        )
        return PairDataset(pairs, None, {}, paths.bin, has_names=False)
    pairs = _in_folds(pair_list.read_pair_list(paths.pairs, num_folds), folds, paths.pairs)
    named = not paths.templates and _are_named(pairs)
    return PairDataset(pairs, None, _templates(paths, pairs), paths.pairs, named)


def _in_folds(pairs, folds, file):
    try:
        return pairs.in_folds(folds)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def check_files(paths: PairSources) -> None:
    """Read what tells that faces can be opened, so that a mistake shows before long work.

    Raises:
        FileNotFoundError, ValueError: if folder, landmarks or records cannot be used.
    """
    if paths.records:
        records.read_info(paths.records)
    if paths.images and not Path(paths.images).is_dir():
        raise FileNotFoundError(f"`images` must be a folder. Received: {paths.images}")
    if paths.landmarks:
        read_landmarks(paths.landmarks)


def faces_of_set(
    paths: PairSources, keys: Sequence[str], image_size: tuple[int, int]
) -> Faces | None:
    """The faces of the images of a set; None where there is nothing but pairs."""
    if paths.bin:
        encoded, _ = insightface_bin.read_bin(paths.bin)
        return _encoded_faces(lambda key: encoded[int(key)], image_size)
    if not (paths.images or paths.records):
        return None
    return open_faces(paths, keys, image_size)


def open_faces(paths: PairSources, keys: Sequence[str], image_size: tuple[int, int]) -> Faces:
    """The faces of images in a folder or in records, in `image_size`.

    Raises:
        FileNotFoundError, ValueError: if folder, landmarks or records cannot be used.
    """
    if paths.records:
        wanted = set(keys)
        kept = {r.key: r.image for r in records.read_folder(paths.records) if r.key in wanted}
        return _encoded_faces(kept.__getitem__, image_size)
    check_files(paths._replace(landmarks=""))
    root = Path(paths.images)
    cropped = _encoded_faces(lambda key: (root / key).read_bytes(), image_size)
    if not paths.landmarks:
        return cropped
    landmarks = read_landmarks(paths.landmarks)

    def align(key):
        if key not in landmarks:
            raise MissingFaceError(NO_LANDMARKS if (root / key).is_file() else NO_IMAGE)
        image = _decoded(lambda key: (root / key).read_bytes(), key)
        try:
            return _aligned(image, landmarks[key], image_size)
        except ValueError as error:
            line = line_of(paths.landmarks, key)
            raise ValueError(f"{paths.landmarks}, line {line}, {key}: {error}") from None

    return Faces(align, cropped.load)


def _are_named(pairs):
    """Whether the folders of all pairs agree with whether they match."""
    both = zip(pairs.first, pairs.second, pairs.is_same, strict=True)
    return all((lfw.identity_of_key(a) == lfw.identity_of_key(b)) == same for a, b, same in both)


def _aligned(image, points, size):
    height, width = image.shape[:2]
    middle = points.mean(axis=0)
    # Single points may lie outside: faces are cut by the border.
    if not (0 <= middle[0] <= width and 0 <= middle[1] <= height):
        raise ValueError(
            f"the face must lie in the image of {width} x {height} pixels. "
            f"Received: points around ({middle[0]:.0f}, {middle[1]:.0f})"
        )
    return alignment.align(image, points, size)


def _encoded_faces(read: Callable[[str], bytes], size: tuple[int, int]) -> Faces:
    def load(key):
        image = _decoded(read, key)
        return image if image.shape[:2] == size else images.crop_to(image, size)

    return Faces(load)


def _decoded(read, key):
    try:
        return images.decode(read(key))
    except (FileNotFoundError, NotADirectoryError, KeyError):
        raise MissingFaceError(NO_IMAGE) from None
    except OSError as error:
        raise MissingFaceError(f"cannot be read: {error.strerror}") from None
    except images.UnreadableImageError as error:
        raise MissingFaceError(f"cannot be read: {error}") from None


def _check_paths(paths):
    one_source = not (paths.images and paths.records)
    landmarks_fit = bool(paths.images) or not paths.landmarks
    from_pairs = bool(paths.pairs) and one_source and landmarks_fit and not paths.bin
    from_bin = bool(paths.bin) and not any(paths._replace(bin=""))
    if not (from_bin or from_pairs):
        raise ValueError(
            "A set is either `bin` alone, or `pairs` with one of `images` (and their `landmarks`) "
            f"and `records`. Received: { ({k: v for k, v in paths._asdict().items() if v}) }"
        )


def _templates(paths, pairs):
    """{name: [(key, medium)]}: of the list of templates, and of folders that pairs name."""
    wanted = pairs.keys()
    if paths.templates:
        known = read_templates(paths.templates)
        if unknown := [name for name in wanted if name not in known]:
            raise ValueError(
                f"{paths.pairs}: every name must be a template of {paths.templates}. Received: "
                f"{unknown[0]!r}, the first of {len(unknown)}"
            )
        return {name: known[name] for name in wanted}
    root = Path(paths.images)
    others = [name for name in wanted if not filenames.is_image_name(name)]
    folders = [name for name in others if paths.images and (root / name).is_dir()]
    if not folders:
        return {}
    found = {name: _images_of(root, name) for name in folders}
    return {**{name: [(name, "")] for name in wanted}, **found}


def _images_of(root, folder):
    """All images of a folder are one template, and one medium: a video."""
    files = sorted(os.listdir(root / folder))
    return [(f"{folder}/{file}", "") for file in files if filenames.is_image_name(file)]
