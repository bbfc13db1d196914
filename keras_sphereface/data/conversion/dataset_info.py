"""dataset.json and the tables beside the shards."""

import collections
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TextIO, TypeVar

from keras_sphereface.data import records, tfrecord
from keras_sphereface.data.conversion.prepare import Preparation
from keras_sphereface.data.conversion.steps import SAME_IDENTITY, SEVERAL_IDENTITIES, Duplicate
from keras_sphereface.data.types import SkippedImage
from keras_sphereface.version import __version__

Row = TypeVar("Row", bound=tuple)


def write_dataset_info(
    create: Callable[[str], AbstractContextManager[TextIO]],
    *,
    kind: str,
    settings: str,
    preparation: Preparation,
    seed: int,
    shards: Sequence[tfrecord.Shard],
    identities: Iterable[tuple[int, str, int]],
    skipped: Iterable[SkippedImage],
    duplicates: Iterable[Duplicate],
    exclusions: Mapping[str, Any],
    warnings: Iterable[str],
    quality: Iterable[records.QualityRow] = (),
    near_duplicates: Iterable[Duplicate] | None = None,
) -> records.DatasetInfo:
    """Write the tables and, last of all, dataset.json, which counts their rows.

    Args:
        create: Function that creates a text file of this name in the folder of the records.
        kind: Str. Kind of source.
        settings: Str. Checksum of the settings.
        preparation: Preparation of the faces.
        seed: Int. Seed of the shuffle.
        shards: Sequence of the shards written.
        identities: Iterable of (label, identity, images), by label.
        skipped: Iterable of the skipped images, by key.
        duplicates: Iterable of the duplicates, group by group.
        exclusions: `Exclusions.summary()`.
        warnings: Iterable of str. Results of the quality checks of a sample.
        quality: Iterable of the results of those of all faces.
        near_duplicates: Iterable of the near duplicates, group by group; None: not looked for.
    """

    def write(name: str, header: Iterable[str], rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of a table as they are written."""
        with create(name) as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for row in rows:
                writer.writerow(row)
                yield row

    num_identities = sum(1 for _ in write(records.LABELS_FILE, records.LABELS_HEADER, identities))
    listed: list[SkippedImage] = []
    reasons: collections.Counter[str] = collections.Counter()
    examples: dict[str, str] = {}
    for entry in write(records.SKIPPED_FILE, SkippedImage._fields, skipped):
        reasons[entry.reason] += 1
        examples.setdefault(entry.reason, entry.key)
        if len(listed) < records.MAX_SKIPPED_LISTED:
            listed.append(entry)
    table = write(records.DUPLICATES_FILE, Duplicate._fields, duplicates)
    kinds = collections.Counter(duplicate.kind for duplicate in table)
    if near_duplicates is not None:
        collections.deque(
            write(records.NEAR_DUPLICATES_FILE, Duplicate._fields, near_duplicates), maxlen=0
        )
    info = records.DatasetInfo(
        format_version=records.FORMAT_VERSION,
        tool_version=__version__,
        source=kind,
        settings=settings,
        num_images=sum(shard.num_images for shard in shards),
        num_identities=num_identities,
        image_size=preparation.size,
        alignment=preparation.describe(),
        seed=seed,
        shards=tuple(shards),
        excluded_identities=tuple(exclusions["excluded_identities"]),
        excluded_images=exclusions["excluded_images"],
        unknown_exclusions=tuple(exclusions["unknown_exclusions"]),
        duplicates_same_identity=kinds[SAME_IDENTITY],
        duplicates_several_identities=kinds[SEVERAL_IDENTITIES],
        skipped_by_reason=by_frequency(reasons),
        skipped=tuple(listed),
        warnings=tuple(warnings),
        quality=tuple(quality),
        skipped_examples={reason: examples[reason] for reason in by_frequency(reasons)},
    )
    with create(records.INFO_FILE) as file:
        file.write(info.to_json())
    return info


def by_frequency(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the counts, the largest first."""
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
