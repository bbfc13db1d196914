"""Benchmark of the evaluation: embedding, the protocols, and the search among distractors.

The baselines are the network alone on faces in memory, one fold and one threshold after the
other, and the matrix products alone.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_sphereface.benchmarks.baselines import brute_force_accuracy
from keras_sphereface.benchmarks.interleaved import (
    RateComparison,
    compare_rates,
    interleaved_seconds,
    quartiles,
    rates_table,
    seconds_of,
)
from keras_sphereface.benchmarks.processes import in_new_process
from keras_sphereface.config import EvaluateBenchmarkConfig
from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.data import synthetic
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.evaluation.embeddings import embed_faces
from keras_sphereface.evaluation.faces import FaceSources, open_faces
from keras_sphereface.export import runtime, saved_model
from keras_sphereface.metrics import protocols
from keras_sphereface.metrics.identification.megaface import evaluate_megaface
from keras_sphereface.metrics.identification.products import BLOCK
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.training.backbones import backbone_by_name
from keras_sphereface.utils.environment import held_memory, machine
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.validation import check_integer

BARE, WHOLE = "bare network, both views", "decode, align and embed both views"
GOAL_EMBEDDING = 0.90  # of the rate of the bare network
GOAL_SECONDS = 1.0  # for a protocol
GOAL_SEARCH, GOAL_MEMORY = 1.3, 1e9  # times the matrix products, bytes
NUM_FOLDS = 10
NUM_PROBE_IDENTITIES = 80  # as many as of FaceScrub in MegaFace
EMBEDDING_SIZE = 512


class DrawnPairs(NamedTuple):
    """Embeddings of two images a pair, and the pairs, as `protocols.k_fold` takes them."""

    views: np.ndarray  # (2 P, 2, EMBEDDING_SIZE)
    pairs: np.ndarray  # (P, 2)
    is_same: np.ndarray  # (P,)
    folds: np.ndarray  # (P,)


def benchmark_evaluation(config: EvaluateBenchmarkConfig) -> str:
    """Measure, and write evaluate.csv and evaluate.md.

    Each measurement runs in a separate process.

    Returns:
        The text of evaluate.md.

    Raises:
        ValueError: If a number is too small.
    """
    _check(config)
    folder = Path(config.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rates = in_new_process(measure_embedding, config, folder)
    rates.to_csv(folder / "evaluate.csv", index=False, float_format="%.4g")
    faces = "real" if config.images else "generated"
    sections = [
        f"Machine: {machine()}.\n",
        f"{config.num_images} {faces} faces through {config.backbone}, width {config.width:g}, in "
        f"batches of {config.batch_size}; {config.repeats} interleaved rounds; the ratio is that "
        f"of one round, median with quartiles.\n\n{rates_table(rates)}",
        in_new_process(describe_protocols, config.num_pairs, config.repeats, config.seed),
    ]
    if config.num_distractors:
        sizes = (config.num_probes, config.num_distractors)
        sections.append(in_new_process(describe_search, *sizes, config.search_repeats, config.seed))
    text = "\n".join(sections)
    (folder / "evaluate.md").write_text(text, encoding="utf-8")
    return text


def _check(config: EvaluateBenchmarkConfig) -> None:
    minimum = {
        **dict.fromkeys(("num_images", "batch_size", "repeats"), 1),
        "num_pairs": 2 * NUM_FOLDS,
        "num_probes": 2 * NUM_PROBE_IDENTITIES,
    }
    for name, number in minimum.items():
        check_integer(getattr(config, name), name, number)


def measure_embedding(config: EvaluateBenchmarkConfig, folder: Path) -> pd.DataFrame:
    """Return the rates of the whole work and of the bare network, of `compare_rates`."""
    images, landmarks = config.images, config.landmarks
    if not images:
        generated = synthetic.generate_faces(folder / "faces", 16, 16, 0, seed=config.seed)
        images, landmarks = str(generated / synthetic.IMAGES), str(generated / synthetic.LANDMARKS)
    available = sorted(read_landmarks(landmarks))
    keys = [available[i % len(available)] for i in range(config.num_images)]
    backbone = backbone_by_name(config.backbone, config.width)(seed=config.seed)
    network = runtime.open_network(saved_model.export_savedmodel(backbone, folder / "export"))
    sources = FaceSources(images=images, landmarks=landmarks)
    faces = open_faces(sources, keys, network.image_size)
    loaded = np.stack([faces.load(key) for key in keys])

    def bare() -> None:
        for start in range(0, len(loaded), config.batch_size):
            network.both_views(loaded[start : start + config.batch_size])

    def whole() -> None:
        embed_faces(keys, faces.load, network.both_views, config.batch_size)

    cases = {
        BARE: functools.partial(seconds_of, bare),
        WHOLE: functools.partial(seconds_of, whole),
    }
    seconds = interleaved_seconds(cases, config.repeats, config.seed, description="embedding")
    return compare_rates(seconds, [RateComparison(WHOLE, BARE, GOAL_EMBEDDING)], len(keys))


def describe_protocols(num_pairs: int, repeats: int, seed: int) -> str:
    """Time the protocols and compare them with brute force; returns Markdown."""
    drawn = draw_scored_pairs(num_pairs, seed)
    cases = {
        name: functools.partial(seconds_of, protocols.k_fold, name, *drawn) for name in PROTOCOLS
    }
    seconds = interleaved_seconds(cases, repeats, seed, warm_up=False, description="protocols")
    rows = []
    for name in progress_bar(PROTOCOLS, unit="protocol", desc="brute force"):
        low, middle, high = quartiles(seconds[name])
        is_equal = protocols.k_fold(name, *drawn).accuracies.tolist() == brute_force(name, drawn)
        equal = "to the last digit" if is_equal else "NO"
        rows.append([name, f"{middle:.3f}", f"{low:.3f} to {high:.3f}", equal])
    return (
        f"{NUM_FOLDS} folds of {num_pairs:,} pairs from embeddings of 2 x {EMBEDDING_SIZE} "
        f"numbers, medians of {repeats}; the goal is {GOAL_SECONDS:g} s:\n\n"
        + markdown_table(["protocol", "seconds", "quartiles", "equal to brute force"], rows)
    )


def draw_scored_pairs(num_pairs: int, seed: int) -> DrawnPairs:
    """Draw noisy embeddings of identities, matched and mismatched pairs in `NUM_FOLDS` folds."""
    rng = np.random.default_rng(seed)
    is_same = np.arange(num_pairs) * 2 * NUM_FOLDS // num_pairs % 2 == 0
    identities = rng.normal(size=(2, num_pairs, 1, EMBEDDING_SIZE))
    identities[1, is_same] = identities[0, is_same]
    noise = rng.normal(size=(2, num_pairs, 2, EMBEDDING_SIZE))
    views = (identities + 2.5 * noise + 0.3).astype(np.float32)
    return DrawnPairs(
        views=views.reshape(-1, 2, EMBEDDING_SIZE),
        pairs=np.arange(2 * num_pairs).reshape(2, -1).T,
        is_same=is_same,
        folds=np.arange(num_pairs) * NUM_FOLDS // num_pairs + 1,
    )


def brute_force(protocol: str, drawn: DrawnPairs) -> list[float]:
    """Return the accuracy of a protocol on each fold, by `brute_force_accuracy`."""
    return [
        brute_force_accuracy(protocol, drawn.views, drawn.pairs, drawn.is_same, drawn.folds == fold)
        for fold in np.unique(drawn.folds)
    ]


def describe_search(num_probes: int, num_distractors: int, repeats: int, seed: int) -> str:
    """Time the search among distractors beside its matrix products; returns Markdown."""
    probes, labels, distractors = draw_search(num_probes, num_distractors, seed)
    units = unit_rows(probes, "probes")

    def products() -> None:
        scores = np.empty((BLOCK, len(units)), np.float32)
        for start in range(0, len(distractors), BLOCK):
            rows = distractors[start : start + BLOCK]
            np.matmul(rows, units.T, out=scores[: len(rows)])

    before, _ = held_memory()
    cases = {
        "products": functools.partial(seconds_of, products),
        "search": functools.partial(seconds_of, evaluate_megaface, probes, labels, distractors),
    }
    seconds = interleaved_seconds(cases, repeats, seed, warm_up=False, description="search")
    memory = held_memory()[1] - before
    low, middle, high = quartiles(seconds["search"] / seconds["products"])
    return (
        f"{num_probes:,} probes among {num_distractors:,} distractors of {EMBEDDING_SIZE} "
        f"numbers: {seconds['search'].median():.1f} s, beside {seconds['products'].median():.1f} s "
        f"for the matrix products alone; ratio {middle:.2f}, quartiles {low:.2f} to {high:.2f} "
        f"(goal {GOAL_SEARCH:g}); {memory / 1e6:,.0f} MB beyond the embeddings "
        f"(goal {GOAL_MEMORY / 1e6:,.0f}).\n"
    )


def draw_search(
    num_probes: int, num_distractors: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw probes (P, D) of `NUM_PROBE_IDENTITIES` identities, labels (P,), distractors (N, D)."""
    rng = np.random.default_rng(seed)
    identities = rng.normal(size=(NUM_PROBE_IDENTITIES, EMBEDDING_SIZE)).astype(np.float32)
    labels = np.arange(num_probes) % NUM_PROBE_IDENTITIES
    noise = rng.normal(0, 1.2, (num_probes, EMBEDDING_SIZE)).astype(np.float32)
    distractors = np.empty((num_distractors, EMBEDDING_SIZE), np.float32)
    # A block at a time, without a copy of a million rows.
    for rows in np.array_split(distractors, max(1, num_distractors // 10_000)):
        rng.standard_normal(dtype=np.float32, out=rows)
    return identities[labels] + noise, labels, distractors
