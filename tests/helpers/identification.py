"""Identification by hand: searches of single probes, lists of galleries, and short settings."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from keras_sphereface.config.identify import IDENTIFY_CONFIGS
from keras_sphereface.evaluation.embeddings import Embeddings, save_embeddings
from keras_sphereface.evaluation.identification.evaluate import evaluate_identification


def save_views(path: Path, views: dict[str, np.ndarray]) -> Path:
    save_embeddings(Embeddings(list(views), np.array(list(views.values())), {}), path)
    return path


def evaluate(protocol: str, settings: dict, **changes):
    return evaluate_identification(IDENTIFY_CONFIGS[protocol](**{**settings, **changes}))


def read_probes(tmp_path: Path) -> pd.DataFrame:
    return pd.read_csv(tmp_path / "out" / "probes.csv")


def identity_of(key: str) -> str:
    return key.split("/")[0]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (np.ravel(x).astype(np.float64) for x in (a, b))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def search_by_hand(views, gallery, probes) -> dict[str, tuple[int, float, float]]:
    """{probe: (rank, score of its mate, best other score)}; rank 0 for non-mated probes."""
    results = {}
    for probe in probes:
        scores: dict[str, list[float]] = {}
        for entry in gallery:
            scores.setdefault(identity_of(entry), []).append(cosine(views[probe], views[entry]))
        best = {identity: max(of) for identity, of in scores.items()}
        mate = best.pop(identity_of(probe), None)
        others = list(best.values())
        rank = 0 if mate is None else 1 + sum(other >= mate for other in others)
        results[probe] = (rank, np.nan if mate is None else mate, max(others))
    return results


def check_probes(table: pd.DataFrame, expected: dict[str, tuple[int, float, float]]) -> None:
    """Check probes.csv against `search_by_hand`."""
    assert table["probe"].tolist() == list(expected)
    assert table["identity"].tolist() == [identity_of(key) for key in expected]
    ranks, mates, others = map(np.array, zip(*expected.values(), strict=True))
    np.testing.assert_array_equal(table["rank"], ranks)
    np.testing.assert_allclose(table["mate_score"], mates, atol=1e-4)
    np.testing.assert_allclose(table["top_nonmate_score"], others, atol=1e-4)


def write_lists(folder: Path, gallery: dict[str, str], probes: dict[str, str]) -> dict[str, str]:
    """Write the lists of a gallery, and return them as settings."""
    paths = {}
    for name, listed in (("gallery", gallery), ("probes", probes)):
        (folder / f"{name}.txt").write_text("\n".join(f"{k}\t{who}" for k, who in listed.items()))
        paths[name] = str(folder / f"{name}.txt")
    return paths


def lists_by_hand(views, num_unknown: int = 0) -> tuple[dict[str, str], dict[str, str]]:
    """Of each identity images 2 and 3 are the gallery, 5 and 6 probes; the last are unknown."""
    identities = sorted({identity_of(key) for key in views})
    enrolled = identities[: len(identities) - num_unknown]
    gallery = {f"{p}/{p}_000{i}.jpg": p for p in enrolled for i in (2, 3)}
    return gallery, {f"{p}/{p}_000{i}.jpg": p for p in identities for i in (5, 6)}


def write_labels(path: Path, identities) -> str:
    """Write the labels.csv of a training set."""
    with open(path, "w", newline="") as file:
        rows = [(i, identity, 3) for i, identity in enumerate(identities)]
        csv.writer(file).writerows([("label", "identity", "count"), *rows])
    return str(path)
