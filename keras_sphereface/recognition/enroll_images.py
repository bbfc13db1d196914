"""Images enrolled into a gallery, one by one: refused ones are left out with their reason."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_sphereface.recognition.enroll_files import EnrollmentCounts
from keras_sphereface.recognition.enrollment import (
    folder_identities,
    identity_of_file_name,
    listed_identities,
)
from keras_sphereface.recognition.face_finder import FaceFinder, images_below
from keras_sphereface.recognition.face_recognizer import BATCH_SIZE
from keras_sphereface.recognition.faces import Face
from keras_sphereface.recognition.gallery import Gallery
from keras_sphereface.recognition.input_images import DoubtfulImageError, read_content
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.text import counted


class ImageToEnroll(NamedTuple):
    """An image, and who is on it.

    Attributes:
        identity: Name of the identity.
        name: Name of the image, for landmarks and messages.
        path: Its path.
    """

    identity: str
    name: str
    path: Path


@dataclasses.dataclass(frozen=True)
class EnrolledImages:
    """What an enrollment of images has done.

    Attributes:
        counts: What has changed in the gallery.
        refused: {name of an image: reason} of those that were left out.
        warnings: {name of an image: what is doubtful} of those that were enrolled all the same.
    """

    counts: EnrollmentCounts
    refused: dict[str, str]
    warnings: dict[str, str]

    def describe(self) -> str:
        """Return the counts in words."""
        return f"{self.counts.describe()}; {counted(len(self.refused), 'image')} refused"


class _Waiting(NamedTuple):
    """An image whose face is to be embedded."""

    image: ImageToEnroll
    source: str
    face: Face
    content: bytes


def images_to_enroll(
    paths: Sequence[str | os.PathLike],
    identity: str = "",
    identity_list: str | os.PathLike = "",
    by_file_name: bool = False,
) -> list[ImageToEnroll]:
    """Return the images of folders and files with their identities.

    Args:
        paths: With `identity` images, or folders of them; without, folders with a folder for each
            identity.
        identity: The identity of all images; "": each has that of its folder.
        identity_list: List with lines `path identity` in place of the names of folders; images
            that are not on it are left out. "": no list.
        by_file_name: Bool. True to take the identity of each image from its name, without suffix
            and number, in place of the folder's.

    Raises:
        ValueError: If a folder has no images, or an image no identity.
    """
    images: list[ImageToEnroll] = []
    for path in map(Path, paths):
        if not path.is_dir():
            name = identity_of_file_name(path.name) if by_file_name else identity
            if not name:
                raise ValueError(
                    "Images must be in a folder for each identity, be named after it "
                    "(--by-file-name), or all be of one: --name NAME. "
                    f"Received: {path}, a file without either"
                )
            images.append(ImageToEnroll(name, str(path), path))
            continue
        keys = images_below(path)
        if identity:
            identities: Sequence[str | None] = [identity] * len(keys)
        elif identity_list:
            identities = listed_identities(keys, identity_list, path)
        elif by_file_name:
            identities = [identity_of_file_name(key) for key in keys]
        else:
            identities = folder_identities(keys, path)
        images += [
            ImageToEnroll(name, key, path / key)
            for key, name in zip(keys, identities, strict=True)
            if name is not None
        ]
    return images


def enroll_images(
    gallery: Gallery,
    finder: FaceFinder,
    images: Sequence[ImageToEnroll],
    batch_size: int = BATCH_SIZE,
    keep_images: bool = False,
) -> EnrolledImages:
    """Enroll the faces of images; what is enrolled already is neither read twice nor embedded.

    Each batch is confirmed when it is embedded: after an interruption the same call goes on. The
    source of a template is the digest of its file, its quality the length |x| of its embedding.

    Args:
        gallery: The open gallery.
        finder: The recognizer with the choice of the face of each image.
        images: The images.
        batch_size: Int >= 1. Faces embedded at once.
        keep_images: Bool. True to keep the files in the gallery.

    Raises:
        ValueError: If all images are refused, or the gallery is of another model.
    """
    refused: dict[str, str] = {}
    warnings: dict[str, str] = {}
    num_added = num_present = 0
    enrolled: set[str] = set()
    batch: list[_Waiting] = []

    def enroll_batch() -> None:
        nonlocal num_added
        num_added += _enroll(gallery, finder, batch, warnings, refused, keep_images)
        enrolled.update(one.image.identity for one in batch if one.image.name not in refused)
        batch.clear()

    with progress_bar(images, desc="enrolling", unit="image") as bar:
        for waiting in _faces_of(gallery, finder, bar, refused, enrolled):
            if waiting is None:
                num_present += 1
                continue
            batch.append(waiting)
            if len(batch) == batch_size:
                enroll_batch()
        if batch:
            enroll_batch()
    if images and not enrolled:
        name, reason = next(iter(refused.items()))
        raise ValueError(
            f"An image with a face is needed. Received: {counted(len(images), 'image')}, all "
            f"refused, the first, {name}: {reason}"
        )
    return EnrolledImages(
        EnrollmentCounts(len(enrolled), num_added, num_present), refused, warnings
    )


def _faces_of(
    gallery: Gallery,
    finder: FaceFinder,
    images: Iterable[ImageToEnroll],
    refused: dict[str, str],
    enrolled: set[str],
) -> Iterator[_Waiting | None]:
    """Yield the faces to embed, and None for each image that is enrolled already.

    Images without a usable face are added to `refused`, identities found in the gallery to
    `enrolled`.
    """
    identity_of: dict[str, str] = {}
    sources: dict[str, set[str]] = {}
    for image in images:
        try:
            content = read_content(image.path, image.name)
            source = f"sha256:{hashlib.sha256(content).hexdigest()}"
            other = identity_of.setdefault(source, image.identity)
            if other != image.identity:
                raise DoubtfulImageError(image.name, f"the same image is given as {other}")
            if image.identity not in sources:
                sources[image.identity] = gallery.sources(image.identity)
            if source in sources[image.identity]:
                enrolled.add(image.identity)
                yield None
                continue
            face = finder.face(content, image.name)
        except DoubtfulImageError as error:
            refused[image.name] = error.reason
            continue
        sources[image.identity].add(source)
        yield _Waiting(image, source, face, content)


def _enroll(
    gallery: Gallery,
    finder: FaceFinder,
    batch: Sequence[_Waiting],
    warnings: dict[str, str],
    refused: dict[str, str],
    keep_images: bool,
) -> int:
    """Embed and enroll a batch in one transaction; return the number of templates added."""
    given = [one.face for one in batch]
    views = finder.recognizer.views_of(given)
    faces = finder.recognizer.judged_faces(given, views)
    # With their lengths, as saved embeddings: these count in the mean of several templates.
    rows = views.reshape(len(views), -1)
    added = 0
    with gallery.transaction():
        for waiting, row, face in zip(batch, rows, faces, strict=True):
            reason = "; ".join(face.quality.warnings)
            if reason and finder.strict:
                refused[waiting.image.name] = reason
                continue
            added += gallery.enroll(
                waiting.image.identity,
                row[None],
                sources=[waiting.source],
                quality=[face.quality.norm or 0.0],
                images=[waiting.content] if keep_images else None,
            )
            if reason:
                warnings[waiting.image.name] = reason
    return added
