"""The benchmark of galleries."""

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.benchmarks import gallery
from keras_sphereface.config.benchmarks import GalleryBenchmarkConfig

SMALL = dict(sizes=(30, 300), embedding_size=16, num_probes=25, seconds_per_case=5.0)


def test_templates_lie_as_those_of_real_faces():
    templates, drawn = gallery.draw_templates(3000, 512, 3, 50, seed=0)
    np.testing.assert_allclose(np.linalg.norm(templates, axis=1), 1, atol=1e-5)
    cosines = templates[::3] @ templates[1::3].T
    others = cosines[~np.eye(1000, dtype=bool)]
    assert np.diag(cosines).mean() == pytest.approx(gallery.SAME_COSINE, abs=0.02)
    assert others.mean() == pytest.approx(0, abs=0.01)
    assert others.std() == pytest.approx(gallery.EQUAL_DIRECTIONS**-0.5, abs=0.01)
    own = [templates[3 * int(name.split()[1])] for name in drawn.names]
    products = np.sum(drawn.probes * own, axis=1)
    assert products.mean() == pytest.approx(gallery.SAME_COSINE, abs=0.06)


def check(out, text, config, cases):
    table = pd.read_csv(out / "gallery.csv")
    assert table["case"].tolist() == cases * 2
    assert table["templates"].tolist() == [size for size in config.sizes for _ in cases]
    assert (table["num_probes"] == [min(25, size // 3) for size in table["templates"]]).all()
    exact = table["index_seconds"].isna()
    assert (table.loc[exact, "recall"] == 1).all()
    assert (table["recall"] >= 0.9).all()
    assert (table["median_ms"] <= table["p99_ms"]).all()
    assert (table["disk_bytes"] > 4 * 16 * table["templates"]).all()
    assert text == (out / "gallery.md").read_text(encoding="utf-8")
    assert text.count("| file, exact |") == 2
    assert sorted(path.name for path in out.iterdir()) == ["gallery.csv", "gallery.md"]


@pytest.mark.slow
def test_every_search_of_a_file_is_measured(tmp_path):
    pytest.importorskip("faiss", reason="faiss-cpu is not installed beside this Python")
    config = GalleryBenchmarkConfig(out=str(tmp_path), **SMALL)
    text = gallery.benchmark_gallery(config)
    check(tmp_path, text, config, ["file, exact", "file, FAISS HNSW"])


@pytest.mark.slow
def test_every_search_of_a_database_is_measured_too(tmp_path, postgres_server):
    config = GalleryBenchmarkConfig(out=str(tmp_path), postgres=postgres_server.url, **SMALL)
    text = gallery.benchmark_gallery(config)
    check(tmp_path, text, config, [case.name for case in gallery.CASES])
    assert postgres_server.run("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'benchmark%'") == []
