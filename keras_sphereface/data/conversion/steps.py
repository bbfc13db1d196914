"""Steps that the conversion on this machine and the one on Beam share: pure functions."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from keras_sphereface.data.conversion.exclusions import Exclusions
from keras_sphereface.data.conversion.ordering import label_order
from keras_sphereface.data.conversion.prepare import NO_LANDMARKS, EncodedFace, Preparation
from keras_sphereface.data.keys import folded_name
from keras_sphereface.data.tfrecord import Record, serialize
from keras_sphereface.data.types import ImageRecord, SkippedImage
from keras_sphereface.utils.text import counted

BLOCK_SIZE = 64  # images that are prepared in one call
SAME_KEY = "another image has the same key"
SAME_IDENTITY, SEVERAL_IDENTITIES = "same identity", "several identities"
# 100 to 200 MB a shard: large enough to read in one go, small enough to move and to shuffle.
SHARD_BYTES = 150_000_000
MAX_SHARD_BYTES = 195_000_000
RECORD_OVERHEAD = 160  # bytes of a record beside its image: names, checksums and lengths


class Excluded(NamedTuple):
    """An image that is left out as requested: the line of the exclusions, and its identity."""

    line: str
    identity: str


class PreparedFace(NamedTuple):
    """An image of a source and the face for its record."""

    image: ImageRecord
    face: EncodedFace


class Duplicate(NamedTuple):
    """An image whose bytes another image has as well.

    Attributes:
        group: Int. The same number for the same bytes, in the order of the first keys.
        kind: `SAME_IDENTITY` or `SEVERAL_IDENTITIES`, of the images of the group.
        identity, key: Str. Of the image.
    """

    group: int
    kind: str
    identity: str
    key: str


def exclude(
    entries: Iterable[ImageRecord | SkippedImage], exclusions: Exclusions
) -> Iterator[ImageRecord | SkippedImage | Excluded]:
    """Yield the entries of a source, those that the exclusions leave out as `Excluded`."""
    for entry in entries:
        if isinstance(entry, ImageRecord) and (line := exclusions.line_for(entry)) is not None:
            yield Excluded(line, entry.identity)
        else:
            yield entry


def pick_image(group: tuple[str, Mapping[str, Iterable]]) -> Iterator[ImageRecord | SkippedImage]:
    """Yield one image of a key, with the points of the landmark file if it has any.

    Args:
        group: (key, {"images": images, "points": arrays of points}).
    """
    key, sides = group
    # Sorted, so that a bundle that is done again keeps the same ones.
    first, *others = sorted(sides["images"], key=lambda image: repr(image.content)) or [None]
    points = sorted(sides["points"], key=lambda points: points.tolist())
    if first is not None:
        yield first._replace(landmarks=points[0]) if points else first
    yield from (SkippedImage(key, SAME_KEY) for _ in others)


def require_landmarks(image: ImageRecord) -> Iterator[ImageRecord | SkippedImage]:
    """Yield an image that has landmarks; skip any other."""
    yield image if image.landmarks is not None else SkippedImage(image.key, NO_LANDMARKS)


def keep_identities(
    entry: ImageRecord | PreparedFace, identities: Container[str], reason: str
) -> Iterator[ImageRecord | PreparedFace | SkippedImage]:
    """Yield an image or a face of these identities; skip any other, for this reason."""
    image = entry.image if isinstance(entry, PreparedFace) else entry
    yield entry if image.identity in identities else SkippedImage(image.key, reason)


def number_identities(counts: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Return {identity: (label, images)} from (identity, images), by label."""
    ordered = sorted(counts, key=lambda count: label_order(count[0]))
    return {identity: (label, count) for label, (identity, count) in enumerate(ordered)}


def name_twins(identities: Iterable[str]) -> list[list[str]]:
    """Return groups of identities whose names differ in case or Unicode form alone."""
    groups: dict[str, list[str]] = {}
    for identity in sorted(identities):
        groups.setdefault(folded_name(identity), []).append(identity)
    return [names for names in groups.values() if len(names) > 1]


def group_duplicates(groups: Iterable[list[tuple[str, str]]]) -> Iterator[Duplicate]:
    """Yield the duplicates of the sorted (key, identity) of images with the same bytes."""
    for number, group in enumerate(sorted(groups)):
        is_same = len({identity for _, identity in group}) == 1
        for key, identity in group:
            yield Duplicate(number, SAME_IDENTITY if is_same else SEVERAL_IDENTITIES, identity, key)


def too_few_reasons(min_images: int) -> tuple[str, str]:
    """Return why images are skipped whose identity has few images, and few readable ones."""
    return (
        f"fewer than {counted(min_images, 'image')} of this identity",
        f"fewer than {min_images} readable images of this identity",
    )


def prepare_block(
    block: Sequence[ImageRecord], preparation: Preparation
) -> Iterator[PreparedFace | SkippedImage]:
    """Yield the face of each image of a block, or why it is skipped."""
    for image, face in zip(block, preparation(block), strict=True):
        yield face if isinstance(face, SkippedImage) else PreparedFace(image, face)


def without_source(prepared: PreparedFace) -> PreparedFace:
    """Return the face without the bytes of its source, which is no longer needed."""
    return prepared._replace(image=prepared.image._replace(content=b""))


def serialized_record(prepared: PreparedFace, label: int) -> bytes:
    """Return the record of a face as the bytes of a `tf.train.Example`."""
    image, face = prepared
    return serialize(Record(face.image, label, image.identity, image.key))


def num_shards_for(num_images: int, num_bytes: int, requested: int) -> int:
    """Return the number of shards: as many as requested, or as hold 100 to 200 MB each.

    Args:
        num_images, num_bytes: Int. Size of all records.
        requested: Int. 0: choose by size.
    """
    enough = max(round(num_bytes / SHARD_BYTES), -(-num_bytes // MAX_SHARD_BYTES), 1)
    return min(requested or enough, num_images)
