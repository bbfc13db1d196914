"""Pairs of faces through exported networks to `metrics.json`, tables, images and a report."""

import csv
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_sphereface.commands.evaluate import main
from keras_sphereface.config import PROTOCOLS, ConvertConfig, EvaluateConfig
from keras_sphereface.data import alignment, images, preprocessing
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.landmarks import landmark_line, parse_landmarks, read_landmarks
from keras_sphereface.data.pairs import insightface_bin, lfw
from keras_sphereface.evaluation import artifacts, embeddings
from keras_sphereface.evaluation.evaluate import evaluate as evaluate_config
from keras_sphereface.evaluation.report import summary
from keras_sphereface.export import saved_model
from keras_sphereface.metrics import protocols
from keras_sphereface.models.sphereface import sphereface4
from tests.helpers import browser

FILES = {
    *("angles.png", "det.png", "false_accepts.png", "false_rejects.png", "metrics.json"),
    *("pairs.csv", "report.html", "roc.png", "similarities.png", "table.csv"),
}


@pytest.fixture(scope="module")
def network():
    return sphereface4(width=0.1, embedding_size=8, seed=0)


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    return saved_model.export_savedmodel(network, tmp_path_factory.mktemp("run") / "export")


@pytest.fixture(scope="module")
def pairs(faces):
    return lfw.read_pairs(faces / "pairs.txt")


@pytest.fixture
def settings(model, faces, tmp_path):
    return {
        "model": (str(model),),
        "out": str(tmp_path / "out"),
        "images": (str(faces / "images"),),
        "pairs": (str(faces / "pairs.txt"),),
        "landmarks": (str(faces / "landmarks.txt"),),
        "batch_size": 16,
        "bootstrap": 20,
    }


def evaluate(settings, **changes):
    return evaluate_config(EvaluateConfig(**{**settings, **changes}))


def views_by_hand(network, faces, keys):
    """(N, 2, D), taken straight from the network, an image at a time."""
    landmarks = read_landmarks(faces / "landmarks.txt")
    views = []
    for key in keys:
        image = images.decode((faces / "images" / key).read_bytes())
        face = preprocessing.normalize(alignment.align(image, landmarks[key]))[None]
        views.append([network(face)[0], network(face[:, :, ::-1])[0]])
    return np.array(views)


def verdict_by_hand(network, faces, pairs, protocol="sphereface"):
    keys = pairs.keys()
    rows = np.array([[keys.index(key) for key in side] for side in pairs[:2]]).T
    views = views_by_hand(network, faces, keys)
    return protocols.k_fold(protocol, views, rows, pairs.is_same, pairs.folds)


def test_metrics_are_those_of_the_protocol(settings, network, faces, pairs, tmp_path):
    (metrics,) = evaluate(settings)
    expected = verdict_by_hand(network, faces, pairs)
    assert metrics["accuracy_per_fold"] == expected.accuracies.tolist()
    np.testing.assert_allclose(metrics["thresholds"], expected.thresholds, atol=1e-4)
    assert metrics["accuracy_mean"] == pytest.approx(np.mean(metrics["accuracy_per_fold"]))
    assert metrics["accuracy_std"] == pytest.approx(np.std(metrics["accuracy_per_fold"]))
    error = np.std(metrics["accuracy_per_fold"], ddof=1) / np.sqrt(7)
    assert metrics["accuracy_standard_error"] == pytest.approx(error)
    assert metrics["num_pairs"] == len(pairs.first) == 56
    assert metrics["num_matched"] == metrics["num_mismatched"] == 28
    assert metrics["num_pairs_left_out"] == 0
    assert metrics["variants"] == []
    assert metrics["protocol"].startswith("sphereface: ")
    out = tmp_path / "out"
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert {path.name for path in out.iterdir()} == FILES
    for path in out.glob("*.png"):
        assert images.decode(path.read_bytes()).std() > 10, path


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_the_protocol_can_be_chosen_and_the_others_are_told(
    settings, network, faces, pairs, protocol
):
    (metrics,) = evaluate(settings, protocol=protocol, bootstrap=0)
    assert protocols.PROTOCOLS is PROTOCOLS
    for name in PROTOCOLS:
        expected = verdict_by_hand(network, faces, pairs, name).accuracies.mean()
        assert metrics["accuracy_by_protocol"][name]["accuracy_mean"] == pytest.approx(expected)
    expected = metrics["accuracy_by_protocol"][protocol]["accuracy_mean"]
    assert metrics["accuracy_mean"] == expected
    assert metrics["score_unit"] == protocols.PROTOCOLS[protocol].unit


def test_pairs_csv_tells_every_decision(settings, pairs, tmp_path):
    (metrics,) = evaluate(settings)
    table = pd.read_csv(tmp_path / "out" / "pairs.csv")
    assert table["first"].tolist() == pairs.first
    assert table["second"].tolist() == pairs.second
    np.testing.assert_array_equal(table["is_same"] == 1, pairs.is_same)
    thresholds = dict(zip(metrics["folds"], metrics["thresholds"], strict=True))
    np.testing.assert_allclose(table["threshold"], [thresholds[f] for f in pairs.folds])
    apart = (table["score"] - table["threshold"]).abs() > 1e-9
    accepted = table["score"] > table["threshold"]
    assert (table["decision"][apart] == np.where(accepted, "same", "different")[apart]).all()
    right = accepted == pairs.is_same
    assert (table["is_right"][apart] == right[apart]).all()
    of_folds = table.groupby("fold")["is_right"].mean()
    np.testing.assert_allclose(of_folds, metrics["accuracy_per_fold"])


def test_rates_that_the_pairs_cannot_carry_are_said_and_not_told(settings):
    (metrics,) = evaluate(settings)
    rates = metrics["tar_at_far"]
    assert list(rates) == ["0.1", "0.01", "0.001", "0.0001", "1e-05", "1e-06"]
    # 28 mismatched pairs allow no false accept rate of 1 %.
    assert rates["0.1"] is not None
    assert [rates[far] for far in list(rates)[1:]] == [None] * 5
    assert list(metrics["intervals"]["tar_at_far"]) == ["0.1"]
    assert "0.01: too few pairs" in summary(metrics)


def test_intervals_surround_the_values_and_can_be_left_out(settings):
    (metrics,) = evaluate(settings, bootstrap=200)
    intervals = metrics["intervals"]
    for name in ("auc", "eer"):
        low, high = intervals[name]
        assert low <= metrics[name] <= high
        assert high > low
    assert intervals["replicates"] == 200
    (again,) = evaluate(settings, bootstrap=200)
    assert again == metrics
    (other,) = evaluate(settings, bootstrap=200, seed=1)
    assert other["intervals"] != intervals
    (without,) = evaluate(settings, bootstrap=0)
    assert without["intervals"] == {"replicates": 0, "confidence": 0.95}
    assert "95 %" not in summary(without)


def test_only_the_folds_asked_for_are_evaluated(settings, network, faces, pairs):
    (metrics,) = evaluate(settings, folds=(6, 7))
    expected = verdict_by_hand(network, faces, pairs.in_folds((6, 7)))
    assert metrics["folds"] == [6, 7]
    assert metrics["num_pairs"] == 16
    assert metrics["accuracy_per_fold"] == expected.accuracies.tolist()


def test_the_criterion_is_measured_on_all_images_of_all_people(settings, network, faces, pairs):
    criterion = evaluate(settings)[0]["criterion"]
    keys = pairs.keys()
    features = views_by_hand(network, faces, keys).reshape(len(keys), -1).astype(np.float64)
    people = [key.split("/")[0] for key in keys]
    intra, inter = [], []
    for i, one in enumerate(features):
        for j in range(i):
            other = features[j]
            cosine = one @ other / np.sqrt((one @ one) * (other @ other))
            (intra if people[i] == people[j] else inter).append(np.degrees(np.arccos(cosine)))
    assert criterion["largest_intra_class_angle"] == pytest.approx(max(intra), abs=1e-3)
    assert criterion["smallest_inter_class_angle"] == pytest.approx(min(inter), abs=1e-3)
    assert criterion["holds"] == (max(intra) < min(inter))
    assert criterion["num_identities"] == len(set(people)) == 14
    assert 0 <= criterion["share_of_people"] <= 1


def without(faces, folder, picture, landmark):
    """A copy of the faces in which an image, and the landmarks of another one, are gone."""
    shutil.copytree(faces / "images", folder / "images")
    (folder / "images" / picture).unlink()
    lines = (faces / "landmarks.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(landmark)]
    (folder / "landmarks.txt").write_text("\n".join(kept))
    return {"images": (f"{folder}/images",), "landmarks": (f"{folder}/landmarks.txt",)}


def test_missing_images_and_landmarks_are_said_with_their_effect(settings, faces, pairs, tmp_path):
    gone, landmark = pairs.first[0], pairs.second[-1]
    (metrics,) = evaluate(settings, **without(faces, tmp_path, gone, landmark))
    both = list(zip(pairs.first, pairs.second, strict=True))
    affected = sum(bool({gone, landmark} & {a, b}) for a, b in both)
    of_gone = sum(gone in pair for pair in both)
    assert metrics["num_pairs_left_out"] == affected > of_gone > 0
    assert metrics["num_pairs"] == 56 - affected
    assert metrics["missing"] == {gone: "no such image", landmark: "no landmarks"}
    low, high = metrics["accuracy_bounds"]
    assert high - low == pytest.approx(affected / 56)
    wrong, right, cropped = metrics["variants"]
    assert (wrong["accuracy_mean"], right["accuracy_mean"]) == (low, high)
    assert cropped["pairs"].startswith("with images without landmarks, cropped")
    assert cropped["num_pairs"] == 56 - of_gone
    text = summary(metrics)
    assert text.startswith("WARNING: Missing images: 1 no landmarks; 1 no such image; for")
    assert f"{affected} of 56 pairs are left out for it" in text
    assert f"of {56 - of_gone} pairs" in text


def test_a_fold_that_missing_images_leave_one_sided_is_an_error(settings, faces, pairs, tmp_path):
    shutil.copytree(faces / "images", tmp_path / "images")
    inside = pairs.in_folds((3,))
    for first, same in zip(inside.first, inside.is_same, strict=True):
        if same:
            (tmp_path / "images" / first).unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"pairs.txt: .* faces are missing. .* in fold 3"):
        evaluate(settings, images=(str(tmp_path / "images"),))
    assert not (tmp_path / "out").exists()


def aligned_images(faces, keys):
    landmarks = read_landmarks(faces / "landmarks.txt")
    decode = lambda key: images.decode((faces / "images" / key).read_bytes())  # noqa: E731
    return [images.encode_png(alignment.align(decode(key), landmarks[key])) for key in keys]


def test_images_records_and_embeddings_give_the_same_numbers(settings, model, faces, tmp_path):
    (expected,) = evaluate(settings, save_embeddings=True, out=str(tmp_path / "a"))
    make_records(
        ConvertConfig(
            source=str(faces / "images"),
            landmarks=str(faces / "landmarks.txt"),
            out=str(tmp_path / "records"),
        )
    )
    common = {"pairs": settings["pairs"], "out": str(tmp_path / "b"), "bootstrap": 20}
    saved = (str(tmp_path / "a" / "embeddings.npz"),)
    (from_saved,) = evaluate({**common, "embeddings": saved})
    assert from_saved == {**expected, "model": "embeddings", "doubts": []}
    (from_records,) = evaluate(
        {**common, "model": (str(model),), "records": (str(tmp_path / "records"),)}
    )
    # Records are JPEGs: the pixels differ by rounding.
    assert from_records["auc"] == pytest.approx(expected["auc"], abs=0.03)
    assert from_records["num_pairs"] == 56
    assert from_records["missing"] == {}


def test_a_bin_gives_the_numbers_of_the_same_images(settings, faces, pairs, tmp_path):
    keys = [key for pair in zip(pairs.first, pairs.second, strict=True) for key in pair]
    insightface_bin.write_bin(tmp_path / "set.bin", aligned_images(faces, keys), pairs.is_same)
    (from_images,) = evaluate(settings)
    common = {name: settings[name] for name in ("model", "out", "batch_size", "bootstrap")}
    (from_bin,) = evaluate({**common, "bin": (str(tmp_path / "set.bin"),), "num_folds": 7})
    different = {name for name in from_bin if from_bin[name] != from_images[name]}
    # Images that stand in several pairs are there once or several times: rounding differs.
    assert different - {"thresholds"} == {"set", "criterion", "threshold_at_far"}
    np.testing.assert_allclose(from_bin["thresholds"], from_images["thresholds"], atol=1e-9)
    for far, threshold in from_bin["threshold_at_far"].items():
        assert threshold == pytest.approx(from_images["threshold_at_far"][far])
    assert from_bin["criterion"]["compared"] == "pairs"
    assert from_bin["accuracy_per_fold"] == from_images["accuracy_per_fold"]


def test_several_models_and_sets_give_one_table(settings, model, faces, tmp_path):
    other = sphereface4(width=0.1, embedding_size=6, seed=1)
    second = saved_model.export_savedmodel(other, tmp_path / "other" / "export")
    # A single folder, landmark file ... serves all sets of pairs.
    more = tmp_path / "more.txt"
    shutil.copy(faces / "pairs.txt", more)
    results = evaluate(
        settings, model=(str(model), str(second)), pairs=(*settings["pairs"], str(more))
    )
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(results) == len(table) == 4
    assert table["model"].tolist() == [metrics["model"] for metrics in results]
    assert table["model"].nunique() == table["set"].nunique() == 2
    assert table["accuracy_mean"].tolist() == [m["accuracy_mean"] for m in results]
    folders = [path.parent for path in (tmp_path / "out").glob("*/*/metrics.json")]
    assert len(folders) == 4
    assert {path.name for path in folders[0].iterdir()} == FILES - {"table.csv"}
    (alone,) = evaluate(settings, model=(str(second),), out=str(tmp_path / "alone"))
    assert alone == results[1]
    page = (tmp_path / "out" / "report.html").read_text()
    for metrics in results:
        assert f"{100 * metrics['accuracy_mean']:.2f}" in page


def test_two_systems_of_one_name_have_folders_of_their_own(settings, tmp_path):
    for name in ("a", "b"):
        evaluate(settings, save_embeddings=True, out=str(tmp_path / name))
    saved = tuple(str(tmp_path / name / "embeddings.npz") for name in ("a", "b"))
    only = {name: settings[name] for name in ("pairs", "out", "bootstrap")}
    evaluate({**only, "embeddings": saved})
    folders = sorted(path.parent.name for path in (tmp_path / "out").glob("*/*/metrics.json"))
    assert folders == ["embeddings", "embeddings-2"]


def test_templates_are_means_of_their_images(settings, network, faces, pairs, tmp_path):
    people = sorted(pairs.identities())
    pictures = {person: sorted((faces / "images" / person).iterdir()) for person in people}
    templates, template_pairs = [], []
    for person, files in pictures.items():
        keys = [f"{person}/{file.name}" for file in files]
        # The first two images of template A are frames of one video.
        templates += [f"{key}\t{person}-A\t{max(i, 1)}" for i, key in enumerate(keys[1:4])]
        templates += [f"{key}\t{person}-B" for key in keys[4:]]
    names = [f"{person}-{part}" for person in people for part in "AB"]
    for i, person in enumerate(people):
        template_pairs.append(f"{person}-A\t{person}-B\t1\t{i % 2 + 1}")
        template_pairs.append(f"{person}-A\t{people[i - 1]}-B\t0\t{i % 2 + 1}")
    (tmp_path / "templates.txt").write_text("\n".join(templates))
    (tmp_path / "list.txt").write_text("\n".join(template_pairs))
    (metrics,) = evaluate(
        settings, pairs=(f"{tmp_path}/list.txt",), templates=(f"{tmp_path}/templates.txt",)
    )
    means = []
    for name in names:
        person, part = name.split("-")
        keys = [f"{person}/{file.name}" for file in pictures[person]]
        views = views_by_hand(network, faces, keys).astype(np.float64)
        video = (views[1] + views[2]) / 2
        means.append((video + views[3]) / 2 if part == "A" else views[4:].mean(axis=0))
    table = pd.read_csv(tmp_path / "out" / "pairs.csv")
    rows = [[names.index(a), names.index(b)] for a, b in table[["first", "second"]].to_numpy()]
    expected = protocols.k_fold(
        "sphereface",
        np.array(means, np.float32),
        np.array(rows),
        table["is_same"].to_numpy() == 1,
        table["fold"].to_numpy(),
    )
    assert metrics["accuracy_per_fold"] == expected.accuracies.tolist()
    np.testing.assert_allclose(table["score"], expected.scores, atol=1e-4)


def test_folders_are_templates_of_all_their_images(settings, faces, pairs, tmp_path):
    people = sorted(pairs.identities())
    rows = []
    for i, person in enumerate(people):
        rows.append(f"{person},{person}/{person}_0001.jpg,1,{i % 2 + 1}")
        rows.append(f"{person},{people[i - 1]}/{people[i - 1]}_0001.jpg,0,{i % 2 + 1}")
    (tmp_path / "list.txt").write_text("\n".join(rows))
    (metrics,) = evaluate(settings, pairs=(f"{tmp_path}/list.txt",), save_embeddings=True)
    assert metrics["num_pairs"] == 28
    assert len(embeddings.load(tmp_path / "out" / "embeddings.npz").keys) == 14 * 6


def test_everyone_in_the_training_set_is_said_and_leaves_nothing_to_tell(settings, pairs, tmp_path):
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        rows = ((label, person, 3) for label, person in enumerate(sorted(pairs.identities())))
        csv.writer(file).writerows([("label", "identity", "count"), *rows])
    (metrics,) = evaluate(settings, train_labels=str(tmp_path / "labels.csv"))
    assert metrics["variants"] == [
        {"pairs": "without people of the training set", "num_pairs": 0, "accuracy_mean": None}
    ]


def test_names_of_templates_are_not_taken_for_people(settings, faces, pairs, tmp_path):
    keys = pairs.keys()
    templates = "".join(f"{key} {number}\n" for number, key in enumerate(keys))
    (tmp_path / "templates.txt").write_text(templates)
    number_of = {key: number for number, key in enumerate(keys)}
    rows = zip(*pairs[:4], strict=True)
    lines = [f"{number_of[a]} {number_of[b]} {int(same)} {fold}" for a, b, same, fold in rows]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    (tmp_path / "labels.csv").write_text("label,identity,count\n0,3,9\n1,5,9\n")
    (metrics,) = evaluate(
        settings,
        pairs=(f"{tmp_path}/pairs.txt",),
        templates=(f"{tmp_path}/templates.txt",),
        train_labels=f"{tmp_path}/labels.csv",
    )
    assert metrics["variants"] == []
    assert any("have no names of people" in doubt for doubt in metrics["doubts"])
    (of_images,) = evaluate(settings)
    assert metrics["accuracy_per_fold"] == of_images["accuracy_per_fold"]


def test_the_worst_errors_are_shown_without_faces_that_are_not_there(settings, faces, tmp_path):
    evaluate(settings, save_embeddings=True)
    shutil.copytree(faces / "images", tmp_path / "images")
    for picture in sorted((tmp_path / "images").glob("*/*"))[::2]:
        picture.unlink()
    saved = shutil.copy(tmp_path / "out" / "embeddings.npz", tmp_path)
    some = {name: settings[name] for name in ("pairs", "landmarks", "out", "bootstrap")}
    evaluate({**some, "embeddings": (str(saved),), "images": (f"{tmp_path}/images",)})
    assert (tmp_path / "out" / "false_rejects.png").is_file()
    shutil.rmtree(tmp_path / "images")
    (tmp_path / "images").mkdir()
    evaluate({**some, "embeddings": (str(saved),), "images": (f"{tmp_path}/images",)})
    assert not (tmp_path / "out" / "false_rejects.png").exists()
    assert not (tmp_path / "out" / "embeddings.npz").exists()


def test_files_of_an_evaluation_before_are_gone(settings, model, tmp_path):
    evaluate(settings, save_embeddings=True)
    (tmp_path / "out" / "mine.txt").write_text("kept")
    evaluate(settings, model=(str(model), str(model)))
    left = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert left == {"mine.txt", "table.csv", "report.html"}


def test_two_people_of_one_name_in_a_mismatched_pair_are_an_error(settings, faces, tmp_path):
    lines = (faces / "pairs.txt").read_text().splitlines()
    name, *_ = lines[5].split("\t")
    lines[5] = f"{name}\t1\t{name}\t2"
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="line 6: expected two identities in a mismatched pair"):
        evaluate(settings, pairs=(str(tmp_path / "pairs.txt"),))


def test_all_sets_are_read_before_the_first_is_evaluated(settings, tmp_path):
    sets = {name: (*settings[name], str(tmp_path / "absent")) for name in ("images", "landmarks")}
    (tmp_path / "absent").mkdir()
    with pytest.raises(OSError, match="absent"):
        evaluate(settings, **sets, pairs=settings["pairs"] * 2)
    assert not (tmp_path / "out").exists()


def two_folds(pairs, folder):
    lines = [
        f"{a}\t{b}\t{int(same)}\t{i % 2 + 1}"
        for i, (a, b, same) in enumerate(zip(*pairs[:3], strict=True))
    ]
    (folder / "two.txt").write_text("\n".join(lines))
    return f"{folder}/two.txt"


def test_people_of_the_training_set_are_said_with_their_effect(settings, pairs, tmp_path):
    shared = sorted(pairs.identities())[0]
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([("label", "identity", "count"), (0, shared, 3), (1, "X", 2)])
    (metrics,) = evaluate(settings, train_labels=str(tmp_path / "labels.csv"))
    concerned = sum(f"{shared}/" in a + b for a, b in zip(*pairs[:2], strict=True))
    assert any(f"for example {shared}. {concerned} of 56" in doubt for doubt in metrics["doubts"])
    (variant,) = metrics["variants"]
    assert variant["num_pairs"] == 56 - concerned
    assert variant["accuracy_mean"] is None  # a fold has two people only
    assert "without people of the training set: cannot be told" in summary(metrics)
    (metrics,) = evaluate(
        settings, train_labels=str(tmp_path / "labels.csv"), pairs=(two_folds(pairs, tmp_path),)
    )
    (variant,) = metrics["variants"]
    assert 0 < variant["accuracy_mean"] < 1


def test_repeated_pairs_are_said_with_their_effect(settings, faces, tmp_path):
    lines = (faces / "pairs.txt").read_text().splitlines()
    lines[2] = lines[1]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    (metrics,) = evaluate(settings, pairs=(str(tmp_path / "pairs.txt"),))
    assert any("Repeated pairs: 1." in doubt for doubt in metrics["doubts"])
    assert metrics["variants"][0]["num_pairs"] == 55


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda face: np.roll(face, 30, axis=0), "look unaligned"),
        (lambda face: face[:, :, ::-1], "look like BGR"),
        (lambda face: face.mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8), "are gray"),
    ],
    ids=["unaligned", "bgr", "gray"],
)
def test_what_is_wrong_with_the_images_is_said(settings, faces, pairs, tmp_path, spoil, said):
    keys = pairs.keys()
    for key, content in zip(keys, aligned_images(faces, keys), strict=True):
        (tmp_path / "images" / key).parent.mkdir(parents=True, exist_ok=True)
        spoilt = images.encode(np.ascontiguousarray(spoil(images.decode(content))))
        (tmp_path / "images" / key).write_bytes(spoilt)
    (metrics,) = evaluate(settings, images=(f"{tmp_path}/images",), landmarks=())
    assert any(said in doubt for doubt in metrics["doubts"])
    assert f"WARNING: {metrics['doubts'][0]}" in summary(metrics)


def test_images_aligned_twice_are_said(settings, faces, pairs, tmp_path):
    keys = pairs.keys()
    for key, content in zip(keys, aligned_images(faces, keys), strict=True):
        (tmp_path / "images" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / key).write_bytes(content)
    landmarks = read_landmarks(faces / "landmarks.txt")
    # Points of the images as they were first, which lie in the aligned ones at least.
    lines = [landmark_line(key, landmarks[key] * 0.6) for key in keys]
    (tmp_path / "landmarks.txt").write_text("".join(lines))
    (metrics,) = evaluate(
        settings, images=(f"{tmp_path}/images",), landmarks=(f"{tmp_path}/landmarks.txt",)
    )
    assert any("aligning twice ruins them" in doubt for doubt in metrics["doubts"])


def test_good_images_raise_no_doubt(settings):
    assert evaluate(settings)[0]["doubts"] == []


class ConstantModel(tf.Module):
    """Gives the same numbers for every image."""

    def __init__(self, value):
        super().__init__()
        spec = tf.TensorSpec((None, 112, 96, 3), tf.uint8, name="images")
        self.call = tf.function(
            lambda images: {"embeddings": tf.fill((tf.shape(images)[0], 4), value)},
            input_signature=[spec],
        )


@pytest.mark.parametrize(("value", "said"), [(np.nan, "nan or infinity"), (0.0, "zero")])
def test_embeddings_without_a_direction_are_an_error_that_names_the_image(
    settings, pairs, tmp_path, value, said
):
    useless = ConstantModel(value)
    tf.saved_model.save(useless, str(tmp_path / "model"), signatures=useless.call)
    first = re.escape(pairs.keys()[0])
    with pytest.raises(ValueError, match=f"finite and not zero. Received: {said} for {first}"):
        evaluate(settings, model=(str(tmp_path / "model"),))
    assert not (tmp_path / "out").exists()


def test_landmarks_outside_the_image_are_an_error_that_names_file_and_line(
    settings, faces, pairs, tmp_path
):
    key = pairs.first[3]
    lines = (faces / "landmarks.txt").read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith(key))
    points = parse_landmarks(lines[number])[1]
    lines[number] = landmark_line(key, points + (300, 0)).strip()
    (tmp_path / "landmarks.txt").write_text("\n".join(lines))
    expected = rf"landmarks.txt, line {number + 1}, {re.escape(key)}: the face must lie in"
    with pytest.raises(ValueError, match=expected):
        evaluate(settings, landmarks=(str(tmp_path / "landmarks.txt"),))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": ("absent",)}, FileNotFoundError, "absent"),
        ({"model": ()}, ValueError, "`model` or `embeddings` must name"),
        ({"bin": ("set.bin",), "pairs": ()}, ValueError, "`images` must be one for all of `pairs`"),
        ({"records": ("r",)}, ValueError, "`pairs` with one of `images`"),
        ({"images": ("a", "b")}, ValueError, r"or one for each. Received: images=\['a', 'b'\]"),
        ({"images": ()}, ValueError, "`pairs` with one of `images`"),
        ({"images": (), "landmarks": ()}, ValueError, "needs images: give `images` or `records`"),
        ({"images": ("absent",)}, FileNotFoundError, "Received: absent"),
        ({"folds": (1, 9)}, ValueError, r"Received: \[9\]"),
        ({"folds": (1,)}, ValueError, "at least 2 folds"),
        ({"batch_size": 0}, ValueError, "Received: batch_size=0"),
        ({"bootstrap": -1}, ValueError, "Received: bootstrap=-1"),
        ({"num_folds": 1}, ValueError, "Received: num_folds=1"),
        ({"protocol": "best"}, ValueError, "one of sphereface, insightface, plain. Received: pro"),
        ({"train_labels": "absent.csv"}, FileNotFoundError, "absent.csv"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(
    settings, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        evaluate(settings, **changes)
    assert not (tmp_path / "out").exists()


def test_an_evaluation_that_fails_leaves_no_old_numbers(settings, tmp_path, monkeypatch):
    evaluate(settings)
    monkeypatch.setattr(artifacts, "pair_table", None)
    with pytest.raises(TypeError):
        evaluate(settings)
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_users_read_one_sentence_instead_of_a_traceback(settings, capsys):
    with pytest.raises(SystemExit, match=r"error: .*Received: folds="):
        main(EvaluateConfig(**{**settings, "folds": (1,)}))
    main(EvaluateConfig(**settings))
    assert "criterion          it " in capsys.readouterr().out


@pytest.mark.slow
def test_the_report_is_whole_in_a_browser(settings, faces, pairs, tmp_path):
    gone, landmark = pairs.first[0], pairs.second[-1]
    (metrics,) = evaluate(settings, **without(faces, tmp_path, gone, landmark))
    report = tmp_path / "out" / "report.html"
    seen = browser.dump_dom(report)
    for text in (
        f"{100 * metrics['accuracy_mean']:.2f} %",
        f"{100 * metrics['eer']:.2f} %",
        "too few mismatched pairs",
        "pairs are left out",
        gone,
    ):
        assert text in seen, text


@pytest.mark.slow
def test_real_faces_give_the_same_numbers_from_images_bin_and_embeddings(
    model, real_faces, tmp_path
):
    folder = real_faces / "lfw_dev"
    pairs = lfw.read_pairs(folder / "pairs.txt").in_folds((6, 7))
    chosen = pairs.select(np.arange(1200) % 10 == 0)
    lfw.write_pairs(tmp_path / "pairs.txt", chosen)
    keys = [key for pair in zip(chosen.first, chosen.second, strict=True) for key in pair]
    landmarks = read_landmarks(folder / "landmarks.txt")
    decode = lambda key: images.decode((folder / "images" / key).read_bytes())  # noqa: E731
    aligned = [images.encode_png(alignment.align(decode(k), landmarks[k])) for k in keys]
    insightface_bin.write_bin(tmp_path / "same.bin", aligned, chosen.is_same)
    common = {"model": (str(model),), "bootstrap": 50}
    listed = {"pairs": (str(tmp_path / "pairs.txt"),)}
    (expected,) = evaluate(
        {**common, **listed, "save_embeddings": True},
        out=str(tmp_path / "images"),
        images=(str(folder / "images"),),
        landmarks=(str(folder / "landmarks.txt"),),
    )
    (from_bin,) = evaluate(
        {**common, "bin": (str(tmp_path / "same.bin"),), "num_folds": 2}, out=str(tmp_path / "bin")
    )
    saved = (str(tmp_path / "images" / "embeddings.npz"),)
    (from_saved,) = evaluate(
        {**listed, "bootstrap": 50, "embeddings": saved}, out=str(tmp_path / "saved")
    )
    assert expected["num_pairs"] == 120
    for name in ("accuracy_per_fold", "auc", "eer", "tar_at_far", "intervals"):
        assert expected[name] == from_bin[name] == from_saved[name], name
