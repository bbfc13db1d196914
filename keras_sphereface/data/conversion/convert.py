"""Images of any source -> a finished folder of records, or nothing."""

import collections
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import detection, images, landmarks, records
from keras_sphereface.data.contact_sheet import contact_sheet
from keras_sphereface.data.conversion.dataset_info import describe, write_table
from keras_sphereface.data.conversion.exclusions import exclusions_of
from keras_sphereface.data.conversion.manifest import Done, Duplicate, Item, Manifest
from keras_sphereface.data.conversion.prepare import (
    NO_LANDMARKS,
    Face,
    Preparation,
    content_of,
    preparation_of,
)
from keras_sphereface.data.quality_checks import check_images
from keras_sphereface.data.readers import open_source
from keras_sphereface.data.types import ImageRecord, SkippedImage
from keras_sphereface.utils.atomic import (
    check_free_space,
    commit_directory,
    explain_full_disk,
    partial_folder,
    recover,
)
from keras_sphereface.utils.parallel import ordered_map
from keras_sphereface.utils.progress import log, progress_bar
from keras_sphereface.version import __version__

# 100 to 200 MB a shard: large enough to read in one go, small enough to move and to shuffle.
SHARD_BYTES = 150_000_000
LARGEST_SHARD = 195_000_000
SAMPLE = 96  # images that are looked at before the long run
SAMPLE_TO_DETECT = 48  # finding a face takes a hundred times as long as aligning it
CHUNK = 64  # images that travel to a process at once
FEW, FEW_TO_DETECT = 2_000, 100  # images that are done before more processes have started
SCRATCH = ".scratch"
EXTRA_BYTES = 160  # of a record, beside its image: names, checksums and lengths
SAME_KEY = "another image has the same key"


def make_records(config: ConvertConfig) -> records.DatasetInfo:
    """Convert a source of faces to globally shuffled shards in `config.out`.

    With landmarks, or a detector, each face is aligned to the five-point template and encoded
    anew. Without, an image that has the right size already is taken byte for byte, and any
    other is cropped to the shape at its center and resized. What cannot be used is dropped and
    listed in skipped.csv; it never ends the run.

    Everything is written to a hidden folder beside OUT, which becomes OUT at the very end. A run
    that was stopped, however it was, goes on when it is started again with the same settings,
    and ends with the bytes of a run that was not stopped. These bytes depend on the source, the
    settings and the seed alone, not on the number of processes.

    Returns:
        What stands in dataset.json.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: if source or flags cannot be used.
        OSError: if the disk is full; what was in OUT before stays whole.
    """
    check_settings(config)
    # Not resolved: a link's own name and place are what its user knows.
    out, source_path = (Path(os.path.abspath(path)) for path in (config.out, config.source))
    check_places(config, out, source_path)
    source = open_source.open_source(source_path)
    exclusions = exclusions_of(config)
    fingerprint = _fingerprint(config, source, source_path, exclusions)
    if _was_finished(out, fingerprint):
        return records.read_info(out)
    partial = partial_folder(out)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(out):
        plan = Manifest(partial / SCRATCH)  # from here on nobody else works here
        try:
            recover(out)
            _check_out(out, config.overwrite)
            _begin(plan, partial, fingerprint)
            info = _convert(config, source, exclusions, plan, partial)
            commit_directory(out)
        except (FileExistsError, EmptyDatasetError) as error:
            # What a stopped run has done is not thrown away for a missing `--overwrite`.
            if isinstance(error, EmptyDatasetError) or plan.get_meta("settings") is None:
                shutil.rmtree(partial)
            raise
        finally:
            plan.close()
    shutil.rmtree(out / SCRATCH)
    return info


class EmptyDatasetError(ValueError):
    """No image of the source can be used."""


def _was_finished(out: Path, fingerprint: str) -> bool:
    """Whether a run with these settings was stopped after it had put its result into place."""
    scratch = out / SCRATCH
    if not ((out / records.INFO_FILE).is_file() and scratch.is_dir()):
        return False
    if records.read_info(out).settings == fingerprint:
        shutil.rmtree(scratch)
        return True
    if (scratch / Manifest.FILE).is_file():  # else it is not ours
        shutil.rmtree(scratch)
    return False


def _convert(config, source, exclusions, plan, partial) -> records.DatasetInfo:
    """All steps from the list of images to the finished folder; those done are passed over."""
    preparation = preparation_of(config)
    few, few_read = too_few(config)
    if not plan.get_meta("listed"):
        _list(source, exclusions, plan, config.seed)
    if config.landmarks and not plan.get_meta("landmarks"):
        plan.add_landmarks(landmarks.landmark_lines(config.landmarks))
    if not plan.get_meta("arranged"):
        plan.arrange(
            config.min_images, preparation.align and not config.detect, (NO_LANDMARKS, few)
        )
    if not plan.num_images:
        raise EmptyDatasetError(
            f"No image is left to convert; dropped: {plan.skipped_by_reason()}. "
            f"Received: source={config.source}"
        )
    if not plan.num_shards or config.contact_sheet:
        _look_at_sample(config, source, plan, preparation, partial)
    for doubt in plan.get_meta("doubts"):
        log(f"WARNING: {doubt}")
    _write_shards(config, plan, preparation, partial)
    plan.drop_people_below(config.min_images, few_read)
    for number in plan.outdated_shards():
        _write_labels_anew(plan, number, partial)
    if not any(num_images for num_images, *_ in plan.shards()):
        raise EmptyDatasetError(
            f"No image could be read; dropped: {plan.skipped_by_reason()}. "
            f"Received: source={config.source}"
        )
    return _write_description(config, source, plan, partial)


def too_few(config: ConvertConfig) -> tuple[str, str]:
    """What is said of the images of people with few of them, and with few that can be read."""
    few = f"fewer than {config.min_images} images of this person"
    return few, f"{few} can be read"


def _list(source, exclusions, plan, seed) -> None:
    """Take what the source holds into the plan, without what is excluded."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()

    def wanted():
        for entry in progress_bar(source.images(), unit="image", desc="listing"):
            line = None if isinstance(entry, SkippedImage) else exclusions.line_for(entry)
            if line is None:
                yield entry
            else:
                found[line, entry.identity] += 1

    plan.list_images(wanted(), seed, SAME_KEY, lambda: {"left_out": exclusions.facts(found)})


def _look_at_sample(config, source, plan, preparation, partial) -> None:
    """Say what looks wrong, draw the contact sheet, and decide on the number of shards."""
    total = plan.num_images
    size = SAMPLE_TO_DETECT if config.detect else SAMPLE
    pictures = [item.image_record for item in plan.items(1, min(size, total))]
    sample = prepared_sample(pictures, preparation)
    mean = sum(len(face.image) for _, face in sample) / max(1, len(sample))
    num_bytes = int(total * (mean + EXTRA_BYTES))
    found = [*source.warnings, *doubts_of(sample, preparation)]
    with_landmarks = plan.num_with_landmarks
    if with_landmarks and not preparation.align:
        found.append(
            f"{with_landmarks} images of the source have landmarks, which nothing uses: "
            "`--align` does."
        )
    elif config.landmarks and with_landmarks < total / 2:
        found.append(
            f"Only {with_landmarks} of {total} images have landmarks in {config.landmarks}: do "
            "the names fit?"
        )
    if config.contact_sheet:
        Path(config.contact_sheet).write_bytes(sheet_of(sample))
    if not plan.num_shards:
        check_free_space(partial, num_bytes)
        plan.set_meta(doubts=found)
        plan.divide(shards_for(total, num_bytes, config.num_shards))


Sample = list[tuple[ImageRecord, Face]]


def prepared_sample(pictures: Sequence[ImageRecord], preparation: Preparation) -> Sample:
    """Those of the images that can be used, with their faces."""
    faces = preparation(pictures)
    pairs = zip(pictures, faces, strict=True)
    return [(picture, face) for picture, face in pairs if isinstance(face, Face)]


def doubts_of(sample: Sample, preparation: Preparation) -> list[str]:
    """What looks wrong with a sample."""
    seen = [images.decode(face.image) for _, face in sample]
    if not preparation.align:
        return check_images(seen)
    # One after the other: whole images may be large.
    cropped = [
        images.crop_to(images.decode(content_of(picture)), preparation.size)
        for picture, _ in sample
    ]
    return check_images(seen, cropped)


def sheet_of(sample: Sample) -> bytes:
    """A contact sheet of a sample as PNG; a white one if there is nothing to see."""
    if not sample:
        return images.encode_png(np.full((112, 96, 3), 255, np.uint8))
    seen = [images.decode(face.image) for _, face in sample]
    return images.encode_png(contact_sheet(seen, captions=[p.identity for p, _ in sample]))


def shards_for(num_images: int, num_bytes: int, wanted: int) -> int:
    """How many shards to write: as many as are wanted, or as hold 100 to 200 MB each."""
    enough = max(round(num_bytes / SHARD_BYTES), -(-num_bytes // LARGEST_SHARD), 1)
    return min(wanted or enough, num_images)


def _write_shards(config, plan, preparation, partial) -> None:
    """Write the shards that are not there yet, in their order."""
    total, num_shards = plan.num_images, plan.num_shards
    few = FEW_TO_DETECT if config.detect else FEW
    workers = config.workers or ((os.cpu_count() or 1) if total > few else 1)
    todo = plan.open_shards()
    chunks = itertools.chain.from_iterable(_chunks(first, last) for _, first, last in todo)
    items = (list(plan.items(*chunk)) for chunk in chunks)
    results = ordered_map(_Worker(preparation).prepare, items, workers)
    bar = progress_bar(total=total, initial=plan.num_finished, unit="image", desc="records")
    with bar as progress:
        for number, first, last in todo:
            path = partial / records.shard_name(number, num_shards)
            done: list[Done] = []
            dropped: list[SkippedImage] = []
            with records.ShardWriter(path) as writer:
                for _ in _chunks(first, last):
                    for result in next(results):
                        progress.update()
                        if isinstance(result, SkippedImage):
                            dropped.append(result)
                            continue
                        example, entry = result
                        writer.write(example)
                        done.append(entry)
            plan.finish_shard(number, writer.shard, done, dropped)
    results.close()


class _Worker(NamedTuple):
    """Prepares a chunk of images; in a process of its own where there are several."""

    preparation: Preparation

    def prepare(self, items: Sequence[Item]) -> list[tuple[bytes, Done] | SkippedImage]:
        """The record of each, and what the plan keeps of it."""
        faces = self.preparation([item.image_record for item in items])
        return [self._result(item, face) for item, face in zip(items, faces, strict=True)]

    def _result(self, item, face):
        if isinstance(face, SkippedImage):
            return face
        picture = item.image_record
        record = records.Record(face.image, item.label, picture.identity, picture.key)
        points = face.landmarks if self.preparation.detect else None
        return records.serialize(record), Done(item.position, face.digest, points)


def _chunks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The positions first..last in pieces."""
    return ((start, min(start + CHUNK - 1, last)) for start in range(first, last + 1, CHUNK))


def _write_labels_anew(plan, number, partial) -> None:
    """Write a shard again without the people who left, and with the labels of the others."""
    path = partial / records.shard_name(number, plan.num_shards)
    with records.ShardWriter(path) as writer:
        for example in records.read_records(path):
            record = records.deserialize(example)
            label = plan.label_of(record.identity)
            if label is not None:
                writer.write(records.serialize(record._replace(label=label)))
    plan.relabelled(number, writer.shard)


def _write_description(config, source, plan, partial) -> records.DatasetInfo:
    """The tables, and dataset.json last of all."""
    num_shards = plan.num_shards

    def write(name, header, rows):
        with open(partial / name, "w", newline="", encoding="utf-8") as file:
            write_table(file, header, rows)

    copies: collections.Counter[str] = collections.Counter()

    def counted(duplicates):
        for duplicate in duplicates:
            copies[duplicate.kind] += 1
            yield duplicate

    write(records.LABELS_FILE, records.LABELS_HEADER, plan.people())
    write(records.SKIPPED_FILE, SkippedImage._fields, plan.dropped())
    write(records.DUPLICATES_FILE, Duplicate._fields, counted(plan.duplicates()))
    if config.detect:
        with open(partial / records.LANDMARKS_FILE, "w", encoding="utf-8") as file:
            file.writelines(landmarks.landmark_line(*found) for found in plan.landmarks())
    info = describe(
        config,
        kind=source.kind,
        settings=plan.get_meta("settings"),
        shards=[
            records.Shard(records.shard_name(number, num_shards), *values)
            for number, values in enumerate(plan.shards())
        ],
        num_identities=plan.num_identities,
        left_out=plan.get_meta("left_out"),
        copies=copies,
        skipped_by_reason=plan.skipped_by_reason(),
        skipped=plan.dropped(records.MAX_SKIPPED_LISTED),
        warnings=plan.get_meta("doubts"),
    )
    (partial / records.INFO_FILE).write_text(info.to_json(), encoding="utf-8")
    return info


def _begin(plan, partial, fingerprint) -> None:
    """Go on with a run of the same settings that was stopped, or clear what is there."""
    there = plan.get_meta("settings")
    if there == fingerprint:
        log("continuing the conversion that was stopped")
        return
    if there is not None:
        log("starting anew: the conversion that was stopped had other settings")
    for entry in partial.iterdir():
        if entry.name != SCRATCH:
            entry.unlink()
    plan.clear()
    plan.set_meta(settings=fingerprint)


def _fingerprint(config, source, source_path, exclusions) -> str:
    """A checksum of everything that the bytes of the records depend on."""
    names = ("detect", "align", "num_shards", "min_images", "height", "width", "seed")
    files = [*source.files, *([Path(config.landmarks)] if config.landmarks else [])]
    values = {
        "tool_version": __version__,
        "source": str(source_path),
        "exclusions": [sorted(exclusions.lines), sorted(exclusions.if_there)],
        "files": [[os.path.abspath(file), *_state(file)] for file in files],
        **{name: getattr(config, name) for name in names},
    }
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _state(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_size, state.st_mtime_ns


def check_settings(config: ConvertConfig) -> None:
    """Raise a ValueError if settings cannot be."""
    if not (config.source and config.out):
        raise ValueError(
            f"`source` and `out` are needed. Received: source={config.source!r}, out={config.out!r}"
        )
    numbers = {name: getattr(config, name) for name in ("num_shards", "workers")}
    sizes = {name: getattr(config, name) for name in ("min_images", "height", "width")}
    if min(numbers.values()) < 0 or min(sizes.values()) < 1:
        raise ValueError(
            "`num_shards` and `workers` must be >= 0, and `min_images`, `height` and `width` >= 1. "
            "Received: " + ", ".join(f"{name}={n}" for name, n in {**numbers, **sizes}.items())
        )
    if config.exclude_folds and not config.exclude_pairs:
        raise ValueError(
            "`exclude_folds` are folds of `exclude_pairs`, which is not given. "
            f"Received: exclude_folds={config.exclude_folds}"
        )


def check_places(config: ConvertConfig, out: Path, source: Path) -> None:
    """Raise if OUT cannot become the records, or what is read would go with what is replaced."""
    inside = out.resolve()
    read = [str(source), config.landmarks, config.exclude, config.exclude_pairs]
    if source.resolve() in (inside, *inside.parents):
        raise ValueError(f"The output must lie outside of the source. Received: {out}")
    for path in filter(None, read):
        if inside in Path(path).resolve().parents:
            raise ValueError(f"What is read must lie outside of the output. Received: {path}")
    if os.path.ismount(out):
        raise ValueError(
            f"The output must not be where a disk begins; name a folder in it. Received: {out}"
        )
    sheet = Path(config.contact_sheet or ".").absolute()
    if not sheet.parent.is_dir():
        raise FileNotFoundError(
            f"`contact_sheet` must lie in a folder that is there. Received: {sheet}"
        )
    if config.detect:
        detection.check_mtcnn_installed()


def _check_out(out: Path, overwrite: bool) -> None:
    """Refuse an output folder that holds anything else than records to be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    foreign = [entry.name for entry in out.iterdir() if not records.is_own_file(entry.name)]
    if foreign or not (out / records.INFO_FILE).is_file():
        raise FileExistsError(
            "The output folder must be new, empty, or hold records and nothing else. "
            f"Received: {out}" + (f", with {foreign[0]}" if foreign else "")
        )
    if not overwrite:
        raise FileExistsError(
            f"The output folder holds records; `--overwrite` replaces them. Received: {out}"
        )
