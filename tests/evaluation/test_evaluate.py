"""Pairs of faces through exported networks to `metrics.json`, tables, images and a report."""

import csv
import json
import re
import shutil
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_sphereface.config import ConvertConfig, EvaluateConfig, read_config
from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.data import alignment, images, preprocessing
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.landmarks import landmark_line, parse_landmarks, read_landmarks
from keras_sphereface.data.pairs import insightface_bin, lfw
from keras_sphereface.evaluation import artifacts
from keras_sphereface.evaluation.embeddings import load_embeddings
from keras_sphereface.evaluation.evaluate import evaluate as evaluate_config
from keras_sphereface.evaluation.report import verification_summary
from keras_sphereface.evaluation.verification_metrics import AccuracyVariant, BootstrapIntervals
from keras_sphereface.export import saved_model
from keras_sphereface.export.recognition_file import model_fingerprint, read_recognition
from keras_sphereface.metrics import protocols
from keras_sphereface.models.sphereface import sphereface4
from keras_sphereface.reporting.metrics_file import as_json
from tests.helpers import browser
from tests.helpers.drawn_pairs import both_keys

FILES = {
    *("angles.png", "det.png", "false_accepts.png", "false_rejects.png", "metrics.json"),
    *("pairs.csv", "report.html", "roc.png", "similarities.png", "table.csv"),
    *("model_card.md", "settings.yaml"),
    *("identities.csv", "confusions.png", "label_doubts.png"),
    *("worst_images.png", "best_images.png", "images.csv"),
    *("quality.png", "lowest_quality.png"),
}


class Run(NamedTuple):
    """An evaluation that several tests read, and its folder."""

    metrics: object
    out: object


@pytest.fixture(scope="module")
def network():
    """The network of the fixture `savedmodel`."""
    return sphereface4(width=0.05, embedding_size=8, seed=0)


@pytest.fixture(scope="module")
def pairs(faces):
    return lfw.read_pairs(faces / "pairs.txt")


@pytest.fixture(scope="module")
def sources(savedmodel, faces):
    """A network, and faces with landmarks."""
    return {
        "model": (str(savedmodel),),
        "images": (str(faces / "images"),),
        "pairs": (str(faces / "pairs.txt"),),
        "landmarks": (str(faces / "landmarks.txt"),),
        "batch_size": 16,
        "bootstrap": 20,
    }


@pytest.fixture(scope="module")
def run(sources, tmp_path_factory):
    """The evaluation of these with `save_embeddings`."""
    out = tmp_path_factory.mktemp("run") / "out"
    (metrics,) = evaluate(sources, out=str(out), save_embeddings=True)
    return Run(metrics, out)


@pytest.fixture
def settings(sources, tmp_path):
    return {**sources, "out": str(tmp_path / "out")}


@pytest.fixture
def saved(run, faces, tmp_path):
    """The settings of an evaluation of saved embeddings: without a network, and quick."""
    return {
        "embeddings": (str(run.out / "embeddings.npz"),),
        "pairs": (str(faces / "pairs.txt"),),
        "bootstrap": 20,
        "out": str(tmp_path / "out"),
    }


def evaluate(settings, **changes):
    return evaluate_config(EvaluateConfig(**{**settings, **changes}))


def views_by_hand(network, faces, keys):
    """The embeddings (N, 2, D), straight from the network."""
    landmarks = read_landmarks(faces / "landmarks.txt")
    aligned = [
        alignment.align(images.decode((faces / "images" / key).read_bytes()), landmarks[key])
        for key in keys
    ]
    pixels = preprocessing.normalize(np.stack(aligned))
    return np.stack([network(pixels), network(pixels[:, :, ::-1])], axis=1)


def k_fold_by_hand(network, faces, pairs, protocol="sphereface"):
    keys = pairs.keys()
    sides = (pairs.first, pairs.second)
    rows = np.array([[keys.index(key) for key in side] for side in sides]).T
    views = views_by_hand(network, faces, keys)
    return protocols.k_fold(protocol, views, rows, pairs.is_same, pairs.folds)


def accuracies(metrics):
    return [fold.accuracy for fold in metrics.verification.folds]


def write_labels(path, *identities):
    with open(path, "w", newline="") as file:
        rows = ((label, identity, 3) for label, identity in enumerate(identities))
        csv.writer(file).writerows([("label", "identity", "count"), *rows])
    return str(path)


def test_metrics_are_those_of_the_protocol(run, network, faces, pairs):
    metrics = run.metrics.verification
    expected = k_fold_by_hand(network, faces, pairs)
    assert accuracies(run.metrics) == expected.accuracies.tolist()
    thresholds = [fold.threshold for fold in metrics.folds]
    np.testing.assert_allclose(thresholds, expected.thresholds, atol=1e-4)
    assert metrics.accuracy_mean == pytest.approx(np.mean(expected.accuracies))
    assert metrics.num_pairs == len(pairs.first) == 56
    assert metrics.num_matched == metrics.num_mismatched == 28
    assert metrics.num_pairs_left_out == 0
    assert metrics.protocol.startswith("sphereface: ")


def test_all_files_are_written(run):
    written = json.loads((run.out / "metrics.json").read_text())
    assert written.pop("schema_version")
    assert written == as_json(run.metrics)
    repeated = read_config(EvaluateConfig, run.out / "settings.yaml")
    assert repeated.out == str(run.out)
    card = (run.out / "model_card.md").read_text()
    assert f"| accuracy | {100 * run.metrics.verification.accuracy_mean:.2f} %" in card
    assert {path.name for path in run.out.iterdir()} == {*FILES, "embeddings.npz"}
    for path in run.out.glob("*.png"):
        assert images.decode(path.read_bytes()).std() > 10, path


def test_good_pairs_give_neither_warnings_nor_variants(run):
    assert run.metrics.warnings == run.metrics.variants == ()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_protocol_can_be_chosen_and_the_others_are_reported(
    saved, network, faces, pairs, protocol
):
    (metrics,) = evaluate(saved, protocol=protocol, bootstrap=0)
    by_protocol = metrics.verification.accuracy_by_protocol
    assert list(by_protocol) == list(PROTOCOLS)
    for name in PROTOCOLS:
        expected = k_fold_by_hand(network, faces, pairs, name).accuracies.mean()
        assert by_protocol[name].accuracy_mean == pytest.approx(expected)
    assert metrics.verification.accuracy_mean == by_protocol[protocol].accuracy_mean
    assert metrics.verification.score_unit == PROTOCOLS[protocol].unit


def test_pairs_csv_has_every_decision(run, pairs):
    table = pd.read_csv(run.out / "pairs.csv")
    assert table["first"].tolist() == pairs.first
    assert table["second"].tolist() == pairs.second
    np.testing.assert_array_equal(table["is_same"] == 1, pairs.is_same)
    thresholds = {fold.fold: fold.threshold for fold in run.metrics.verification.folds}
    np.testing.assert_allclose(table["threshold"], [thresholds[f] for f in pairs.folds])
    apart = (table["score"] - table["threshold"]).abs() > 1e-9
    accepted = table["score"] > table["threshold"]
    assert (table["decision"][apart] == np.where(accepted, "same", "different")[apart]).all()
    correct = accepted == pairs.is_same
    assert (table["is_correct"][apart] == correct[apart]).all()
    by_fold = table.groupby("fold")["is_correct"].mean()
    np.testing.assert_allclose(by_fold, accuracies(run.metrics))


def test_groups_are_compared_and_written(saved, faces, tmp_path):
    groups = tmp_path / "groups.csv"
    identities = sorted(lfw.read_pairs(faces / "pairs.txt").identities())
    rows = (f"{name},{'odd' if i % 2 else 'even'}\n" for i, name in enumerate(identities))
    groups.write_text("identity,kind\n" + "".join(rows))
    (metrics,) = evaluate(saved, groups=str(groups))
    (column,) = metrics.groups.columns
    assert {one.name: one.num_identities for one in column.within} == {"odd": 7, "even": 7}
    out = tmp_path / "out"
    written = json.loads((out / "metrics.json").read_text())["groups"]
    assert written == as_json(metrics.groups)
    assert len(pd.read_csv(out / "groups.csv")) == 3
    assert "By kind" in (out / "report.html").read_text()
    assert {path.name for path in out.iterdir()} >= {"groups.png"}
    groups.write_text("identity,kind\nnobody,odd\n")
    with pytest.raises(ValueError, match="must name identities"):
        evaluate(saved, groups=str(groups))


@pytest.mark.parametrize("fmr", [0.0, 1.0])
def test_an_impossible_false_match_rate_is_refused(saved, fmr):
    with pytest.raises(ValueError, match="`operating_fmr` must be between 0 and 1"):
        evaluate(saved, operating_fmr=fmr)


def test_rates_that_the_pairs_do_not_support_are_left_out(run):
    rates = run.metrics.verification.tar_at_far
    assert list(rates) == ["0.1", "0.01", "0.001", "0.0001", "1e-05", "1e-06"]
    # 28 mismatched pairs allow no false accept rate of 1 %.
    assert rates["0.1"] is not None
    assert [rates[far] for far in list(rates)[1:]] == [None] * 5
    assert list(run.metrics.verification.intervals.tar_at_far) == ["0.1"]
    assert "0.01: too few pairs" in verification_summary(run.metrics)


@pytest.mark.slow
def test_intervals_surround_the_values_and_can_be_left_out(saved):
    (metrics,) = evaluate(saved, bootstrap=200)
    intervals = metrics.verification.intervals
    for name in ("auc", "eer"):
        interval = getattr(intervals, name)
        assert interval.low <= getattr(metrics.verification, name) <= interval.high
        assert interval.high > interval.low
    assert intervals.replicates == 200
    (again,) = evaluate(saved, bootstrap=200)
    assert again == metrics
    (other,) = evaluate(saved, bootstrap=200, seed=1)
    assert other.verification.intervals != intervals
    (without_intervals,) = evaluate(saved, bootstrap=0)
    assert without_intervals.verification.intervals == BootstrapIntervals(0, 0.95)
    assert "95 %" in verification_summary(metrics)
    assert "95 %" not in verification_summary(without_intervals)


@pytest.mark.slow
def test_only_the_folds_asked_for_are_evaluated(saved, network, faces, pairs):
    (metrics,) = evaluate(saved, folds=(6, 7))
    expected = k_fold_by_hand(network, faces, pairs.in_folds((6, 7)))
    assert [fold.fold for fold in metrics.verification.folds] == [6, 7]
    assert metrics.verification.num_pairs == 16
    assert accuracies(metrics) == expected.accuracies.tolist()


def test_the_criterion_is_measured_on_all_images_of_all_identities(run, network, faces, pairs):
    keys = pairs.keys()
    features = views_by_hand(network, faces, keys).reshape(len(keys), -1).astype(np.float64)
    identities = np.array([key.split("/")[0] for key in keys])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    degrees = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))
    is_same = identities[:, None] == identities
    other = ~np.eye(len(keys), dtype=bool)
    largest, smallest = degrees[is_same & other].max(), degrees[~is_same].min()
    criterion = run.metrics.criterion
    assert criterion.largest_intra_class_angle == pytest.approx(largest, abs=1e-3)
    assert criterion.smallest_inter_class_angle == pytest.approx(smallest, abs=1e-3)
    assert criterion.holds == (largest < smallest)
    assert criterion.num_identities == len(set(identities)) == 14
    assert 0 <= criterion.share_of_identities <= 1


def remove(faces, folder, image, landmark):
    """A copy of the faces in which an image, and the landmarks of another one, are gone."""
    shutil.copytree(faces / "images", folder / "images")
    (folder / "images" / image).unlink()
    lines = (faces / "landmarks.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(landmark)]
    (folder / "landmarks.txt").write_text("\n".join(kept))
    return {"images": (f"{folder}/images",), "landmarks": (f"{folder}/landmarks.txt",)}


@pytest.mark.slow
def test_missing_images_and_landmarks_are_reported_with_their_effect(
    settings, faces, pairs, tmp_path
):
    image, landmark = pairs.first[0], pairs.second[-1]
    (metrics,) = evaluate(settings, **remove(faces, tmp_path, image, landmark))
    affected = sum(bool({image, landmark} & {a, b}) for a, b in both_keys(pairs))
    with_image = sum(image in pair for pair in both_keys(pairs))
    numbers = metrics.verification
    assert numbers.num_pairs_left_out == affected > with_image > 0
    assert numbers.num_pairs == 56 - affected
    assert numbers.missing == {image: "no such image", landmark: "no landmarks"}
    low, high = numbers.accuracy_bounds
    assert high - low == pytest.approx(affected / 56)
    wrong, correct, cropped = metrics.variants
    assert (wrong.accuracy_mean, correct.accuracy_mean) == (low, high)
    assert cropped.pairs.startswith("with images without landmarks, cropped")
    assert cropped.num_pairs == 56 - with_image
    (warning,) = metrics.warnings
    assert warning.startswith("Missing images: 1 no landmarks, for example ")
    assert "; 1 no such image, for example " in warning
    assert f"Left out: {affected} of 56 pairs" in warning
    text = verification_summary(metrics)
    assert f"of {56 - with_image} pairs" in text
    page = (tmp_path / "out" / "report.html").read_text()
    for shown in ("too few mismatched pairs", "Left out: ", image):
        assert shown in page, shown


def test_a_fold_that_missing_images_leave_one_sided_is_an_error(saved, run, pairs, tmp_path):
    inside = pairs.in_folds((3,))
    matched = {key for key, same in zip(inside.first, inside.is_same, strict=True) if same}
    arrays = dict(np.load(run.out / "embeddings.npz"))
    kept = ~np.isin(arrays["keys"], sorted(matched))
    np.savez(tmp_path / "some.npz", **{name: array[kept] for name, array in arrays.items()})
    with pytest.raises(ValueError, match=r"pairs.txt: .* faces are missing. .* in fold 3"):
        evaluate(saved, embeddings=(str(tmp_path / "some.npz"),))
    assert not (tmp_path / "out").exists()


def aligned_images(faces, keys):
    landmarks = read_landmarks(faces / "landmarks.txt")
    decode = lambda key: images.decode((faces / "images" / key).read_bytes())  # noqa: E731
    return [images.encode_png(alignment.align(decode(key), landmarks[key])) for key in keys]


@pytest.mark.slow
def test_images_records_and_embeddings_give_the_same_numbers(run, saved, sources, faces, tmp_path):
    (from_saved,) = evaluate(saved)
    expected = {**as_json(run.metrics), "model": "embeddings", "runtime": None}
    # Without pixels and landmarks there is no other measure of quality than the embeddings' length.
    assert [one["name"] for one in expected["quality"]["measures"][1:]] == [
        *("sharpness", "size", "frontality")
    ]
    del expected["quality"]["measures"][1:]
    assert as_json(from_saved) == expected
    make_records(
        ConvertConfig(
            source=str(faces / "images"),
            landmarks=str(faces / "landmarks.txt"),
            out=str(tmp_path / "records"),
        )
    )
    changes = {"images": (), "landmarks": (), "records": (str(tmp_path / "records"),)}
    (from_records,) = evaluate(sources, **changes, out=str(tmp_path / "b"))
    # Records are JPEGs: the pixels differ by rounding.
    numbers = from_records.verification
    assert numbers.auc == pytest.approx(run.metrics.verification.auc, abs=0.03)
    assert numbers.num_pairs == 56
    assert numbers.missing == {}


def differing(one, other):
    """The names of the fields in which two metrics differ."""
    return {name for name, value in vars(one).items() if value != getattr(other, name)}


@pytest.mark.slow
def test_a_bin_gives_the_numbers_of_the_same_images(run, settings, faces, pairs, tmp_path):
    keys = [key for pair in both_keys(pairs) for key in pair]
    insightface_bin.write_bin(tmp_path / "set.bin", aligned_images(faces, keys), pairs.is_same)
    common = {name: settings[name] for name in ("model", "out", "batch_size", "bootstrap")}
    (from_bin,) = evaluate({**common, "bin": (str(tmp_path / "set.bin"),), "num_folds": 7})
    differ = differing(from_bin, run.metrics) - {"verification", "runtime"}
    assert differ == {"set", "criterion", "errors", "quality", "beyond"}  # it names no identities
    assert from_bin.criterion.compared == "pairs"
    # Images that stand in several pairs are there once or several times: rounding differs.
    numbers, expected = from_bin.verification, run.metrics.verification
    intervals = {"intervals", "pair_intervals"}  # a .bin names no identities to draw
    assert differing(numbers, expected) <= {"folds", "threshold_at_far", *intervals}
    assert numbers.intervals.resampled == "pairs"
    assert expected.intervals.resampled == "identities"
    assert accuracies(from_bin) == accuracies(run.metrics)
    for one, other in zip(numbers.folds, expected.folds, strict=True):
        assert one.threshold == pytest.approx(other.threshold, abs=1e-9)
    for far, threshold in numbers.threshold_at_far.items():
        assert threshold == pytest.approx(expected.threshold_at_far[far])


@pytest.mark.slow
def test_several_models_and_sets_give_one_table(settings, saved, savedmodel, faces, tmp_path):
    other = sphereface4(width=0.05, embedding_size=6, seed=1)
    second = saved_model.export_savedmodel(other, tmp_path / "other" / "export")
    # A single folder, landmark file ... serves all sets of pairs.
    more = tmp_path / "more.txt"
    shutil.copy(faces / "pairs.txt", more)
    models = (str(savedmodel), str(second))
    results = evaluate(settings, model=models, pairs=(*settings["pairs"], str(more)))
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(results) == len(table) == 4
    assert table["model"].tolist() == [metrics.model for metrics in results]
    assert table["model"].nunique() == table["set"].nunique() == 2
    means = [metrics.verification.accuracy_mean for metrics in results]
    assert table["accuracy_mean"].tolist() == means
    folders = [path.parent for path in (tmp_path / "out").glob("*/*/metrics.json")]
    assert len(folders) == 4
    assert {path.name for path in folders[0].iterdir()} == FILES - {"table.csv", "settings.yaml"}
    differences = pd.read_csv(tmp_path / "out" / "differences.csv")
    assert set(differences["set"]) == set(table["set"])
    for name, rows in differences.groupby("set"):
        (row,) = rows[rows["measure"] == "accuracy"].itertuples()
        of_set = {m.model: m.verification.accuracy_mean for m in results if m.set == name}
        assert row.difference == pytest.approx(of_set[row.first] - of_set[row.second])
        assert row.interval_low <= row.difference <= row.interval_high
    page = (tmp_path / "out" / "report.html").read_text()
    for mean in means:
        assert f"{100 * mean:.2f}" in page
    (alone,) = evaluate(settings, model=(str(second),), out=str(tmp_path / "alone"))
    assert alone == results[1]


@pytest.mark.slow
def test_two_models_of_one_name_have_different_folders(saved, tmp_path):
    evaluate(saved, embeddings=saved["embeddings"] * 2)
    folders = sorted(path.parent.name for path in (tmp_path / "out").glob("*/*/metrics.json"))
    assert folders == ["embeddings", "embeddings-2"]


@pytest.mark.slow
def test_templates_are_means_of_their_images(settings, network, faces, pairs, tmp_path):
    identities = sorted(pairs.identities())
    keys_of = {
        identity: [
            f"{identity}/{file.name}" for file in sorted((faces / "images" / identity).iterdir())
        ]
        for identity in identities
    }
    templates, template_pairs = [], []
    for i, (identity, keys) in enumerate(keys_of.items()):
        # The first two images of template A are frames of one video.
        templates += [f"{key}\t{identity}-A\t{max(j, 1)}" for j, key in enumerate(keys[1:4])]
        templates += [f"{key}\t{identity}-B" for key in keys[4:]]
        template_pairs.append(f"{identity}-A\t{identity}-B\t1\t{i % 2 + 1}")
        template_pairs.append(f"{identity}-A\t{identities[i - 1]}-B\t0\t{i % 2 + 1}")
    (tmp_path / "templates.txt").write_text("\n".join(templates))
    (tmp_path / "list.txt").write_text("\n".join(template_pairs))
    (metrics,) = evaluate(
        settings, pairs=(f"{tmp_path}/list.txt",), templates=(f"{tmp_path}/templates.txt",)
    )
    names, means = [], []
    for identity, keys in keys_of.items():
        views = views_by_hand(network, faces, keys).astype(np.float64)
        video = (views[1] + views[2]) / 2
        names += [f"{identity}-A", f"{identity}-B"]
        means += [(video + views[3]) / 2, views[4:].mean(axis=0)]
    table = pd.read_csv(tmp_path / "out" / "pairs.csv")
    rows = [[names.index(a), names.index(b)] for a, b in table[["first", "second"]].to_numpy()]
    expected = protocols.k_fold(
        "sphereface",
        np.array(means, np.float32),
        np.array(rows),
        table["is_same"].to_numpy() == 1,
        table["fold"].to_numpy(),
    )
    assert accuracies(metrics) == expected.accuracies.tolist()
    np.testing.assert_allclose(table["score"], expected.scores, atol=1e-4)


@pytest.mark.slow
def test_folders_are_templates_of_all_their_images(settings, pairs, tmp_path):
    identities = sorted(pairs.identities())
    rows = []
    for i, identity in enumerate(identities):
        other = identities[i - 1]
        rows.append(f"{identity},{identity}/{identity}_0001.jpg,1,{i % 2 + 1}")
        rows.append(f"{identity},{other}/{other}_0001.jpg,0,{i % 2 + 1}")
    (tmp_path / "list.txt").write_text("\n".join(rows))
    (metrics,) = evaluate(settings, pairs=(f"{tmp_path}/list.txt",), save_embeddings=True)
    assert metrics.verification.num_pairs == 28
    assert len(load_embeddings(tmp_path / "out" / "embeddings.npz").keys) == 14 * 6


@pytest.mark.slow
def test_names_of_templates_are_not_taken_for_identities(saved, run, pairs, tmp_path):
    keys = pairs.keys()
    templates = "".join(f"{key} {number}\n" for number, key in enumerate(keys))
    (tmp_path / "templates.txt").write_text(templates)
    number_of = {key: number for number, key in enumerate(keys)}
    rows = zip(pairs.first, pairs.second, pairs.is_same, pairs.folds, strict=True)
    lines = [f"{number_of[a]} {number_of[b]} {int(same)} {fold}" for a, b, same, fold in rows]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    (metrics,) = evaluate(
        saved,
        pairs=(f"{tmp_path}/pairs.txt",),
        templates=(f"{tmp_path}/templates.txt",),
        train_labels=write_labels(tmp_path / "labels.csv", "3", "5"),
    )
    assert metrics.variants == ()
    assert any("overlap with the training set is unknown" in text for text in metrics.warnings)
    assert accuracies(metrics) == accuracies(run.metrics)


@pytest.mark.slow
def test_the_worst_errors_are_shown_without_missing_faces(saved, faces, tmp_path):
    shutil.copytree(faces / "images", tmp_path / "images")
    for image in sorted((tmp_path / "images").glob("*/*"))[::2]:
        image.unlink()
    changes = {"images": (f"{tmp_path}/images",), "landmarks": (str(faces / "landmarks.txt"),)}
    evaluate(saved, **changes)
    assert (tmp_path / "out" / "false_rejects.png").is_file()
    # Of the only image that is left every decision was right.
    shutil.rmtree(tmp_path / "images")
    table = pd.read_csv(tmp_path / "out" / "pairs.csv")
    wrong = table[table["is_correct"] == 0]
    (key, *_) = sorted(set(table["first"]) - set(wrong["first"]) - set(wrong["second"]))
    (tmp_path / "images" / key).parent.mkdir(parents=True)
    shutil.copy(faces / "images" / key, tmp_path / "images" / key)
    evaluate(saved, **changes)
    assert not (tmp_path / "out" / "false_rejects.png").exists()


@pytest.mark.slow
def test_files_of_an_earlier_evaluation_are_removed(saved, tmp_path):
    evaluate(saved, save_embeddings=True)
    (tmp_path / "out" / "mine.txt").write_text("kept")
    evaluate(saved, embeddings=saved["embeddings"] * 2)
    left = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert left == {"mine.txt", "table.csv", "differences.csv", "report.html", "settings.yaml"}


def test_a_mismatched_pair_of_one_identity_is_an_error(saved, faces, tmp_path):
    lines = (faces / "pairs.txt").read_text().splitlines()
    name, *_ = lines[5].split("\t")
    lines[5] = f"{name}\t1\t{name}\t2"
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="line 6: expected two identities in a mismatched pair"):
        evaluate(saved, pairs=(str(tmp_path / "pairs.txt"),))


def test_all_sets_are_read_before_the_first_is_evaluated(settings, tmp_path):
    sets = {name: (*settings[name], str(tmp_path / "absent")) for name in ("images", "landmarks")}
    (tmp_path / "absent").mkdir()
    with pytest.raises(OSError, match="absent"):
        evaluate(settings, **sets, pairs=settings["pairs"] * 2)
    assert not (tmp_path / "out").exists()


def write_two_folds(pairs, folder):
    lines = [
        f"{a}\t{b}\t{int(same)}\t{i % 2 + 1}"
        for i, (a, b, same) in enumerate(zip(pairs.first, pairs.second, pairs.is_same, strict=True))
    ]
    (folder / "two.txt").write_text("\n".join(lines))
    return f"{folder}/two.txt"


@pytest.mark.slow
def test_identity_overlap_with_the_training_set_is_reported_with_its_effect(saved, pairs, tmp_path):
    shared = sorted(pairs.identities())[0]
    labels = write_labels(tmp_path / "labels.csv", shared, "X")
    (metrics,) = evaluate(saved, train_labels=labels)
    affected = sum(f"{shared}/" in a + b for a, b in both_keys(pairs))
    assert any(f"for example {shared}. {affected} of 56" in text for text in metrics.warnings)
    (variant,) = metrics.variants
    assert variant.num_pairs == 56 - affected
    assert variant.accuracy_mean is None  # a fold has two identities only
    summary = verification_summary(metrics)
    assert "without identities of the training set: not measurable" in summary
    (metrics,) = evaluate(saved, train_labels=labels, pairs=(write_two_folds(pairs, tmp_path),))
    (variant,) = metrics.variants
    assert 0 < variant.accuracy_mean < 1
    labels = write_labels(tmp_path / "all.csv", *pairs.identities())
    (metrics,) = evaluate(saved, train_labels=labels)
    assert metrics.variants == (AccuracyVariant("without identities of the training set", 0, None),)


@pytest.mark.slow
def test_repeated_pairs_are_reported_with_their_effect(saved, faces, tmp_path):
    lines = (faces / "pairs.txt").read_text().splitlines()
    lines[2] = lines[1]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    (metrics,) = evaluate(saved, pairs=(str(tmp_path / "pairs.txt"),))
    assert any("Repeated pairs: 1." in text for text in metrics.warnings)
    assert metrics.variants[0].num_pairs == 55


def to_gray(face):
    return face.mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "landmark_scale", "message"),
    [
        (lambda face: np.roll(face, 30, axis=0), None, "look unaligned"),
        (lambda face: face[:, :, ::-1], None, "look like BGR"),
        (to_gray, None, "are gray"),
        # Points of the images before alignment, which at least lie in the aligned ones.
        (lambda face: face, 0.6, "aligning twice ruins them"),
    ],
    ids=["unaligned", "bgr", "gray", "aligned twice"],
)
def test_bad_images_give_a_warning(
    saved, faces, pairs, tmp_path, capsys, damage, landmark_scale, message
):
    keys = pairs.keys()
    for key, content in zip(keys, aligned_images(faces, keys), strict=True):
        (tmp_path / "images" / key).parent.mkdir(parents=True, exist_ok=True)
        damaged = images.encode(np.ascontiguousarray(damage(images.decode(content))))
        (tmp_path / "images" / key).write_bytes(damaged)
    changes = {"images": (f"{tmp_path}/images",)}
    if landmark_scale:
        landmarks = read_landmarks(faces / "landmarks.txt")
        lines = [landmark_line(key, landmarks[key] * landmark_scale) for key in keys]
        (tmp_path / "landmarks.txt").write_text("".join(lines))
        changes["landmarks"] = (f"{tmp_path}/landmarks.txt",)
    (metrics,) = evaluate(saved, **changes)
    assert any(message in text for text in metrics.warnings)
    assert f"WARNING: {metrics.warnings[0]}\n" in capsys.readouterr().err


class ConstantModel(tf.Module):
    """Gives the same numbers for every image."""

    def __init__(self, value):
        super().__init__()
        spec = tf.TensorSpec((None, 112, 96, 3), tf.uint8, name="images")
        self.call = tf.function(
            lambda images: {"embeddings": tf.fill((tf.shape(images)[0], 4), value)},
            input_signature=[spec],
        )


@pytest.mark.slow
def test_one_embedding_for_all_faces_is_a_warning(saved, pairs, tmp_path):
    keys = sorted({*pairs.first, *pairs.second})
    embeddings = np.ones((len(keys), 8), np.float32)
    np.savez(tmp_path / "equal.npz", keys=keys, embeddings=embeddings)
    (metrics,) = evaluate({**saved, "embeddings": (str(tmp_path / "equal.npz"),)})
    assert any("different images are equal" in warning for warning in metrics.warnings)


@pytest.mark.parametrize(("value", "received"), [(np.nan, "nan or infinity"), (0.0, "zero")])
def test_embeddings_without_a_direction_are_an_error_that_names_the_image(
    settings, pairs, tmp_path, value, received
):
    useless = ConstantModel(value)
    tf.saved_model.save(useless, str(tmp_path / "model"), signatures=useless.call)
    first = re.escape(pairs.keys()[0])
    with pytest.raises(ValueError, match=f"finite and not zero. Received: {received} for {first}"):
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


@pytest.mark.slow
def test_an_evaluation_that_fails_leaves_no_old_numbers(saved, tmp_path, monkeypatch):
    evaluate(saved)
    monkeypatch.setattr(artifacts, "pair_table", None)
    with pytest.raises(TypeError):
        evaluate(saved)
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.full
def test_the_report_is_whole_in_a_browser(run):
    document = browser.dump_dom(run.out / "report.html")
    numbers = run.metrics.verification
    for text in (
        f"{100 * numbers.accuracy_mean:.2f} %",
        f"{100 * numbers.eer:.2f} %",
        "too few mismatched pairs",
        "false accepts by name",
    ):
        assert text in document, text


@pytest.mark.slow
def test_real_faces_give_the_same_numbers_from_images_bin_and_embeddings(
    savedmodel, real_faces, tmp_path
):
    folder = real_faces / "lfw_dev"
    pairs = lfw.read_pairs(folder / "pairs.txt").in_folds((6, 7))
    chosen = pairs.select(np.arange(1200) % 10 == 0)
    lfw.write_pairs(tmp_path / "pairs.txt", chosen)
    keys = [key for pair in both_keys(chosen) for key in pair]
    insightface_bin.write_bin(tmp_path / "same.bin", aligned_images(folder, keys), chosen.is_same)
    common = {"model": (str(savedmodel),), "bootstrap": 50}
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
    assert expected.verification.num_pairs == 120
    assert accuracies(expected) == accuracies(from_bin) == accuracies(from_saved)
    for name in ("auc", "eer", "tar_at_far"):
        values = [getattr(m.verification, name) for m in (expected, from_bin, from_saved)]
        assert values[0] == values[1] == values[2], name
    # A .bin names no identities to draw.
    assert expected.verification.intervals == from_saved.verification.intervals


def test_calibration_is_written_to_the_output_and_beside_saved_embeddings(saved, tmp_path):
    (metrics,) = evaluate(saved, calibrate=True, calibration_folds=(1, 2, 3))
    assert {fold.fold for fold in metrics.verification.folds} == {4, 5, 6, 7}
    calibration = metrics.calibration
    assert calibration.num_calibration_pairs == 24
    assert calibration.num_judged_pairs == 32
    out = tmp_path / "out"
    recognition = read_recognition(out / "recognition.json")
    assert recognition == read_recognition(saved["embeddings"][0])
    assert (recognition.slope, recognition.offset) == (calibration.slope, calibration.offset)
    assert (recognition.fusion, recognition.alignment) == ("concatenate", "unknown")
    assert recognition.image_size is None
    assert recognition.embedding_size == 16
    norms = np.linalg.norm(np.load(saved["embeddings"][0])["embeddings"], axis=1)
    assert recognition.norms.median == pytest.approx(np.median(norms), rel=1e-5)
    assert recognition.norms.num_images == len(norms)
    assert (out / "calibration.png").read_bytes()[:4] == b"\x89PNG"
    assert "Thresholds and log-likelihood ratios" in (out / "report.html").read_text()
    (without,) = evaluate(saved)
    assert without.calibration is None
    assert not (out / "recognition.json").exists()


@pytest.mark.slow
def test_calibration_is_written_into_the_folder_of_the_network(settings, savedmodel, tmp_path):
    network = shutil.copytree(savedmodel, tmp_path / "net")
    before = model_fingerprint(network)
    (metrics,) = evaluate(settings, model=(str(network),), calibrate=True)
    recognition = read_recognition(network)
    assert recognition == read_recognition(tmp_path / "out" / "recognition.json")
    assert recognition.image_size == (112, 96)
    assert recognition.alignment == "five points"
    assert recognition.generated_faces
    assert recognition.template[0] == pytest.approx((30.2946, 51.6963))
    assert recognition.fingerprint == before == model_fingerprint(network)
    assert metrics.calibration.identities_are_apart
    # It stays an exported network, to evaluate again.
    evaluate(settings, model=(str(network),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibration_folds": (1,)}, "`calibration_folds` are for `calibrate`"),
        (
            {"calibrate": True, "folds": (1, 2), "calibration_folds": (2, 3)},
            "either calibrated on or judged. Received: 2",
        ),
        (
            {"calibrate": True, "calibration_folds": (1, 2, 3, 4, 5, 6)},
            r"two folds or more must be left to judge. Received: \[7\]",
        ),
        ({"calibrate": True, "calibration_folds": (9,)}, r"Folds must be among .* Received: \[9\]"),
    ],
)
def test_folds_that_cannot_be_calibrated_on_are_refused(saved, changes, message):
    with pytest.raises(ValueError, match=message):
        evaluate(saved, **changes)


def test_calibration_on_training_identities_is_a_warning(saved, pairs, tmp_path):
    names = sorted(pairs.in_folds((1, 2)).identities())
    (tmp_path / "labels.csv").write_text("identity\n" + "\n".join(names) + "\n")
    changes = {"calibrate": True, "train_labels": str(tmp_path / "labels.csv")}
    (metrics,) = evaluate(saved, calibration_folds=(1, 2), **changes)
    expected = "Calibrated on identities of the training set: 16 of 16 pairs."
    assert any(warning.startswith(expected) for warning in metrics.warnings)
    changes["calibration_folds"] = (3, 4)
    (metrics,) = evaluate(saved, **changes)
    assert not any("Calibrated on" in warning for warning in metrics.warnings)
