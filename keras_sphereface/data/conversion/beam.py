"""The conversion as an Apache Beam pipeline, for sources that one machine cannot do.

It composes the same steps as the local conversion; Beam spreads them over the workers of any of
its runners, and reads and writes through its file systems. Needs apache-beam, the extra `beam`.

Records, labels, counts and skipped images are those of the local conversion. What differs: the
shard of a record follows from the hash of its key alone, so shards are equal only on average; of
images with the same key, and landmarks of the same key, any one may be kept; and warnings come
at the end. One worker holds the records of a shard, the names of the identities, and the list of
skipped images; every worker the names of the identities.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsIter, AsList, AsSingleton, TaggedOutput

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import landmarks, records, tfrecord
from keras_sphereface.data.conversion import beam_files, sample, steps
from keras_sphereface.data.conversion.beam_source import (
    SourceFile,
    find_source,
    load_content,
    read_source_file,
)
from keras_sphereface.data.conversion.checks import check_places, check_settings
from keras_sphereface.data.conversion.convert import EmptyDatasetError
from keras_sphereface.data.conversion.dataset_info import write_dataset_info
from keras_sphereface.data.conversion.exclusions import Exclusions, combined_exclusions
from keras_sphereface.data.conversion.ordering import RANKS, rank_of
from keras_sphereface.data.conversion.prepare import Preparation
from keras_sphereface.data.types import SkippedImage

KEPT, SKIPPED, EXCLUDED = "kept", "skipped", "excluded"
TAGS = {SkippedImage: SKIPPED, steps.Excluded: EXCLUDED}


def make_records_on_beam(config: ConvertConfig) -> records.DatasetInfo:
    """Make records as `make_records` does, on `config.runner` with `config.beam_options`.

    `source`, `out` and the lists may lie wherever Beam's file systems reach (`gs://`, `s3://`,
    `hdfs://`, a folder that all workers share). dataset.json is written last: a folder without
    it holds no records yet, and its shards are replaced.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: if source or settings cannot be used.
    """
    check_settings(config)
    if beam_files.is_local(config.source) and beam_files.is_local(config.out):
        out, path = (Path(os.path.abspath(path)) for path in (config.out, config.source))
        lists = (config.landmarks, config.exclude, config.exclude_pairs)
        check_places(out, path, lists, config.contact_sheet)
    if beam_files.exists(info_file := beam_files.join(config.out, records.INFO_FILE)):
        raise FileExistsError(
            "The output folder holds records, which a run on Beam does not replace: name a new "
            f"one, --out. Received: {config.out}"
        )
    beam_files.prepare_output(config.out)
    kind, files, warnings = find_source(config.source)
    with beam_files.local_copies(config.exclude, config.exclude_pairs) as copies:
        exclusions = combined_exclusions(*copies, config.exclude_folds, config.exclude_casia_lfw)
    preparation = Preparation((config.height, config.width), config.aligns, config.detect)
    options = PipelineOptions([f"--runner={config.runner}", *config.beam_options])
    with beam.Pipeline(options=options) as pipeline:
        conversion = _Conversion(pipeline, preparation, config.min_images, config.seed)
        images = conversion.list_images(files, exclusions, config.landmarks)
        faces, labels = conversion.prepare(images)
        shards = conversion.write_shards(faces, labels, config.out, config.num_shards)
        results = conversion.results(faces, labels, shards)
        description = config.source, config.out, config.contact_sheet, kind, warnings, exclusions
        _ = (
            pipeline
            | "Last" >> beam.Create([None])
            | beam.Map(_describe, *description, preparation, config.seed, **results)
        )
    with beam_files.open_file(info_file) as file:
        return records.info_from_json(file.read().decode(), config.out)


class _Route(beam.DoFn):
    """Sends each result of a step to the output of its type: kept, skipped or excluded."""

    def __init__(self, step: Callable[..., Iterator[Any]]):
        self.step = step

    def process(self, element: Any, *arguments: Any) -> Iterator[Any]:
        for result in self.step(element, *arguments):
            tag = TAGS.get(type(result))
            yield TaggedOutput(tag, result) if tag else result


class _Conversion:
    """The parts of the pipeline; they gather what is skipped and excluded on the way."""

    def __init__(
        self, pipeline: beam.Pipeline, preparation: Preparation, min_images: int, seed: int
    ):
        self.pipeline, self.preparation, self.seed = pipeline, preparation, seed
        self.has_enough = beam.Filter(lambda count: count[1] >= min_images)
        self.few, self.few_readable = steps.too_few_reasons(min_images)
        self.skipped: list[beam.PCollection] = []

    def _apply(self, name: str, collection: Any, step: Callable, *arguments: Any) -> Any:
        route = beam.ParDo(_Route(step), *arguments)
        outputs = collection | name >> route.with_outputs(*TAGS.values(), main=KEPT)
        self.skipped.append(outputs[SKIPPED])
        return outputs

    def list_images(self, files: list[SourceFile], exclusions: Exclusions, points: str) -> Any:
        """Return the images to prepare: one of each key, of identities with enough of them."""
        spread = self.pipeline | "Files" >> beam.Create(files) | "Spread" >> beam.Reshuffle()
        entries = self._apply("Read", spread, _read, exclusions)
        self.excluded = entries[EXCLUDED] | beam.Map(tuple) | beam.combiners.Count.PerElement()
        keyed = entries[KEPT] | "By key" >> beam.Map(lambda image: (image.key, image))
        sides = {"images": keyed, "points": _read_landmarks(self.pipeline, points)}
        groups = sides | "Same key" >> beam.CoGroupByKey()
        needs_landmarks = self.preparation.needs_landmarks
        images = self._apply("Pick", groups, steps.pick_image, needs_landmarks)[KEPT]
        enough = AsDict(_count(images, "Listed") | "Enough" >> self.has_enough)
        return self._apply("Few", images, steps.keep_identities, enough, self.few)[KEPT]

    def prepare(self, images: beam.PCollection) -> tuple[beam.PCollection, AsSingleton]:
        """Return the faces, and {identity: (label, images)} of those with enough of them."""
        seed = self.seed
        images = self._apply("Load", images | beam.Reshuffle(), load_content)[KEPT]
        self.sample = images | beam.combiners.Top.Of(
            sample.sample_size(self.preparation),
            key=lambda image: (rank_of(image.key, seed), image.key),
            reverse=True,
        )
        # Of one size: Beam's search for the best divides by zero where its clock is too coarse.
        blocks = images | beam.BatchElements(steps.BLOCK_SIZE, steps.BLOCK_SIZE)
        faces = self._apply("Prepare", blocks, steps.prepare_block, self.preparation)[KEPT]
        faces = faces | beam.Map(steps.without_source) | "Keep" >> beam.Reshuffle()
        images = faces | beam.Map(lambda face: face.image)
        enough = _count(images, "Readable") | "Enough readable" >> self.has_enough
        labels = AsSingleton(enough | beam.combiners.ToList() | beam.Map(steps.number_identities))
        keep = steps.keep_identities
        return self._apply("Few readable", faces, keep, labels, self.few_readable)[KEPT], labels

    def write_shards(
        self, faces: beam.PCollection, labels: AsSingleton, out: str, requested: int
    ) -> beam.PCollection:
        """Write the shards, and the landmarks of detected faces; return the `Shard`s."""
        num_shards = AsSingleton(
            faces
            | beam.Map(lambda face: (1, len(face.face.image) + steps.RECORD_OVERHEAD))
            | beam.CombineGlobally(beam.combiners.TupleCombineFn(sum, sum))
            | beam.Map(lambda sums: steps.num_shards_for(*sums, requested))
        )
        if self.preparation.detect:
            path = beam_files.join(out, records.LANDMARKS_FILE)
            _ = (
                faces
                | beam.Map(
                    lambda face: landmarks.landmark_line(face.image.key, face.face.landmarks)
                )
                | "Without end" >> beam.Map(str.rstrip)
                | beam.io.WriteToText(path, shard_name_template="")
            )
        placed = faces | beam.Map(_placed, labels, num_shards, self.seed)
        # Shards that no record falls into are written as well.
        numbers = self.pipeline | beam.Create([None])
        empty = numbers | beam.FlatMap(lambda _, n: [(i, None) for i in range(n)], num_shards)
        groups = (placed, empty) | beam.Flatten() | "Shard" >> beam.GroupByKey()
        return groups | beam.Map(_write_shard, num_shards, out)

    def results(
        self, faces: beam.PCollection, labels: AsSingleton, shards: beam.PCollection
    ) -> dict[str, Any]:
        """Return all that the last step describes, as side inputs."""
        same_bytes = (
            faces
            | beam.Map(lambda face: (face.face.digest, (face.image.key, face.image.identity)))
            | "Same bytes" >> beam.GroupByKey()
            | beam.Map(lambda group: sorted(group[1]))
            | beam.Filter(lambda group: len(group) > 1)
        )
        return {
            "shards": AsList(shards),
            "labels": labels,
            "skipped": AsIter(tuple(self.skipped) | "All skipped" >> beam.Flatten()),
            "excluded": AsDict(self.excluded),
            "same_bytes": AsIter(same_bytes),
            "images": AsSingleton(self.sample),
        }


def _read(file: SourceFile, exclusions: Exclusions) -> Iterator[Any]:
    return steps.exclude(read_source_file(file), exclusions)


def _read_landmarks(pipeline: beam.Pipeline, path: str) -> Any:
    if not path:
        return pipeline | "No landmarks" >> beam.Create([])
    lines = pipeline | beam.io.ReadFromText(path) | "Not blank" >> beam.Filter(str.strip)
    return lines | beam.Map(lambda line: landmarks.parse_landmarks(line.strip().lstrip("\ufeff")))


def _count(images: beam.PCollection, name: str) -> Any:
    identities = images | f"{name}: identity" >> beam.Map(lambda image: image.identity)
    return identities | f"{name}: images" >> beam.combiners.Count.PerElement()


def _placed(face: Any, labels: Any, num_shards: int, seed: int) -> Any:
    """Return the shard of a face, and its record after what orders it."""
    label, _ = labels[face.image.identity]
    rank = rank_of(face.image.key, seed)
    record = steps.serialized_record(face, label)
    return rank * num_shards // RANKS, (rank, face.image.key, record)


def _write_shard(group: Any, num_shards: int, out: str) -> Any:
    """Write one shard, whose records are sorted in memory; return its `Shard`."""
    number, entries = group
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / records.shard_name(number, num_shards)
        with tfrecord.ShardWriter(path) as writer:
            for _, _, record in sorted(entry for entry in entries if entry is not None):
                writer.write(record)
        remote_path = beam_files.join(out, path.name)
        with open(path, "rb") as local, beam_files.atomic_remote_file(remote_path) as remote:
            shutil.copyfileobj(local, remote, 1 << 20)
        return writer.shard


def _describe(
    _: None,
    source: str,
    out: str,
    contact_sheet: str,
    kind: str,
    warnings: Any,
    exclusions: Exclusions,
    preparation: Preparation,
    seed: int,
    **results: Any,
) -> None:
    """Check the sample, and write all that stands beside the shards."""
    if not results["labels"]:
        raise EmptyDatasetError(f"No image of the source can be used. Received: source={source}")
    checked = sample.prepare_sample(results["images"], preparation)
    if contact_sheet:
        with beam_files.atomic_remote_file(contact_sheet) as file:
            file.write(sample.draw_sample(checked))
    labels = results["labels"].items()
    write_dataset_info(
        lambda name: beam_files.atomic_remote_text(beam_files.join(out, name)),
        kind=kind,
        settings="",
        preparation=preparation,
        seed=seed,
        shards=sorted(results["shards"], key=lambda shard: shard.file),
        identities=((label, identity, count) for identity, (label, count) in labels),
        skipped=sorted(results["skipped"]),
        duplicates=steps.group_duplicates(results["same_bytes"]),
        exclusions=exclusions.summary(results["excluded"]),
        warnings=[*warnings, *sample.check_sample(checked, preparation)],
    )
