"""Benchmark of the data path: what a conversion and the pipeline cost beside their inevitable part.

What they are compared with does the least that any way must do, with the same functions and on
the same cores: decode and encode, copy, decode.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface.benchmarks import baselines
from keras_sphereface.benchmarks.timing import (
    Comparison,
    compare,
    comparison_lines,
    in_turns,
    timed,
)
from keras_sphereface.config import ConvertConfig, DataBenchmarkConfig
from keras_sphereface.data import images, pipeline, records, synthetic
from keras_sphereface.data.augmentation import Augmentation
from keras_sphereface.data.conversion.convert import CHUNK, make_records
from keras_sphereface.data.landmarks import landmark_line, read_landmarks
from keras_sphereface.utils.environment import machine, most_memory
from keras_sphereface.utils.parallel import DATA_ONLY, ordered_map
from keras_sphereface.utils.progress import progress_bar

DECODE_ENCODE, WITH_ALIGNMENT = "decode + encode", "conversion with alignment"
COPY, COPY_ALL = "copying the files", "copying the files, all cores"
WITHOUT_ALIGNMENT = "conversion without alignment"
DECODE, PIPELINE = "tf.io.decode_jpeg, in batches", "pipeline, uint8"
PIPELINE_FLOAT = "pipeline, float32, flipped and scaled"
PEOPLE, EACH = 40, 50  # generated faces; each is there under several names
BATCH, WARM_BATCHES = 128, 40
SMALL_SIZE, SMALL_EACH = (56, 48), 100


COMPARISONS = (
    Comparison(PIPELINE, DECODE, 0.90),
    Comparison(PIPELINE_FLOAT, DECODE, None),
    Comparison(WITH_ALIGNMENT, DECODE_ENCODE, 0.70),
    Comparison(WITHOUT_ALIGNMENT, COPY, 0.50),
    Comparison(WITHOUT_ALIGNMENT, COPY_ALL, None),
)


class Inputs(NamedTuple):
    """The same faces as users hold them, and aligned."""

    source: Path
    landmarks: Path
    aligned: Path
    records: Path


def benchmark_data(config: DataBenchmarkConfig) -> str:
    """Measure, and write data.csv and data.md.

    Returns:
        The text of data.md.

    Raises:
        ValueError: if the numbers cannot be measured.
    """
    if min(config.num_images, config.repeats) < 1 or config.memory_images < 0:
        raise ValueError(
            "`num_images` and `repeats` must be >= 1, `memory_images` >= 0. Received: "
            f"num_images={config.num_images}, repeats={config.repeats}, "
            f"memory_images={config.memory_images}"
        )
    folder = Path(config.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    inputs = make_inputs(config, folder)
    num_images = records.read_info(inputs.records).num_images
    cases = make_cases(inputs, folder / "work", config.seed)
    rng = np.random.default_rng(config.seed)
    rounds = in_turns(list(cases.values()), 1 + config.repeats, rng)
    next(rounds)  # caches are warm and functions traced after it
    bar = progress_bar(rounds, total=config.repeats, unit="round")
    seconds = pd.DataFrame(list(bar), columns=list(cases))
    table = compare(seconds, COMPARISONS, num_images)
    table.to_csv(folder / "data.csv", index=False, float_format="%.4g")
    text = describe_data(table, num_images, config)
    if config.memory_images:
        sizes = sorted({max(1, config.memory_images // 10), config.memory_images})
        text += "\n" + describe_memory({n: measure_memory(n, folder, config.seed) for n in sizes})
    (folder / "data.md").write_text(text, encoding="utf-8")
    return text


def make_inputs(config: DataBenchmarkConfig, folder: Path) -> Inputs:
    """Real faces if they are named, generated ones otherwise, as `num_images` files."""
    if config.source:
        faces, landmarks = Path(config.source), Path(config.landmarks)
    else:
        made = synthetic.generate_faces(
            folder / "faces", PEOPLE, EACH, num_test_identities=0, seed=config.seed
        )
        faces, landmarks = made / synthetic.IMAGES, made / synthetic.LANDMARKS
    known = list(read_landmarks(landmarks).items())
    inputs = Inputs(*(folder / name for name in ("source", "landmarks.txt", "aligned", "records")))
    for path in (inputs.source, inputs.aligned, inputs.records):
        shutil.rmtree(path, ignore_errors=True)
    with open(inputs.landmarks, "w", encoding="utf-8") as file:
        for copy, (key, points) in _first(known, config.num_images):
            identity, name = key.split("/")
            content, moved = widened((faces / identity / name).read_bytes(), config.side)
            key = f"{identity}-{copy}/{name}"
            file.write(landmark_line(key, points + moved))
            (inputs.source / f"{identity}-{copy}").mkdir(parents=True, exist_ok=True)
            (inputs.source / key).write_bytes(content)
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
    """An image with mirrored borders up to `side` pixels each way, and how far (x, y) it moved."""
    image = images.decode(encoded)
    missing = [max(0, side - length) for length in image.shape[:2]]
    if not any(missing):
        return encoded, (0, 0)
    before = [length // 2 for length in missing]
    borders = [(first, all_ - first) for first, all_ in zip(before, missing, strict=True)]
    wide = np.pad(image, (*borders, (0, 0)), mode="symmetric")
    return images.encode(wide), (before[1], before[0])


def make_cases(inputs: Inputs, work: Path, seed: int) -> dict[str, Callable[[], float]]:
    """{name: what measures it}, in seconds for all images; `work` is a folder to write to."""
    source = sorted(inputs.source.glob("*/*"))
    aligned = sorted(inputs.aligned.glob("*/*"))
    cores = os.cpu_count() or 1

    def in_work(function, *arguments, **settings):
        shutil.rmtree(work, ignore_errors=True)
        return timed(function, *arguments, **settings)

    def convert(folder, **settings):
        config = ConvertConfig(
            source=str(folder), out=str(work), seed=seed, workers=cores, **settings
        )
        return in_work(make_records, config)

    def copy(workers):
        return in_work(_over, workers, functools.partial(baselines.copy, work), aligned)

    encoded = [record.image for record in records.read_folder(inputs.records)]
    decoded = tf.data.Dataset.from_tensor_slices(encoded).repeat()
    decoded = decoded.map(
        lambda image: tf.io.decode_jpeg(image, channels=3),
        num_parallel_calls=pipeline.DECODED_PER_CORE * cores,
    )
    batches = functools.partial(pipeline.training_batches, inputs.records, BATCH, seed)
    read = functools.partial(_seconds_of, num_images=len(encoded))
    return {
        DECODE: lambda: read(decoded.batch(BATCH).prefetch(tf.data.AUTOTUNE)),
        PIPELINE: lambda: read(batches(augment=None)),
        PIPELINE_FLOAT: lambda: read(batches(augment=Augmentation())),
        DECODE_ENCODE: lambda: timed(_over, cores, baselines.decode_and_encode, source),
        WITH_ALIGNMENT: lambda: convert(inputs.source, landmarks=str(inputs.landmarks)),
        COPY: lambda: copy(1),
        COPY_ALL: lambda: copy(cores),
        WITHOUT_ALIGNMENT: lambda: convert(inputs.aligned),
    }


def _seconds_of(dataset: tf.data.Dataset, num_images: int) -> float:
    """What the batches of so many images take, once the buffers hold no more than they will."""
    batches, count = iter(dataset), -(-num_images // BATCH)
    for _ in range(min(WARM_BATCHES, count)):
        next(batches)

    def read():
        for _ in range(count):
            next(batches)

    return timed(read) * num_images / (count * BATCH)


def measure_memory(num_images: int, folder: Path, seed: int) -> int:
    """The most bytes that a conversion of so many small generated images holds."""
    source, out = folder / "small", folder / "small-records"
    for path in (source, out):
        shutil.rmtree(path, ignore_errors=True)
    rng = np.random.default_rng(seed)
    for start in progress_bar(range(0, num_images, SMALL_EACH), unit="person", desc="generating"):
        person = source / f"{start // SMALL_EACH:07d}"
        person.mkdir(parents=True)
        for number in range(min(SMALL_EACH, num_images - start)):
            coarse = rng.integers(0, 256, (7, 6, 3), dtype=np.uint8)
            encoded = images.encode(images.crop_to(coarse, SMALL_SIZE))
            (person / f"{number:04d}.jpg").write_bytes(encoded)
    # In a process of its own, as users run it.
    command = [sys.executable, "-c", _CONVERT, str(source), str(out)]
    process = subprocess.Popen(command, env={**os.environ, DATA_ONLY: "1"})
    with most_memory(process.pid) as peak:
        if process.wait():
            raise RuntimeError(f"The conversion of {num_images} images failed.")
    for path in (source, out):
        shutil.rmtree(path)
    return peak[0]


_CONVERT = """
import sys
from keras_sphereface.config import ConvertConfig
from keras_sphereface.conversion import make_records
if __name__ == "__main__":
    make_records(ConvertConfig(source=sys.argv[1], out=sys.argv[2]))
"""


def describe_data(table: pd.DataFrame, num_images: int, config: DataBenchmarkConfig) -> str:
    """The results as Markdown."""
    lines = [
        f"{num_images:,} images of {'real' if config.source else 'generated'} faces, "
        f"{config.side} x {config.side} or larger, {config.repeats} rounds in which all cases take "
        "turns; ratios are those of one round, medians with quartiles.",
        f"Machine: {machine()}.",
        "",
        *comparison_lines(table),
    ]
    return "\n".join(lines) + "\n"


def describe_memory(peaks: dict[int, int]) -> str:
    """The memory of conversions as Markdown."""
    lines = [
        "The most memory that a conversion holds, all its processes together:",
        "",
        "| images | MB |",
        "|---|---|",
        *(f"| {number:,} | {peak / 1e6:,.0f} |" for number, peak in peaks.items()),
    ]
    return "\n".join(lines) + "\n"


def _first(known: Sequence, number: int) -> Iterator[tuple[int, Any]]:
    """(how often it came before, entry) of as many entries, from the start again if need be."""
    for i in range(number):
        yield i // len(known), known[i % len(known)]


def _over(workers: int, function: Callable[[list[Path]], None], files: list[Path]) -> None:
    """Call the function with all files, some at a time, over so many processes."""
    chunks = (files[start : start + CHUNK] for start in range(0, len(files), CHUNK))
    for _ in ordered_map(function, chunks, workers):
        pass
