"""Known sets in a folder: found, checked, and printed."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.config import EvaluateConfig
from keras_sphereface.data import images
from keras_sphereface.data.known_sets import KNOWN_SETS
from keras_sphereface.data.pairs import insightface_bin
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.face_pairs import read_pair_dataset
from keras_sphereface.evaluation.set_folder import (
    find_sets,
    published_blocks,
    published_table,
    set_warnings,
)
from keras_sphereface.evaluation.verification import verify_pairs
from keras_sphereface.metrics.bootstrap import Interval
from tests.helpers.drawn_pairs import draw_embeddings, evaluation_metrics, make_pairs


def write_bin(path, size=(112, 112), num_pairs=8):
    rng = np.random.default_rng(0)
    encoded = [
        images.encode_png(rng.integers(0, 256, (*size, 3), np.uint8)) for _ in range(2 * num_pairs)
    ]
    insightface_bin.write_bin(path, encoded, np.arange(num_pairs) % 2 == 0)


@pytest.fixture
def folder(tmp_path, faces):
    root = tmp_path / "sets"
    shutil.copytree(faces, root / "LFW")
    write_bin(root / "cfp_fp.bin")
    write_bin(root / "lfw.bin")
    (root / "readme.txt").write_text("no set")
    meta = root / "IJBC" / "meta"
    meta.mkdir(parents=True)
    (root / "IJBC" / "loose_crop").mkdir()
    for name in ("ijbc_template_pair_label", "ijbc_face_tid_mid", "ijbc_name_5pts_score"):
        (meta / f"{name}.txt").write_text("")
    return root


def test_known_sets_are_found_with_their_files(folder, capsys):
    found = {one.known.name: one.sources for one in find_sets(folder)}
    assert list(found) == ["lfw", "cfp_fp", "ijbc"]
    lfw = folder / "LFW"
    assert found["lfw"].pairs == str(lfw / "pairs.txt")  # it names identities, unlike lfw.bin
    assert found["lfw"].images == str(lfw / "images")
    assert found["lfw"].landmarks == str(lfw / "landmarks.txt")
    assert found["cfp_fp"].bin == str(folder / "cfp_fp.bin")
    ijbc = found["ijbc"]
    assert [path.rsplit("/", 1)[-1] for path in (ijbc.pairs, ijbc.templates, ijbc.landmarks)] == [
        *("ijbc_template_pair_label.txt", "ijbc_face_tid_mid.txt", "ijbc_name_5pts_score.txt")
    ]
    assert ijbc.images.endswith("loose_crop")
    logged = capsys.readouterr().err
    assert "lfw.bin is left out" in logged
    assert "readme.txt" in logged


def test_a_folder_without_sets_is_refused(tmp_path):
    (tmp_path / "mine.bin").write_text("")
    with pytest.raises(ValueError, match=r"known verification sets: lfw.*Received: .*mine.bin"):
        find_sets(tmp_path)


def test_other_counts_and_sizes_are_said(folder):
    write_bin(folder / "cfp_fp.bin", size=(96, 80))
    found = {one.known.name: one for one in find_sets(folder)}["cfp_fp"]
    dataset = read_pair_dataset(found.sources, num_folds=2)
    counts, size = set_warnings(found, dataset, all_folds=True)
    assert "here there are 4 and 4" in counts
    assert "80 x 96 pixels" in size
    assert set_warnings(found, dataset, all_folds=False) == [size]


@pytest.fixture(scope="module")
def metrics():
    return evaluation_metrics(
        verify_pairs(make_pairs(9), draw_embeddings(9, spread=1.5), replicates=20)
    )


def test_the_table_is_that_of_papers(metrics):
    verification = dataclasses.replace(
        metrics.verification,
        accuracy_mean=0.9983,
        num_pairs=6000,
        intervals=dataclasses.replace(
            metrics.verification.intervals,
            accuracy=Interval(0.9967, 0.9995),
            tar_at_far={"0.0001": Interval(0.93, 0.95)},
        ),
        tar_at_far={**metrics.verification.tar_at_far, "0.0001": 0.94},
    )
    of_lfw = dataclasses.replace(metrics, verification=verification)
    of_ijbc = dataclasses.replace(of_lfw, set="ijbc")
    results = [of_lfw, of_ijbc, dataclasses.replace(of_lfw, set="mine")]
    table = published_table(results)
    assert table["set"].tolist() == ["LFW", "IJB-C"]
    assert table["measure"].tolist() == ["accuracy", "TAR at FAR 0.0001"]
    np.testing.assert_allclose(table["value"], [99.83, 94])
    np.testing.assert_allclose(table["low"], [99.67, 93])
    assert table["num_pairs_published"].tolist() == [6000, KNOWN_SETS["ijbc"].num_pairs]
    block = published_blocks(results)[1]
    assert block.header == ["model", "LFW", "IJB-C, TAR at FAR 0.0001"]
    assert block.rows == [
        ["run/export", "99.83 (99.67 to 99.95)", "94.00 (93.00 to 95.00) *"],
    ]
    assert published_blocks(results[2:]) == []
    assert len(published_table(results[2:])) == 0


def test_all_sets_of_a_folder_are_evaluated(folder, savedmodel, tmp_path):
    shutil.rmtree(folder / "IJBC")
    config = EvaluateConfig(
        out=str(tmp_path / "out"),
        model=(str(savedmodel),),
        sets=str(folder),
        num_folds=2,
        bootstrap=0,
    )
    results = evaluate(config)
    assert [metrics.set for metrics in results] == ["lfw", "cfp_fp"]
    assert "LFW has 3,000 matched" in results[0].warnings[0]
    assert pd.read_csv(tmp_path / "out" / "sets.csv")["set"].tolist() == ["LFW", "CFP-FP"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "As papers print it" in page
