"""The conversion as an Apache Beam pipeline, for sources that one machine cannot do.

It composes the steps of the local conversion; Beam spreads them over the workers of any of its
runners, and reads and writes through its file systems. Needs apache-beam, the extra `beam`.

Records, labels, counts, skipped images and warnings are those of the local conversion. Shards are
equal only on average, as the hash of a key decides on the shard of its record; any one of the
images or landmarks with the same key may be kept. Every worker holds the names of the identities,
and one the records of a shard, the list of skipped images, or what was measured of all faces.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsIter, AsList, AsSingleton

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import images, landmarks, records
from keras_sphereface.data.conversion import (
    beam_files,
    beam_source,
    checks,
    image_size,
    messages,
    sample,
    steps,
)
from keras_sphereface.data.conversion.beam_landmarks import match_landmarks
from keras_sphereface.data.conversion.collected_faces import CollectedFaces, collected_face
from keras_sphereface.data.conversion.convert import EmptyDatasetError
from keras_sphereface.data.conversion.dataset_info import write_dataset_info
from keras_sphereface.data.conversion.exclusions import (
    Exclusions,
    UnknownExclusionError,
    combined_exclusions,
)
from keras_sphereface.data.conversion.ordering import RANKS, rank_of
from keras_sphereface.data.conversion.prepare import Preparation
from keras_sphereface.data.conversion.quality import Quality, assess_quality
from keras_sphereface.data.conversion.quality_page import render_quality
from keras_sphereface.data.landmarks import landmark_line
from keras_sphereface.data.types import SkippedImage
from keras_sphereface.utils.progress import log, stage, warn_once

LANDMARK_HEAD_BYTES = 1 << 20  # in which the first lines of a landmark file lie


def make_records_on_beam(config: ConvertConfig) -> records.DatasetInfo:
    """Make records as `make_records` does, on `config.runner` with `config.beam_options`.

    `source`, `out` and the lists may lie wherever Beam's file systems reach (`gs://`, `s3://`,
    `hdfs://`, a folder that all workers share). dataset.json is written last: a folder without
    it holds no records yet, and its shards are replaced.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: if source or settings cannot be used; by
            other runners than Beam's local one, an error of their own with the same text if no
            image can be used or a line of `exclude` meets nothing.
    """
    checks.check_convert_config(config)
    if beam_files.is_local(config.source) and beam_files.is_local(config.out):
        out, path = (Path(os.path.abspath(path)) for path in (config.out, config.source))
        lists = (config.landmarks, config.exclude, config.exclude_pairs)
        checks.check_places(out, path, lists, config.contact_sheet)
    beam_files.prepare_output(config.out)
    source, files = beam_source.find_source(config.source, config.root, config.list_columns)
    with (
        beam_files.local_file(config.exclude) as lines,
        beam_files.local_file(config.exclude_pairs) as pairs,
    ):
        folds, casia_lfw = config.exclude_folds, config.exclude_casia_lfw
        exclusions = combined_exclusions(lines, pairs, folds, casia_lfw, config.allow_missing)
    of_landmarks, first_landmark = _look_at_landmarks(config)
    size = (config.height, config.width)
    preparation = Preparation(size, config.aligns, config.detect, config.quality)
    options = PipelineOptions([f"--runner={config.runner}", *config.beam_options])
    described = _Described(config, source, exclusions, of_landmarks, first_landmark)
    with (
        _errors_of_steps(),
        stage("converting with Beam"),
        beam.Pipeline(options=options) as pipeline,
    ):
        conversion = _Conversion(pipeline, preparation, config.min_images, config.seed)
        images = conversion.list_images(
            files, exclusions, config.landmarks, config.landmark_columns
        )
        faces, labels = conversion.prepare(images)
        shards = conversion.write_shards(faces, labels, config.out, config.num_shards)
        results = conversion.results(faces, labels, shards)
        _ = pipeline | "Last" >> beam.Create([described]) | beam.Map(_describe, **results)
    info = beam_files.read_remote_info(config.out)
    warn_once(info.warnings, set())
    return info


class _Described(NamedTuple):
    """What is known of a conversion before its pipeline runs, for the tables and the report."""

    config: ConvertConfig
    source: beam_source.SourceSummary
    exclusions: Exclusions
    landmark_warnings: list[str]
    first_landmark: str


def _look_at_landmarks(config: ConvertConfig) -> tuple[list[str], str]:
    """Return the warnings of the landmark file and its first name; log how it is read."""
    if not config.landmarks:
        return [], ""
    columns = config.landmark_columns
    with beam_files.local_file(config.landmarks, LANDMARK_HEAD_BYTES) as head:
        for note in landmarks.landmark_notes(head, columns):
            log(note.replace(head, config.landmarks))
        warnings = landmarks.landmark_warnings(head, columns)
        first = messages.first_landmark_name(head, columns)
    return [warning.replace(head, config.landmarks) for warning in warnings], first


@contextlib.contextmanager
def _errors_of_steps() -> Iterator[None]:
    """Free errors of steps from the names of the steps, which Beam appends."""
    try:
        yield
    except (EmptyDatasetError, UnknownExclusionError) as error:
        raise type(error)(str(error).partition(" [while running")[0]) from error


class _Conversion:
    """The parts of the pipeline; `left_out` gathers what their steps skip or exclude."""

    def __init__(self, pipeline: Any, preparation: Preparation, min_images: int, seed: int):
        self.pipeline, self.preparation, self.seed = pipeline, preparation, seed
        self.has_enough = beam.Filter(lambda count: count[1] >= min_images)
        self.few, self.few_readable = steps.too_few_reasons(min_images)
        self.left_out: list[Any] = []

    def _apply(self, name: str, collection: Any, step: Callable, *arguments: Any) -> Any:
        """Return what a step keeps."""
        # In a lambda: Beam would take the annotations of the step for those of its coders.
        results = collection | name >> beam.FlatMap(lambda *all: step(*all), *arguments)
        self.left_out.append(results | f"{name}: left out" >> beam.Filter(_is_left_out))
        return results | f"{name}: kept" >> beam.Filter(lambda result: not _is_left_out(result))

    def list_images(
        self, files: list, exclusions: Exclusions, landmark_file: str, columns: str
    ) -> Any:
        """Return the images to prepare: one of each key, of identities with enough of them."""
        files = self.pipeline | "Files" >> beam.Create(files) | "Spread" >> beam.Reshuffle()
        images = self._apply("Read", files, beam_source.read_wanted, exclusions)
        # Side inputs are there before a step begins: no image is prepared for a mistyped name.
        is_met = AsSingleton(self._check_exclusions(images, exclusions))
        keyed = images | "By key" >> beam.Map(lambda image: (image.key, image))
        points = self.pipeline | "No landmarks" >> beam.Create([])
        if landmark_file:
            lines = beam_files.read_remote_landmarks(self.pipeline, landmark_file, columns)
            points = match_landmarks(self.pipeline, images, lines)
        groups = {"images": keyed, "points": points} | beam.CoGroupByKey()
        images = self._apply("Pick", groups, lambda group, _: steps.pick_image(group), is_met)
        self.listed = AsDict(_count(images, "Listed"))
        if self.preparation.needs_landmarks:
            images = self._apply("Landmarks", images, steps.require_landmarks)
        enough = AsDict(_count(images, "Usable") | "Enough" >> self.has_enough)
        images = self._apply("Few", images, steps.keep_identities, enough, self.few)
        with_points = images | "Have points" >> beam.Map(lambda image: image.landmarks is not None)
        self.arranged = {
            "enough": enough,
            "have_points": AsDict(with_points | beam.combiners.Count.PerElement()),
        }
        return images

    def _check_exclusions(self, images: Any, exclusions: Exclusions) -> Any:
        """Count what is left out, and check that every line that must meet something does."""
        excluded = self.left_out[-1] | beam.Filter(lambda entry: isinstance(entry, steps.Excluded))
        self.excluded = AsDict(
            excluded | beam.Map(tuple) | "Count left out" >> beam.combiners.Count.PerElement()
        )
        names = images | beam.Map(lambda image: image.identity) | beam.Distinct()
        start = self.pipeline | "Exclusions" >> beam.Create([exclusions])
        return start | beam.Map(_check_met, self.excluded, AsIter(names))

    def prepare(self, images: Any) -> tuple[Any, AsSingleton]:
        """Return the faces, and {identity: (label, images)} of those with enough of them."""
        seed = self.seed
        images = self._apply("Load", images | beam.Reshuffle(), beam_source.load_content)
        self.sample = images | beam.combiners.Top.Of(
            sample.sample_size(self.preparation),
            key=lambda image: (rank_of(image.key, seed), image.key),
            reverse=True,
        )
        first = self.sample | beam.Map(lambda images: image_size.image_sizes(images))
        self.sizes, unsized = AsSingleton(first), self.preparation
        sized = first | "Size" >> beam.Map(lambda sizes: image_size.sized(unsized, sizes))
        self.sized = AsSingleton(sized)
        # Of one size: Beam's search for the best divides by zero where its clock is too coarse.
        blocks = images | beam.BatchElements(steps.BLOCK_SIZE, steps.BLOCK_SIZE)
        faces = self._apply("Prepare", blocks, steps.prepare_block, self.sized)
        faces = faces | beam.Map(lambda f: steps.without_source(f)) | "Keep" >> beam.Reshuffle()
        images = faces | beam.Map(lambda face: face.image)
        enough = _count(images, "Readable") | "Enough readable" >> self.has_enough
        listed = enough | beam.combiners.ToList()
        labels = AsSingleton(listed | beam.Map(lambda counts: steps.number_identities(counts)))
        keep, few = steps.keep_identities, self.few_readable
        return self._apply("Few readable", faces, keep, labels, few), labels

    def write_shards(self, faces: Any, labels: AsSingleton, out: str, requested: int) -> Any:
        """Write the shards, and the landmarks of detected faces; return the `Shard`s."""
        sizes = faces | beam.Map(lambda face: (1, len(face.face.image) + steps.RECORD_OVERHEAD))
        sums = sizes | beam.CombineGlobally(beam.combiners.TupleCombineFn(sum, sum))
        choose = steps.num_shards_for
        num_shards = AsSingleton(sums | beam.Map(lambda n: choose(n[0], n[1], requested)))
        if self.preparation.detect:
            path = beam_files.join(out, records.LANDMARKS_FILE)
            lines = faces | beam.Map(lambda f: landmark_line(f.image.key, f.face.landmarks))
            write = beam.io.WriteToText(
                path, shard_name_template="", append_trailing_newlines=False
            )
            _ = lines | write
        placed = faces | beam.Map(_placed, labels, num_shards, self.seed)
        # Shards that no record falls into are written as well.
        start = self.pipeline | beam.Create([None])
        numbers = start | beam.FlatMap(lambda _, n: [(i, None) for i in range(n)], num_shards)
        groups = (placed, numbers) | beam.Flatten() | "Shard" >> beam.GroupByKey()
        return groups | beam.Map(beam_files.write_remote_shard, num_shards, out)

    def _quality(self, faces: Any) -> dict[str, Any]:
        """Return the quality of all faces, and (key, encoded face) of those that it names."""
        seed, detect = self.seed, self.preparation.detect
        collected = faces | beam.Map(lambda face: collected_face(face, seed))
        start = self.pipeline | "Quality" >> beam.Create([None])
        assessed = start | beam.Map(
            lambda _, all: assess_quality(CollectedFaces(all, detect)), AsIter(collected)
        )
        quality = AsSingleton(assessed)
        named = faces | beam.FlatMap(_if_named, quality)
        return {"quality": quality, "examples": AsIter(named)}

    def results(self, faces: Any, labels: AsSingleton, shards: Any) -> dict[str, Any]:
        """Return all that the last step describes, as side inputs."""
        left_out = tuple(self.left_out) | "Left out" >> beam.Flatten()
        skipped = left_out | beam.Filter(lambda entry: isinstance(entry, SkippedImage))
        digests = faces | beam.Map(lambda f: (f.face.digest, (f.image.key, f.image.identity)))
        groups = digests | "Same bytes" >> beam.GroupByKey()
        copies = groups | beam.Map(lambda group: sorted(group[1]))
        copies = copies | beam.Filter(lambda group: len(group) > 1)
        measured = self._quality(faces) if self.preparation.measure else {}
        return {
            "labels": labels,
            "shards": AsList(shards),
            "skipped": AsIter(skipped),
            "excluded": self.excluded,
            "copies": AsIter(copies),
            "images": AsSingleton(self.sample),
            "listed": self.listed,
            **self.arranged,
            "sizes": self.sizes,
            "preparation": self.sized,
            **measured,
        }


def _is_left_out(result: Any) -> bool:
    return isinstance(result, SkippedImage | steps.Excluded)


def _count(images: Any, name: str) -> Any:
    identities = images | f"{name}: identity" >> beam.Map(lambda image: image.identity)
    return identities | f"{name}: images" >> beam.combiners.Count.PerElement()


def _check_met(exclusions: Exclusions, excluded: Any, names: Iterable[str]) -> bool:
    exclusions.check_met({line for line, _ in excluded}, sorted(names))
    return True


def _if_named(face: Any, quality: Quality) -> Iterator[tuple[str, bytes]]:
    """Yield the key of a face and its encoded image, if the table of quality names it."""
    if any(face.image.key in row.examples for row in quality.rows):
        yield face.image.key, face.face.image


def _placed(face: Any, labels: Any, num_shards: int, seed: int) -> Any:
    """Return the shard of a face, and its record after the rank and the key that order it."""
    label, _ = labels[face.image.identity]
    rank = rank_of(face.image.key, seed)
    record = steps.serialized_record(face, label)
    return rank * num_shards // RANKS, (rank, face.image.key, record)


def _describe(described: _Described, **results: Any) -> None:
    """Check the sample, and write all that stands beside the shards."""
    config, source, exclusions, of_landmarks, first_landmark = described
    labels, skipped = results["labels"], sorted(results["skipped"])
    preparation, sizes = results["preparation"], results["sizes"]
    if not labels:
        text = messages.empty_message(skipped, config.source, first_landmark)
        raise EmptyDatasetError(text)
    for note in image_size.size_notes(preparation, sizes):
        log(note)
    excluded = {identity for _, identity in results["excluded"]}
    num_identities = len(excluded.union(results["listed"]))
    have_points = results["have_points"]
    faces = sample.prepare_sample(results["images"], preparation)
    if config.contact_sheet:
        with beam_files.atomic_remote_file(config.contact_sheet) as file:
            file.write(sample.draw_sample(faces))
    warnings = [
        *source.warnings,
        *image_size.property_warnings(source.promised, num_identities, sizes),
        *messages.name_warnings(steps.name_twins(results["enough"])),
        *sample.check_sample(faces, preparation),
        *messages.landmark_use_warnings(
            have_points.get(True, 0),
            sum(have_points.values()),
            preparation.align,
            config.landmarks,
            of_landmarks,
        ),
    ]

    def create(name: str) -> Any:
        return beam_files.atomic_remote_text(beam_files.join(config.out, name))

    quality = results.get("quality")
    if quality:
        num_images = sum(count for _, count in labels.values())
        pixels = {key: images.decode(encoded) for key, encoded in results["examples"]}
        with create(records.QUALITY_FILE) as file:
            file.write(render_quality(quality.rows, num_images, warnings, pixels))
    write_dataset_info(
        create,
        kind=source.kind,
        settings="",
        preparation=preparation,
        seed=config.seed,
        shards=sorted(results["shards"], key=lambda shard: shard.file),
        identities=[(label, identity, count) for identity, (label, count) in labels.items()],
        skipped=skipped,
        duplicates=steps.group_duplicates(results["copies"]),
        exclusions=exclusions.summary(results["excluded"]),
        warnings=warnings,
        quality=quality.rows if quality else (),
        near_duplicates=quality and quality.near_duplicates,
    )
