"""The conversion as an Apache Beam pipeline, for sources that one machine cannot do.

The readers, the preparation of a face and the schema are those of `conversion`; Beam spreads
them over the workers of any of its runners, and reads and writes through its file systems. Needs
apache-beam, the extra `beam`.

Records, labels, counts and drops are those of the local way. What differs: the shard of a record
follows from the hash of its key alone, so shards are equal only on average; of pictures with the
same key any one may be kept; and what looks wrong is said at the end.
"""

import collections
import contextlib
import dataclasses
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from keras_sphereface import conversion, lists, records, sources
from keras_sphereface.config import RecordsConfig
from keras_sphereface.description import describe, write_table
from keras_sphereface.exclusions import Exclusions, exclusions_of
from keras_sphereface.order import RANKS, label_order, rank_of
from keras_sphereface.pictures import MAX_PICTURE_BYTES, Dropped, Picture, Span
from keras_sphereface.plan import SAME_PERSON, TWO_PEOPLE, Duplicate
from keras_sphereface.preparation import NO_LANDMARKS, Face, preparation_of

DROPPED = "dropped"
LARGEST_BATCH = 64  # pictures that are prepared in one call


class Part(NamedTuple):
    """What of a source is read in one go: class folders, a list, or one other file."""

    kind: str
    path: str


def make_records(config: RecordsConfig) -> records.DatasetInfo:
    """What `conversion.make_records` does, on `config.runner` with `config.beam_options`.

    `source`, `out` and the lists may lie wherever Beam's file systems reach (`gs://`, `s3://`,
    `hdfs://`, a folder that all workers share). dataset.json is written last: a folder without
    it holds no records yet, and its shards are replaced.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: if source or settings cannot be used.
    """
    conversion.check_settings(config)
    if _exists(_join(config.out, records.INFO_FILE)):
        raise FileExistsError(
            "The output folder holds records, which a run on Beam does not replace: name a new "
            f"one. Received: {config.out}"
        )
    with contextlib.suppress(BeamIOError, OSError):  # it is there already
        FileSystems.mkdirs(config.out)
    kind, parts, doubts = parts_of(config.source)
    options = PipelineOptions([f"--runner={config.runner}", *config.beam_options])
    with beam.Pipeline(options=options) as pipeline:
        entries = pipeline | "Parts" >> beam.Create(parts) | "Side by side" >> beam.Reshuffle()
        entries = entries | "Read" >> beam.ParDo(_Sorted(read)).with_outputs(DROPPED, main="kept")
        _convert(entries, config, kind, doubts)
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
        path = Path(source).resolve()
        found = sources.open_source(path)
        files = [Part(found.kind, str(file)) for file in found.files]
        return found.kind, files or [Part(found.kind, str(path))], found.doubts
    is_file = "*" in source or _exists(source)
    inside = ("*.rec", "*.parquet", "*/*.parquet")
    for pattern in [source] if is_file else [_join(source, name) for name in inside]:
        paths = [metadata.path for metadata in _match(pattern)]
        if paths:
            parts = [
                Part(sources.kind_of(_head(path)) or sources.LIST_FILE, path) for path in paths
            ]
            return " and ".join(sorted({part.kind for part in parts})), parts, ()
    if not _match(_join(source, "*/*"), limit=1):
        raise FileNotFoundError(
            "The source must hold class folders (SOURCE/IDENTITY/IMAGE), .rec or .parquet files, "
            f"or be a file. Received: {source}"
        )
    return sources.CLASS_FOLDERS, [Part(sources.CLASS_FOLDERS, source)], ()


def read(part: Part) -> Iterator[Picture | Dropped]:
    """What a part holds, wherever it lies."""
    if part.kind == sources.CLASS_FOLDERS:
        is_local = _is_local(part.path)
        yield from sources.class_folders(part.path) if is_local else _remote_folders(part.path)
    elif part.kind == sources.LIST_FILE:
        folder = part.path.rpartition("/")[0]
        with io.TextIOWrapper(_open(part.path), "utf-8-sig") as file:
            for line in filter(str.strip, file):
                key, identity = sources.parse_listed(line.strip())
                is_whole = key.startswith("/") or "://" in key
                path = key if is_whole else _join(folder, key)
                yield Picture(key, identity, Span(path, 0, UNKNOWN_SIZE))
    else:
        with _open(part.path) as file:
            yield from sources.reader_of(_head(part.path), part.path)(file, part.path)


UNKNOWN_SIZE = -1


def _remote_folders(root: str) -> Iterator[Picture | Dropped]:
    """Class folders where there are no folders, only names with slashes."""
    for metadata in _match(_join(root, "*/*")):
        identity, name = metadata.path.split("/")[-2:]
        if sources.is_hidden(identity):
            continue
        if sources.is_picture_name(name):
            span = Span(metadata.path, 0, metadata.size_in_bytes)
            yield Picture(f"{identity}/{name}", identity, span)
        else:
            yield Dropped(f"{identity}/{name}", sources.STRAY)


def with_bytes(picture: Picture) -> Iterator[Picture | Dropped]:
    """The picture with its bytes instead of the place where they lie."""
    span = picture.content
    if not isinstance(span, Span):
        yield picture
        return
    try:
        with _open(span.file) as file:
            is_listed = span.size == UNKNOWN_SIZE
            content = file.read(MAX_PICTURE_BYTES + 1) if is_listed else span.read(file)
        yield picture._replace(content=content)
    except (BeamIOError, OSError) as error:
        missing = span.size == UNKNOWN_SIZE
        yield Dropped(picture.key, sources.NO_FILE if missing else f"cannot be used: {error}")
    except ValueError as error:
        yield Dropped(picture.key, f"cannot be used: {error}")


class Prepared(NamedTuple):
    """A face on its way to its shard."""

    picture: Picture
    face: Face
    rank: int


class _Sorted(beam.DoFn):
    """Calls a function that yields things to keep and things to drop, and tells them apart."""

    def __init__(self, function: Callable):
        self.function = function

    def process(self, element, *sides):
        for result in self.function(element, *sides):
            is_dropped = isinstance(result, Dropped)
            yield beam.pvalue.TaggedOutput(DROPPED, result) if is_dropped else result


def _convert(entries, config, kind, doubts):
    """Everything between what a source holds and dataset.json."""
    preparation = preparation_of(config)
    with _local_lists(config) as local:
        exclusions = exclusions_of(local)
    dropped = []

    def sort(name, collection, function, *sides):
        results = collection | name >> beam.ParDo(_Sorted(function), *sides).with_outputs(
            DROPPED, main="kept"
        )
        dropped.append(results[DROPPED])
        return results["kept"]

    dropped.append(entries[DROPPED])
    kept, excluded = entries["kept"] | "Exclude" >> beam.Partition(
        lambda picture, _: int(exclusions.excludes(picture)), 2
    )
    left_out = (
        excluded
        | "Whom" >> beam.Map(lambda p: p.identity if exclusions.excludes_person(p.identity) else "")
        | "How often" >> beam.combiners.Count.PerElement()
    )
    pictures = kept | "By key" >> beam.Map(lambda picture: (picture.key, picture))
    points = _landmarks(entries["kept"].pipeline, config.landmarks)
    grouped = {"pictures": pictures, "points": points} | "Same key" >> beam.CoGroupByKey()
    needed = preparation.align and not config.detect
    pictures = sort("Landmarks", grouped, lambda group: _join_landmarks(group, needed))

    counts = _count_people(pictures, "Listed")
    few = counts | beam.Filter(lambda pair: pair[1] < config.min_images)
    few = beam.pvalue.AsDict(few)
    reason = f"fewer than {config.min_images} pictures of this person"
    pictures = sort(
        "Few",
        pictures,
        lambda picture, names: _unless(
            picture.identity in names, picture, Dropped(picture.key, reason)
        ),
        few,
    )

    pictures = pictures | "Spread" >> beam.Reshuffle()
    pictures = sort("Bytes", pictures, with_bytes)
    batches = pictures | beam.BatchElements(max_batch_size=LARGEST_BATCH)
    prepared = sort("Prepare", batches, _Prepare(preparation, config.seed))
    prepared = prepared | "Keep" >> beam.Reshuffle()  # what took long is not done again

    people = _count_people(prepared | beam.Map(lambda face: face.picture), "Read")
    people = (
        people
        | "Enough" >> beam.Filter(lambda pair: pair[1] >= config.min_images)
        | "All" >> beam.combiners.ToList()
        | "Number" >> beam.Map(_numbered)
    )
    labels = beam.pvalue.AsSingleton(people)
    reason_read = f"{reason} can be read"
    prepared = sort(
        "Few read",
        prepared,
        lambda face, table: _unless(
            face.picture.identity not in table, face, Dropped(face.picture.key, reason_read)
        ),
        labels,
    )

    sizes = prepared | beam.Map(lambda face: (1, len(face.face.image) + conversion.EXTRA_BYTES))
    num_shards = beam.pvalue.AsSingleton(
        sizes
        | beam.CombineGlobally(_Sums())
        | beam.Map(lambda sums: conversion.shards_for(*sums, config.num_shards))
    )
    shards = (
        (
            prepared | "Place" >> beam.Map(_placed, labels, num_shards),
            # Shards that no record falls into are there all the same.
            entries["kept"].pipeline
            | beam.Create([None])
            | beam.FlatMap(lambda _, count: [(i, None) for i in range(count)], num_shards),
        )
        | beam.Flatten()
        | "Shard" >> beam.GroupByKey()
        | "Write" >> beam.Map(_write_shard, num_shards, config.out)
    )
    if config.detect:
        _ = (
            prepared
            | beam.Map(lambda f: lists.landmark_line(f.picture.key, f.face.landmarks).rstrip("\n"))
            | beam.io.WriteToText(
                _join(config.out, conversion.LANDMARKS_FILE), shard_name_template=""
            )
        )
    copies = (
        prepared
        | beam.Map(lambda face: (face.face.digest, (face.picture.key, face.picture.identity)))
        | "Same bytes" >> beam.GroupByKey()
        | beam.Map(lambda group: sorted(group[1]))
        | "Copies" >> beam.Filter(lambda group: len(group) > 1)
    )
    sample = prepared | beam.combiners.Top.Of(
        conversion.SAMPLE, key=lambda face: face.rank, reverse=True
    )
    _ = (
        entries["kept"].pipeline
        | "Last" >> beam.Create([None])
        | beam.Map(
            _write_description,
            _Description(config, kind, exclusions, tuple(doubts)),
            beam.pvalue.AsList(shards),
            labels,
            beam.pvalue.AsIter(tuple(dropped) | "Dropped" >> beam.Flatten()),
            beam.pvalue.AsDict(left_out),
            beam.pvalue.AsIter(copies),
            beam.pvalue.AsSingleton(sample),
        )
    )


def _unless(condition, entry, instead):
    yield instead if condition else entry


def _landmarks(pipeline, path):
    if not path:
        return pipeline | "No landmarks" >> beam.Create([])
    lines = pipeline | "Read landmarks" >> beam.io.ReadFromText(path)
    return (
        lines
        | "Not blank" >> beam.Filter(str.strip)
        | beam.Map(lambda line: lists.parse_landmarks(line.strip().lstrip("\ufeff")))
    )


def _join_landmarks(group, needed):
    """One picture of each key, with its points."""
    key, found = group
    # Sorted, so that a bundle that is done again keeps the same one.
    pictures = sorted(found["pictures"], key=lambda picture: repr(picture.content))
    for picture in pictures[:1]:
        points = next(iter(found["points"]), picture.landmarks)
        if needed and points is None:
            yield Dropped(key, NO_LANDMARKS)
        else:
            yield picture._replace(landmarks=points)
    for picture in pictures[1:]:
        yield Dropped(picture.key, conversion.SAME_KEY)


def _count_people(pictures, name):
    return (
        pictures
        | f"{name}: whom" >> beam.Map(lambda picture: picture.identity)
        | f"{name}: how often" >> beam.combiners.Count.PerElement()
    )


def _numbered(people: list[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """{identity: (label, pictures)} from (identity, pictures)."""
    ordered = sorted(people, key=lambda pair: label_order(pair[0]))
    return {identity: (label, count) for label, (identity, count) in enumerate(ordered)}


class _Prepare(NamedTuple):
    """A batch of pictures -> faces on their way."""

    preparation: Any
    seed: int

    def __call__(self, pictures):
        for picture, face in zip(pictures, self.preparation(pictures), strict=True):
            if isinstance(face, Dropped):
                yield face
            else:
                # The sample is drawn from the source, but most need its bytes no more.
                yield Prepared(picture, face, rank_of(picture.key, self.seed))


class _Sums(beam.CombineFn):
    """Adds pairs of numbers."""

    def create_accumulator(self):
        return 0, 0

    def add_input(self, sums, pair):
        return sums[0] + pair[0], sums[1] + pair[1]

    def merge_accumulators(self, accumulators):
        return tuple(map(sum, zip((0, 0), *accumulators, strict=True)))

    def extract_output(self, sums):
        return sums


def _placed(prepared, labels, num_shards):
    """(shard, what lies in it and in which order)."""
    picture = prepared.picture
    label, _ = labels[picture.identity]
    record = records.Record(prepared.face.image, label, picture.identity, picture.key)
    shard = prepared.rank * num_shards // RANKS
    return shard, (prepared.rank, picture.key, records.serialize(record))


def _write_shard(group, num_shards, out) -> records.Shard:
    """Write a shard under its name only when it is whole; it may be tried again."""
    number, entries = group
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / records.shard_name(number, num_shards)
        with records.ShardWriter(path) as writer:
            for _, _, example in sorted(entry for entry in entries if entry is not None):
                writer.write(example)
        with open(path, "rb") as local, _create(_join(out, path.name)) as remote:
            shutil.copyfileobj(local, remote, 1 << 20)
        return writer.shard


class _Description(NamedTuple):
    """What the last step knows before it begins."""

    config: RecordsConfig
    kind: str
    exclusions: Exclusions
    doubts: tuple[str, ...]


def _write_description(_, known, shards, labels, dropped, left_out, copies, sample):
    """The tables, and dataset.json last of all."""
    config, out = known.config, known.config.out

    def write(name: str, header: Iterable[str], rows: Iterable[Iterable]) -> None:
        with io.TextIOWrapper(_create(_join(out, name)), "utf-8", newline="") as file:
            write_table(file, header, rows)

    if not labels:
        raise ValueError(f"No picture is left to convert. Received: source={config.source}")
    people = [(label, identity, count) for identity, (label, count) in labels.items()]
    dropped = sorted(dropped)
    duplicates = [
        Duplicate(number, _kind_of(group), identity, key)
        for number, group in enumerate(sorted(copies))
        for key, identity in group
    ]
    write(records.LABELS_FILE, records.LABELS_HEADER, people)
    write(records.DROPPED_FILE, Dropped._fields, dropped)
    write(records.DUPLICATES_FILE, Duplicate._fields, duplicates)
    seen = [(face.picture, face.face) for face in sample]
    doubts, sheet = conversion.look_at(seen, config)
    if config.contact_sheet and sheet is not None:
        with _create(config.contact_sheet) as file:
            file.write(sheet)
    reasons = collections.Counter(entry.reason for entry in dropped)
    info = describe(
        config,
        kind=known.kind,
        shards=sorted(shards, key=lambda shard: shard.file),
        num_classes=len(labels),
        left_out=known.exclusions.facts(set(left_out) - {""}, sum(left_out.values())),
        copies=collections.Counter(duplicate.kind for duplicate in duplicates),
        dropped_by_reason=dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        dropped=dropped[: records.DROPPED_LISTED],
        warnings=[*known.doubts, *doubts],
    )
    with _create(_join(out, records.INFO_FILE)) as file:
        file.write(info.to_json().encode())


def _kind_of(group):
    return SAME_PERSON if len({identity for _, identity in group}) == 1 else TWO_PEOPLE


@contextlib.contextmanager
def _local_lists(config: RecordsConfig) -> Iterator[RecordsConfig]:
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
