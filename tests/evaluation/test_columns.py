"""Named columns of landmarks and pairs reach the files of every command."""

import pytest

from keras_sphereface.config import CompareConfig, ExportConfig, TrainConfig
from keras_sphereface.data.conversion.exclusions import combined_exclusions
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.evaluation import export_comparison
from keras_sphereface.evaluation.identification.distractors import open_distractors
from keras_sphereface.evaluation.identification.gallery import read_gallery
from keras_sphereface.experiments.compare_losses import run
from keras_sphereface.training.build import build_pair_sources

COLUMNS = "-,second,-,is_same,first"
NAMED = {"landmark_columns": "path,-,x1", "pair_columns": COLUMNS}


@pytest.fixture
def odd_pairs(tmp_path):
    """Pairs whose columns cannot be recognized."""
    file = tmp_path / "odd.txt"
    file.write_text("9\tb/2.jpg\t8\t1\tb/1.jpg\n9\tc/1.jpg\t8\t0\tb/1.jpg\n")
    with pytest.raises(ValueError, match="--pair-columns"):
        identities_of_pairs(file, ())
    return file


def test_identities_of_pairs_are_excluded_and_selected_by_named_columns(odd_pairs):
    assert identities_of_pairs(odd_pairs, (), COLUMNS) == {"b", "c"}
    excluded = combined_exclusions("", str(odd_pairs), (), False, pair_columns=COLUMNS)
    assert excluded.lines == {"b", "c"}


def test_the_images_of_an_export_are_chosen_by_named_columns(odd_pairs, faces):
    config = ExportConfig(
        "model", "out", images=str(faces / "images"), pairs=str(odd_pairs), pair_columns=COLUMNS
    )
    assert export_comparison._choose_images(config)[1] == []  # of identities b and c
    config = ExportConfig("model", "out", images=str(faces / "images"), pairs=str(odd_pairs))
    with pytest.raises(ValueError, match="--pair-columns"):
        export_comparison._choose_images(config)


def test_landmarks_of_distractors_are_read_by_named_columns(faces):
    folder, landmarks = str(faces / "images"), str(faces / "landmarks.txt")
    open_distractors(folder, landmarks, "", (), 1, 0)
    with pytest.raises(ValueError, match="`landmark_columns` must hold"):
        open_distractors(folder, landmarks, "path,-,x1", (), 1, 0)


def test_training_and_the_comparison_of_losses_hand_the_names_on(tmp_path):
    sources = build_pair_sources(TrainConfig(verify_pairs="pairs.txt", **NAMED))
    assert (sources.landmark_columns, sources.pair_columns) == tuple(NAMED.values())
    config = CompareConfig(out="out", data="records", pairs="pairs.txt", images="faces", **NAMED)
    _, evaluation = run._sources(config, tmp_path)
    assert (evaluation.landmark_columns, evaluation.pair_columns) == tuple(NAMED.values())


def test_gallery_and_probes_are_read_by_named_columns(tmp_path):
    for name in ("gallery", "probes"):
        (tmp_path / name).write_text(f"1,Ada,{name}.jpg,x\n2,Bob,{name} 2.jpg,x\n")
    gallery = read_gallery(tmp_path / "gallery", tmp_path / "probes", "-,label,path,-")
    assert gallery.entries == {"gallery.jpg": "Ada", "gallery 2.jpg": "Bob"}
    assert gallery.probes == {"probes.jpg": "Ada", "probes 2.jpg": "Bob"}
