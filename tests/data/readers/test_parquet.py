import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from keras_sphereface.data.readers import open_source
from keras_sphereface.data.types import ImageRecord, SkippedImage
from tests.helpers.sources import as_parquet


def test_files_of_one_name_in_several_folders_are_all_read(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "source" / split).mkdir(parents=True)
        table = pyarrow.table({"image": [b"a", b"b"], "label": pyarrow.array(["x", "y"])})
        table = table.set_column(1, "label", table["label"].dictionary_encode())
        pyarrow.parquet.write_table(table, tmp_path / "source" / split / "0000.parquet")
    entries = list(open_source(tmp_path / "source").images())
    assert [entry.key for entry in entries] == [
        f"{split}/0000/0000000{i}" for split in ("test", "train") for i in range(2)
    ]
    assert [entry.identity for entry in entries] == ["x", "y"] * 2


def test_other_landmarks_skip_the_image(tmp_path):
    for odd in ([[1.0, 2.0]], [{"x": 1.0}], [None]):
        table = pyarrow.table({"image": [b"a"], "label": ["x"], "landmarks": odd})
        pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
        (entry,) = open_source(tmp_path / "x.parquet").images()
        assert isinstance(entry, ImageRecord if odd == [None] else SkippedImage)


@pytest.mark.parametrize("column", ["label", "who"])
def test_the_columns_are_recognized(tmp_path, column):
    points = list(np.arange(10.0))
    table = pyarrow.table(
        {"jpeg": [b"a", None, b"c"], column: ["Ada", "Ada", None], "landmarks": [points] * 3}
    )
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    entries = list(open_source(tmp_path / "x.parquet").images())
    assert entries[0][:3] == ("x/00000000", "Ada", b"a")
    np.testing.assert_array_equal(entries[0].landmarks, np.arange(10).reshape(5, 2))
    assert [entry.reason for entry in entries[1:]] == [
        "the row holds no image",
        "the row names no identity",
    ]


def test_ambiguous_columns_are_refused(tmp_path):
    path = tmp_path / "x.parquet"
    for columns in ({"a": [b"x"], "b": [b"y"], "label": [1]}, {"a": [b"x"], "b": [1], "c": [2]}):
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        with pytest.raises(ValueError, match="must have one column of encoded images"):
            list(open_source(path).images())
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="is not a parquet file"):
        list(open_source(path).images())


def test_a_file_cut_short_is_refused(faces, tmp_path):
    (tmp_path / "in").mkdir()
    as_parquet(faces / "images", tmp_path / "in")
    content = (tmp_path / "in" / "data" / "train-0.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is not a parquet file"):
        list(open_source(tmp_path / "x.parquet").images())
    damaged = bytearray(content)
    damaged[100:2000] = bytes(1900)
    (tmp_path / "x.parquet").write_bytes(damaged)
    for entry in open_source(tmp_path / "x.parquet").images():
        assert isinstance(entry, ImageRecord | SkippedImage)
