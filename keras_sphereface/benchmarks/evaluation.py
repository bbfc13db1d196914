"""Benchmark of the evaluation: embedding, the protocols, and the search among distractors.

Each is measured beside the part that none can do without: the bare network on faces that are in
memory already, one fold and one threshold after the other, the bare products of matrices.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_sphereface.benchmarks import timing
from keras_sphereface.benchmarks.timing import Comparison, in_new_process, in_turns, timed
from keras_sphereface.config import EvaluateBenchmarkConfig
from keras_sphereface.data import synthetic
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.evaluation import embeddings, face_pairs
from keras_sphereface.export import runtime, saved_model
from keras_sphereface.metrics import protocols
from keras_sphereface.metrics.identification.search import BLOCK, megaface, unit_rows
from keras_sphereface.training.trainer import backbone_by_name
from keras_sphereface.utils import environment
from keras_sphereface.utils.progress import progress_bar

BARE, WHOLE = "bare network, both views", "decode, align and embed both views"
GOAL_EMBEDDING, GOAL_SECONDS, GOAL_SEARCH, GOAL_MEMORY = 0.90, 1.0, 1.3, 1e9
FOLDS, PEOPLE = 10, 80  # people of the probes, as many as of FaceScrub in MegaFace
SIZE = 512  # numbers of an embedding


def benchmark_evaluation(config: EvaluateBenchmarkConfig) -> str:
    """Measure, and write evaluate.csv and evaluate.md.

    Returns:
        The text of evaluate.md.

    Raises:
        ValueError: if the numbers cannot be measured.
    """
    smallest = min(config.num_images, config.batch_size, config.repeats)
    if smallest < 1 or min(config.num_pairs // 2 // FOLDS, config.num_probes // PEOPLE // 2) < 1:
        raise ValueError(
            "`num_images`, `batch_size` and `repeats` must be >= 1, `num_pairs` >= 20 and "
            f"`num_probes` >= {2 * PEOPLE}. Received: {config}"
        )
    folder = Path(config.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # Each in a process of its own: none inherits the memory or the threads of another.
    rates = in_new_process(measure_embedding, config, folder)
    seconds, equal = in_new_process(measure_protocols, config)
    parts = [describe_embedding(rates, config), describe_protocols(seconds, equal, config)]
    rates.to_csv(folder / "evaluate.csv", index=False, float_format="%.4g")
    if config.num_distractors:
        ratios, memory = in_new_process(measure_search, config)
        parts.append(describe_search(ratios, memory, config))
    text = "\n".join([f"Machine: {environment.machine()}.\n", *parts])
    (folder / "evaluate.md").write_text(text, encoding="utf-8")
    return text


def measure_embedding(config: EvaluateBenchmarkConfig, folder: Path) -> pd.DataFrame:
    """The rates of the whole way and of the bare network, as `measuring.compare` gives them."""
    if config.images:
        images, landmarks = config.images, config.landmarks
    else:
        made = synthetic.generate_faces(folder / "faces", 16, 16, 0, seed=config.seed)
        images, landmarks = str(made / synthetic.IMAGES), str(made / synthetic.LANDMARKS)
    known = sorted(read_landmarks(landmarks))
    keys = [known[i % len(known)] for i in range(config.num_images)]
    network = _network(config, folder)
    paths = face_pairs.PairSources(images=images, landmarks=landmarks)
    faces = face_pairs.open_faces(paths, keys, network.image_size)
    loaded = np.stack([faces.load(key) for key in keys])

    def bare():
        for start in range(0, len(loaded), config.batch_size):
            network.both_views(loaded[start : start + config.batch_size])

    def whole():
        embeddings.embed(keys, faces.load, network.both_views, config.batch_size)

    cases = [functools.partial(timed, case) for case in (bare, whole)]
    rounds = in_turns(cases, 1 + config.repeats, np.random.default_rng(config.seed))
    next(rounds)  # functions are traced after it
    bar = progress_bar(rounds, total=config.repeats, unit="round", desc="embedding")
    seconds = pd.DataFrame(list(bar), columns=[BARE, WHOLE])
    comparison = Comparison(WHOLE, BARE, GOAL_EMBEDDING)
    return timing.compare(seconds, [comparison], config.num_images)


def _network(config, folder):
    backbone = backbone_by_name(config.backbone, config.width)(seed=config.seed)
    return runtime.open_network(saved_model.export_savedmodel(backbone, folder / "export"))


def measure_protocols(
    config: EvaluateBenchmarkConfig,
) -> tuple[dict[str, np.ndarray], dict[str, bool]]:
    """{protocol: seconds (repeats,)}, and whether each equals its brute force to the last digit."""
    rng = np.random.default_rng(config.seed)
    views, pairs, is_same, folds = drawn_pairs(config.num_pairs, rng)
    judge = functools.partial(
        protocols.k_fold, views=views, pairs=pairs, is_same=is_same, folds=folds
    )
    cases = [functools.partial(timed, judge, name) for name in protocols.PROTOCOLS]
    seconds = np.array(list(in_turns(cases, config.repeats, rng)))
    expected = brute_force(views, pairs, is_same, folds)
    equal = {
        name: judge(name).accuracies.tolist() == accuracies for name, accuracies in expected.items()
    }
    return dict(zip(protocols.PROTOCOLS, seconds.T, strict=True)), equal


def drawn_pairs(
    num_pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings (N, 2, 512) of two images a pair, pairs, is_same and folds."""
    is_same = np.arange(num_pairs) * 2 * FOLDS // num_pairs % 2 == 0
    folds = np.arange(num_pairs) * FOLDS // num_pairs + 1
    people = rng.normal(size=(2, num_pairs, 1, SIZE))
    people[1, is_same] = people[0, is_same]
    noise = rng.normal(size=(2, num_pairs, 2, SIZE))
    views = (people + 2.5 * noise + 0.3).astype(np.float32).reshape(-1, 2, SIZE)
    pairs = np.arange(2 * num_pairs).reshape(2, -1).T
    return views, pairs, is_same, folds


def brute_force(
    views: np.ndarray, pairs: np.ndarray, is_same: np.ndarray, folds: np.ndarray
) -> dict[str, list[float]]:
    """The accuracies of each protocol, one fold and one threshold after the other."""
    sides = views[pairs[:, 0]].astype(np.float64), views[pairs[:, 1]].astype(np.float64)
    found: dict[str, list[float]] = {name: [] for name in protocols.PROTOCOLS}
    for fold in progress_bar(np.unique(folds), unit="fold", desc="brute force"):
        inside = folds == fold
        joined = [side.reshape(len(side), -1) for side in sides]
        mean = np.mean(np.concatenate([side[~inside] for side in joined]), axis=0)
        a, b = (side - mean for side in joined)
        scores = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
        tried = np.arange(-10_000, 10_001) / 10_000
        told = (np.where(is_same, scores > t, scores < t)[~inside] for t in tried)
        counts = np.array([np.sum(right) for right in told])
        limit = np.mean(tried[counts == counts.max()])
        right = np.where(is_same, scores > limit, scores < limit)
        found["sphereface"].append(float(np.mean(right[inside])))
        a, b = (side.sum(1) / np.linalg.norm(side.sum(1), axis=1)[:, None] for side in sides)
        distances = ((a - b) ** 2).sum(1)
        tried = np.arange(0, 4, 0.01)
        limit = tried[np.argmax([np.sum(((distances < t) == is_same)[~inside]) for t in tried])]
        found["insightface"].append(float(np.mean(((distances < limit) == is_same)[inside])))
        a, b = (side[:, 0] / np.linalg.norm(side[:, 0], axis=1)[:, None] for side in sides)
        cosines = (a * b).sum(1)
        tried = np.sort(cosines[~inside])[::-1]
        limit = tried[np.argmax([np.sum(((cosines >= t) == is_same)[~inside]) for t in tried])]
        found["plain"].append(float(np.mean(((cosines >= limit) == is_same)[inside])))
    return found


def measure_search(config: EvaluateBenchmarkConfig) -> tuple[np.ndarray, int]:
    """(repeats,) the time of the search over that of its products, and the bytes it needs."""
    rng = np.random.default_rng(config.seed)
    people = rng.normal(size=(PEOPLE, SIZE)).astype(np.float32)
    labels = np.arange(config.num_probes) % PEOPLE
    probes = people[labels] + rng.normal(0, 1.2, (config.num_probes, SIZE)).astype(np.float32)
    distractors = np.empty((config.num_distractors, SIZE), np.float32)
    for rows in np.array_split(distractors, max(1, len(distractors) // 10_000)):
        rng.standard_normal(dtype=np.float32, out=rows)
    units = unit_rows(probes, "probes")
    block = BLOCK

    def products():
        scores = np.empty((block, len(units)), np.float32)
        for start in range(0, len(distractors), block):
            rows = distractors[start : start + block]
            np.matmul(rows, units.T, out=scores[: len(rows)])

    def search():
        megaface(probes, labels, distractors)

    held, _ = environment.held_memory()
    cases = [functools.partial(timed, case) for case in (products, search)]
    rounds = in_turns(cases, config.search_repeats, rng)
    bar = progress_bar(rounds, total=config.search_repeats, unit="round", desc="search")
    seconds = np.array(list(bar))
    return seconds, environment.held_memory()[1] - held


def describe_embedding(rates: pd.DataFrame, config: EvaluateBenchmarkConfig) -> str:
    """The rates as Markdown."""
    faces = "real" if config.images else "generated"
    lines = [
        f"{config.num_images} {faces} faces through {config.backbone}, width {config.width:g}, in "
        f"batches of {config.batch_size}; {config.repeats} rounds in which both take turns; the "
        "ratio is that of one round, median with quartiles.",
        "",
        *timing.comparison_lines(rates),
    ]
    return "\n".join(lines) + "\n"


def describe_protocols(
    seconds: dict[str, np.ndarray], equal: dict[str, bool], config: EvaluateBenchmarkConfig
) -> str:
    """The protocols as Markdown."""
    lines = [
        f"{FOLDS} folds of {config.num_pairs:,} pairs from embeddings of 2 x {SIZE} numbers, "
        f"medians of {config.repeats}; the goal is {GOAL_SECONDS:g} s:",
        "",
        "| protocol | seconds | quartiles | equal to brute force |",
        "|---|---|---|---|",
    ]
    for name, of_protocol in seconds.items():
        low, middle, high = timing.quartiles(of_protocol)
        told = "to the last digit" if equal[name] else "NO"
        lines.append(f"| {name} | {middle:.3f} | {low:.3f} to {high:.3f} | {told} |")
    return "\n".join(lines) + "\n"


def describe_search(seconds: Sequence, memory: int, config: EvaluateBenchmarkConfig) -> str:
    """The search as Markdown."""
    products, search = np.array(seconds).T
    low, middle, high = timing.quartiles(search / products)
    return (
        f"{config.num_probes:,} probes among {config.num_distractors:,} distractors of {SIZE} "
        f"numbers: {np.median(search):.1f} s, beside {np.median(products):.1f} s for the products "
        f"of matrices alone; ratio {middle:.2f}, quartiles {low:.2f} to {high:.2f} "
        f"(goal {GOAL_SEARCH:g}); {memory / 1e6:,.0f} MB beyond the embeddings "
        f"(goal {GOAL_MEMORY / 1e6:,.0f}).\n"
    )
