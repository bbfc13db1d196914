"""Files of embeddings enrolled into a gallery, all or none."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from keras_sphereface.recognition.enrollment import Enrollment, read_enrollment
from keras_sphereface.recognition.gallery import Gallery
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.text import counted


@dataclasses.dataclass(frozen=True)
class EnrollmentCounts:
    """What an enrollment has changed.

    Attributes:
        num_identities: Number of identities in the files.
        num_added: Number of templates that were added.
        num_present: Number of templates that were in the gallery already.
    """

    num_identities: int
    num_added: int
    num_present: int

    def describe(self) -> str:
        """Return the counts in words."""
        identities = counted(self.num_identities, "identity")
        text = f"{counted(self.num_added, 'template')} of {identities} enrolled"
        return f"{text}; {self.num_present} were there already" if self.num_present else text


def enroll_files(
    gallery: Gallery, paths: Sequence[str | os.PathLike], identity_list: str | os.PathLike = ""
) -> EnrollmentCounts:
    """Enroll the embeddings of .npz files in one transaction.

    Args:
        gallery: The open gallery.
        paths: Files, as `read_enrollment` takes them.
        identity_list: As there.

    Raises:
        ValueError: If a file cannot be used, or comes from another model; then nothing is enrolled.
    """
    enrollments = [read_enrollment(path, identity_list) for path in paths]
    for path, enrollment in zip(paths, enrollments, strict=True):
        if enrollment.fingerprint not in ("", gallery.fingerprint):
            raise ValueError(
                f"The embeddings of {path} come from another model than those of the gallery, and "
                f"cannot be compared. Received: {enrollment.fingerprint}; the gallery has "
                f"{gallery.fingerprint}"
            )
    total = sum(len(enrollment.identities) for enrollment in enrollments)
    names: set[str] = set()
    added = 0
    with gallery.transaction(), progress_bar(total=total, desc="enrolling", unit="image") as bar:
        for enrollment in enrollments:
            for name, rows in enrollment.by_identity().items():
                added += _enroll(gallery, name, enrollment, rows)
                names.add(name)
                bar.update(len(rows))
    return EnrollmentCounts(len(names), added, total - added)


def _enroll(gallery: Gallery, name: str, enrollment: Enrollment, rows: np.ndarray) -> int:
    sources, quality = enrollment.sources, enrollment.quality
    return gallery.enroll(
        name,
        enrollment.embeddings[rows],
        sources=None if sources is None else [sources[row] for row in rows],
        quality=None if quality is None else quality[rows],
    )
