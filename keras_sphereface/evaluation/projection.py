"""A linear map fitted on the embeddings of records, and the network before and after it."""

import dataclasses
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_sphereface.config.evaluate import EvaluateConfig
from keras_sphereface.config.projection import FitProjectionConfig
from keras_sphereface.config.train import RUN_FILE
from keras_sphereface.data import images, records
from keras_sphereface.data.keys import names_in_both
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.export.backbone import load_backbone
from keras_sphereface.export.projection import export_projected
from keras_sphereface.export.runtime import open_network
from keras_sphereface.export.saved_model import export_savedmodel
from keras_sphereface.metrics.projection import (
    Projection,
    ProjectionScore,
    cross_validate_projections,
    fit_projection,
)
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import log, progress_bar, stage, warn

EXPORT, NETWORK = "export", "network"  # folders in the output
# Above it a gain is that of single pairs. Measured: on trained identities whitening gained 0.00004
# of 0.99993, and lost 0.007 on others.
KNOWN_AUC = 0.999
SCORES_FILE, MAP_FILE = "projection.csv", "projection.npz"


@dataclasses.dataclass(frozen=True)
class ProjectionResult:
    """A fitted map, and what was found while it was chosen.

    Attributes:
        chosen: The method and shrinkage of the map.
        scores: Those of all candidates, "none" first.
        export: Folder of the SavedModel with the map.
        num_images: Int. Number of images that it was fitted on.
        num_identities: Int. Number of their identities.
        metrics: Results on the pairs, before and after; empty without pairs.

    Example:
        >>> score = ProjectionScore("lda", 0.1, 0.98, 0.02, 0.005)
        >>> ProjectionResult(score, (score,), Path("projected/export"), 900, 200, ()).chosen.method
        'lda'
    """

    chosen: ProjectionScore
    scores: tuple[ProjectionScore, ...]
    export: Path
    num_images: int
    num_identities: int
    metrics: tuple[EvaluationMetrics, ...]


def fit_and_export_projection(config: FitProjectionConfig) -> ProjectionResult:
    """Choose, fit and export a linear map of a network's embeddings.

    The map is fitted on the embeddings of images and mirror images, applies to either, and is
    followed by what a comparison does anyway: joining the two views, and the cosine. It is a dense
    layer in the SavedModel that is written, which is an export as any other.

    Args:
        config: Network, records, candidates, pairs to judge on, and output folder.

    Raises:
        FileNotFoundError, FileExistsError: If network, records or images cannot be found, or the
            output folder holds something else.
        ValueError: If an identity of the pairs is in the records, there are too few identities, or
            no candidate is better than no map.

    Example:
        >>> config = FitProjectionConfig(
        ...     model="model", data="records", out="projected", method=("wccn",),
        ...     shrinkage=(0.9,), num_folds=2, force=True)
        >>> print(fit_and_export_projection(config).export)
        projected/export
    """
    info = records.read_info(config.data)
    if config.pairs:
        check_apart(config.pairs, config.folds, config.pair_columns, config.data)
    if warning := training_warning(config.model, info):
        warn(warning)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    savedmodel = _as_savedmodel(config.model, out)
    views, identities = embed_records(savedmodel, config.data, config.batch_size)
    with stage("choosing the map"):
        scores = cross_validate_projections(
            views,
            identities,
            config.method,
            config.shrinkage,
            config.embedding_size,
            config.num_folds,
            config.seed,
        )
    _write_scores(scores, out / SCORES_FILE)
    chosen = chosen_score(scores, config.force)
    rows = views.reshape(-1, views.shape[-1])
    labels = np.repeat(identities, views.shape[1])
    projection = fit_projection(
        rows, labels, chosen.method, chosen.shrinkage, config.embedding_size
    )
    with stage("exporting the network"):
        folder = export_projected(savedmodel, out / EXPORT, projection.kernel, projection.bias)
    _write_map(projection, out / MAP_FILE)
    metrics: Sequence[EvaluationMetrics] = ()
    if config.pairs:
        metrics = evaluate(
            EvaluateConfig(
                out=str(out / "evaluation"),
                model=(str(savedmodel), str(folder)),
                pairs=(config.pairs,),
                pair_columns=config.pair_columns,
                images=(config.images,),
                landmarks=(config.landmarks,) if config.landmarks else (),
                landmark_columns=config.landmark_columns,
                folds=config.folds,
                bootstrap=config.bootstrap,
                batch_size=config.batch_size,
                seed=config.seed,
            )
        )
    return ProjectionResult(
        chosen, tuple(scores), folder, len(identities), len(np.unique(identities)), tuple(metrics)
    )


def check_apart(pairs: str, folds: Sequence[int], columns: str, data: str) -> None:
    """Refuse pairs of identities that are in the records.

    Raises:
        ValueError: With some of them.
    """
    labels = pd.read_csv(Path(data) / records.LABELS_FILE, dtype=str, keep_default_na=False)
    shared = names_in_both(identities_of_pairs(pairs, folds, columns), labels["identity"])
    if shared:
        raise ValueError(
            "The pairs must show other identities than the records; convert again with --exclude. "
            f"Received: {len(shared)} in both, for example {', '.join(sorted(shared)[:3])}"
        )


def training_warning(model: str | os.PathLike, info: records.DatasetInfo) -> str:
    """Return a warning if the run that wrote an export was trained on these records; else ""."""
    try:
        text = (Path(model).resolve().parent / RUN_FILE).read_text(encoding="utf-8")
        checksum = json.loads(text).get("data_checksum")
    except (OSError, ValueError, AttributeError):
        return ""
    if checksum != records.data_checksum(info):
        return ""
    return (
        f"{model} was trained on these records. It knows their identities better than others, so "
        "that the cross-validation cannot tell what helps with new ones: fit the map on identities "
        "that it was not trained on, if there are any."
    )


def _as_savedmodel(model: str, out: Path) -> Path:
    if Path(model).suffix != ".keras":
        return Path(model)
    return export_savedmodel(load_backbone(model), out / NETWORK)


def embed_records(
    savedmodel: Path, data: str | os.PathLike, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Embed all images of records with their mirror images.

    Returns:
        views: float32 (N, 2, D).
        identities: (N,) names.
    """
    network, views = open_network(savedmodel), []
    identities: list[str] = []
    remaining = records.read_folder(data)
    with progress_bar(
        total=records.read_info(data).num_images, desc="embedding", unit="image"
    ) as bar:
        # Block by block: the images of a large set do not fit into memory.
        while block := list(itertools.islice(remaining, batch_size)):
            decoded = (images.decode(record.image) for record in block)
            faces = np.stack([images.crop_to(face, network.image_size) for face in decoded])
            views.append(network.both_views(faces).reshape(len(block), 2, -1))
            identities += [record.identity for record in block]
            bar.update(len(block))
    return np.concatenate(views), np.array(identities)


def chosen_score(scores: Sequence[ProjectionScore], force: bool = False) -> ProjectionScore:
    """Return the candidate with the largest area under the ROC.

    Args:
        scores: Of `cross_validate_projections`.
        force: Bool. True to return it even if it is not better than "none".

    Raises:
        ValueError: If it is not, or the identities are told apart without a map.
    """
    best = max(scores[1:], key=lambda score: score.auc)
    if scores[0].auc > KNOWN_AUC and not force:
        raise ValueError(
            "The network tells these identities apart so well that no map can be chosen by them; "
            "it was probably trained on them. Give records of other identities, or --force. "
            f"Received: an area under the ROC of {scores[0].auc:.5f} of identities left out"
        )
    if not (best.is_better or force):
        raise ValueError(
            "No map is better than the embeddings as they are by two standard errors: nothing was "
            "exported. --force writes the best one all the same. Received: an area under the ROC "
            f"of {best.auc:.5f} with {best.method}, shrinkage {best.shrinkage:g}, and of "
            f"{scores[0].auc:.5f} without (gain {best.gain:+.5f}, standard error "
            f"{best.standard_error:.5f})"
        )
    if not best.is_better:
        log(f"{best.method} is not better than no map by two standard errors; --force was given.")
    return best


def _write_scores(scores: Sequence[ProjectionScore], path: Path) -> None:
    with atomic_file(path) as partial:
        pd.DataFrame(list(scores)).to_csv(partial, index=False)


def _write_map(projection: Projection, path: Path) -> None:
    with atomic_file(path) as partial, open(partial, "wb") as file:
        np.savez(file, kernel=projection.kernel, bias=projection.bias)


def score_table(scores: Sequence[ProjectionScore]) -> str:
    """Return "none" and the best shrinkage of each method as a table in Markdown.

    Example:
        >>> print(score_table([ProjectionScore("none", 0.0, 0.96, 0.0, 0.0),
        ...     ProjectionScore("lda", 0.1, 0.98, 0.02, 0.005)]))
        | method | shrinkage | AUC, identities left out | gain | standard error |
        |---|---|---|---|---|
        | none |  | 0.96000 |  |  |
        | lda | 0.1 | 0.98000 | +0.02000 | 0.00500 |
    """
    lines = [
        "| method | shrinkage | AUC, identities left out | gain | standard error |",
        "|---|---|---|---|---|",
        f"| none |  | {scores[0].auc:.5f} |  |  |",
    ]
    for method in dict.fromkeys(score.method for score in scores[1:]):
        best = max((one for one in scores if one.method == method), key=lambda one: one.auc)
        lines.append(
            f"| {method} | {best.shrinkage:g} | {best.auc:.5f} | {best.gain:+.5f} "
            f"| {best.standard_error:.5f} |"
        )
    return "\n".join(lines)
