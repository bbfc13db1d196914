"""Writing the shards of a conversion that its manifest lists."""

import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_sphereface.data import records, tfrecord
from keras_sphereface.data.conversion.manifest import Done, Item, Manifest
from keras_sphereface.data.conversion.prepare import Preparation
from keras_sphereface.data.conversion.steps import BLOCK_SIZE, prepare_block, serialized_record
from keras_sphereface.data.types import SkippedImage
from keras_sphereface.utils.parallel import ordered_map
from keras_sphereface.utils.progress import progress_bar

# Images that are done before more processes have started.
FEW_IMAGES, FEW_TO_DETECT = 2_000, 100


def make_block_records(
    block: Sequence[Item], preparation: Preparation
) -> list[tuple[bytes, Done] | SkippedImage]:
    """Return the record of each image of a block, and what the manifest keeps of the image."""
    results: list[tuple[bytes, Done] | SkippedImage] = []
    prepared = prepare_block([item.image for item in block], preparation)
    for item, result in zip(block, prepared, strict=True):
        if isinstance(result, SkippedImage):
            results.append(result)
            continue
        points = result.face.landmarks if preparation.detect else None
        done = Done(item.position, result.face.digest, points, result.face.quality)
        results.append((serialized_record(result, item.label), done))
    return results


def write_shards(manifest: Manifest, folder: Path, preparation: Preparation, workers: int) -> None:
    """Write the shards that are not finished yet, in their order.

    Args:
        manifest: Manifest that lists them and stores the progress.
        folder: Path of the folder for the shards.
        preparation: Preparation of the faces.
        workers: Int. Number of processes; 0: one a core, or one if there are few images.
    """
    total, num_shards = manifest.num_images, manifest.num_shards
    open_shards = manifest.open_shards()
    few = FEW_TO_DETECT if preparation.detect else FEW_IMAGES
    workers = workers or ((os.cpu_count() or 1) if total > few else 1)
    blocks = itertools.chain.from_iterable(_blocks(first, last) for _, first, last in open_shards)
    items = (list(manifest.items(*block)) for block in blocks)
    make = functools.partial(make_block_records, preparation=preparation)
    results = ordered_map(make, items, workers)
    finished = total - sum(last - first + 1 for _, first, last in open_shards)
    with progress_bar(total=total, initial=finished, unit="image", desc="records") as progress:
        for number, first, last in open_shards:
            done: list[Done] = []
            skipped: list[SkippedImage] = []
            with tfrecord.ShardWriter(folder / records.shard_name(number, num_shards)) as writer:
                for _ in _blocks(first, last):
                    for result in next(results):
                        progress.update()
                        if isinstance(result, SkippedImage):
                            skipped.append(result)
                        else:
                            writer.write(result[0])
                            done.append(result[1])
            manifest.finish_shard(number, writer.shard, done, skipped)
    results.close()


def relabel_shards(manifest: Manifest, folder: Path) -> None:
    """Write the shards again whose labels are outdated, without the identities that left."""
    num_shards, outdated = manifest.num_shards, manifest.outdated_shards()
    for number in progress_bar(outdated, desc="new labels", unit="shard", brief=True):
        path = folder / records.shard_name(number, num_shards)
        with tfrecord.ShardWriter(path) as writer:
            for record in map(tfrecord.deserialize, tfrecord.read_records(path)):
                label = manifest.label_of(record.identity)
                if label is not None:
                    writer.write(tfrecord.serialize(record._replace(label=label)))
        manifest.finish_shard(number, writer.shard)


def _blocks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of the blocks of the positions first..last."""
    for start in range(first, last + 1, BLOCK_SIZE):
        yield start, min(start + BLOCK_SIZE - 1, last)
