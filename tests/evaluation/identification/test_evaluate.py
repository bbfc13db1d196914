"""Galleries and probes through exported networks to `metrics.json`, curves and a report."""

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.commands import identify
from keras_sphereface.config import ConvertConfig
from keras_sphereface.config.parsing import parse_command
from keras_sphereface.data import alignment, images, landmarks, preprocessing
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation import embeddings
from keras_sphereface.evaluation.identification import artifacts, galleries, report
from keras_sphereface.evaluation.identification import evaluate as evaluate_module
from keras_sphereface.export import saved_model
from keras_sphereface.models.sphereface import sphereface4
from tests.conftest import ROOT
from tests.helpers import browser

CURVES = {"closed-set": "cmc.png", "open-set": "dir.png", "distractors": "distractors.png"}


@pytest.fixture(scope="module")
def network():
    return sphereface4(width=0.1, embedding_size=8, seed=0)


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    return saved_model.export_savedmodel(network, tmp_path_factory.mktemp("run") / "export")


@pytest.fixture(scope="module")
def aligned(faces, tmp_path_factory):
    """The faces of `faces` as the network should see them."""
    root = tmp_path_factory.mktemp("aligned")
    for key, points in landmarks.read_landmarks(faces / "landmarks.txt").items():
        face = alignment.align(images.decode((faces / "images" / key).read_bytes()), points)
        (root / key).parent.mkdir(exist_ok=True)
        (root / key).write_bytes(images.encode_png(face))
    return root


@pytest.fixture(scope="module")
def views(network, aligned):
    """{key: (2, D)}, taken straight from the network, an image at a time."""
    found = {}
    for path in sorted(aligned.glob("*/*")):
        face = preprocessing.normalize(images.decode(path.read_bytes()))[None]
        found[f"{path.parent.name}/{path.name}"] = np.array(
            [network(face)[0], network(face[:, :, ::-1])[0]]
        )
    return found


@pytest.fixture(scope="module")
def saved(views, tmp_path_factory):
    """An .npz file of all of them."""
    path = tmp_path_factory.mktemp("saved") / "by hand.npz"
    save(path, views)
    return path


def save(path, views):
    embeddings.save(embeddings.Embeddings(list(views), np.array(list(views.values())), {}), path)


@pytest.fixture
def settings(model, faces, tmp_path):
    return {
        "model": (str(model),),
        "out": str(tmp_path / "out"),
        "images": str(faces / "images"),
        "landmarks": str(faces / "landmarks.txt"),
        "batch_size": 16,
    }


@pytest.fixture
def quick(saved, tmp_path):
    """The same from embeddings, which need no network."""
    return {"embeddings": (str(saved),), "out": str(tmp_path / "out")}


@pytest.fixture
def distractors(views, faces, tmp_path):
    """The people to train on as strangers: an .npz file of 30 images."""
    people = lfw.read_pairs(faces / "pairs.txt").identities()
    path = tmp_path / "distractors.npz"
    save(path, {key: view for key, view in views.items() if person_of(key) not in people})
    return {"pairs": str(faces / "pairs.txt"), "distractors": str(path)}


def evaluate(command, settings, **changes):
    config = evaluate_module.COMMANDS[command](**{**settings, **changes})
    return evaluate_module.evaluate(command, config)


def probes_of(tmp_path):
    return pd.read_csv(tmp_path / "out" / "probes.csv")


def person_of(key):
    return key.split("/")[0]


def cosine(a, b):
    a, b = (np.ravel(x).astype(np.float64) for x in (a, b))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def look_up(views, gallery, probes):
    """{probe: (rank, score of its person, best other score)}; rank 0 for strangers."""
    found = {}
    for probe in probes:
        people = {}
        for entry in gallery:
            people.setdefault(person_of(entry), []).append(cosine(views[probe], views[entry]))
        best = {person: max(scores) for person, scores in people.items()}
        own = best.pop(person_of(probe), None)
        others = list(best.values())
        rank = 0 if own is None else 1 + sum(other >= own for other in others)
        found[probe] = (rank, np.nan if own is None else own, max(others))
    return found


def check_probes(table, expected):
    assert table["probe"].tolist() == list(expected)
    assert table["person"].tolist() == [person_of(key) for key in expected]
    ranks, own, other = map(np.array, zip(*expected.values(), strict=True))
    np.testing.assert_array_equal(table["rank"], ranks)
    np.testing.assert_allclose(table["own_score"], own, atol=1e-4)
    np.testing.assert_allclose(table["best_other_score"], other, atol=1e-4)


@pytest.mark.parametrize("gallery_images", [1, 3])
def test_ranks_of_the_closed_set_are_those_found_by_hand(settings, views, tmp_path, gallery_images):
    (metrics,) = evaluate("closed-set", settings, gallery_images=gallery_images, max_rank=12)
    table = probes_of(tmp_path)
    gallery = sorted(views.keys() - set(table["probe"]))
    assert len(gallery) == metrics["num_gallery"] == 19 * gallery_images
    assert metrics["num_probes"] == len(table) == 19 * (6 - gallery_images)
    assert metrics["num_gallery_people"] == 19
    assert set(table["model"]) == {metrics["model"]}
    expected = look_up(views, gallery, table["probe"])
    check_probes(table, expected)
    ranks = [rank for rank, *_ in expected.values()]
    rates = [sum(rank <= k for rank in ranks) / len(ranks) for k in range(1, 13)]
    np.testing.assert_allclose(metrics["cmc"], rates)
    assert 0.2 < rates[0] < rates[9] <= 1
    for k in (1, 5, 10):
        assert metrics[f"rank_{k}"] == pytest.approx(rates[k - 1])


def test_a_short_curve_does_not_shorten_the_ranks_that_are_told(quick):
    (whole,) = evaluate("closed-set", quick)
    (short,) = evaluate("closed-set", quick, max_rank=3)
    assert len(whole["cmc"]) == 20
    assert short["cmc"] == whole["cmc"][:3]
    assert short["rank_10"] == whole["rank_10"]


def rate_by_hand(found, far, most):
    """The best rate of known people found over all thresholds that allow the false alarms."""
    mated = [(rank, own) for rank, own, _ in found.values() if rank]
    alarms = [other for rank, _, other in found.values() if not rank]
    if far * len(alarms) < 1:
        return None
    best = 0.0
    for threshold in [score for _, *both in found.values() for score in both if score == score]:
        if sum(alarm >= threshold for alarm in alarms) / len(alarms) <= far:
            hits = sum(rank <= most and own >= threshold for rank, own in mated)
            best = max(best, hits / len(mated))
    return best


@pytest.mark.parametrize("changes", [{}, {"strangers": 0.6, "gallery_images": 2, "seed": 3}])
def test_rates_of_the_open_set_are_those_found_by_hand(settings, views, tmp_path, changes):
    (metrics,) = evaluate("open-set", settings, candidates=4, **changes)
    table = probes_of(tmp_path)
    gallery = sorted(views.keys() - set(table["probe"]))
    expected = look_up(views, gallery, table["probe"])
    check_probes(table, expected)
    strangers = {person_of(key) for key, (rank, *_) in expected.items() if not rank}
    assert not strangers & {person_of(key) for key in gallery}
    assert len(strangers) == round(changes.get("strangers", 0.5) * 19)
    assert metrics["num_strangers"] == 6 * len(strangers)
    assert metrics["num_mated"] == metrics["num_probes"] - metrics["num_strangers"]
    assert metrics["num_gallery_people"] == 19 - len(strangers)
    mated = [rank for rank, *_ in expected.values() if rank]
    assert metrics["rank_1"] == pytest.approx(sum(rank == 1 for rank in mated) / len(mated))
    assert metrics["candidates"] == 4
    for name, most in (("dir_at_far", 1), ("tpir_at_fpir", 4)):
        rates = {far: rate_by_hand(expected, float(far), most) for far in ("0.1", "0.01", "0.001")}
        assert metrics[name] == pytest.approx(rates), name
    assert metrics["dir_at_far"]["0.1"] > 0
    assert metrics["dir_at_far"]["0.01"] is None  # 66 strangers at most


def test_the_open_set_verifies_every_image_against_the_whole_gallery(settings, views, tmp_path):
    found = evaluate("open-set", settings)[0]["verification"]
    probes = probes_of(tmp_path)["probe"]
    gallery = sorted(views.keys() - set(probes))
    same, other = [], []
    for probe in probes:
        for entry in gallery:
            side = same if person_of(probe) == person_of(entry) else other
            side.append(cosine(views[probe], views[entry]))
    same, other = np.array(same), np.array(other)
    assert (found["num_matched"], found["num_mismatched"]) == (len(same), len(other))
    likelier = np.mean(same[:, None] > other) + np.mean(same[:, None] == other) / 2
    assert found["auc"] == pytest.approx(likelier, abs=1e-6)
    # Of less than 1,000 mismatched pairs.
    carried = {far: tar for far, tar in found["tar_at_far"].items() if tar is not None}
    assert list(carried) == ["0.1", "0.01"]
    for far, tar in carried.items():
        allowed = int(float(far) * len(other))
        refused = np.sort(other)[::-1][allowed]  # the first that may not be accepted
        assert tar == pytest.approx(np.mean(same > refused))
        threshold = found["threshold_at_far"][far]
        assert np.mean(other >= threshold + 1e-5) <= float(far)
        assert np.mean(same >= threshold - 1e-5) == pytest.approx(tar)
    gaps = [abs(np.mean(other >= cut) - np.mean(same < cut)) for cut in same]
    cut = same[np.argmin(gaps)]
    assert found["eer"] == pytest.approx(np.mean(same < cut), abs=min(gaps) + 1 / len(same))


def test_too_many_comparisons_are_left_out_of_the_verification(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_module, "MAX_COMPARISONS", 100)
    (metrics,) = evaluate("open-set", quick)
    assert metrics["verification"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Verification: each image" not in page
    assert "too many comparisons to verify" in page


def found_among(views, probes, strangers):
    """The share of ordered pairs of a person whose score is above those of all strangers."""
    hits = []
    for probe in probes:
        highest = max(cosine(views[probe], views[key]) for key in strangers)
        mates = [k for k in probes if person_of(k) == person_of(probe) and k != probe]
        hits += [cosine(views[probe], views[mate]) > highest for mate in mates]
    return np.mean(hits)


def test_distractors_are_those_of_a_folder_and_found_among_as_by_hand(settings, views, faces):
    pairs = str(faces / "pairs.txt")
    people = lfw.read_pairs(pairs).identities()
    (metrics,) = evaluate(
        "distractors",
        settings,
        pairs=pairs,
        # Everyone is in there: the 14 who are looked for are left out.
        distractors=str(faces / "images"),
        distractor_landmarks=str(faces / "landmarks.txt"),
        max_rank=3,
    )
    assert (metrics["num_probes"], metrics["num_identities"]) == (84, 14)
    sizes = metrics["distractors"]
    assert [size["num_distractors"] for size in sizes] == [10, 30]
    probes = [key for key in views if person_of(key) in people]
    strangers = [key for key in views if person_of(key) not in people]
    assert sizes[1]["rank_1"] == pytest.approx(found_among(views, probes, strangers))
    assert 0 < sizes[1]["rank_1"] < sizes[0]["rank_1"] < 1
    for size in sizes:
        assert size["cmc"][0] == size["rank_1"]
        assert len(size["cmc"]) == 3
        # 84 x 30 comparisons allow no rate of 1 in 10,000.
        assert size["tar_at_far"] == {"1e-06": None, "1e-05": None, "0.0001": None}
    text = report.summary("distractors", metrics)
    first, *lines = text.splitlines()
    assert first.endswith("84 images of 14 people")
    assert [line.split()[0] for line in lines] == ["distractors", "10", "30"]
    for line, size in zip(lines[1:], sizes, strict=True):
        cells = [cell.strip() for cell in line.split("  ") if cell]
        assert cells[1:] == [f"{100 * size['rank_1']:.2f} %", *["too few"] * 3]
        assert line.index(cells[1]) == lines[0].index("rank 1")


def test_rates_among_distractors_are_told_where_they_are_carried():
    rates = {"1e-05": None, "0.0001": 0.0647}
    size = {"num_distractors": 1000, "rank_1": 0.5, "cmc": [0.5], "tar_at_far": rates}
    metrics = {
        "model": "A",
        "doubts": [],
        "num_probes": 9,
        "num_identities": 3,
        "distractors": [size],
    }
    row = report.summary("distractors", metrics).splitlines()[-1]
    assert re.split("  +", row.strip()) == ["1,000", "50.00 %", "too few", "6.47 %"]


def test_the_first_distractors_are_drawn_by_the_seed(quick, views, distractors, tmp_path):
    strangers = list(embeddings.load(distractors["distractors"]).keys)
    drawn = {}
    for seed in range(4):
        (metrics,) = evaluate("distractors", quick, **distractors, seed=seed)
        drawn[seed] = [size["rank_1"] for size in metrics["distractors"]]
    assert len({few for few, _ in drawn.values()}) > 1
    assert len({all_of_them for _, all_of_them in drawn.values()}) == 1
    (again,) = evaluate("distractors", quick, **distractors, seed=3)
    assert again["distractors"] == metrics["distractors"]
    # Ten of them alone, whatever their order.
    save(tmp_path / "ten.npz", {key: views[key] for key in strangers[5:15]})
    (few,) = evaluate("distractors", quick, **distractors | {"distractors": f"{tmp_path}/ten.npz"})
    probes = [k for k in views if person_of(k) not in {person_of(key) for key in strangers}]
    (size,) = few["distractors"]
    assert size["rank_1"] == pytest.approx(found_among(views, probes, strangers[5:15]))


COMMAND_SETTINGS = {
    "closed-set": {"max_rank": 5},
    "open-set": {"strangers": 0.4},
    "distractors": {},
}


@pytest.mark.parametrize("command", COMMAND_SETTINGS)
def test_images_records_and_embeddings_give_the_same_numbers(
    settings, quick, model, aligned, distractors, tmp_path, command
):
    # Records keep aligned images as they are.
    make_records(ConvertConfig(source=str(aligned), out=str(tmp_path / "records")))
    changes = dict(COMMAND_SETTINGS[command])
    if command == "distractors":
        changes |= distractors
    common = {"model": (str(model),), "out": str(tmp_path / "out"), "batch_size": 16}
    results, tables = [], []
    for source in (
        settings,
        {**common, "images": str(aligned)},
        {**common, "records": str(tmp_path / "records")},
        quick,
    ):
        (metrics,) = evaluate(command, source, **changes)
        results.append({**metrics, "model": ""})
        tables.append(probes_of(tmp_path).assign(model=""))
    assert results[0] == results[1] == results[2]
    assert results[3].keys() == results[0].keys()
    for name, value in results[3].items():
        if name != "verification":
            assert value == results[0][name], name
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], atol=1e-4)


@pytest.mark.parametrize("command", COMMAND_SETTINGS)
def test_metrics_come_last_and_nothing_is_half_written(
    quick, distractors, tmp_path, monkeypatch, command
):
    changes = distractors if command == "distractors" else {}
    (metrics,) = evaluate(command, quick, **changes)
    out = tmp_path / "out"
    files = {"metrics.json", "probes.csv", "report.html", CURVES[command]}
    assert {path.name for path in out.iterdir()} == files
    written = json.loads((out / "metrics.json").read_text())
    assert written == {"setting": command, "systems": [metrics]}
    newest = max(path.stat().st_mtime_ns for path in out.iterdir())
    assert (out / "metrics.json").stat().st_mtime_ns == newest
    assert images.decode((out / CURVES[command]).read_bytes()).std() > 10
    monkeypatch.setattr(artifacts.report, "report", None)
    with pytest.raises(TypeError):
        evaluate(command, quick, **changes)
    assert {path.name for path in out.iterdir()} == {"probes.csv", "report.html", CURVES[command]}


def test_the_seed_draws_the_gallery(quick, tmp_path):
    tables = []
    for seed in (0, 0, 1):
        evaluate("open-set", quick, seed=seed)
        tables.append(probes_of(tmp_path))
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert set(tables[0]["probe"]) != set(tables[2]["probe"])
    # Even where the first images of all people were the gallery.
    assert len({key[-8:] for key in {*tables[2]["probe"]} ^ {*tables[0]["probe"]}}) > 2


def write_lists(folder, gallery, probes):
    found = {}
    for name, roll in (("gallery", gallery), ("probes", probes)):
        (folder / f"{name}.txt").write_text("\n".join(f"{k}\t{who}" for k, who in roll.items()))
        found[name] = str(folder / f"{name}.txt")
    return found


def rolls_by_hand(views, strangers=0):
    """Of each person images 2 and 3 are known, 5 and 6 looked up; the last people are not."""
    people = sorted({person_of(key) for key in views})
    known = people[: len(people) - strangers]
    gallery = {f"{p}/{p}_000{i}.jpg": p for p in known for i in (2, 3)}
    return gallery, {f"{p}/{p}_000{i}.jpg": p for p in people for i in (5, 6)}


@pytest.mark.parametrize(("command", "strangers"), [("closed-set", 0), ("open-set", 7)])
def test_lists_say_who_is_known_and_looked_up(settings, views, tmp_path, command, strangers):
    gallery, probes = rolls_by_hand(views, strangers)
    (metrics,) = evaluate(command, settings, **write_lists(tmp_path, gallery, probes))
    check_probes(probes_of(tmp_path), look_up(views, gallery, probes))
    assert metrics["num_gallery"] == len(gallery) == 2 * metrics["num_gallery_people"]
    assert metrics["num_probes"] == 38
    assert metrics.get("num_strangers", 0) == 2 * strangers
    assert metrics["doubts"] == []


def test_lists_name_people_otherwise_than_the_folders(quick, views, tmp_path):
    gallery, probes = rolls_by_hand(views)
    expected = evaluate("closed-set", quick, **write_lists(tmp_path, gallery, probes))
    renamed = ({k: f"No. {who}" for k, who in roll.items()} for roll in (gallery, probes))
    assert evaluate("closed-set", quick, **write_lists(tmp_path, *renamed)) == expected
    assert probes_of(tmp_path)["person"].str.startswith("No. ").all()


def test_a_image_that_finds_itself_is_said(quick, views, tmp_path):
    gallery, probes = rolls_by_hand(views)
    own = next(iter(gallery))
    (metrics,) = evaluate(
        "closed-set", quick, **write_lists(tmp_path, gallery, {**probes, own: gallery[own]})
    )
    (doubt,) = metrics["doubts"]
    assert doubt.startswith(f"1 images are in the gallery and looked up too, for example {own}")
    assert probes_of(tmp_path).set_index("probe")["own_score"][own] == pytest.approx(1)


@pytest.mark.parametrize("command", ["closed-set", "open-set"])
def test_templates_are_means_of_their_images(settings, views, tmp_path, command):
    people = sorted({person_of(key) for key in views})
    known = people[:-5] if command == "open-set" else people
    lines, means = [], {}
    for person in people:
        keys = [f"{person}/{person}_000{i}.jpg" for i in range(1, 7)]
        # Of template A the first two images are frames of one video.
        lines += [f"{key}\t{person}/A\t{max(i, 1)}" for i, key in enumerate(keys[:3])]
        lines += [f"{key}\t{person}/B" for key in keys[3:]]
        of = np.array([views[key] for key in keys], np.float64)
        means[f"{person}/A"] = (of[0] + of[1]) / 4 + of[2] / 2
        means[f"{person}/B"] = of[3:].mean(0)
    (tmp_path / "templates.txt").write_text("\n".join(lines))
    gallery = {f"{person}/A": person for person in known}
    probes = {f"{person}/B": person for person in people}
    (metrics,) = evaluate(
        command,
        settings,
        **write_lists(tmp_path, gallery, probes),
        templates=f"{tmp_path}/templates.txt",
    )
    check_probes(probes_of(tmp_path), look_up(means, gallery, probes))
    assert (metrics["num_gallery"], metrics["num_probes"]) == (len(known), 19)


@pytest.mark.parametrize("command", ["closed-set", "open-set"])
def test_several_models_are_each_measured_as_alone(quick, views, tmp_path, command):
    rng = np.random.default_rng(0)
    other = {key: view + rng.normal(0, 0.5, view.shape) for key, view in views.items()}
    save(tmp_path / "other.npz", other)
    (tmp_path / "again").mkdir()
    save(tmp_path / "again" / "other.npz", views)
    paths = (*quick["embeddings"], f"{tmp_path}/other.npz", f"{tmp_path}/again/other.npz")
    results = evaluate(command, quick, embeddings=paths)
    assert [metrics["model"] for metrics in results] == ["by hand", "other", "other (2)"]
    table = probes_of(tmp_path)
    page = (tmp_path / "out" / "report.html").read_text()
    for metrics, path in zip(results, paths, strict=True):
        rows = table[table["model"] == metrics["model"]].drop(columns="model")
        (alone,) = evaluate(command, quick, embeddings=(path,))
        assert alone == {**metrics, "model": alone["model"]}
        pd.testing.assert_frame_equal(
            probes_of(tmp_path).drop(columns="model"), rows.reset_index(drop=True)
        )
        assert metrics["model"] in page
    assert results[0] != {**results[1], "model": "by hand"}
    assert results[0] == {**results[2], "model": "by hand"}


def test_networks_and_embeddings_stand_side_by_side(settings, saved):
    of_network, of_file = evaluate("closed-set", settings, embeddings=(str(saved),))
    assert of_file["model"] == "by hand"
    assert of_network["cmc"] == of_file["cmc"]


def test_a_figure_shows_the_curves_of_all_systems(quick, views, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setitem(artifacts.IMAGES, "cmc", lambda axes, curves: seen.update(curves))
    (tmp_path / "more").mkdir()
    save(tmp_path / "more" / "by hand.npz", views)
    paths = (*quick["embeddings"], f"{tmp_path}/more/by hand.npz")
    results = evaluate("closed-set", quick, embeddings=paths, max_rank=7)
    assert list(seen) == ["by hand", "by hand (2)"]
    for metrics in results:
        assert seen[metrics["model"]].tolist() == metrics["cmc"]


def test_people_outside_of_the_pairs_and_folds_are_left_out(quick, faces, tmp_path):
    pairs = str(faces / "pairs.txt")
    (metrics,) = evaluate("closed-set", quick, pairs=pairs)
    assert set(probes_of(tmp_path)["person"]) == lfw.read_pairs(pairs).identities()
    assert metrics["num_gallery_people"] == 14
    evaluate("open-set", quick, pairs=pairs, folds=(2, 5))
    wanted = lfw.read_pairs(pairs).in_folds((2, 5)).identities()
    assert set(probes_of(tmp_path)["person"]) == wanted
    assert len(wanted) == 4


def write_people(path, people):
    with open(path, "w", newline="") as file:
        rows = [(i, person, 3) for i, person in enumerate(people)]
        csv.writer(file).writerows([("label", "identity", "count"), *rows])
    return str(path)


def test_people_of_the_training_set_are_left_out_and_said(quick, views, tmp_path):
    people = sorted({person_of(key) for key in views})
    labels = write_people(tmp_path / "labels.csv", [*people[:6], "Somebody else"])
    (metrics,) = evaluate("closed-set", quick, train_labels=labels)
    assert set(probes_of(tmp_path)["person"]) == set(people[6:])
    assert metrics["doubts"] == ["6 people of the training set are left out, as asked."]
    lists_given = write_lists(tmp_path, *rolls_by_hand(views, 5))
    (metrics,) = evaluate("open-set", quick, train_labels=labels, **lists_given)
    assert set(probes_of(tmp_path)["person"]) == set(people[6:])
    assert metrics["num_gallery_people"] == 19 - 6 - 5


def test_missing_images_are_said_with_their_reasons(settings, faces, views, tmp_path):
    gallery, probes = rolls_by_hand(views)
    gone, *_, landmark = list(probes)[:4]
    shutil.copytree(faces / "images", tmp_path / "images")
    (tmp_path / "images" / gone).unlink()
    lines = (faces / "landmarks.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(landmark)]
    (tmp_path / "landmarks.txt").write_text("\n".join(kept))
    (metrics,) = evaluate(
        "closed-set",
        settings,
        images=f"{tmp_path}/images",
        landmarks=f"{tmp_path}/landmarks.txt",
        **write_lists(tmp_path, gallery, probes),
    )
    assert metrics["missing"] == {gone: "no such image", landmark: "no landmarks"}
    assert metrics["num_probes"] == 36
    (doubt,) = metrics["doubts"]
    assert doubt == (
        "Missing images, left out: 1 no landmarks; 1 no such image; for example "
        f"{next(iter(metrics['missing']))}."
    )
    text = report.summary("closed-set", metrics)
    assert text.startswith("WARNING: Missing images, left out: ")
    there = {key: who for key, who in probes.items() if key not in (gone, landmark)}
    check_probes(probes_of(tmp_path), look_up(views, gallery, there))


@pytest.mark.parametrize(("command", "strangers"), [("closed-set", 0), ("open-set", 7)])
def test_who_has_no_image_left_in_the_gallery_is_not_looked_up(
    quick, views, tmp_path, command, strangers
):
    gallery, probes = rolls_by_hand(views, strangers)
    person = sorted(set(gallery.values()))[2]
    gone = [key for key in gallery if person_of(key) == person]
    save(tmp_path / "some.npz", {k: v for k, v in views.items() if k not in gone})
    (metrics,) = evaluate(
        command,
        quick,
        embeddings=(f"{tmp_path}/some.npz",),
        **write_lists(tmp_path, gallery, probes),
    )
    others = [{k: w for k, w in roll.items() if w != person} for roll in (gallery, probes)]
    check_probes(probes_of(tmp_path), look_up(views, *others))
    assert metrics["missing"] == dict.fromkeys(gone, "no embedding")
    assert metrics.get("num_strangers", 0) == 2 * strangers
    assert metrics["doubts"][1] == (
        f"1 people have no image left in the gallery, for example {person}: 2 images of them "
        "are not looked up."
    )


def test_missing_distractors_are_said(settings, faces, aligned, tmp_path):
    shutil.copytree(aligned, tmp_path / "strangers")
    people = lfw.read_pairs(faces / "pairs.txt").identities()
    first = sorted(p for p in (tmp_path / "strangers").glob("*/*") if p.parent.name not in people)[
        0
    ]
    first.write_bytes(b"no image")
    (metrics,) = evaluate(
        "distractors",
        settings,
        pairs=str(faces / "pairs.txt"),
        distractors=f"{tmp_path}/strangers",
    )
    assert metrics["distractors"][-1]["num_distractors"] == 29
    (doubt,) = metrics["doubts"]
    assert doubt.startswith("Missing distractors, left out: 1 cannot be read: ")
    assert f"for example {first.parent.name}/{first.name}." in doubt


def test_what_is_wrong_with_the_images_is_said(settings, faces, aligned):
    (metrics,) = evaluate("closed-set", settings, images=str(aligned), landmarks="")
    assert metrics["doubts"] == []
    (metrics,) = evaluate("closed-set", settings, landmarks="")
    assert any("look unaligned" in doubt for doubt in metrics["doubts"])


def test_a_stranger_in_the_closed_set_is_named_with_its_list(quick, views, tmp_path):
    gallery, probes = rolls_by_hand(views, strangers=3)
    first = next(key for key, who in probes.items() if who not in gallery.values())
    expected = f"probes.txt: .* Received: {re.escape(first)} of .*, the first of 6 .* see open-set"
    with pytest.raises(ValueError, match=expected):
        evaluate("closed-set", quick, **write_lists(tmp_path, gallery, probes))


def test_an_open_set_without_strangers_is_refused(quick, views, tmp_path):
    with pytest.raises(ValueError, match="Received: 38 images of known people, 0 of"):
        evaluate("open-set", quick, **write_lists(tmp_path, *rolls_by_hand(views)))


@pytest.mark.parametrize(
    ("command", "changes", "error", "message"),
    [
        ("closed-set", {"embeddings": ()}, ValueError, "`model` or `embeddings` must name"),
        ("closed-set", {"gallery": "g"}, ValueError, r"belong together. .* gallery='g', probes=''"),
        ("open-set", {"probes": "p"}, ValueError, r"belong together. .* gallery='', probes='p'"),
        ("closed-set", {"gallery": "g", "probes": "p"}, FileNotFoundError, "'g'"),
        ("closed-set", {"images": "i", "records": "r"}, ValueError, "images='i', records='r'"),
        ("closed-set", {"images": "absent"}, FileNotFoundError, "`images` must be .*absent"),
        ("closed-set", {"landmarks": "l"}, ValueError, "`landmarks` needs `images`. Received: "),
        ("closed-set", {"templates": "t"}, ValueError, "`templates` needs `gallery` and `probes`"),
        ("closed-set", {"folds": (1,)}, ValueError, r"`folds` needs `pairs`. Received: folds=\(1"),
        ("closed-set", {"batch_size": 0}, ValueError, "Received: batch_size=0"),
        ("closed-set", {"max_rank": 0}, ValueError, "`max_rank` must be >= 1. .* max_rank=0"),
        ("closed-set", {"gallery_images": 0}, ValueError, "Received: gallery_images=0"),
        ("closed-set", {"gallery_images": 6}, ValueError, "more than 6 images, .* 114 images"),
        ("open-set", {"candidates": 0}, ValueError, "`candidates` must be >= 1. .* candidates=0"),
        ("open-set", {"strangers": 1.0}, ValueError, "Received: strangers=1.0"),
        ("open-set", {"gallery_images": 6}, ValueError, "10 of 19 people taken for strangers"),
        ("distractors", {}, ValueError, "`distractors` must name strangers. Received: nothing"),
        ("distractors", {"distractors": "absent"}, FileNotFoundError, "`distractors` must be a fo"),
        ("distractors", {"distractors": "absent.npz"}, FileNotFoundError, "absent.npz"),
        ("distractors", {"max_rank": -1}, ValueError, "`max_rank` must be >= 1"),
        ("closed-set", {"train_labels": "absent.csv"}, FileNotFoundError, "absent.csv"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(
    quick, tmp_path, command, changes, error, message
):
    with pytest.raises(error, match=message):
        evaluate(command, quick, **changes)
    assert not (tmp_path / "out").exists()


def test_networks_need_images(settings, views, tmp_path):
    gallery = write_lists(tmp_path, *rolls_by_hand(views))
    with pytest.raises(ValueError, match="needs images: give `images` or `records`"):
        evaluate("closed-set", settings, images="", landmarks="", **gallery)


def test_saved_embeddings_must_tell_who_is_on_a_image(quick, views, tmp_path):
    save(tmp_path / "nameless.npz", {key.replace("/", "-"): view for key, view in views.items()})
    with pytest.raises(ValueError, match="Who is known must be told by `images`, `records`"):
        evaluate("closed-set", quick, embeddings=(f"{tmp_path}/nameless.npz",))


def test_saved_distractors_serve_one_system_only(quick, distractors):
    paths = quick["embeddings"] * 2
    with pytest.raises(ValueError, match="of one system, and cannot be distractors for several"):
        evaluate("distractors", quick, **distractors, embeddings=paths)


def test_landmarks_of_saved_distractors_are_refused(quick, distractors):
    with pytest.raises(ValueError, match="`distractor_landmarks` needs a folder of images"):
        evaluate("distractors", quick, **distractors, distractor_landmarks="x.txt")


def test_people_with_one_image_each_are_refused_before_the_long_work(quick, views, tmp_path):
    one_each = {person_of(key): key for key in views}
    save(tmp_path / "single.npz", {key: views[key] for key in one_each.values()})
    with pytest.raises(ValueError, match="Someone must have two images"):
        evaluate("distractors", quick, embeddings=(f"{tmp_path}/single.npz",), distractors="x.npz")


def test_distractors_that_look_wrong_are_said(settings, faces, tmp_path):
    # Probes are aligned, strangers are not.
    (metrics,) = evaluate(
        "distractors",
        settings,
        pairs=str(faces / "pairs.txt"),
        distractors=str(faces / "images"),
    )
    assert any(doubt.startswith("Distractors: ") for doubt in metrics["doubts"])


def test_nobody_left_is_refused(quick, views, faces, tmp_path):
    people = sorted({person_of(key) for key in views})
    labels = write_people(tmp_path / "all.csv", people)
    with pytest.raises(ValueError, match=r"Nobody is left. Received: pairs='', .*all.csv"):
        evaluate("closed-set", quick, train_labels=labels)
    gallery, probes = rolls_by_hand(views, strangers=4)
    labels = write_people(tmp_path / "known.csv", people[:-4])
    with pytest.raises(ValueError, match=r"Nobody of `gallery` is left. Received: .*gallery.txt"):
        evaluate("open-set", quick, train_labels=labels, **write_lists(tmp_path, gallery, probes))


@pytest.mark.parametrize("command", ["closed-set", "open-set", "distractors"])
def test_images_that_are_all_missing_are_an_error(quick, views, distractors, tmp_path, command):
    save(tmp_path / "others.npz", {f"X/{i}.jpg": view for i, view in enumerate(views.values())})
    changes = {"images": distractors["pairs"].replace("pairs.txt", "images")}
    changes |= distractors if command == "distractors" else {}
    expected = "others must have images .* Received: .* missing, for example .*no embedding"
    with pytest.raises(ValueError, match=expected):
        evaluate(command, quick, embeddings=(f"{tmp_path}/others.npz",), **changes)


def test_distractors_that_do_not_fit_are_refused(quick, views, distractors, tmp_path):
    path = tmp_path / "short.npz"
    save(path, {f"X/{key}": view[:1] for key, view in views.items()})
    expected = r"`distractors` must have embeddings of 16 numbers, .* Received: 8 in .*short.npz"
    with pytest.raises(ValueError, match=expected):
        evaluate("distractors", quick, **distractors | {"distractors": str(path)})
    with pytest.raises(ValueError, match="other people than those who are looked for"):
        evaluate("distractors", quick, distractors=quick["embeddings"][0])
    (tmp_path / "strangers" / "X").mkdir(parents=True)
    (tmp_path / "strangers" / "X" / "1.jpg").touch()
    expected = r"`distractors` must have .* Received: none in .*X/1.jpg \(no embedding\)"
    with pytest.raises(ValueError, match=expected):
        evaluate("distractors", quick, **distractors | {"distractors": f"{tmp_path}/strangers"})


def test_the_script_reads_its_command_and_flags():
    arguments = "open-set --model a b --images i --out o --strangers 0.25 --folds 1 2".split()
    command, config = parse_command(evaluate_module.COMMANDS, arguments)
    assert command == "open-set"
    assert (config.model, config.strangers, config.folds) == (("a", "b"), 0.25, (1, 2))


def test_users_read_numbers_or_one_sentence_instead_of_a_traceback(quick, tmp_path, capsys):
    run = identify.main
    with pytest.raises(SystemExit, match=r"error: .*Received: max_rank=0"):
        run("closed-set", evaluate_module.COMMANDS["closed-set"](**quick, max_rank=0))
    run("closed-set", evaluate_module.COMMANDS["closed-set"](**quick))
    (metrics,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["systems"]
    assert capsys.readouterr().out == (
        "by hand: 95 images looked up among 19 people with 19 images\n"
        f"  rank 1   {100 * metrics['rank_1']:.2f} %\n"
        f"  rank 5   {100 * metrics['rank_5']:.2f} %\n"
        f"  rank 10  {100 * metrics['rank_10']:.2f} %\n"
        f"written to {tmp_path}/out\n"
    )


@pytest.mark.slow
def test_the_script_finds_people_and_says_what_is_wrong(quick, tmp_path):
    script = [sys.executable, str(ROOT / "tools" / "identify.py")]

    def run(*arguments):
        command = [*script, *arguments, "--out", quick["out"]]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    path = quick["embeddings"][0]
    result = run("open-set", "--embeddings", path, "--strangers", "0.3")
    assert result.returncode == 0, result.stderr
    assert "36 of the images are of strangers" in result.stdout
    assert (tmp_path / "out" / "metrics.json").is_file()
    result = run("open-set", "--embeddings", path, "--strangers", "3")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: `strangers` must lie between 0 and 1")
    assert "Traceback" not in result.stderr
    for arguments in (["open"], ["open-set", "--distractors", "d"], ["closed-set", "--strangers"]):
        result = run(*arguments)
        assert result.returncode == 2
        assert "usage: " in result.stderr


def numbers_of(command, metrics):
    """What a report must show, as text."""
    if command == "closed-set":
        return [f"{100 * metrics[f'rank_{k}']:.2f} %" for k in (1, 5, 10)]
    if command == "distractors":
        return [f"{100 * size['rank_1']:.2f} %" for size in metrics["distractors"]]
    known = metrics["verification"]
    rates = [metrics["rank_1"], metrics["dir_at_far"]["0.1"], known["tar_at_far"]["0.01"]]
    shown = [f"{100 * rate:.2f} %" for rate in rates]
    return [*shown, f"{known['auc']:.4f}", f"{known['num_mismatched']:,}", "too few"]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMAND_SETTINGS)
def test_the_report_is_whole_in_a_browser(quick, views, distractors, tmp_path, command):
    rng = np.random.default_rng(0)
    some = {k: v + rng.normal(0, 0.3, v.shape) for k, v in list(views.items())[:-1]}
    save(tmp_path / "some <b>.npz", some)
    changes = distractors if command == "distractors" else {}
    several = quick["embeddings"] if command != "distractors" else ()
    changes["embeddings"] = (*several, f"{tmp_path}/some <b>.npz")
    changes["images"] = distractors["pairs"].replace("pairs.txt", "images")
    results = evaluate(command, quick, **changes)
    page = tmp_path / "out" / "report.html"
    seen = browser.dump_dom(page)
    for metrics in results:
        for text in numbers_of(command, metrics):
            assert text in seen, text
    sizes = [metrics["num_probes"] for metrics in results]
    if several:
        assert "some &lt;b&gt;: Missing images, left out: 1 no embedding" in seen
        assert sizes[0] > sizes[1]
    for size in sizes:
        assert f"{size} images" in seen
    loaded = "[...document.images].map(i => i.complete && i.naturalWidth > 300)"
    assert browser.evaluate(page, loaded, 900) == [True]
    for width in (400, 1200):
        wide = browser.evaluate(page, "document.documentElement.scrollWidth", width)
        assert wide <= width


@pytest.mark.slow
def test_real_faces_are_found_in_closed_and_open_sets(model, real_faces, tmp_path):
    folder = real_faces / "lfw_dev"
    common = {
        "model": (str(model),),
        "images": str(folder / "images"),
        "landmarks": str(folder / "landmarks.txt"),
        "pairs": str(folder / "pairs.txt"),
        "folds": (7,),
        "out": str(tmp_path / "out"),
    }
    roll = galleries.roll_of_folders(folder / "images")
    people = galleries.people_of_pairs(common["pairs"], (7,))
    counts = pd.Series(list(galleries.only(roll, people).values())).value_counts()
    (closed,) = evaluate("closed-set", common)
    # One of the images that are looked up has no landmarks.
    assert list(closed["missing"].values()) == ["no landmarks"]
    assert len(closed["doubts"]) == 1
    assert closed["num_gallery_people"] == (counts > 1).sum()
    assert closed["num_probes"] == (counts - 1).sum() - 1
    # A network that was never trained is better than chance, and not by much.
    assert 1 / closed["num_gallery_people"] < closed["rank_1"] < 0.5
    assert closed["rank_1"] <= closed["rank_5"] <= closed["rank_10"]
    (opened,) = evaluate("open-set", common)
    assert opened["num_gallery_people"] == len(counts) - round(len(counts) / 2)
    assert opened["num_mated"] + opened["num_strangers"] == opened["num_probes"]
    for rates in (opened["dir_at_far"], opened["tpir_at_fpir"]):
        known = [rate for rate in rates.values() if rate is not None]
        assert len(known) >= 2
        assert known == sorted(known, reverse=True)
    assert opened["dir_at_far"]["0.1"] <= opened["tpir_at_fpir"]["0.1"]
    assert opened["dir_at_far"]["0.1"] <= opened["rank_1"]
    assert 0.5 < opened["verification"]["auc"] < 0.9
    assert 0.1 < opened["verification"]["eer"] < 0.5
