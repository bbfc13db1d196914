"""Sets of pairs to verify: which files they come from, and reading them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_sphereface.data import filenames
from keras_sphereface.data.pairs import insightface_bin, lfw, pair_list
from keras_sphereface.data.pairs.templates import read_template_identities, read_templates
from keras_sphereface.evaluation.faces import Faces, FaceSources, encoded_faces, open_faces

Templates = Mapping[str, Sequence[tuple[str, str]]]


class PairSources(NamedTuple):
    """Paths of a set of pairs: either `bin`, or `pairs` with the source of their faces.

    Attributes:
        pairs: LFW's pairs.txt, or another list that `read_pair_list` reads.
        images: Folder of the images.
        landmarks: Lines of a key and five points; with it every face is aligned.
        records: Folder of records with the images, instead of `images`.
        templates: Lines `path template [medium]`, or csv with named columns, or a folder of such
            csv; the pairs are of templates.
        bin: Verification set in InsightFace's form (.bin).
        landmark_columns: Names of the columns of `landmarks`; "": find them out.
        pair_columns: Names of the columns of `pairs`; "": recognize them.
        detector: What finds the faces of `images`, in place of landmarks; "": nothing.
        policy: Choice of the face of an image with several.

    Example:
        >>> PairSources(pairs="lfw/pairs.txt", images="lfw/images").name
        'lfw'
    """

    pairs: str = ""
    images: str = ""
    landmarks: str = ""
    records: str = ""
    templates: str = ""
    bin: str = ""
    landmark_columns: str = ""
    pair_columns: str = ""
    detector: str = ""
    policy: str = "center"

    @property
    def file(self) -> str:
        """Path of the pairs."""
        return self.bin or self.pairs

    @property
    def name(self) -> str:
        """Short name for tables and folders."""
        path = Path(self.file)
        if self.bin or path.stem != "pairs":
            return path.stem
        # Every copy of LFW's list is called pairs.txt: its folder is the better name, or that of
        # the images where the list lies in the folder that one works in.
        folder, faces = path.parent, self.images or self.records
        if folder == Path() and faces:
            folder = Path(faces)
            folder = folder.parent if folder.name == "images" else folder
        return folder.resolve().name

    @property
    def faces(self) -> FaceSources:
        """Paths of the faces; all empty for a `bin`."""
        return FaceSources(
            self.images,
            self.landmarks,
            self.records,
            self.landmark_columns,
            self.detector,
            self.policy,
        )

    @property
    def has_faces(self) -> bool:
        """Return whether there are faces, not only pairs of keys."""
        return bool(self.images or self.records or self.bin)


class PairDataset(NamedTuple):
    """Pairs of faces, and how to load a face by its key.

    Attributes:
        pairs: Pairs of keys of images, or of names of templates.
        faces: Loaders of the faces; None without faces or before they are opened.
        templates: {name: [(key of an image, its medium)]} of names that are not keys.
        file: Path of the pairs, for error messages.
        has_names: Whether keys name the identity: by their first folder, or as `name_0001.jpg`.

    Example:
        >>> sources = PairSources("faces/pairs.txt", "faces/images", "faces/landmarks.txt")
        >>> dataset = load_pair_dataset(sources, (112, 96), folds=(1, 2))
        >>> len(dataset.pairs.first), dataset.has_names
        (16, True)
    """

    pairs: lfw.Pairs
    faces: Faces | None
    templates: Templates
    file: str
    has_names: bool

    def keys(self) -> list[str]:
        """Return the keys of all images that the pairs need, each once, sorted."""
        names_or_keys = self.pairs.keys()
        if not self.templates:
            return names_or_keys
        needed = {key for key in names_or_keys if key not in self.templates}
        needed.update(key for entries in self.templates.values() for key, _ in entries)
        return sorted(needed)


def load_pair_dataset(
    sources: PairSources, image_size: tuple[int, int], folds: Iterable[int] = ()
) -> PairDataset:
    """Read pairs and open their faces.

    Args:
        sources: Paths of the pairs and of their faces.
        image_size: (height, width) of the faces in pixels.
        folds: Numbers of the folds to read, from 1; all if empty.

    Raises:
        FileNotFoundError, ValueError: If the files do not fit together, or one has another form.

    Example:
        >>> sources = PairSources("faces/pairs.txt", "faces/images", "faces/landmarks.txt")
        >>> dataset = load_pair_dataset(sources, (112, 96))
        >>> dataset.faces.load(dataset.keys()[0]).shape
        (112, 96, 3)
    """
    dataset = read_pair_dataset(sources, folds)
    return dataset._replace(faces=open_dataset_faces(sources, dataset.keys(), image_size))


def read_pair_dataset(
    sources: PairSources, folds: Iterable[int] = (), num_folds: int = 10
) -> PairDataset:
    """Read pairs without their faces; pairs that name no folds are cut into `num_folds`.

    Args:
        sources: Paths of the pairs and of their faces.
        folds: Numbers of the folds to read, from 1; all if empty.
        num_folds: Int. Number of folds of pairs that name none, as in a .bin.

    Raises:
        FileNotFoundError, ValueError: If the files do not fit together, or one has another form.

    Example:
        >>> dataset = read_pair_dataset(PairSources("faces/pairs.txt"), folds=(1, 2))
        >>> len(dataset.pairs.first), dataset.faces is None
        (16, True)
    """
    _check_sources(sources)
    if sources.bin:
        encoded, is_same = insightface_bin.read_bin(sources.bin)
        pairs = insightface_bin.pairs_from_bin(encoded, is_same, sources.bin, num_folds)
    else:
        pairs = pair_list.read_pair_list(
            sources.pairs,
            num_folds,
            sources.pair_columns,
            sources.images,
            lambda: read_template_identities(sources.templates) if sources.templates else {},
        )
    try:
        pairs = pairs.in_folds(folds)
    except ValueError as error:
        raise ValueError(f"{sources.file}: {error}") from None
    if sources.bin:
        return PairDataset(pairs, None, {}, sources.bin, has_names=False)
    has_names = not sources.templates and pairs.share_of_named() == 1
    return PairDataset(pairs, None, _templates(sources, pairs), sources.pairs, has_names)


def open_dataset_faces(
    sources: PairSources, keys: Sequence[str], image_size: tuple[int, int]
) -> Faces | None:
    """Open the faces of pairs, in `image_size`; None where the sources are pairs alone."""
    if sources.bin:
        encoded, _ = insightface_bin.read_bin(sources.bin)
        return encoded_faces(lambda key: encoded[int(key)], image_size)
    return open_faces(sources.faces, keys, image_size) if sources.has_faces else None


def _check_sources(sources: PairSources) -> None:
    one_source = not (sources.images and sources.records)
    landmarks_fit = bool(sources.images) or not sources.landmarks
    from_pairs = bool(sources.pairs) and one_source and landmarks_fit and not sources.bin
    given = {k: v for k, v in sources._replace(policy="")._asdict().items() if v}
    from_bin = given.keys() == {"bin"}
    if not (from_bin or from_pairs):
        raise ValueError(
            "A set is either `bin` alone, or `pairs` with one of `images` (and their `landmarks`) "
            f"and `records`. Received: {given}"
        )


def _templates(sources: PairSources, pairs: lfw.Pairs) -> Templates:
    """Return the entries of the list of templates, and of folders that pairs name."""
    wanted = pairs.keys()
    if sources.templates:
        templates = read_templates(sources.templates)
        if unknown := [name for name in wanted if name not in templates]:
            raise ValueError(
                f"{sources.pairs}: every name must be a template of {sources.templates}. "
                f"Received: {unknown[0]!r}, the first of {len(unknown)}"
            )
        return {name: templates[name] for name in wanted}
    root = Path(sources.images)
    others = [name for name in wanted if not filenames.is_image_name(name)]
    folders = [name for name in others if sources.images and (root / name).is_dir()]
    if not folders:
        return {}
    of_folders = {name: _images_of(root, name) for name in folders}
    return {**{name: [(name, "")] for name in wanted}, **of_folders}


def _images_of(root: Path, folder: str) -> list[tuple[str, str]]:
    """Return all images of a folder as one template of one medium: a video."""
    files = sorted(os.listdir(root / folder))
    return [(f"{folder}/{file}", "") for file in files if filenames.is_image_name(file)]
