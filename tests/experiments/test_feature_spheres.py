"""Clouds of embeddings: how they are trained, measured and drawn, and that they shrink with m."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_sphereface.config import ConvertConfig, SpheresConfig
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.experiments.feature_spheres import figures, run, statistics
from keras_sphereface.experiments.feature_spheres.train import (
    Cloud,
    Faces,
    Sphere,
    people_with_most_images,
    split,
    train_sphere,
)


def drawn_sphere(dim, m, seed=0, looks=2, width=0.1, people=4):
    """A sphere of drawn clouds around the class weights, as if it had been trained."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(dim, people))
    labels = np.arange(40) % people

    def cloud(step):
        noise = rng.normal(scale=width, size=(len(labels), dim))
        return Cloud(step, 3 * (kernel.T[labels] + noise), labels, kernel)

    history = tuple(cloud(step) for step in range(looks))
    return Sphere(m, seed, cloud(9), 0.9, history)


@pytest.fixture(scope="module")
def people(records_folder):
    return people_with_most_images(records_folder, 4)


def test_the_people_with_most_images_are_named_and_split_by_person(people):
    assert people.names == tuple(f"person_{n:04d}" for n in (1, 2, 3, 4))
    train, test = split(people, 0)
    assert np.bincount(train.labels).tolist() == [4] * 4
    assert np.bincount(test.labels).tolist() == [2] * 4
    whole = {image.tobytes() for image in people.images}
    assert whole == {p.tobytes() for part in (train, test) for p in part.images}
    again = split(people, 0)[1]
    np.testing.assert_array_equal(test.images, again.images)
    assert not np.array_equal(test.images, split(people, 1)[1].images)


@pytest.mark.slow
def test_losses_start_alike_and_one_seed_gives_one_sphere(people):
    train, test = split(people, 0)
    softmax, first, again = (train_sphere(train, test, 2, m, 3, 5, 3) for m in (None, 4, 4))
    for sphere in (softmax, first):
        start = sphere.history[0]
        np.testing.assert_array_equal(start.embeddings, first.history[0].embeddings)
        np.testing.assert_array_equal(start.kernel, first.history[0].kernel)
        assert [cloud.step for cloud in sphere.history] == [0, 2, 3]
    assert not np.array_equal(first.test.embeddings, first.history[0].embeddings)
    assert not np.array_equal(first.test.kernel, softmax.test.kernel)
    np.testing.assert_array_equal(first.test.embeddings, again.test.embeddings)
    assert len(first.train.labels) == len(train.labels)


def test_numbers_of_a_circle_worked_out_by_hand():
    # Class weights at 0, 60 and 180 degrees; two images of each, so many degrees beside it.
    degrees = np.array([-4.0, 4.0, 55.0, 70.0, 180.0, 184.0])
    labels = np.array([0, 0, 1, 1, 2, 2])

    def on_circle(angles):
        return np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)

    kernel = on_circle(np.array([0.0, 60.0, 180.0])).T * [1.0, 5.0, 2.0]
    cloud = Cloud(7, 3 * on_circle(degrees), labels, kernel)
    numbers = statistics.numbers_of(Sphere(3, 1, cloud, 0.5, (cloud,)))
    assert {k: numbers[k] for k in ("dim", "seed", "loss", "m", "test_accuracy")} == {
        **{"dim": 2, "seed": 1, "loss": "m = 3", "m": 3},
        "test_accuracy": 0.5,
    }
    # Half of each class's width: 4, 7.5 and 2 degrees.
    assert numbers["mean_intra"] == pytest.approx((4 + 7.5 + 2) / 3)
    assert numbers["train_mean_intra"] == pytest.approx(numbers["mean_intra"])
    assert numbers["largest_intra"] == pytest.approx(15.0)
    assert numbers["smallest_inter"] == pytest.approx(51.0)
    # Neighbors: 0 and 1, 60 degrees apart; 1 and 2, 120 degrees apart.
    assert numbers["margin"] == pytest.approx((60 + 120) / 2 * 2 / 4)
    assert numbers["test_gap"] == pytest.approx((51 + 110) / 2)


def test_softmax_has_no_margin():
    assert statistics.numbers_of(drawn_sphere(3, None))["margin"] == 0.0


def table_with(angles):
    """A table of numbers; `angles` {(dim, seed): mean_intra for m = 1, 2, ...}."""
    rows = []
    for (dim, seed), means in angles.items():
        for m, mean in enumerate(means, start=1):
            numbers = statistics.numbers_of(drawn_sphere(dim, m))
            rows.append({**numbers, "seed": seed, "mean_intra": mean})
    return statistics.table_of(rows)


def test_clouds_that_do_not_shrink_are_reported():
    table = table_with({(2, 0): [9.0, 8.0, 7.0], (2, 1): [9.0, 6.0, 6.5], (3, 0): [5.0, 5.0]})
    assert statistics.failures(table) == [
        "2-D, seed 1: 6.00 degrees with m = 2, 6.50 with m = 3",
        "3-D, seed 0: 5.00 degrees with m = 1, 5.00 with m = 2",
    ]
    report = statistics.report(table)
    assert "does not fall everywhere: 2-D, seed 1" in report
    assert "| mean within | 9.0° +- 0.0 | 7.0° +- 1.4 | 6.8° +- 0.4 |" in report
    fine = statistics.report(table_with({(2, 0): [3.0, 2.0], (2, 1): [4.0, 3.0]}))
    assert "falls with every m, in every run" in fine


@pytest.mark.parametrize("dim", [2, 3])
def test_losses_are_drawn_side_by_side_with_their_numbers(dim):
    drawn = [drawn_sphere(dim, m, people=5) for m in (None, 1, 4)]
    figure = figures.draw_spheres(drawn, ["a_b", "c", "d", "e", "f"])
    assert [axes.get_title() for axes in figure.axes[:3]] == ["softmax", "m = 1", "m = 4"]
    numbers = [statistics.numbers_of(sphere) for sphere in drawn]
    for axes, own in zip(figure.axes[-3:], numbers, strict=True):
        texts = [text.get_text() for text in axes.texts]
        assert f"{own['mean_intra']:.1f}°" in texts
        assert f"{own['fisher_score']:.4f}" in texts
    assert "mean within" in [text.get_text() for text in figure.axes[-3].texts]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a b", "c", "d", "e", "f"]


def test_the_view_is_towards_the_class_weights():
    rng = np.random.default_rng(0)
    ahead = np.array([[0.0], [-1.0], [0.3]])
    sphere = drawn_sphere(3, 1)
    kernel = ahead + 0.3 * rng.normal(size=(3, 4))
    cloud = sphere.test._replace(kernel=kernel)
    azimuth, elevation = figures.best_view([sphere._replace(history=(cloud,))])
    assert abs(azimuth + 90) <= 30
    assert 0 <= elevation <= 45


@pytest.mark.parametrize(("dim", "make"), [(2, "training_gif"), (3, "turning_gif")])
def test_animations_have_all_frames_and_move(dim, make, monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "TURN_FRAMES", 3)
    drawn = [drawn_sphere(dim, m, looks=3) for m in (1, 4)]
    (tmp_path / "film.gif").write_bytes(getattr(figures, make)(drawn))
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3
        frames = []
        for number in range(3):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB"), np.int32))
    for one, other in itertools.pairwise(frames):
        assert np.abs(one - other).max() > 50


def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path):
    for settings, message in (
        ({"total_steps": 0}, "`total_steps` must be >= 1. Received: 0"),
        ({"num_seeds": 0}, "`num_seeds` must be >= 1. Received: 0"),
        ({"m": (2, 2)}, r"different ints >= 1. Received: m=\(2, 2\)"),
        ({"m": (0,)}, r"different ints >= 1. Received: m=\(0,\)"),
        ({"seed": -1}, "`seed` must be >= 0. Received: -1"),
        ({"people": 1}, "from 2 to 8, .* Received: people=1"),
        ({"people": 9}, "from 2 to 8, .* Received: people=9"),
        ({"dim": 2, "turn": True}, "show 3-D embeddings. Received: dim=2"),
    ):
        with pytest.raises(ValueError, match=message):
            run.feature_spheres(SpheresConfig(out=str(tmp_path / "out"), **settings))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_everything_that_is_asked_for_is_written(records_folder, tmp_path):
    pytest.importorskip("plotly")
    config = SpheresConfig(
        **{"out": str(tmp_path), "data": str(records_folder), "people": 3, "total_steps": 2},
        **{
            "m": (1,),
            "num_seeds": 2,
            "animate": True,
            "turn": True,
            "html": True,
            "projector": True,
        },
    )
    table = run.feature_spheres(config)
    assert table[["dim", "seed", "loss"]].to_numpy().tolist() == [
        [dim, seed, loss] for seed in (0, 1) for dim in (2, 3) for loss in ("softmax", "m = 1")
    ]
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "spheres.csv").astype({"m": "Int64"}), table, check_exact=False
    )
    assert "person 0001" in (tmp_path / "spheres.html").read_text(encoding="utf-8")
    assert (tmp_path / "projector" / "projector_config.pbtxt").is_file()
    for name in ("spheres_2d.png", "spheres_3d.png", "shrinkage.png", "training_2d.gif"):
        with Image.open(tmp_path / name) as image:
            assert np.asarray(image.convert("RGB")).std() > 10
    assert (tmp_path / "spheres_3d.svg").read_text().startswith("<?xml")


@pytest.mark.slow
def test_the_cloud_shrinks_with_m(tmp_path):
    """The claim of the paper, on generated faces: people are narrower the larger m is."""
    folder = generated_records(tmp_path, 8, 45, 0, 0).records
    train, test = split(people_with_most_images(str(folder), 8), 0)
    spheres_of_m = [train_sphere(train, test, 3, m, 200, 0) for m in (1, 2, 4)]
    table = statistics.table_of([statistics.numbers_of(s) for s in spheres_of_m])
    assert statistics.failures(table) == [], table.to_string()
    for column in ("mean_intra", "train_mean_intra"):
        assert table[column].iloc[-1] < 0.8 * table[column].iloc[0], table.to_string()


def test_people_may_be_called_anything_and_those_with_most_images_come_first(tmp_path):
    """Counts 3, 9, 5 and 9, and names that pandas would take for missing."""
    pictures = np.random.default_rng(0).integers(0, 255, (26, 112, 96, 3), np.uint8)
    names = ["few"] * 3 + ["NA"] * 9 + ["None"] * 5 + ["0017"] * 9
    for number, (image, name) in enumerate(zip(pictures, names, strict=True)):
        path = tmp_path / "faces" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    out = tmp_path / "records"
    make_records(ConvertConfig(source=str(tmp_path / "faces"), out=str(out), workers=1))
    chosen = people_with_most_images(str(out), 3)
    assert set(chosen.names[:2]) == {"NA", "0017"}
    assert chosen.names[2] == "None"
    assert np.bincount(chosen.labels).tolist() == [9, 9, 5]
    own = {p.tobytes() for p, name in zip(pictures, names, strict=True) if name == "None"}
    assert {p.tobytes() for p in chosen.images[chosen.labels == 2]} == own
    with pytest.raises(ValueError, match="has 3 with at least 4 images"):
        people_with_most_images(str(out), 4)
    with pytest.raises(FileNotFoundError, match="make_tfrecords"):
        people_with_most_images(str(tmp_path / "faces"), 2)


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_the_legend_of_people_stays_on_the_page(columns):
    names = [f"Luiz_Inacio_Lula_da_Silva_{n}" for n in range(6)]
    drawn = [drawn_sphere(3, m, people=6) for m in range(1, columns + 1)]
    figure = figures.draw_spheres(drawn, names)
    figure.savefig(io.BytesIO(), format="png")
    (legend,) = figure.legends
    assert figure.bbox.containsx(legend.get_window_extent().x0)
    assert figure.bbox.containsx(legend.get_window_extent().x1)


def test_faces_keep_images_and_labels_together():
    faces = Faces(np.arange(5), np.arange(5) % 2, ("a", "b")).at(np.array([3, 0]))
    assert (faces.images.tolist(), faces.labels.tolist()) == ([3, 0], [1, 0])
