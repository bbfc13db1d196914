"""Benchmark of galleries: a probe's time, recall, memory and disk, for each way to search.

Templates are drawn so that they lie as those of real faces: in directions whose variances fall
exponentially, and around their identities with the mean cosine of real pairs. The constants are
those of 1,556 faces of LFW that a network of this package embedded (mean cosine of two images of an
identity 0.449, of two identities 0.004, standard deviation 0.152, as of 42 equal directions).
"""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from keras_sphereface.benchmarks import gallery_process
from keras_sphereface.config.benchmarks import GalleryBenchmarkConfig
from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.recognition import Gallery
from keras_sphereface.recognition.gallery_database import GalleryDatabase
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.utils import startup
from keras_sphereface.utils.environment import machine
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.validation import check_integer

SAME_COSINE = 0.449
EQUAL_DIRECTIONS = 42.0
AT_ONCE = 10_000  # templates drawn
CSV_FILE, MARKDOWN_FILE = "gallery.csv", "gallery.md"
FINGERPRINT = "drawn templates"


class SearchCase(NamedTuple):
    """A way to search.

    Attributes:
        name: Name of the row.
        is_file: True for the gallery in a file, False for that in PostgreSQL.
        has_index: True for the search by an index.
    """

    name: str
    is_file: bool
    has_index: bool


# The first one is what the others are compared with.
CASES = (
    SearchCase("file, exact", is_file=True, has_index=False),
    SearchCase("file, FAISS HNSW", is_file=True, has_index=True),
    SearchCase("PostgreSQL, exact", is_file=False, has_index=False),
    SearchCase("PostgreSQL, pgvector HNSW", is_file=False, has_index=True),
)


def benchmark_gallery(config: GalleryBenchmarkConfig) -> str:
    """Measure galleries of several sizes, and write gallery.csv and gallery.md.

    The galleries are removed again; each search runs in a process of its own. In PostgreSQL a
    schema `benchmark_N` is made, and dropped in the end.

    Returns:
        The text of gallery.md.

    Raises:
        ValueError: If a number is too small.
        FileExistsError: If the database has such a schema.
    """
    for name in ("embedding_size", "templates_per_identity", "num_probes"):
        check_integer(getattr(config, name), name, 1)
    out = Path(config.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for size in sorted(config.sizes):
        check_integer(size, "sizes", config.templates_per_identity)
        rows += _measure_size(config, out, size)
        table = pd.DataFrame(rows)
        table.to_csv(out / CSV_FILE, index=False, float_format="%.6g")
    text = describe_galleries(table, config)
    (out / MARKDOWN_FILE).write_text(text, encoding="utf-8")
    return text


def _measure_size(config: GalleryBenchmarkConfig, out: Path, size: int) -> list[dict[str, Any]]:
    templates, probes = out / "templates.npy", out / "probes.npy"
    places = {True: str(out / f"gallery-{size}.db")}
    if config.postgres:
        mark = "&" if "?" in config.postgres else "?"
        places[False] = f"{config.postgres}{mark}schema=benchmark_{size}"
    rows: list[dict[str, Any]] = []
    shape = (size, config.embedding_size, config.templates_per_identity, config.num_probes)
    try:
        drawn, truth = draw_templates(*shape, config.seed)
        np.save(templates, drawn)
        np.save(probes, truth.probes)
        del drawn
        seconds = {
            is_file: _enroll(place, templates, config.templates_per_identity)
            for is_file, place in places.items()
        }
        nearest: list[str] = []
        for case in (case for case in CASES if case.is_file in places):
            place = places[case.is_file]
            built = _build_index(place) if case.has_index else math.nan
            measured = _search(place, probes, case, config.seconds_per_case)
            names = measured.pop("names")
            nearest = nearest or names
            agree = [name == best for name, best in zip(names, nearest, strict=False)]
            right = [name == own for name, own in zip(names, truth.names, strict=False)]
            rows.append(
                {
                    "templates": size,
                    "case": case.name,
                    "enroll_seconds": seconds[case.is_file],
                    "index_seconds": built,
                    **measured,
                    "num_probes": len(names),
                    "recall": float(np.mean(agree)),
                    "right_names": float(np.mean(right)),
                }
            )
    finally:
        for path in (templates, probes, *out.glob(f"gallery-{size}.db*")):
            path.unlink(missing_ok=True)
        if config.postgres and rows:
            store = GalleryDatabase(places[False])
            store.run(f"DROP SCHEMA benchmark_{size} CASCADE")
            store.close()
    return rows


class DrawnProbes(NamedTuple):
    """Probes (P, D), and the name of the identity of each."""

    probes: np.ndarray
    names: list[str]


def draw_templates(
    num_templates: int, dim: int, per_identity: int, num_probes: int, seed: int
) -> tuple[np.ndarray, DrawnProbes]:
    """Draw templates (T, D) of unit length, those of an identity in a row, and probes of some.

    Example:
        >>> templates, drawn = draw_templates(8, 4, per_identity=2, num_probes=3, seed=0)
        >>> templates.shape, drawn.probes.shape, len(drawn.names)
        ((8, 4), (3, 4), 3)
    """
    rng = np.random.default_rng(seed)
    # The variances exp(-i / t) are as good as 2 t equal ones.
    scale = np.exp(-np.arange(dim) / EQUAL_DIRECTIONS).astype(np.float32)
    identities = np.arange(num_templates) // per_identity
    centers = rng.standard_normal((identities[-1] + 1, dim), np.float32)

    def around(rows: np.ndarray) -> np.ndarray:
        noise = rng.standard_normal(rows.shape, np.float32)
        drawn = math.sqrt(SAME_COSINE) * rows + math.sqrt(1 - SAME_COSINE) * noise
        return normalize_rows(drawn.astype(np.float32) * scale)

    templates = np.empty((num_templates, dim), np.float32)
    with progress_bar(total=num_templates, desc="drawing", unit="template", brief=True) as bar:
        for start in range(0, num_templates, AT_ONCE):
            block = slice(start, start + AT_ONCE)
            templates[block] = around(centers[identities[block]])
            bar.update(len(templates[block]))
    chosen = rng.choice(len(centers), min(num_probes, len(centers)), replace=False)
    return templates, DrawnProbes(around(centers[chosen]), [_name(i) for i in chosen])


def _name(identity: int) -> str:
    return f"identity {identity}"


def _enroll(place: str, path: Path, per_identity: int) -> float:
    """Enroll templates into a new gallery in one transaction; return the seconds."""
    templates = np.load(path, mmap_mode="r")
    start = time.perf_counter()
    with (
        Gallery.create(place, FINGERPRINT) as gallery,
        gallery.transaction(),
        progress_bar(total=len(templates), desc="enrolling", unit="template") as bar,
    ):
        for first in range(0, len(templates), per_identity):
            rows = templates[first : first + per_identity]
            gallery.enroll(_name(first // per_identity), rows)
            bar.update(len(rows))
    return time.perf_counter() - start


def _build_index(place: str) -> float:
    """Build an index, also of few templates; return the seconds."""
    with Gallery.open(place) as gallery:
        gallery._store.index_above = 0
        return gallery.build_index(num_probes=1).seconds


def _search(place: str, path: Path, case: SearchCase, most_seconds: float) -> dict[str, Any]:
    """What `gallery_process` measures in a process of its own, which imports no TensorFlow."""
    words = ["-m", gallery_process.__name__, place, str(path), case.name, str(most_seconds)]
    environment = {**os.environ, startup.DATA_ONLY: "1"}
    result = subprocess.run(
        [sys.executable, *words], env=environment, stdout=subprocess.PIPE, check=True
    )
    return {**json.loads(result.stdout), "disk_bytes": _disk_bytes(place, case)}


def _disk_bytes(place: str, case: SearchCase) -> int:
    if case.is_file:
        path = Path(place)
        pattern = f"{path.name}*" if case.has_index else path.name
        return sum(file.stat().st_size for file in path.parent.glob(pattern))
    store = GalleryDatabase(place)
    query = "SELECT SUM(pg_total_relation_size(name::regclass))::bigint FROM unnest(?::text[]) name"
    total = store.value(query, ["identities", "templates", "images", "metadata"])
    store.close()
    return total


def describe_galleries(table: pd.DataFrame, config: GalleryBenchmarkConfig) -> str:
    """Return the results as Markdown.

    Args:
        table: A row for each size and case, with the columns of gallery.csv.
        config: Settings of the benchmark.
    """
    exact = table[table["case"] == CASES[0].name]
    right = ", ".join(
        f"{100 * row.right_names:.0f} % among {row.templates:,}" for row in exact.itertuples()
    )
    header = ["templates", "search", "probe, median", "p99", "recall at 1", "first answer"]
    header += ["index built in", "memory", "disk"]
    rows = [
        [
            f"{row.templates:,}",
            row.case,
            f"{row.median_ms:.2f} ms",
            f"{row.p99_ms:.2f} ms",
            f"{row.recall:.3f}",
            f"{row.first_seconds:.2f} s",
            "" if math.isnan(row.index_seconds) else f"{row.index_seconds:.1f} s",
            f"{row.memory_bytes / 1e6:,.0f} MB",
            f"{row.disk_bytes / 1e6:,.0f} MB",
        ]
        for row in table.itertuples()
    ]
    return (
        f"Machine: {machine()}.\n\n"
        f"Drawn templates of {config.embedding_size} numbers, {config.templates_per_identity} an "
        "identity, around their identities as those of real faces; probes one by one, top "
        f"{gallery_process.TOP}, at most {config.num_probes} and {config.seconds_per_case:g} s a "
        "row. Recall at 1 is the share of probes with the same best identity as an exact search in "
        f"the file, which names the right identity of {right}. First answer: the gallery opened "
        "and one probe searched, in a new process; memory: what the process takes for it (the "
        f"server's own is not counted).\n\n{markdown_table(header, rows)}"
    )
