"""Feature spheres: small networks with 2-D and 3-D embeddings, trained for several m."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from keras_sphereface.config import SpheresConfig
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.experiments.feature_spheres import figures, page, statistics
from keras_sphereface.experiments.feature_spheres.train import (
    Faces,
    Sphere,
    loss_name,
    people_with_most_images,
    split,
    train_sphere,
)
from keras_sphereface.plots import COLORS
from keras_sphereface.reporting.figures import save_figure
from keras_sphereface.reporting.projector import write_projector
from keras_sphereface.utils.atomic import atomic_file

IMAGES_PER_PERSON = 75  # where faces are generated
FRAMES = 40  # of an animation of the training


def feature_spheres(config: SpheresConfig) -> pd.DataFrame:
    """Train, draw and measure as `config` says; `SpheresConfig` tells what lies in its folder.

    Within one dimension and seed all losses share data, start weights and batches. The images
    are those of the first seed.

    Returns:
        What stands in spheres.csv: a row for each dimension, seed and loss, with the columns of
        `sphere_numbers.numbers_of`.

    Raises:
        ValueError: if a setting is out of its range, or there are not enough people.
        ImportError: if `html` is asked for and plotly is not installed.
    """
    _check(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    faces = people_with_most_images(_records(config, out), config.people)
    rows, drawn = [], {}
    dims = (config.dim,) if config.dim else (2, 3)
    for seed, dim in itertools.product(range(config.seed, config.seed + config.num_seeds), dims):
        spheres = _train(config, faces, dim, seed)
        rows += [statistics.numbers_of(sphere) for sphere in spheres]
        if seed == config.seed:
            drawn[dim] = spheres
            save_figure(figures.draw_spheres(spheres, faces.names), out / f"spheres_{dim}d")
    table = statistics.table_of(rows)
    save_figure(figures.draw_shrinkage(table), out / "shrinkage")
    with atomic_file(out / "spheres.md") as partial:
        partial.write_text(statistics.report(table), encoding="utf-8")
    with atomic_file(out / "spheres.csv") as partial:
        table.to_csv(partial, index=False)
    _write_extras(config, out, drawn, faces)
    return table


def _check(config):
    for name, least in (("total_steps", 1), ("num_seeds", 1), ("seed", 0)):
        if (value := getattr(config, name)) < least:
            raise ValueError(f"`{name}` must be >= {least}. Received: {value}")
    if not 2 <= config.people <= len(COLORS):
        raise ValueError(
            f"`people` must be from 2 to {len(COLORS)}, the number of colors that everybody "
            f"can tell apart. Received: people={config.people}"
        )
    if not config.m or min(config.m) < 1 or len(set(config.m)) < len(config.m):
        raise ValueError(f"`m` must be different ints >= 1. Received: m={config.m}")
    if config.dim == 2 and (config.html or config.turn):
        raise ValueError("`html` and `turn` show 3-D embeddings. Received: dim=2")
    if config.html:
        page.check_installed()


def _records(config, out):
    if config.data:
        return config.data
    print("No --data given: drawing generated faces.", flush=True)
    folder = out / "generated"
    made = generated_records(folder, config.people, IMAGES_PER_PERSON, 0, config.seed)
    return str(made.records)


def _train(config: SpheresConfig, faces: Faces, dim: int, seed: int) -> list[Sphere]:
    losses = [*([None] if config.softmax else []), *config.m]
    frames = FRAMES if config.animate and seed == config.seed else 2
    train, test = split(faces, seed)
    return [train_sphere(train, test, dim, m, config.total_steps, seed, frames) for m in losses]


def _write_extras(config, out, drawn, faces):
    """What was asked for beyond images and tables; `drawn` holds the spheres by dimension."""
    if config.animate:
        for dim, spheres in drawn.items():
            _write(out / f"training_{dim}d.gif", figures.training_gif(spheres))
    if config.turn:
        _write(out / "turning.gif", figures.turning_gif(drawn[3]))
    if config.html:
        _write(out / "spheres.html", _page(drawn[3], faces.names).encode())
    if config.projector:
        _write_projector(out / "projector", drawn, split(faces, config.seed)[1])


def _page(spheres: Sequence[Sphere], names: Sequence[str]) -> str:
    shown = []
    for sphere in spheres:
        numbers = statistics.numbers_of(sphere)
        line = (
            f"mean intra-class angle {numbers['mean_intra']:.1f}°, "
            f"test accuracy {numbers['test_accuracy']:.1%}"
        )
        cloud = sphere.test
        shown.append(
            page.Globe(loss_name(sphere.m), cloud.embeddings, cloud.labels, cloud.kernel, line)
        )
    return page.render(
        "Feature spheres",
        shown,
        [name.replace("_", " ") for name in names],
        "Test images of networks that differ in their loss only.",
    )


def _write_projector(folder: Path, drawn: dict[int, list[Sphere]], test: Faces) -> None:
    sets = {
        f"{dim}d_{loss_name(sphere.m).replace(' = ', '_')}": sphere.test.embeddings
        for dim, spheres in drawn.items()
        for sphere in spheres
    }
    people = [test.names[label] for label in test.labels]
    write_projector(folder, sets, {"person": people}, test.images)


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as partial:
        partial.write_bytes(content)
