"""The benchmark of the data path."""

import pandas as pd
import pytest

from keras_sphereface.benchmarks import data
from keras_sphereface.config import DataBenchmarkConfig
from keras_sphereface.data import images


@pytest.mark.full
def test_every_case_is_measured(tmp_path):
    config = DataBenchmarkConfig(out=str(tmp_path), num_images=130, memory_images=150, repeats=1)
    text = data.benchmark_data(config)
    table = pd.read_csv(tmp_path / "data.csv")
    expected = [comparison.case for comparison in data.COMPARISONS]
    assert table["case"].tolist() == expected
    assert (table[["images_per_second", "baseline_images_per_second", "ratio"]] > 0).all(axis=None)
    assert (tmp_path / "data.md").read_text() == text
    megabytes = int(text.splitlines()[-1].split("|")[2])
    assert 30 < megabytes < 1000


def test_images_are_widened_around_their_middle(faces):
    path = next((faces / "images").glob("*/*"))
    wide, (x, y) = data.widened(path.read_bytes(), 250)
    image, whole = images.decode(path.read_bytes()), images.decode(wide)
    assert whole.shape == (250, 250, 3)
    height, width, _ = image.shape
    inner = whole[y : y + height, x : x + width].astype(int)
    assert abs(inner - image).mean() < 5
    assert data.widened(path.read_bytes(), 100) == (path.read_bytes(), (0, 0))


@pytest.mark.parametrize("setting", [{"num_images": 0}, {"repeats": 0}, {"memory_images": -1}])
def test_numbers_that_cannot_be_measured_are_refused(tmp_path, setting):
    with pytest.raises(ValueError, match="must be an int >= "):
        data.benchmark_data(DataBenchmarkConfig(out=str(tmp_path / "x"), **setting))
    assert not (tmp_path / "x").exists()
