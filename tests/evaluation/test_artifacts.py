"""Tables and folders of an evaluation; `test_evaluate` has its files."""

import dataclasses

import numpy as np
import pandas as pd

from keras_sphereface.evaluation import artifacts
from keras_sphereface.evaluation.verification import verify_pairs
from tests.helpers.drawn_pairs import draw_embeddings, evaluation_metrics, make_pairs


def test_the_worst_errors_are_the_furthest_from_the_threshold():
    table = pd.DataFrame(
        {
            "score": [0.9, 0.5, 0.7, 0.1, 0.2],
            "threshold": 0.3,
            "decision": ["same", "same", "same", "different", "different"],
            "is_correct": [0, 0, 1, 0, 1],
        }
    )
    assert artifacts.worst_errors(table, "same").index.tolist() == [0, 1]
    assert artifacts.worst_errors(table, "different").index.tolist() == [3]


def test_each_model_on_each_set_has_a_folder(tmp_path):
    folders = artifacts.result_folders(tmp_path, ["lfw", "a/b"], ["x y", "x/y", "..."])
    names = [str(folder.relative_to(tmp_path)) for folder in folders]
    assert names == [f"{s}/{m}" for s in ("lfw", "a-b") for m in ("x-y", "x-y-2", "unnamed")]
    assert artifacts.result_folders(tmp_path, ["lfw"], ["x"]) == [tmp_path]


def test_the_table_has_a_row_for_each_result():
    verification = verify_pairs(make_pairs(9), draw_embeddings(9, spread=1.5))
    metrics = evaluation_metrics(verification)
    table = artifacts.overview_table([metrics, dataclasses.replace(metrics, set="other")])
    assert table["set"].tolist() == ["lfw", "other"]
    assert table["accuracy_mean"].tolist() == [0.912345] * 2
    assert table["num_warnings"].tolist() == [1, 1]
    assert np.isnan(table["tar_at_far_0.01"].astype(float)).all()
    by_protocol = metrics.verification.accuracy_by_protocol
    assert table["accuracy_plain"][0] == by_protocol["plain"].accuracy_mean
