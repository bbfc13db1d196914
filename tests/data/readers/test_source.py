"""Every kind of source is recognized and gives the same faces."""

import io
import pickle
import shutil

import pyarrow
import pyarrow.parquet
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.config.choices import SOURCE_KINDS
from keras_sphereface.data import records
from keras_sphereface.data.conversion import convert
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.data.readers import open_source, registry
from keras_sphereface.data.types import ImageRecord
from tests.helpers.sources import (
    as_bare_recordio,
    as_base64_table,
    as_folders,
    as_list,
    as_parquet,
    as_recordio,
    as_stored_zip,
    as_tar,
    as_tar_gz,
    as_tars,
    as_zip,
)

NAMED = [as_list, as_base64_table, as_zip, as_stored_zip, as_tar, as_tar_gz, as_tars]
NUMBERED = [as_recordio, as_bare_recordio, as_parquet]
KINDS = {
    as_folders: "class folders",
    as_list: "list file",
    as_base64_table: "base64 table",
    as_zip: "zip archive",
    as_stored_zip: "zip archive",
    as_tar: "tar archive",
    as_tar_gz: "tar archive",
    as_tars: "tar archive",
    as_recordio: "RecordIO",
    as_bare_recordio: "RecordIO",
    as_parquet: "parquet",
}


def converted(source, out):
    """Return the metadata of a conversion, and its records in any order."""
    info = convert.make_records(ConvertConfig(source=str(source), out=str(out), workers=1))
    return info, list(records.read_folder(out))


def assert_every_kind_gives_the_same(root, where):
    """Convert ROOT as each kind of source."""
    expected_info, expected = converted(root, where / "expected")
    assert expected_info.source == "class folders"
    for form in NAMED + NUMBERED:
        folder = where / form.__name__
        folder.mkdir()
        source = form(root, folder)
        info, read = converted(source, where / f"{form.__name__}_records")
        assert info.source == KINDS[form]
        assert not any("fit " in warning.split("(")[0] for warning in info.warnings)
        assert info.num_identities == expected_info.num_identities
        if form in (as_zip, as_stored_zip, as_tar, as_tar_gz, as_tars):
            assert read == expected, form  # in the same order, even
        wanted = sorted((record.label, record.image) for record in expected)
        assert sorted((record.label, record.image) for record in read) == wanted, form
        if form is not as_recordio and form is not as_bare_recordio:
            names = {record.label: record.identity for record in read}
            assert names == {record.label: record.identity for record in expected}


@pytest.mark.slow
def test_every_kind_of_source_gives_the_same_records(faces, tmp_path):
    root = tmp_path / "root"
    for name in ("person_0001", "person_0002", "person_0003"):
        shutil.copytree(faces / "images" / name, root / name)
    assert_every_kind_gives_the_same(root, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lfw_dev/images", "orl_faces"])
def test_real_faces_of_every_kind_give_the_same_records(real_faces, tmp_path, name):
    root = real_faces / name
    if name == "lfw_dev/images":
        some = tmp_path / "some"
        for folder in sorted(root.iterdir())[:60]:
            shutil.copytree(folder, some / folder.name)
        root = some
    assert_every_kind_gives_the_same(root, tmp_path)


def test_other_files_than_sources_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"class folders.*Received"):
        open_source(tmp_path / "absent")
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([b"a", b"b"], [True])))
    with pytest.raises(ValueError, match=r"sphereface evaluate --bin"):
        open_source(tmp_path / "lfw.bin")
    (tmp_path / "odd.zip").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(ValueError, match="not a zip archive"):
        list(open_source(tmp_path / "odd.zip").images())


def test_an_index_that_does_not_fit_is_reported_and_not_used(faces, tmp_path):
    as_recordio(faces / "images", tmp_path)
    lines = (tmp_path / "train.idx").read_text().splitlines()
    (tmp_path / "train.idx").write_text("\n".join(lines[:2] + ["2\t13"] + lines[3:]) + "\n")
    source = open_source(tmp_path)
    assert len(source.warnings) == 1
    assert source.warnings[0].startswith("train.idx does not fit train.rec")
    images = [entry for entry in source.images() if isinstance(entry, ImageRecord)]
    assert len(images) == 19 * 6


def test_a_property_of_another_form_is_reported(faces, tmp_path):
    as_recordio(faces / "images", tmp_path)
    (tmp_path / "property").write_text("5")
    source = open_source(tmp_path)
    assert "property" in source.warnings[0]
    assert source.promised is None


def test_recordio_parts_are_found_in_subfolders_with_the_property_above_them(faces, tmp_path):
    for part, name in (("part1", "person_0001"), ("deep/part2", "person_0002")):
        (tmp_path / "root" / part).mkdir(parents=True)
        shutil.copytree(faces / "images" / name, tmp_path / "faces" / name)
        as_recordio(tmp_path / "faces", tmp_path / "root" / part)
        (tmp_path / "root" / part / "property").unlink()
    (tmp_path / "root" / "property").write_text("85742,112,112")
    (tmp_path / "root" / ".hidden").mkdir()
    shutil.copy(tmp_path / "root/part1/train.rec", tmp_path / "root/.hidden/train.rec")
    source = open_source(tmp_path / "root")
    assert (source.kind, source.promised) == ("RecordIO", (85742, 112, 112))
    keys = [entry.key for entry in source.images()]
    assert [key for key in keys if key.startswith("part1/train/")] == keys[12:]
    assert [key for key in keys if key.startswith("deep/part2/train/")] == keys[:12]
    assert len(keys) == 12 + 6
    assert any("2 RecordIO files" in warning for warning in source.warnings)


def test_landmarks_of_a_source_are_used_on_request(faces, tmp_path):
    landmarks = read_landmarks(faces / "landmarks.txt")
    rows = [
        {
            "image": (faces / "images" / key).read_bytes(),
            "label": key.split("/")[0],
            "landmarks": points.ravel().tolist(),
        }
        for key, points in list(landmarks.items())[:12]
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    source = str(tmp_path / "x.parquet")
    config = ConvertConfig(source=source, out=str(tmp_path / "plain"), workers=1)
    assert any("Use them: --align." in text for text in convert.make_records(config).warnings)
    config = ConvertConfig(source=source, out=str(tmp_path / "aligned"), align=True, workers=1)
    info = convert.make_records(config)
    assert (info.alignment, info.warnings) == ("five-point similarity", ())


@pytest.mark.parametrize("name", ["train.rec", "data.parquet", "faces.zip"])
def test_class_folders_stay_class_folders_whatever_lies_beside_them(faces, tmp_path, name):
    root = tmp_path / "root"
    shutil.copytree(faces / "images" / "person_0001", root / "person_0001")
    (root / name).write_bytes(b"something")
    source = open_source(root)
    assert source.kind == "class folders"
    assert sum(isinstance(entry, ImageRecord) for entry in source.images()) == 6


def test_readers_take_any_open_file(faces, tmp_path):
    path = as_zip(faces / "images", tmp_path)
    reader = registry.reader_of(path.read_bytes()[:512], path.name)
    entries = list(reader(io.BytesIO(path.read_bytes()), path.name, ""))
    assert len(entries) == 19 * 6


def test_every_source_kind_has_a_reader():
    kinds = {registry.CLASS_FOLDERS, registry.LIST_FILE, registry.BASE64_TABLE}
    kinds |= set(registry.FILE_KINDS)
    assert kinds == set(SOURCE_KINDS) == set(KINDS.values())


def test_a_damaged_recordio_file_ends_the_conversion(faces, tmp_path):
    (tmp_path / "source").mkdir()
    folder = as_recordio(faces / "images", tmp_path / "source")
    content = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(content[: len(content) // 2])
    config = ConvertConfig(source=str(folder), out=str(tmp_path / "out"), workers=1)
    with pytest.raises(ValueError, match=r"train\.rec is damaged at byte \d+: the file ends in"):
        convert.make_records(config)
    assert not (tmp_path / "out").exists()
