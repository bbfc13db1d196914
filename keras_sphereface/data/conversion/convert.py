"""Images of any source -> a finished folder of records, or nothing."""

import collections
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import landmarks, records
from keras_sphereface.data.conversion import checks, image_size, messages, sample, shards, steps
from keras_sphereface.data.conversion.dataset_info import write_dataset_info
from keras_sphereface.data.conversion.exclusions import (
    Exclusions,
    UnknownExclusionError,
    combined_exclusions,
)
from keras_sphereface.data.conversion.manifest import Manifest
from keras_sphereface.data.conversion.prepare import NO_LANDMARKS, Preparation
from keras_sphereface.data.conversion.quality import assess_quality
from keras_sphereface.data.readers import Source, open_source
from keras_sphereface.data.types import ImageRecord, SkippedImage
from keras_sphereface.utils.atomic import (
    CONTINUES,
    check_free_space,
    commit_directory,
    explain_full_disk,
    partial_folder,
    recover,
)
from keras_sphereface.utils.progress import log, progress_bar, stage, warn_once
from keras_sphereface.version import __version__

SCRATCH = ".scratch"
FULL_DISK = (
    "The output written so far stays hidden beside OUT, and the previous OUT is untouched. "
    + CONTINUES
)


class EmptyDatasetError(ValueError):
    """No image of the source can be used.

    Example:

    >>> try:
    ...     make_records(ConvertConfig(source="faces/images", out="empty", min_images=7))
    ... except EmptyDatasetError as error:
    ...     print(str(error).partition(" Received")[0])
    No image of the source can be used: 114 times fewer than 7 images of this identity, ...
    """


def make_records(config: ConvertConfig) -> records.DatasetInfo:
    """Convert a source of faces to globally shuffled shards in `config.out`.

    With landmarks, or a detector, each face is aligned to the five-point template and encoded
    anew. Without, an image that has the right size already is taken byte for byte, and any
    other is cropped to the shape at its center and resized; images that are 112 x 112 keep it,
    unless another size is asked for. An image that cannot be used is
    skipped and listed in skipped.csv; it never ends the run.

    Everything is written to a hidden folder beside OUT, which becomes OUT at the very end. A run
    that was stopped, however it was, continues when it is started again with the same settings,
    and ends with the bytes of a run that was not stopped. These bytes depend on the source, the
    settings and the seed alone, not on the number of processes.

    Args:
        config: Settings.

    Returns:
        The contents of dataset.json.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: if source or settings cannot be used.
        OSError: if the disk is full; the previous OUT stays whole.

    Example:

    >>> settings = ConvertConfig(
    ...     source="faces/images", landmarks="faces/landmarks.txt", out="aligned"
    ... )
    >>> info = make_records(settings)
    >>> info.num_images, info.num_identities, info.image_size, info.alignment
    (114, 19, (112, 96), 'five-point similarity')
    """
    checks.check_convert_config(config)
    # Not resolved: users know a link by its name and place.
    out, source_path = (Path(os.path.abspath(path)) for path in (config.out, config.source))
    lists = (config.landmarks, config.exclude, config.exclude_pairs)
    checks.check_places(out, source_path, lists, config.contact_sheet)
    with stage(f"opening {config.source}"):
        source = open_source(source_path, config.root, config.list_columns, config.follow_links)
    exclusions = combined_exclusions(
        config.exclude,
        config.exclude_pairs,
        config.exclude_folds,
        config.exclude_casia_lfw,
        config.allow_missing,
        config.pair_columns,
    )
    fingerprint = _fingerprint(config, source, source_path, exclusions)
    if _was_finished(out, fingerprint):
        info = records.read_info(out)
        warn_once(info.warnings, set())
        return info
    partial = partial_folder(out)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(out, FULL_DISK):
        manifest = Manifest(partial / SCRATCH)  # locked from here on
        try:
            recover(out)
            checks.check_output(out, config.overwrite)
            _begin(manifest, partial, fingerprint)
            info = _convert(config, source, exclusions, manifest, partial)
            commit_directory(out)
        except (FileExistsError, EmptyDatasetError, UnknownExclusionError) as error:
            # The work of a stopped run is not thrown away for a missing `--overwrite`.
            if not isinstance(error, FileExistsError) or manifest.get_meta("settings") is None:
                shutil.rmtree(partial)
            raise
        finally:
            manifest.close()
    shutil.rmtree(out / SCRATCH)
    return info


def _convert(
    config: ConvertConfig,
    source: Source,
    exclusions: Exclusions,
    manifest: Manifest,
    partial: Path,
) -> records.DatasetInfo:
    """Take all steps from the list of images to the finished folder, but those done before."""
    size = (config.height, config.width)
    unsized = Preparation(size, config.aligns, config.detect, config.quality)
    few, few_readable = steps.too_few_reasons(config.min_images)
    if not manifest.get_meta("listed"):
        _list_images(source, exclusions, manifest, config.seed)
    if config.landmarks and not manifest.get_meta("landmarks"):
        for note in landmarks.landmark_notes(config.landmarks, config.landmark_columns):
            log(note)
        lines = landmarks.landmark_lines(config.landmarks, config.landmark_columns)
        manifest.add_landmarks(progress_bar(lines, desc="landmarks", unit="line", brief=True))
    if not manifest.get_meta("arranged"):
        no_landmarks = NO_LANDMARKS if unsized.needs_landmarks else None
        with stage("ordering the images"):
            manifest.arrange(config.min_images, few, no_landmarks)
    if not manifest.num_images:
        raise _empty(manifest, config)
    items = manifest.items(1, sample.sample_size(unsized))
    first = [item.image for item in items]
    sizes = image_size.image_sizes(first)
    preparation = image_size.sized(unsized, sizes)
    if not manifest.num_shards or config.contact_sheet:
        with stage("checking a sample of the images"):
            faces = sample.prepare_sample(first, preparation)
        if config.contact_sheet:
            Path(config.contact_sheet).write_bytes(sample.draw_sample(faces))
    if not manifest.num_shards:
        num_bytes = sample.estimate_bytes(faces, manifest.num_images)
        check_free_space(partial, num_bytes)
        for note in image_size.size_notes(preparation, sizes):
            log(note)
        num_identities = manifest.get_meta("num_identities_read")
        warnings = (
            *source.warnings,
            *image_size.property_warnings(source.promised, num_identities, sizes),
            *messages.name_warnings(manifest.name_twins()),
            *sample.check_sample(faces, preparation),
            *_check_landmarks(manifest, preparation.align, config),
        )
        manifest.set_meta(doubts=warnings)
        manifest.divide(steps.num_shards_for(manifest.num_images, num_bytes, config.num_shards))
    warn_once(manifest.get_meta("doubts"), set())
    shards.write_shards(manifest, partial, preparation, config.workers)
    manifest.skip_identities_below(config.min_images, few_readable)
    shards.relabel_shards(manifest, partial)
    if not any(shard.num_images for shard in manifest.shards()):
        raise _empty(manifest, config)
    with stage("writing the tables"):
        return _describe(source.kind, preparation, config.seed, manifest, partial)


def _list_images(source: Source, exclusions: Exclusions, manifest: Manifest, seed: int) -> None:
    """Take the entries of the source into the manifest, but those that are excluded."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()

    def kept() -> Iterator[ImageRecord | SkippedImage]:
        entries = progress_bar(source.images(), unit="image", desc="listing")
        for entry in steps.exclude(entries, exclusions):
            if isinstance(entry, steps.Excluded):
                counts[entry] += 1
            else:
                yield entry

    def metadata() -> dict[str, Any]:
        exclusions.check_met({line for line, _ in counts}, manifest.listed_identities())
        excluded = {identity for _, identity in counts}
        return {
            "left_out": exclusions.summary(counts),
            "num_identities_read": manifest.count_identities(excluded),
        }

    manifest.list_images(kept(), seed, metadata)


def _check_landmarks(manifest: Manifest, align: bool, config: ConvertConfig) -> list[str]:
    """Return warnings: landmarks are not used, most images lack them, or they are of crops."""
    file, columns = config.landmarks, config.landmark_columns
    of_file = landmarks.landmark_warnings(file, columns) if file else []
    num_with = manifest.num_with_landmarks
    return messages.landmark_use_warnings(num_with, manifest.num_images, align, file, of_file)


def _empty(manifest: Manifest, config: ConvertConfig) -> EmptyDatasetError:
    first = messages.first_landmark_name(config.landmarks, config.landmark_columns)
    return EmptyDatasetError(messages.empty_message(manifest.skipped(), config.source, first))


def _describe(
    kind: str, preparation: Preparation, seed: int, manifest: Manifest, partial: Path
) -> records.DatasetInfo:
    """Write all that stands beside the shards."""

    def create(name: str) -> TextIO:
        return open(partial / name, "w", newline="", encoding="utf-8")

    if preparation.detect:
        with create(records.LANDMARKS_FILE) as file:
            file.writelines(landmarks.landmark_line(*entry) for entry in manifest.landmarks())
    measured, warnings = None, manifest.get_meta("doubts")
    if preparation.measure:
        measured = assess_quality(manifest)
        num_images = sum(shard.num_images for shard in manifest.shards())
        # Only now: it draws figures with Matplotlib, which other processes need not import.
        from keras_sphereface.data.conversion.quality_page import example_faces, render_quality

        examples = example_faces(measured.rows, manifest, preparation)
        page = render_quality(measured.rows, num_images, warnings, examples)
        with create(records.QUALITY_FILE) as file:
            file.write(page)
    return write_dataset_info(
        create,
        kind=kind,
        settings=manifest.get_meta("settings"),
        preparation=preparation,
        seed=seed,
        shards=manifest.shards(),
        identities=manifest.identities(),
        skipped=manifest.skipped(),
        duplicates=manifest.duplicates(),
        exclusions=manifest.get_meta("left_out"),
        warnings=warnings,
        quality=measured.rows if measured else (),
        near_duplicates=measured and measured.near_duplicates,
    )


def _was_finished(out: Path, fingerprint: str) -> bool:
    """Return whether a run with these settings was stopped after its result was in place."""
    scratch = out / SCRATCH
    if not ((out / records.INFO_FILE).is_file() and scratch.is_dir()):
        return False
    if records.read_info(out).settings == fingerprint:
        shutil.rmtree(scratch)
        return True
    if (scratch / Manifest.FILE).is_file():  # else it is not ours
        shutil.rmtree(scratch)
    return False


def _begin(manifest: Manifest, partial: Path, fingerprint: str) -> None:
    """Continue a stopped run of the same settings, or clear what another run left."""
    previous = manifest.get_meta("settings")
    if previous == fingerprint:
        log("continuing the conversion that was stopped")
        return
    if previous is not None:
        log("starting anew: the conversion that was stopped had other settings")
    for entry in partial.iterdir():
        if entry.name != SCRATCH:
            entry.unlink()
    manifest.clear()
    manifest.set_meta(settings=fingerprint)


def _fingerprint(
    config: ConvertConfig, source: Source, source_path: Path, exclusions: Exclusions
) -> str:
    """Return a checksum of all settings and files that the bytes of the records depend on."""
    names = ("detect", "align", "num_shards", "min_images", "height", "width", "seed")
    # Unset, as if they did not exist.
    later = ("landmark_columns", "root", "list_columns", "follow_links")
    files = [*source.files, *([Path(config.landmarks)] if config.landmarks else [])]
    states = [(file, file.stat()) for file in files]
    values = {
        "tool_version": __version__,
        "source": str(source_path),
        "exclusions": [sorted(exclusions.lines), sorted(exclusions.optional)],
        "files": [[os.path.abspath(file), s.st_size, s.st_mtime_ns] for file, s in states],
        **{name: getattr(config, name) for name in names},
        **({} if config.quality else {"quality": False}),
        **{name: value for name in later if (value := getattr(config, name))},
    }
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
