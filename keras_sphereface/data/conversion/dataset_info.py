"""What stands beside the shards: dataset.json and its tables."""

import csv
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import records
from keras_sphereface.data.conversion.manifest import SAME_IDENTITY, SEVERAL_IDENTITIES
from keras_sphereface.data.conversion.prepare import preparation_of
from keras_sphereface.data.types import SkippedImage
from keras_sphereface.version import __version__


def describe(
    config: ConvertConfig,
    kind: str,
    settings: str,
    shards: Iterable[records.Shard],
    num_identities: int,
    left_out: Mapping[str, Any],
    copies: Mapping[str, int],
    skipped_by_reason: Mapping[str, int],
    skipped: Iterable[SkippedImage],
    warnings: Iterable[str],
) -> records.DatasetInfo:
    """What stands in dataset.json.

    Args:
        config: the settings.
        kind: of source.
        settings: their checksum.
        shards, num_identities: what was written.
        left_out: `Exclusions.facts()`.
        copies: how many duplicates of each kind there are.
        skipped_by_reason, skipped: what was skipped, the list perhaps cut.
        warnings: what looked wrong.
    """
    preparation = preparation_of(config)
    shards = tuple(shards)
    return records.DatasetInfo(
        format_version=records.FORMAT_VERSION,
        tool_version=__version__,
        source=kind,
        settings=settings,
        num_images=sum(shard.num_images for shard in shards),
        num_identities=num_identities,
        image_size=preparation.size,
        alignment=preparation.describe(),
        seed=config.seed,
        shards=shards,
        excluded_identities=tuple(left_out["excluded_identities"]),
        excluded_images=left_out["excluded_images"],
        unknown_exclusions=tuple(left_out["unknown_exclusions"]),
        duplicates_same_identity=copies.get(SAME_IDENTITY, 0),
        duplicates_several_identities=copies.get(SEVERAL_IDENTITIES, 0),
        skipped_by_reason=dict(skipped_by_reason),
        skipped=tuple(skipped),
        warnings=tuple(warnings),
    )


def write_table(file: TextIO, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    """A CSV file."""
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows(rows)
