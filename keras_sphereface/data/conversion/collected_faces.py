"""What a conversion without a manifest knows of its faces when all are prepared."""

import collections
import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from keras_sphereface.data.conversion import steps
from keras_sphereface.data.conversion.ordering import rank_of


class CollectedFace(NamedTuple):
    """A face whose record is written; faces sort as the records of a conversion do.

    Attributes:
        rank: Int. Place of its key in the shuffle.
        key, identity: Str. Of the image.
        digest: Bytes. Equal only for images whose sources have the same bytes.
        findings: Int. Bits of `face_measures.KINDS`; None: it was not measured.
        hash: Bytes. Alike for faces that look alike; None without the package `ImageHash`.
    """

    rank: int
    key: str
    identity: str
    digest: bytes
    findings: int | None
    hash: bytes | None


def collected_face(prepared: steps.PreparedFace, seed: int) -> CollectedFace:
    """Return what is collected of a face, without its image."""
    image, face = prepared
    findings, hash_of_face = face.quality or (None, None)
    rank = rank_of(image.key, seed)
    return CollectedFace(rank, image.key, image.identity, face.digest, findings, hash_of_face)


class CollectedFaces:
    """The faces of a conversion in memory, in the order of their records.

    It tells `assess_quality` what the manifest tells of a conversion on this machine.

    Args:
        faces: All faces, in any order.
        has_detected: Bool. Whether landmarks were detected.
    """

    def __init__(self, faces: Iterable[CollectedFace], has_detected: bool) -> None:
        self._faces = sorted(faces, key=lambda face: (face.rank, face.key))
        self.has_detected = has_detected

    @property
    def num_measured(self) -> int:
        return sum(face.findings is not None for face in self._faces)

    @property
    def num_hashed(self) -> int:
        return sum(face.hash is not None for face in self._faces)

    def count_findings(self, bit: int) -> int:
        """Return the number of images with a finding, one bit of their findings."""
        return sum(1 for _ in self._with(bit))

    def keys_with(self, bit: int, limit: int) -> list[str]:
        """Return the keys of the first images with a finding, which are a random sample."""
        return [key for key, _ in zip(self._with(bit), range(limit), strict=False)]

    def duplicates(self) -> Iterator[steps.Duplicate]:
        """Yield the images with the same bytes, group by group."""
        copies = (sorted((f.key, f.identity) for f in group) for group in self._copies.values())
        return steps.group_duplicates(group for group in copies if len(group) > 1)

    def single_images(self, limit: int) -> tuple[int, list[str]]:
        """Return the number of identities with one image, and the keys of some of these."""
        counts = collections.Counter(face.identity for face in self._faces)
        single = sorted(face.key for face in self._faces if counts[face.identity] == 1)
        return len(single), single[:limit]

    def hashes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return positions (N,) and hashes (N, bytes) of the faces, of equal sources one."""
        first = {group[0] for group in self._copies.values()}
        hashed = [(i, face.hash) for i, face in enumerate(self._faces) if face in first]
        hashes = np.frombuffer(b"".join(each or b"" for _, each in hashed), np.uint8)
        shape = len(hashed), -1 if hashed else 0
        return np.array([i for i, _ in hashed], np.int64), hashes.reshape(shape)

    def names_at(self, positions: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Return {position: (key, identity)} of the images at these positions."""
        return {at: (self._faces[at].key, self._faces[at].identity) for at in positions}

    def _with(self, bit: int) -> Iterator[str]:
        return (face.key for face in self._faces if (face.findings or 0) & bit)

    @functools.cached_property
    def _copies(self) -> dict[bytes, list[CollectedFace]]:
        groups: dict[bytes, list[CollectedFace]] = {}
        for face in self._faces:
            groups.setdefault(face.digest, []).append(face)
        return groups
