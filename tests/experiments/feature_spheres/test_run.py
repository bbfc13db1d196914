"""The whole work: settings, and the files that are written."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_sphereface.config import SpheresConfig
from keras_sphereface.experiments.feature_spheres import figures, run


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"total_steps": 0}, "`total_steps` must be an int >= 1. Received: total_steps=0"),
        ({"num_seeds": 0}, "`num_seeds` must be an int >= 1. Received: num_seeds=0"),
        ({"m": (2, 2)}, r"different ints >= 1. Received: m=\(2, 2\)"),
        ({"m": (0,)}, r"different ints >= 1. Received: m=\(0,\)"),
        ({"seed": -1}, "`seed` must be an int >= 0. Received: seed=-1"),
        ({"num_identities": 1}, "from 2 to 8, .* Received: num_identities=1"),
        ({"num_identities": 9}, "from 2 to 8, .* Received: num_identities=9"),
        ({"dim": 2, "rotate": True}, "need 3-D embeddings, .*Received: dim=2"),
        ({"dim": 2, "html": True}, "need 3-D embeddings, .*Received: dim=2"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run.feature_spheres(SpheresConfig(out=str(tmp_path / "out"), **settings))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_all_files_are_written(records_folder, tmp_path, monkeypatch):
    pytest.importorskip("plotly")
    monkeypatch.setattr(figures, "ROTATION_FRAMES", 2)
    monkeypatch.setattr(run, "ANIMATION_FRAMES", 2)
    config = SpheresConfig(
        **{"out": str(tmp_path), "data": str(records_folder), "num_identities": 3},
        **{"total_steps": 1, "m": (1,), "softmax": False, "num_seeds": 2},
        **dict.fromkeys(("animate", "rotate", "html", "projector"), True),
    )
    table = run.feature_spheres(config)
    assert table[["dim", "seed", "loss"]].to_numpy().tolist() == [
        [dim, seed, "m = 1"] for seed in (0, 1) for dim in (2, 3)
    ]
    columns = "dim seed loss m test_accuracy mean_intra largest_intra smallest_inter fisher_score"
    assert list(table) == [*columns.split(), "margin", "train_gap", "test_gap", "train_mean_intra"]
    assert table["mean_intra"].between(0, 180).all()
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "spheres.csv").astype({"m": "Int64"}), table, check_exact=False
    )
    assert "| mean within |" in (tmp_path / "spheres.md").read_text(encoding="utf-8")
    assert "person 0001" in (tmp_path / "spheres.html").read_text(encoding="utf-8")
    assert (tmp_path / "projector" / "projector_config.pbtxt").is_file()
    for name in ("spheres_2d.png", "spheres_3d.png", "shrinkage.png", "training_2d.gif"):
        with Image.open(tmp_path / name) as image:
            assert np.asarray(image.convert("RGB")).std() > 10
    with Image.open(tmp_path / "rotating.gif") as animation:
        assert animation.n_frames == 2
    assert (tmp_path / "spheres_3d.svg").read_text().startswith("<?xml")
