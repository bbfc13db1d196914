"""The conversion as an Apache Beam pipeline, for sources that one machine cannot do.

The readers, the preparation of a face and the schema are those of `conversion`; Beam spreads
them over the workers of any of its runners, and reads and writes through its file systems. Needs
apache-beam, the extra `beam`.

Records, labels, counts and drops are those of the local way. What differs: the shard of a record
follows from the hash of its key alone, so shards are equal only on average; of images with the
same key, and landmarks of the same key, any one may be kept; and what looks wrong is said at the
end. One worker holds the records of a shard, the names of the people, and the list of what was
dropped; every worker the names of the people.
"""

import collections
import contextlib
import dataclasses
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import landmarks, records
from keras_sphereface.data.conversion import convert
from keras_sphereface.data.conversion.dataset_info import describe, write_table
from keras_sphereface.data.conversion.exclusions import Exclusions, exclusions_of
from keras_sphereface.data.conversion.manifest import SAME_IDENTITY, SEVERAL_IDENTITIES, Duplicate
from keras_sphereface.data.conversion.ordering import RANKS, label_order, rank_of
from keras_sphereface.data.conversion.prepare import NO_LANDMARKS, Face, preparation_of
from keras_sphereface.data.readers import filenames, open_source
from keras_sphereface.data.types import (
    MAX_IMAGE_BYTES,
    TOO_LARGE,
    ByteRange,
    ImageRecord,
    SkippedImage,
)

SKIPPED = "dropped"
BATCH = 64  # images that are prepared in one call
UNKNOWN_SIZE = -1  # of an image that a list file names


class Part(NamedTuple):
    """What of a source is read in one go: class folders, a list, or one other file."""

    kind: str
    path: str
    prefix: str = ""  # of keys that are mere numbers


def make_records(config: ConvertConfig) -> records.DatasetInfo:
    """What `conversion.make_records` does, on `config.runner` with `config.beam_options`.

    `source`, `out` and the lists may lie wherever Beam's file systems reach (`gs://`, `s3://`,
    `hdfs://`, a folder that all workers share). dataset.json is written last: a folder without
    it holds no records yet, and its shards are replaced.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: if source or settings cannot be used.
    """
    convert.check_settings(config)
    if _is_local(config.source) and _is_local(config.out):
        places = (Path(os.path.abspath(path)) for path in (config.out, config.source))
        convert.check_places(config, *places)
    if _exists(_join(config.out, records.INFO_FILE)):
        raise FileExistsError(
            "The output folder holds records, which a run on Beam does not replace: name a new "
            f"one. Received: {config.out}"
        )
    with contextlib.suppress(BeamIOError, OSError):  # it is there already
        FileSystems.mkdirs(config.out)
    left = [metadata.path for metadata in _match(_join(config.out, "train-*.tfrecord"))]
    if left:  # by a run that did not come to its end
        FileSystems.delete(left)
    kind, parts, doubts = parts_of(config.source)
    with _local_lists(config) as local:
        exclusions = exclusions_of(local)
    options = PipelineOptions([f"--runner={config.runner}", *config.beam_options])
    with beam.Pipeline(options=options) as pipeline:
        steps = _Steps(config, exclusions, pipeline)
        images = steps.wanted(steps.sort("Read", steps.spread(parts), read))
        prepared, labels = steps.prepared(images)
        shards = steps.shards(prepared, labels)
        _ = (
            pipeline
            | "Last" >> beam.Create([_Description(config, kind, exclusions, tuple(doubts))])
            | beam.Map(
                _write_description,
                beam.pvalue.AsList(shards),
                labels,
                beam.pvalue.AsIter(tuple(steps.dropped) | "SkippedImage" >> beam.Flatten()),
                beam.pvalue.AsDict(steps.left_out),
                beam.pvalue.AsIter(_copies(prepared)),
                beam.pvalue.AsSingleton(steps.sample),
            )
        )
    with _open(_join(config.out, records.INFO_FILE)) as file:
        return records.info_from_json(file.read().decode(), config.out)


def parts_of(source: str) -> tuple[str, list[Part], tuple[str, ...]]:
    """The kind of a source, the parts of it, and what is odd about it.

    On this machine's disk a source is told as `sources.open_source` does. Elsewhere it is a file,
    a pattern of files, a folder that holds .rec or .parquet files, or else class folders.

    Raises:
        FileNotFoundError, ValueError: if there is nothing of a known kind.
    """
    if _is_local(source):
        path = Path(os.path.abspath(source))
        found = open_source.open_source(path)
        root = path if path.is_dir() else path.parent
        files = [
            Part(found.kind, str(file), open_source.prefix_of(file, root)) for file in found.files
        ]
        return found.kind, files or [Part(found.kind, str(path))], found.warnings
    is_file = "*" in source or _exists(source)
    inside = ("*.rec", "*.parquet", "*/*.parquet")
    for pattern in [source] if is_file else [_join(source, name) for name in inside]:
        paths = [metadata.path for metadata in _match(pattern)]
        if paths:
            root = os.path.commonpath([path.rpartition("/")[0] for path in paths])
            parts = [
                Part(
                    open_source.kind_of(_head(path)) or open_source.LIST_FILE,
                    path,
                    open_source.prefix_of(path, root),
                )
                for path in paths
            ]
            return " and ".join(sorted({part.kind for part in parts})), parts, ()
    if not _match(_join(source, "*/*"), limit=1):
        raise FileNotFoundError(
            "The source must hold class folders (SOURCE/IDENTITY/IMAGE), .rec or .parquet files, "
            f"or be a file. Received: {source}"
        )
    return open_source.CLASS_FOLDERS, [Part(open_source.CLASS_FOLDERS, source)], ()


def read(part: Part) -> Iterator[ImageRecord | SkippedImage]:
    """What a part holds, wherever it lies."""
    if part.kind == open_source.CLASS_FOLDERS:
        is_local = _is_local(part.path)
        yield from open_source.class_folders(part.path) if is_local else _remote_folders(part.path)
    elif part.kind == open_source.LIST_FILE:
        folder = part.path.rpartition("/")[0]
        with io.TextIOWrapper(_open(part.path), "utf-8-sig") as file:
            for line in filter(str.strip, file):
                key, identity = open_source.parse_listed(line.strip())
                is_whole = key.startswith("/") or "://" in key
                path = key if is_whole else _join(folder, key)
                yield ImageRecord(key, identity, ByteRange(path, 0, UNKNOWN_SIZE))
    else:
        with _open(part.path) as file:
            yield from open_source.reader_of(_head(part.path), part.path)(
                file, part.path, part.prefix
            )


def _remote_folders(root: str) -> Iterator[ImageRecord | SkippedImage]:
    """Class folders where there are no folders, only names with slashes."""
    for metadata in _match(_join(root, "*/*")):
        identity, name = metadata.path.split("/")[-2:]
        if filenames.is_hidden(identity):
            continue
        if filenames.is_image_name(name):
            span = ByteRange(metadata.path, 0, metadata.size_in_bytes)
            yield ImageRecord(f"{identity}/{name}", identity, span)
        else:
            yield SkippedImage(f"{identity}/{name}", filenames.STRAY)


def with_bytes(image_record: ImageRecord) -> Iterator[ImageRecord | SkippedImage]:
    """The image with its bytes instead of the place where they lie."""
    span = image_record.content
    if not isinstance(span, ByteRange):
        yield image_record
        return
    is_listed = span.size == UNKNOWN_SIZE
    try:
        with _open(span.file) as file:
            content = file.read(MAX_IMAGE_BYTES + 1) if is_listed else span.read(file)
        if len(content) > MAX_IMAGE_BYTES:
            raise ValueError(TOO_LARGE)
        yield image_record._replace(content=content)
    except ValueError as error:
        yield SkippedImage(image_record.key, f"cannot be used: {error}")
    except (BeamIOError, OSError):
        # Any other failure is not the image's: the bundle is done again.
        if not is_listed or _exists(span.file):
            raise
        yield SkippedImage(image_record.key, open_source.NO_FILE)


class Prepared(NamedTuple):
    """A face on its way to its shard."""

    image_record: ImageRecord
    face: Face
    rank: int


class _Sorted(beam.DoFn):
    """Calls a function that yields things to keep and things to drop, and tells them apart."""

    def __init__(self, function: Callable):
        self.function = function

    def process(self, element, *sides):
        for result in self.function(element, *sides):
            is_dropped = isinstance(result, SkippedImage)
            yield beam.pvalue.TaggedOutput(SKIPPED, result) if is_dropped else result


class _Steps:
    """The steps of the pipeline, and what they drop on the way.

    Attributes:
        dropped: collections of `SkippedImage`.
        left_out: how many images are excluded, by (line of the exclusions, identity).
        sample: the first images in the order of the records, with their bytes.
    """

    def __init__(self, config: ConvertConfig, exclusions: Exclusions, pipeline: beam.Pipeline):
        self.config, self.exclusions, self.pipeline = config, exclusions, pipeline
        self.preparation = preparation_of(config)
        self.dropped: list = []
        self.few, self.few_read = convert.too_few(config)

    def sort(self, name, collection, function, *sides):
        """Apply a function that yields what to keep and what to drop; gives what to keep."""
        results = collection | name >> beam.ParDo(_Sorted(function), *sides).with_outputs(
            SKIPPED, main="kept"
        )
        self.dropped.append(results[SKIPPED])
        return results["kept"]

    def spread(self, parts):
        """The parts of the source, over the workers."""
        return self.pipeline | "Parts" >> beam.Create(parts) | "Side by side" >> beam.Reshuffle()

    def wanted(self, images):
        """The images that are not excluded, one of each key, with landmarks if they need them,
        and of people who have enough."""
        exclusions, config = self.exclusions, self.config
        kept, excluded = images | "Exclude" >> beam.Partition(
            lambda image_record, _: int(exclusions.line_for(image_record) is not None), 2
        )
        self.left_out = (
            excluded
            | "By"
            >> beam.Map(
                lambda image_record: (exclusions.line_for(image_record), image_record.identity)
            )
            | "How often" >> beam.combiners.Count.PerElement()
        )
        keyed = kept | "By key" >> beam.Map(lambda image_record: (image_record.key, image_record))
        points = _landmarks(self.pipeline, config.landmarks)
        grouped = {"images": keyed, "points": points} | "Same key" >> beam.CoGroupByKey()
        needed = self.preparation.align and not config.detect
        images = self.sort("Landmarks", grouped, lambda group: _join_landmarks(group, needed))
        counts = _count_people(images, "Listed")
        few = counts | beam.Filter(lambda pair: pair[1] < config.min_images)
        return self.sort("Few", images, _unless_few, beam.pvalue.AsDict(few), self.few)

    def prepared(self, images):
        """The faces on their way, and {identity: (label, images)} of everyone."""
        config = self.config
        images = self.sort("Bytes", images | "Spread" >> beam.Reshuffle(), with_bytes)
        self.sample = images | beam.combiners.Top.Of(
            convert.SAMPLE,
            key=lambda image_record: (rank_of(image_record.key, config.seed), image_record.key),
            reverse=True,
        )
        # Of one size: Beam's search for the best divides by zero where its clock is too coarse.
        batches = images | beam.BatchElements(min_batch_size=BATCH, max_batch_size=BATCH)
        prepared = self.sort("Prepare", batches, _Prepare(self.preparation, config.seed))
        prepared = prepared | "Keep" >> beam.Reshuffle()  # what took long is not done again
        people = _count_people(prepared | beam.Map(lambda face: face.image_record), "Read")
        people = (
            people
            | "Enough" >> beam.Filter(lambda pair: pair[1] >= config.min_images)
            | "All" >> beam.combiners.ToList()
            | "Number" >> beam.Map(_numbered)
        )
        labels = beam.pvalue.AsSingleton(people)
        return self.sort("Few read", prepared, _unless_unlabelled, labels, self.few_read), labels

    def shards(self, prepared, labels):
        """What was written of each shard."""
        config = self.config
        sizes = prepared | beam.Map(lambda face: (1, len(face.face.image) + convert.EXTRA_BYTES))
        num_shards = beam.pvalue.AsSingleton(
            sizes
            | beam.CombineGlobally(beam.combiners.TupleCombineFn(sum, sum))
            | beam.Map(lambda sums: convert.shards_for(*sums, config.num_shards))
        )
        if config.detect:
            _ = (
                prepared
                | beam.Map(
                    lambda face: landmarks.landmark_line(face.image_record.key, face.face.landmarks)
                )
                | beam.Map(str.rstrip)
                | beam.io.WriteToText(
                    _join(config.out, records.LANDMARKS_FILE), shard_name_template=""
                )
            )
        # Shards that no record falls into are there all the same.
        numbers = self.pipeline | beam.Create([None])
        numbers = numbers | beam.FlatMap(lambda _, n: [(i, None) for i in range(n)], num_shards)
        return (
            (prepared | "Place" >> beam.Map(_placed, labels, num_shards), numbers)
            | beam.Flatten()
            | "Shard" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write_shard, num_shards, config.out)
        )


def _copies(prepared):
    """The sorted (key, identity) of the images with the same bytes, where there are several."""
    return (
        prepared
        | beam.Map(
            lambda face: (face.face.digest, (face.image_record.key, face.image_record.identity))
        )
        | "Same bytes" >> beam.GroupByKey()
        | beam.Map(lambda group: sorted(group[1]))
        | "Copies" >> beam.Filter(lambda group: len(group) > 1)
    )


def _unless_few(image_record, people, reason):
    yield (
        SkippedImage(image_record.key, reason) if image_record.identity in people else image_record
    )


def _unless_unlabelled(prepared, labels, reason):
    image_record = prepared.image_record
    yield prepared if image_record.identity in labels else SkippedImage(image_record.key, reason)


def _landmarks(pipeline, path):
    if not path:
        return pipeline | "No landmarks" >> beam.Create([])
    lines = pipeline | "Read landmarks" >> beam.io.ReadFromText(path)
    return (
        lines
        | "Not blank" >> beam.Filter(str.strip)
        | beam.Map(lambda line: landmarks.parse_landmarks(line.strip().lstrip("\ufeff")))
    )


def _join_landmarks(group, needed):
    """One image of each key, with its points."""
    key, found = group
    images, given = list(found["images"]), list(found["points"])
    # Sorted, so that a bundle that is done again keeps the same ones.
    if len(images) > 1:
        images.sort(key=lambda image_record: repr(image_record.content))
    given.sort(key=lambda points: points.tolist())
    for image_record in images[:1]:
        points = given[0] if given else image_record.landmarks
        if needed and points is None:
            yield SkippedImage(key, NO_LANDMARKS)
        else:
            yield image_record._replace(landmarks=points)
    for image_record in images[1:]:
        yield SkippedImage(image_record.key, convert.SAME_KEY)


def _count_people(images, name):
    return (
        images
        | f"{name}: whom" >> beam.Map(lambda image_record: image_record.identity)
        | f"{name}: how often" >> beam.combiners.Count.PerElement()
    )


def _numbered(people: list[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """{identity: (label, images)} from (identity, images)."""
    ordered = sorted(people, key=lambda pair: label_order(pair[0]))
    return {identity: (label, count) for label, (identity, count) in enumerate(ordered)}


class _Prepare(NamedTuple):
    """A batch of images -> faces on their way."""

    preparation: Any
    seed: int

    def __call__(self, images):
        for image_record, face in zip(images, self.preparation(images), strict=True):
            if isinstance(face, SkippedImage):
                yield face
            else:
                without_bytes = image_record._replace(content=b"")
                yield Prepared(without_bytes, face, rank_of(image_record.key, self.seed))


def _placed(prepared, labels, num_shards):
    """(shard, what lies in it and in which order)."""
    image_record = prepared.image_record
    label, _ = labels[image_record.identity]
    record = records.Record(prepared.face.image, label, image_record.identity, image_record.key)
    shard = prepared.rank * num_shards // RANKS
    return shard, (prepared.rank, image_record.key, records.serialize(record))


def _write_shard(group, num_shards, out) -> records.Shard:
    """Write one shard, whose records are sorted in memory."""
    number, entries = group
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / records.shard_name(number, num_shards)
        with records.ShardWriter(path) as writer:
            for _, _, example in sorted(entry for entry in entries if entry is not None):
                writer.write(example)
        with open(path, "rb") as local, _written_whole(_join(out, path.name)) as remote:
            shutil.copyfileobj(local, remote, 1 << 20)
        return writer.shard


@contextlib.contextmanager
def _written_whole(path: str) -> Iterator[BinaryIO]:
    """A new file that gets its name when the block ends; it may be written again."""
    partial = f"{path}.{uuid.uuid4().hex}"
    with _create(partial) as file:
        yield file
    if _exists(path):
        FileSystems.delete([path])
    FileSystems.rename([partial], [path])


class _Description(NamedTuple):
    """What the last step knows before it begins."""

    config: ConvertConfig
    kind: str
    exclusions: Exclusions
    doubts: tuple[str, ...]


def _write_description(known, shards, labels, dropped, left_out, copies, sample):
    """The tables, and dataset.json last of all."""
    config, out = known.config, known.config.out
    if not labels:
        raise convert.EmptyDatasetError(
            f"No image is left to convert. Received: source={config.source}"
        )

    def write(name: str, header: Iterable[str], rows: Iterable[Iterable]) -> None:
        with _written_whole(_join(out, name)) as file:
            text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
            write_table(text, header, rows)
            text.detach()

    people = [(label, identity, count) for identity, (label, count) in labels.items()]
    dropped = sorted(dropped)
    duplicates = [
        Duplicate(number, _kind_of(group), identity, key)
        for number, group in enumerate(sorted(copies))
        for key, identity in group
    ]
    write(records.LABELS_FILE, records.LABELS_HEADER, people)
    write(records.SKIPPED_FILE, SkippedImage._fields, dropped)
    write(records.DUPLICATES_FILE, Duplicate._fields, duplicates)
    preparation = preparation_of(config)
    seen = convert.prepared_sample(sample, preparation)
    if config.contact_sheet:
        with _written_whole(config.contact_sheet) as file:
            file.write(convert.sheet_of(seen))
    reasons = collections.Counter(entry.reason for entry in dropped)
    info = describe(
        config,
        kind=known.kind,
        settings="",
        shards=sorted(shards, key=lambda shard: shard.file),
        num_identities=len(labels),
        left_out=known.exclusions.facts(left_out),
        copies=collections.Counter(duplicate.kind for duplicate in duplicates),
        skipped_by_reason=dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        skipped=dropped[: records.MAX_SKIPPED_LISTED],
        warnings=[*known.doubts, *convert.doubts_of(seen, preparation)],
    )
    with _written_whole(_join(out, records.INFO_FILE)) as file:
        file.write(info.to_json().encode())


def _kind_of(group):
    return SAME_IDENTITY if len({identity for _, identity in group}) == 1 else SEVERAL_IDENTITIES


@contextlib.contextmanager
def _local_lists(config: ConvertConfig) -> Iterator[ConvertConfig]:
    """The settings with the lists of exclusions copied to this machine."""
    with tempfile.TemporaryDirectory() as folder:
        local: dict[str, Any] = {}
        for name in ("exclude", "exclude_pairs"):
            if path := getattr(config, name):
                with _open(path) as file:
                    (Path(folder) / name).write_bytes(file.read())
                local[name] = os.path.join(folder, name)
        yield dataclasses.replace(config, **local)


def _is_local(path: str) -> bool:
    return "://" not in path and "*" not in path


def _join(folder: str, name: str) -> str:
    return FileSystems.join(folder, name)


def _exists(path: str) -> bool:
    return FileSystems.exists(path)


def _match(pattern: str, limit: int | None = None):
    (result,) = FileSystems.match([pattern], limits=[limit])
    return result.metadata_list


def _head(path: str) -> bytes:
    with _open(path) as file:
        return file.read(512)


def _open(path: str):
    # Beam would unpack by the suffix; the readers look at the bytes.
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _create(path: str):
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
