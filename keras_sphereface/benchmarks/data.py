"""Benchmark of the data path: conversion and pipeline beside the minimum work that they must do.

The baselines use the same functions on the same cores: decode and encode, copy, decode.
"""

import functools
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_sphereface.benchmarks import baselines
from keras_sphereface.benchmarks.interleaved import (
    RateComparison,
    compare_rates,
    interleaved_seconds,
    rates_table,
    seconds_of,
)
from keras_sphereface.config import ConvertConfig, DataBenchmarkConfig
from keras_sphereface.data import images, pipeline, records, synthetic
from keras_sphereface.data.augmentation import Augmentation
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.landmarks import landmark_line, read_landmarks
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.utils.environment import machine, most_memory
from keras_sphereface.utils.parallel import ordered_map
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.startup import DATA_ONLY
from keras_sphereface.utils.validation import check_integer

DECODE_ENCODE, WITH_ALIGNMENT = "decode + encode", "conversion with alignment"
MEASURED = "conversion with alignment, faces measured"
COPY, COPY_ALL = "copying the files", "copying the files, all cores"
WITHOUT_ALIGNMENT = "conversion without alignment"
DECODE, PIPELINE = "tf.io.decode_jpeg, in batches", "pipeline, uint8"
PIPELINE_FLOAT = "pipeline, float32, flipped and scaled"
NUM_IDENTITIES, IMAGES_PER_IDENTITY = 40, 50  # generated faces; each is used several times
BATCH, WARM_UP_BATCHES = 128, 40
FILES_AT_ONCE = 64  # that travel to a process together
SMALL_SIZE, SMALL_IMAGES_PER_IDENTITY = (56, 48), 100


COMPARISONS = (
    RateComparison(PIPELINE, DECODE, 0.90),
    RateComparison(PIPELINE_FLOAT, DECODE, 0.80),
    RateComparison(WITH_ALIGNMENT, DECODE_ENCODE, 0.90),
    RateComparison(MEASURED, DECODE_ENCODE),
    RateComparison(MEASURED, WITH_ALIGNMENT),
    RateComparison(WITHOUT_ALIGNMENT, COPY, 0.50),
    RateComparison(WITHOUT_ALIGNMENT, COPY_ALL),
)


class Inputs(NamedTuple):
    """The same faces in each form that the cases read."""

    source: Path  # class folders of photographs
    landmarks: Path  # of the photographs
    aligned: Path  # class folders of aligned faces
    records: Path


def benchmark_data(config: DataBenchmarkConfig) -> str:
    """Measure, and write data.csv and data.md.

    Returns:
        The text of data.md.

    Raises:
        ValueError: If a number is too small.
    """
    for name, minimum in {"num_images": 1, "repeats": 1, "memory_images": 0}.items():
        check_integer(getattr(config, name), name, minimum)
    folder = Path(config.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    faces, landmarks = Path(config.source), Path(config.landmarks)
    if not config.source:
        faces, landmarks = generate(folder, config.seed)
    inputs = make_inputs(folder, faces, landmarks, config.num_images, config.side)
    cases = make_cases(inputs, folder / "work", config.seed)
    seconds = interleaved_seconds(cases, config.repeats, config.seed)
    num_images = records.read_info(inputs.records).num_images
    rates = compare_rates(seconds, COMPARISONS, num_images)
    rates.to_csv(folder / "data.csv", index=False, float_format="%.4g")
    text = (
        f"{num_images:,} images of {'real' if config.source else 'generated'} faces, "
        f"{config.side} x {config.side} or larger, {config.repeats} interleaved rounds; ratios are "
        f"those of one round, medians with quartiles.\nMachine: {machine()}.\n\n"
        f"{rates_table(rates)}"
    )
    if config.memory_images:
        text += "\n" + describe_conversion_memory(config.memory_images, folder, config.seed)
    (folder / "data.md").write_text(text, encoding="utf-8")
    return text


def generate(folder: Path, seed: int) -> tuple[Path, Path]:
    """Generate faces in FOLDER/faces; returns their class folders and landmarks."""
    faces = synthetic.generate_faces(
        folder / "faces", NUM_IDENTITIES, IMAGES_PER_IDENTITY, num_test_identities=0, seed=seed
    )
    return faces / synthetic.IMAGES, faces / synthetic.LANDMARKS


def make_inputs(folder: Path, faces: Path, landmarks: Path, num_images: int, side: int) -> Inputs:
    """Write `num_images` images in each form that the cases read.

    Args:
        folder: Folder for the forms.
        faces: Class folders of images, which are used again if there are too few.
        landmarks: File with their landmarks.
        num_images: Int >= 1. Number of images.
        side: Int. Smallest height and width of an image in pixels; 0: as they are.
    """
    inputs = Inputs(*(folder / name for name in ("source", "landmarks.txt", "aligned", "records")))
    for path in (inputs.source, inputs.aligned, inputs.records):
        shutil.rmtree(path, ignore_errors=True)
    points_of = read_landmarks(landmarks)
    with open(inputs.landmarks, "w", encoding="utf-8") as file:
        for number, key in enumerate(itertools.islice(itertools.cycle(points_of), num_images)):
            identity, name = key.split("/")
            content, offset = widened((faces / key).read_bytes(), side)
            copy = f"{identity}-{number // len(points_of)}"
            file.write(landmark_line(f"{copy}/{name}", points_of[key] + offset))
            (inputs.source / copy).mkdir(parents=True, exist_ok=True)
            (inputs.source / copy / name).write_bytes(content)
    make_records(
        ConvertConfig(
            source=str(inputs.source), landmarks=str(inputs.landmarks), out=str(inputs.records)
        )
    )
    for record in records.read_folder(inputs.records):
        (inputs.aligned / record.identity).mkdir(parents=True, exist_ok=True)
        (inputs.aligned / record.key).with_suffix(".jpg").write_bytes(record.image)
    return inputs


def widened(encoded: bytes, side: int) -> tuple[bytes, tuple[int, int]]:
    """Widen an image by mirrored borders to at least `side` x `side` pixels.

    Returns:
        The encoded image, and its offset (x, y) in it, in pixels.
    """
    image = images.decode(encoded)
    missing = [max(0, side - length) for length in image.shape[:2]]
    if not any(missing):
        return encoded, (0, 0)
    before = [length // 2 for length in missing]
    borders = [(first, both - first) for first, both in zip(before, missing, strict=True)]
    wide = np.pad(image, (*borders, (0, 0)), mode="symmetric")
    return images.encode(wide), (before[1], before[0])


def make_cases(inputs: Inputs, work: Path, seed: int) -> dict[str, Callable[[], float]]:
    """Return functions that process all images and return the seconds, by name of the case.

    Args:
        inputs: The images in each form.
        work: Folder to write to; emptied before each round.
        seed: Int. Seed for shuffling.
    """
    source, aligned = sorted(inputs.source.glob("*/*")), sorted(inputs.aligned.glob("*/*"))
    encoded = [record.image for record in records.read_folder(inputs.records)]
    cores = os.cpu_count() or 1
    batches = functools.partial(pipeline.training_batches, inputs.records, BATCH, seed)

    def convert(folder: Path, landmarks: str = "", quality: bool = False) -> float:
        settings = ConvertConfig(
            source=str(folder),
            out=str(work),
            landmarks=landmarks,
            seed=seed,
            workers=cores,
            quality=quality,
        )
        shutil.rmtree(work, ignore_errors=True)
        return seconds_of(make_records, settings)

    def copy(workers: int) -> float:
        shutil.rmtree(work, ignore_errors=True)
        function = functools.partial(baselines.copy_files, work)
        return seconds_of(process_files, function, aligned, workers)

    def read(dataset: tf.data.Dataset) -> float:
        return seconds_of_batches(dataset, len(encoded))

    return {
        DECODE: lambda: read(decoded_batches(encoded, cores)),
        PIPELINE: lambda: read(batches(augment=None)),
        PIPELINE_FLOAT: lambda: read(batches(augment=Augmentation())),
        DECODE_ENCODE: lambda: seconds_of(
            process_files, baselines.decode_and_encode, source, cores
        ),
        WITH_ALIGNMENT: lambda: convert(inputs.source, str(inputs.landmarks)),
        MEASURED: lambda: convert(inputs.source, str(inputs.landmarks), quality=True),
        COPY: lambda: copy(1),
        COPY_ALL: lambda: copy(cores),
        WITHOUT_ALIGNMENT: lambda: convert(inputs.aligned),
    }


def process_files(function: Callable[[list[Path]], None], files: list[Path], workers: int) -> None:
    """Call a function with all files, `FILES_AT_ONCE` at a time, in so many processes."""
    blocks = (files[i : i + FILES_AT_ONCE] for i in range(0, len(files), FILES_AT_ONCE))
    for _ in ordered_map(function, blocks, workers):
        pass


def decoded_batches(encoded: list[bytes], cores: int) -> tf.data.Dataset:
    """Return endless batches of decoded images, the baseline of the pipeline."""
    dataset = tf.data.Dataset.from_tensor_slices(encoded).repeat()
    dataset = dataset.map(
        lambda image: tf.io.decode_jpeg(image, channels=3),
        num_parallel_calls=pipeline.DECODED_PER_CORE * cores,
    )
    return dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def seconds_of_batches(dataset: tf.data.Dataset, num_images: int) -> float:
    """Return the seconds for the batches of `num_images` images, once the buffers are full."""
    batches, count = iter(dataset), -(-num_images // BATCH)

    def read(number: int) -> None:
        for _ in range(number):
            next(batches)

    read(min(WARM_UP_BATCHES, count))
    return seconds_of(read, count) * num_images / (count * BATCH)


def describe_conversion_memory(num_images: int, folder: Path, seed: int) -> str:
    """Measure the memory of conversions of two sizes; returns a Markdown table."""
    sizes = sorted({max(1, num_images // 10), num_images})
    peaks = [measure_conversion_memory(size, folder, seed) for size in sizes]
    rows = [[f"{size:,}", f"{peak / 1e6:,.0f}"] for size, peak in zip(sizes, peaks, strict=True)]
    return (
        "The most memory that a conversion holds, all its processes together:\n\n"
        + markdown_table(["images", "MB"], rows)
    )


def measure_conversion_memory(num_images: int, folder: Path, seed: int) -> int:
    """Return the peak memory, in bytes, of a conversion of small generated images."""
    source, out = folder / "small", folder / "small-records"
    for path in (source, out):
        shutil.rmtree(path, ignore_errors=True)
    for number, encoded in enumerate(small_images(num_images, seed)):
        identity = source / f"{number // SMALL_IMAGES_PER_IDENTITY:07d}"
        identity.mkdir(parents=True, exist_ok=True)
        (identity / f"{number % SMALL_IMAGES_PER_IDENTITY:04d}.jpg").write_bytes(encoded)
    # In a separate process, as users run it.
    command = [sys.executable, "-c", _CONVERT, str(source), str(out)]
    process = subprocess.Popen(command, env={**os.environ, DATA_ONLY: "1"})
    with most_memory(process.pid) as peak:
        if process.wait():
            raise RuntimeError(f"The conversion of {num_images} images failed.")
    for path in (source, out):
        shutil.rmtree(path)
    return peak[0]


def small_images(num_images: int, seed: int) -> Iterator[bytes]:
    """Yield encoded images of blurred noise."""
    rng = np.random.default_rng(seed)
    for _ in progress_bar(range(num_images), unit="image", desc="generating"):
        noise = rng.integers(0, 256, (7, 6, 3), dtype=np.uint8)
        yield images.encode(images.crop_to(noise, SMALL_SIZE))


_CONVERT = """
import sys
from keras_sphereface.config import ConvertConfig
from keras_sphereface.data.conversion.convert import make_records
if __name__ == "__main__":
    make_records(ConvertConfig(source=sys.argv[1], out=sys.argv[2]))
"""
