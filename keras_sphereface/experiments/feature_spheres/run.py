"""Feature spheres: small networks with 2-D and 3-D embeddings, trained for several m."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from keras_sphereface.config import SpheresConfig
from keras_sphereface.config.rules import check_spheres_settings
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.experiments.feature_spheres import figures
from keras_sphereface.experiments.feature_spheres.page import Globe, check_plotly, render_globes
from keras_sphereface.experiments.feature_spheres.statistics import (
    SphereStatistics,
    describe_spheres,
    sphere_statistics,
    statistics_table,
)
from keras_sphereface.experiments.feature_spheres.train import (
    Sphere,
    SphereFaces,
    identities_with_most_images,
    split_faces,
    train_sphere,
)
from keras_sphereface.reporting import save_figure, save_light_and_dark, write_projector
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import log, stage

IMAGES_PER_IDENTITY = 75  # of generated faces
ANIMATION_FRAMES = 40  # of a training


def feature_spheres(config: SpheresConfig) -> pd.DataFrame:
    """Train, draw and measure feature spheres, and write the files that `SpheresConfig` names.

    Within one dimension and seed all losses share data, start weights and batches. The figures
    show the first seed.

    Returns:
        The table of spheres.csv: a row of `SphereStatistics` for each dimension, seed and loss.

    Raises:
        ValueError: If a setting is out of its range, or there are too few identities.
        ImportError: If `html` is set and plotly is not installed.

    Example:
        >>> settings = {"num_identities": 3, "dim": 2, "m": (4,), "softmax": False}
        >>> config = SpheresConfig("spheres", "records", total_steps=1, **settings)
        >>> feature_spheres(config)[["dim", "seed", "loss"]]
           dim  seed   loss
        0    2     0  m = 4
    """
    check_spheres_settings(config)
    if config.html:
        check_plotly()
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    data = config.data or _generate(out / "generated", config.num_identities, config.seed)
    faces = identities_with_most_images(data, config.num_identities)
    margins = [*([None] if config.softmax else []), *config.m]
    rows: list[SphereStatistics] = []
    drawn: dict[int, list[Sphere]] = {}
    seeds = range(config.seed, config.seed + config.num_seeds)
    runs = list(itertools.product(seeds, (config.dim,) if config.dim else (2, 3)))
    places = (f" ({i} of {len(runs) * len(margins)})" for i in itertools.count(1))
    for seed, dim in runs:
        is_drawn = seed == config.seed
        frames = ANIMATION_FRAMES if config.animate and is_drawn else 2
        train, test = split_faces(faces, seed)
        spheres = [
            train_sphere(train, test, dim, m, config.total_steps, seed, frames, next(places))
            for m in margins
        ]
        rows += map(sphere_statistics, spheres)
        if is_drawn:
            drawn[dim] = spheres
            with stage("drawing the spheres"):
                draw = functools.partial(figures.draw_spheres, spheres, faces.names)
                save_light_and_dark(draw, out / f"spheres_{dim}d")
    table = statistics_table(rows)
    with stage("drawing the angles"):
        save_figure(figures.draw_shrinkage(table), out / "shrinkage")
    _write(out / "spheres.md", describe_spheres(table).encode())
    _write(out / "spheres.csv", table.to_csv(index=False).encode())
    if config.animate:
        for dim, spheres in drawn.items():
            _write(out / f"training_{dim}d.gif", figures.training_gif(spheres))
    if config.rotate:
        _write(out / "rotating.gif", figures.rotating_gif(drawn[3]))
    if config.html:
        with stage("drawing the page"):
            _write(out / "spheres.html", _render(drawn[3], faces.names).encode())
    if config.projector:
        _write_projector(out / "projector", drawn, split_faces(faces, config.seed)[1])
    return table


def _generate(folder: Path, num_identities: int, seed: int) -> str:
    log("No --data given: drawing generated faces.")
    generated = generated_records(folder, num_identities, IMAGES_PER_IDENTITY, 0, seed)
    return str(generated.records)


def _render(spheres: Sequence[Sphere], names: Sequence[str]) -> str:
    globes = []
    for sphere in spheres:
        cloud, statistics = sphere.test, sphere_statistics(sphere)
        detail = ", ".join(
            f"{name} {form.format(getattr(statistics, column))}"
            for column, (name, form) in figures.SHOWN.items()
        )
        globes.append(Globe(sphere.loss, cloud.embeddings, cloud.labels, cloud.kernel, detail))
    return render_globes(
        "Feature spheres",
        globes,
        [name.replace("_", " ") for name in names],
        "Test images of networks that differ in their loss only. The larger m, the narrower the "
        "cloud that the loss asks of each identity.",
        figures.best_view(spheres),
    )


def _write_projector(
    folder: Path, drawn: Mapping[int, Sequence[Sphere]], test: SphereFaces
) -> None:
    embeddings = {
        f"{dim}d_{sphere.loss.replace(' = ', '_')}": sphere.test.embeddings
        for dim, spheres in drawn.items()
        for sphere in spheres
    }
    identities = [test.names[label] for label in test.labels]
    write_projector(folder, embeddings, {"identity": identities}, test.images)


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as partial:
        partial.write_bytes(content)
