"""A map chosen, fitted and exported for a network and records."""

import dataclasses
import json

import numpy as np
import pytest

from keras_sphereface.config import FitProjectionConfig
from keras_sphereface.data import records
from keras_sphereface.evaluation.projection import (
    check_apart,
    chosen_score,
    fit_and_export_projection,
    score_table,
    training_warning,
)
from keras_sphereface.export import open_network
from keras_sphereface.metrics import ProjectionScore

NONE = ProjectionScore("none", 0.0, 0.96, 0.0, 0.0)
BETTER = ProjectionScore("lda", 0.3, 0.98, 0.02, 0.005)
WORSE = ProjectionScore("pca", 0.1, 0.95, -0.01, 0.005)


def test_the_best_is_chosen_if_it_is_better_than_none():
    assert chosen_score([NONE, WORSE, BETTER]) == BETTER
    doubtful = dataclasses.replace(BETTER, standard_error=0.011)
    with pytest.raises(ValueError, match=r"No map is better .*\(gain \+0.02000, standard error"):
        chosen_score([NONE, doubtful])
    assert chosen_score([NONE, WORSE], force=True) == WORSE


def test_nothing_is_chosen_by_identities_that_the_network_knows():
    known = [dataclasses.replace(one, auc=0.9995) for one in (NONE, BETTER)]
    with pytest.raises(ValueError, match=r"no map can be chosen by them.* ROC of 0\.99950"):
        chosen_score(known)
    assert chosen_score(known, force=True) == known[1]


def test_the_table_has_the_best_shrinkage_of_each_method():
    other = dataclasses.replace(BETTER, shrinkage=0.9, auc=0.97)
    lines = score_table([NONE, other, BETTER, WORSE]).splitlines()
    assert [line.split(" | ")[:2] for line in lines[3:]] == [["| lda", "0.3"], ["| pca", "0.1"]]


def test_pairs_of_identities_in_the_records_are_refused(faces, records_folder):
    check_apart(str(faces / "pairs.txt"), [1], "", str(records_folder))
    identity = next(iter(records.read_folder(records_folder))).identity
    pairs = faces.parent / "shared.txt"
    key = f"{identity}/{identity}_0001.jpg"
    pairs.write_text(f"{key} {identity}/{identity}_0002.jpg 1\n{key} other/other_0001.jpg 0\n")
    with pytest.raises(ValueError, match=f"1 in both, for example {identity}"):
        check_apart(str(pairs), [], "", str(records_folder))


def test_records_that_the_network_was_trained_on_are_known(records_folder, tmp_path):
    info = records.read_info(records_folder)
    export = tmp_path / "export"
    assert training_warning(export, info) == ""
    for checksum, begins in ((records.data_checksum(info), f"{export} was trained"), ("0", "")):
        (tmp_path / "run.json").write_text(json.dumps({"data_checksum": checksum}))
        assert training_warning(export, info).startswith(begins)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["savedmodel", "keras"])
def test_the_map_is_in_the_export(kind, savedmodel, records_folder, faces, tmp_path):
    model = savedmodel
    if kind == "keras":
        from keras_sphereface.models import sphereface4

        model = tmp_path / "network.keras"
        sphereface4(embedding_size=8, width=0.05, seed=0).save(model)
    config = FitProjectionConfig(
        model=str(model),
        data=str(records_folder),
        out=str(tmp_path / "out"),
        method=("wccn", "lda"),
        shrinkage=(0.1, 0.9),
        num_folds=2,
        force=True,
        pairs=str(faces / "pairs.txt") if kind == "savedmodel" else "",
        images=str(faces / "images") if kind == "savedmodel" else "",
        landmarks=str(faces / "landmarks.txt") if kind == "savedmodel" else "",
        bootstrap=0,
    )
    result = fit_and_export_projection(config)
    assert [len(result.scores), len(result.metrics)] == [5, 2 if kind == "savedmodel" else 0]
    assert (result.num_images, result.num_identities) == (30, 5)
    with np.load(tmp_path / "out" / "projection.npz") as saved:
        kernel, bias = saved["kernel"], saved["bias"]
    images = np.random.default_rng(1).integers(0, 256, (2, 112, 96, 3), np.uint8)
    expected = open_network(savedmodel)(images) @ kernel + bias
    np.testing.assert_allclose(open_network(result.export)(images), expected, rtol=1e-3, atol=1e-4)
    if kind == "savedmodel":
        assert (tmp_path / "out" / "evaluation" / "differences.csv").is_file() == (
            config.bootstrap > 0
        )
