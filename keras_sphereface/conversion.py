"""Pictures in class folders -> a finished folder of records, or nothing."""

import collections
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface import alignment, images, lfw, records, sources, synthetic
from keras_sphereface.config import RecordsConfig
from keras_sphereface.folders import written_whole
from keras_sphereface.pictures import Dropped
from keras_sphereface.progress import progress_bar
from keras_sphereface.version import __version__

SHARD_BYTES = 150_000_000
ALIGNED_BYTES = 12_000  # what an aligned 112 x 96 JPEG takes, about
CHUNK = 256  # pictures in memory at once


def make_records(config: RecordsConfig) -> records.DatasetInfo:
    """Convert SOURCE/IDENTITY/IMAGE to globally shuffled shards in `config.out`.

    With landmarks each face is aligned to the five-point template and encoded anew. Without,
    a picture that has the right size already is taken byte for byte, and any other is cropped
    to the shape at its centre and resized. A picture that cannot be read, or that has no
    landmarks where they are given, is dropped and listed in dataset.json; it never ends the
    run. Everything is written to a hidden folder beside OUT, which becomes OUT at the very end.

    Returns:
        What stands in dataset.json.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: if source or flags cannot be used.
    """
    if config.num_shards < 0 or config.min_images < 1 or min(config.height, config.width) < 1:
        raise ValueError(
            "`num_shards` must be >= 0, and `min_images`, `height` and `width` >= 1. Received: "
            f"num_shards={config.num_shards}, min_images={config.min_images}, "
            f"height={config.height}, width={config.width}"
        )
    if config.exclude_folds and not config.exclude_pairs:
        raise ValueError(
            "`exclude_folds` are folds of `exclude_pairs`, which is not given. "
            f"Received: exclude_folds={config.exclude_folds}"
        )
    out = Path(config.out).resolve()
    _check_out(out, Path(config.source).resolve(), config.overwrite)
    landmarks = sources.read_landmarks(config.landmarks) if config.landmarks else None
    excluded = sources.read_names(config.exclude) if config.exclude else frozenset()
    if config.exclude_pairs:
        pairs = lfw.read_pairs(config.exclude_pairs)
        excluded |= pairs.in_folds(config.exclude_folds).people()
    found = list(sources.class_folders(config.source))
    listed = [picture for picture in found if picture.identity not in excluded]
    known = {picture.identity for picture in found}
    kept, dropped = _with_landmarks(listed, landmarks)
    kept, too_few = _with_enough_pictures(kept, config.min_images)
    dropped += too_few
    if not kept:
        raise ValueError(
            f"No picture is left to convert: {len(listed)} found, {len(dropped)} dropped. "
            f"Received: source={config.source}"
        )
    identities = sorted({picture.identity for picture in kept})
    labels = {identity: label for label, identity in enumerate(identities)}
    order = np.random.default_rng(config.seed).permutation(len(kept))
    num_shards = config.num_shards or max(1, round(len(kept) * ALIGNED_BYTES / SHARD_BYTES))
    num_shards = min(num_shards, len(kept))

    with written_whole(out) as partial:
        counts: collections.Counter[str] = collections.Counter()
        shards = []
        with progress_bar(total=len(kept), unit="picture", desc="records") as progress:
            for index, part in enumerate(np.array_split(order, num_shards)):
                file = partial / records.shard_name(index, num_shards)
                num_written = 0
                with tf.io.TFRecordWriter(str(file)) as writer:
                    pictures = [kept[i] for i in part]
                    for picture, result in _prepare(pictures, labels, landmarks, config):
                        progress.update()
                        if isinstance(result, Dropped):
                            dropped.append(result)
                            continue
                        writer.write(result)
                        counts[picture.identity] += 1
                        num_written += 1
                shards.append((file, num_written))
        if not counts:
            raise ValueError(f"No picture could be read. Received: source={config.source}")
        if len(counts) < len(identities):
            # Someone has no picture that can be read, and must not stay as an empty class.
            identities = sorted(counts)
            labels = {identity: label for label, identity in enumerate(identities)}
            for file, _ in shards:
                records.relabel(file, labels)

        table = pd.DataFrame(
            {
                "label": range(len(identities)),
                "identity": identities,
                "count": [counts[name] for name in identities],
            }
        )
        table.to_csv(partial / records.LABELS_FILE, index=False)
        info = records.DatasetInfo(
            format_version=records.FORMAT_VERSION,
            tool_version=__version__,
            num_images=sum(counts.values()),
            num_classes=len(identities),
            image_size=(config.height, config.width),
            alignment="five-point similarity" if landmarks is not None else "none",
            seed=config.seed,
            shards=tuple(
                records.Shard(file.name, num_written, records.sha256(file))
                for file, num_written in shards
            ),
            excluded_identities=tuple(sorted(excluded & known)),
            unknown_exclusions=tuple(sorted(excluded - known)),
            dropped=tuple(sorted(dropped, key=lambda entry: entry.key)),
        )
        info.write(partial)
    return info


class GeneratedRecords(NamedTuple):
    """A generated data set and the records of the people to train on."""

    faces: Path
    records: Path


def generated_records(
    folder: Path, num_people: int, images_per_person: int, num_test_people: int, seed: int
) -> GeneratedRecords:
    """Generate faces in FOLDER/faces and convert them to FOLDER/records, if not done yet."""
    faces = synthetic.generate_faces(
        folder / "faces", num_people, images_per_person, num_test_people, seed=seed
    )
    out, made_of = folder / "records", folder / "records_of.txt"
    description = synthetic.description(faces)
    there = (out / records.INFO_FILE).is_file() and made_of.is_file()
    if not (there and made_of.read_text() == description):
        config = RecordsConfig(
            source=str(faces / synthetic.IMAGES),
            out=str(out),
            landmarks=str(faces / synthetic.LANDMARKS),
            exclude=str(faces / synthetic.TEST_PEOPLE),
            overwrite=True,
        )
        make_records(config)
        made_of.write_text(description)
    return GeneratedRecords(faces, out)


def summary(info: records.DatasetInfo) -> str:
    """What a user wants to read after a conversion, the drops by reason included."""
    lines = [
        f"{info.num_images} pictures of {info.num_classes} people in {len(info.shards)} "
        f"shards, {info.image_size[0]} x {info.image_size[1]}, alignment: {info.alignment}"
    ]
    if info.excluded_identities:
        lines.append(f"left out as asked: {len(info.excluded_identities)} people")
    if info.unknown_exclusions:
        names = ", ".join(info.unknown_exclusions[:3])
        lines.append(
            f"WARNING: {len(info.unknown_exclusions)} people to leave out are not in the source, "
            f"for example {names}"
        )
    reasons = collections.Counter(entry.reason for entry in info.dropped)
    lines += [f"dropped {count}: {reason}" for reason, count in reasons.most_common(10)]
    if len(reasons) > 10:
        lines.append(f"and {len(reasons) - 10} more reasons")
    if reasons:
        lines.append(f"every dropped picture is listed in {records.INFO_FILE}")
    return "\n".join(lines)


def _with_landmarks(listed, landmarks):
    if landmarks is None:
        return listed, []
    kept = [picture for picture in listed if picture.key in landmarks]
    without = [picture.key for picture in listed if picture.key not in landmarks]
    return kept, [Dropped(key, "no landmarks") for key in without]


def _with_enough_pictures(pictures, min_images):
    counts = collections.Counter(picture.identity for picture in pictures)
    kept = [picture for picture in pictures if counts[picture.identity] >= min_images]
    few = [picture.key for picture in pictures if counts[picture.identity] < min_images]
    reason = f"fewer than {min_images} pictures of this person"
    return kept, [Dropped(key, reason) for key in few]


def _prepare(
    pictures: Iterable[sources.Picture], labels, landmarks, config: RecordsConfig
) -> Iterator[tuple[sources.Picture, bytes | Dropped]]:
    """Each picture, in order, with its record; threads share the work."""
    size = (config.height, config.width)

    def face(picture):
        encoded = (Path(config.source) / picture.key).read_bytes()
        if landmarks is None:
            return images.fit(encoded, size)
        image = images.decode(encoded)
        try:
            return images.encode(alignment.align(image, landmarks[picture.key], size))
        except (ValueError, ArithmeticError):
            raise ValueError("its landmarks do not fit the picture") from None

    def prepare(picture):
        label = labels[picture.identity]
        try:
            return records.serialize(face(picture), label, picture.identity, picture.key)
        # Whatever is wrong with one picture, the others must not suffer.
        except Exception as error:
            return Dropped(picture.key, f"cannot be used: {error}")

    pictures = list(pictures)
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        for start in range(0, len(pictures), CHUNK):
            chunk = pictures[start : start + CHUNK]
            yield from zip(chunk, executor.map(prepare, chunk), strict=True)


def _check_out(out: Path, source: Path, overwrite: bool) -> None:
    """Refuse an output folder that holds anything else than records to be replaced."""
    if source == out or source in out.parents:
        raise ValueError(f"The output must lie outside of the source. Received: {out}")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / records.INFO_FILE).is_file():
        raise FileExistsError(
            f"The output folder must be new, empty, or hold records. Received: {out}"
        )
    if not overwrite:
        raise FileExistsError(
            f"The output folder holds records; `--overwrite` replaces them. Received: {out}"
        )
