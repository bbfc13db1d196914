"""Every kind of source is told from the others and gives the same faces."""

import io
import os
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import records
from keras_sphereface.data.conversion import convert
from keras_sphereface.data.conversion.prepare import content_of
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.data.readers import class_folders, list_file, open_source, registry
from keras_sphereface.data.types import ImageRecord, SkippedImage
from tests.helpers.recordio_writer import pack, write_rec


def images_of(root):
    """(identity, file) of class folders, in order."""
    found = [path for path in root.glob("*/*") if path.suffix in (".jpg", ".pgm")]
    return [(path.parent.name, path) for path in sorted(found)]


def as_folders(root, where):
    return root


def as_list(root, where):
    lines = [f"{path}\t{identity}" for identity, path in images_of(root)]
    (where / "list.txt").write_text("\n".join(lines) + "\n")
    return where / "list.txt"


def as_zip(root, where, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(where / "faces.zip", "w", compression) as archive:
        for identity, path in images_of(root):
            archive.write(path, f"CASIA-WebFace/{identity}/{path.name}")
    return where / "faces.zip"


def as_stored_zip(root, where):
    return as_zip(root, where, zipfile.ZIP_STORED)


def as_tar(root, where, suffix=".tar", mode="w"):
    with tarfile.open(where / f"faces{suffix}", mode) as archive:
        archive.add(root, "faces")
    return where / f"faces{suffix}"


def as_tar_gz(root, where):
    return as_tar(root, where, ".tar.gz", "w:gz")


def as_tars(root, where):
    """A folder of one archive a person."""
    for folder in root.iterdir():
        if folder.is_dir():
            with tarfile.open(where / f"{folder.name}.tar", "w") as archive:
                archive.add(folder, folder.name)
    return where


def numbers_of(root):
    names = sorted({identity for identity, _ in images_of(root)})
    return {name: number for number, name in enumerate(names)}


def as_recordio(root, where, index=True, header=True):
    numbers, entries = numbers_of(root), []
    images = images_of(root)
    for number, (identity, path) in enumerate(images, start=int(header)):
        entries.append(pack(numbers[identity], path.read_bytes(), number))
    if header:
        end = len(images) + 1
        entries.insert(0, pack(0, b"", 0, (end, end + len(numbers))))
        entries += [pack(0, b"", end + n, (1, 2)) for n in range(len(numbers))]
        (where / "property").write_text(f"{len(numbers)},112,112")
    write_rec(where / "train.rec", entries, index=where / "train.idx" if index else None)
    return where if index else where / "train.rec"


def as_bare_recordio(root, where):
    return as_recordio(root, where, index=False, header=False)


def as_parquet(root, where):
    """As the `datasets` library writes them: structures of bytes and path, named classes."""
    numbers = numbers_of(root)
    rows = [
        {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": numbers[identity]}
        for identity, path in images_of(root)
    ]
    table = pyarrow.Table.from_pylist(rows)
    label = {"names": list(numbers), "_type": "ClassLabel"}
    described = f'{{"info": {{"features": {{"label": {label}}}}}}}'.replace("'", '"')
    (where / "data").mkdir()
    for part, start in enumerate((0, len(rows) // 2)):
        piece = table[start : len(rows) // 2 if part == 0 else None]
        piece = piece.replace_schema_metadata({b"huggingface": described.encode()})
        pyarrow.parquet.write_table(piece, where / "data" / f"train-{part}.parquet")
    return where


NAMED = [as_list, as_zip, as_stored_zip, as_tar, as_tar_gz, as_tars]
NUMBERED = [as_recordio, as_bare_recordio, as_parquet]
KINDS = {
    as_folders: "class folders",
    as_list: "list file",
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
    """What a conversion says, and its records in any order."""
    info = convert.make_records(ConvertConfig(source=str(source), out=str(out), workers=1))
    found = list(records.read_folder(out))
    return info, found


def assert_every_kind_gives_the_same(root, where):
    """Convert ROOT as each kind of source."""
    expected_info, expected = converted(root, where / "expected")
    assert expected_info.source == "class folders"
    for form in NAMED + NUMBERED:
        folder = where / form.__name__
        folder.mkdir()
        source = form(root, folder)
        info, found = converted(source, where / f"{form.__name__}_records")
        assert info.source == KINDS[form]
        assert not any("fit " in doubt.split("(")[0] for doubt in info.warnings)
        assert info.num_identities == expected_info.num_identities
        if form in (as_zip, as_stored_zip, as_tar, as_tar_gz, as_tars):
            assert found == expected, form  # in the same order, even
        wanted = sorted((record.label, record.image) for record in expected)
        assert sorted((record.label, record.image) for record in found) == wanted, form
        if form is not as_recordio and form is not as_bare_recordio:
            names = {record.label: record.identity for record in found}
            assert names == {record.label: record.identity for record in expected}


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
        chosen = tmp_path / "chosen"
        for folder in sorted(root.iterdir())[:400]:
            shutil.copytree(folder, chosen / folder.name)
        root = chosen
    assert_every_kind_gives_the_same(root, tmp_path)


def test_class_folders_drop_what_is_no_image_and_name_it(tmp_path):
    for path in ("b/2.jpg", "b/1.PNG", "a b/ä.webp", "a b/Thumbs.db", "b/.DS_Store", "b/.x.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    for folder in (".c", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "stray.jpg").touch()
    entries = list(class_folders.read_class_folders(tmp_path))
    keys = {entry.key for entry in entries if isinstance(entry, ImageRecord)}
    assert keys == {"a b/ä.webp", "b/1.PNG", "b/2.jpg"}
    dropped = {entry.key: entry.reason for entry in entries if isinstance(entry, SkippedImage)}
    assert dropped == {
        "a b/Thumbs.db": "the name has no image suffix",
        "b/.DS_Store": "the name has no image suffix",
        "b/.x.jpg": "the name has no image suffix",
        "empty/": "the folder holds no image",
        "stray.jpg": "the name has no image suffix, or it is in no class folder",
    }


def test_names_that_are_no_text_are_dropped(tmp_path):
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path / "a") + b"/\xff\xfe.jpg", "wb"):
        pass
    entry = next(iter(class_folders.read_class_folders(tmp_path)))
    assert entry == SkippedImage("a/??.jpg", "the name is not valid UTF-8")


@pytest.mark.parametrize("name", ["folder", "a/image.jpg"])
def test_a_link_out_of_the_source_is_refused_and_one_inside_is_followed(tmp_path, name):
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "secret").mkdir(parents=True)
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.jpg").write_bytes(b"image")
    (root / "a" / "2.jpg").symlink_to("1.jpg")
    (root / "b").symlink_to("a")
    found = [
        entry for entry in class_folders.read_class_folders(root) if isinstance(entry, ImageRecord)
    ]
    assert [content_of(picture) for picture in found] == [b"image"] * 4
    (root / name).symlink_to(outside / "secret")
    with pytest.raises(ValueError, match=r"must not lead out of it.*Received: .*secret"):
        list(class_folders.read_class_folders(root))


def test_list_files_hold_paths_with_spaces_and_are_checked(tmp_path):
    (tmp_path / "a b").mkdir()
    for name in ("a b/1 2.jpg", "3.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    file = tmp_path / "list.txt"
    absolute = tmp_path / "3.jpg"
    file.write_text(f"\ufeffa b/1 2.jpg 7\n\na b/1 2.jpg\tAda L\n{absolute} 7\nno.jpg 7\n")
    entries = list(list_file.read_list_file(file))
    assert [entry.identity for entry in entries[:3]] == ["7", "Ada L", "7"]
    assert [content_of(entry) for entry in entries[:3]] == [b"a b/1 2.jpg"] * 2 + [b"3.jpg"]
    assert entries[3] == SkippedImage("no.jpg", "the file does not exist")
    for line in ("lonely.jpg", "../up.jpg 3", "x/../../up.jpg\t3"):
        file.write_text(f"3.jpg 7\n{line}\n")
        with pytest.raises(ValueError, match=r"line 2: .*Received: "):
            list(list_file.read_list_file(file))
    file.write_bytes(b"3.jpg 7\n\xff\xfe\xfd 7\n")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        list(list_file.read_list_file(file))


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"class folders.*Received"):
        open_source(tmp_path / "absent")
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([b"a", b"b"], [True])))
    with pytest.raises(ValueError, match=r"evaluate\.py --bin"):
        open_source(tmp_path / "lfw.bin")
    (tmp_path / "odd.zip").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(ValueError, match="not a zip archive"):
        list(open_source(tmp_path / "odd.zip").images())


def test_an_index_that_does_not_fit_is_said_and_not_used(faces, tmp_path):
    as_recordio(faces / "images", tmp_path)
    lines = (tmp_path / "train.idx").read_text().splitlines()
    (tmp_path / "train.idx").write_text("\n".join(lines[:2] + ["2\t13"] + lines[3:]) + "\n")
    source = open_source(tmp_path)
    assert len(source.warnings) == 1
    assert source.warnings[0].startswith("train.idx does not fit train.rec")
    found = [entry for entry in source.images() if isinstance(entry, ImageRecord)]
    assert len(found) == 19 * 6


def test_a_property_that_does_not_fit_is_said(faces, tmp_path):
    as_recordio(faces / "images", tmp_path)
    (tmp_path / "property").write_text("5")
    assert "property" in open_source(tmp_path).warnings[0]


def test_parquet_files_of_one_name_in_several_folders_are_all_read(tmp_path):
    for part in ("train", "test"):
        (tmp_path / "source" / part).mkdir(parents=True)
        table = pyarrow.table({"image": [b"a", b"b"], "label": pyarrow.array(["x", "y"])})
        table = table.set_column(1, "label", table["label"].dictionary_encode())
        pyarrow.parquet.write_table(table, tmp_path / "source" / part / "0000.parquet")
    entries = list(open_source(tmp_path / "source").images())
    assert [entry.key for entry in entries] == [
        f"{part}/0000/0000000{i}" for part in ("test", "train") for i in range(2)
    ]
    assert [entry.identity for entry in entries] == ["x", "y"] * 2


def test_landmarks_of_a_source_are_used_when_asked_for(faces, tmp_path):
    landmarks = read_landmarks(faces / "landmarks.txt")
    rows = [
        {
            "image": (faces / "images" / key).read_bytes(),
            "label": key.split("/")[0],
            "landmarks": points.ravel().tolist(),
        }
        for key, points in landmarks.items()
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    source = str(tmp_path / "x.parquet")
    config = ConvertConfig(source=source, out=str(tmp_path / "plain"), workers=1)
    assert any("Use them: --align." in text for text in convert.make_records(config).warnings)
    config = ConvertConfig(source=source, out=str(tmp_path / "aligned"), align=True, workers=1)
    info = convert.make_records(config)
    assert (info.alignment, info.warnings) == ("five-point similarity", ())


def test_odd_landmarks_in_parquet_drop_the_image(tmp_path):
    for odd in ([[1.0, 2.0]], [{"x": 1.0}], [None]):
        table = pyarrow.table({"image": [b"a"], "label": ["x"], "landmarks": odd})
        pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
        (entry,) = open_source(tmp_path / "x.parquet").images()
        assert isinstance(entry, ImageRecord if odd == [None] else SkippedImage)


@pytest.mark.parametrize("name", ["train.rec", "data.parquet", "faces.zip"])
def test_class_folders_stay_class_folders_whatever_lies_beside_them(faces, tmp_path, name):
    root = tmp_path / "root"
    shutil.copytree(faces / "images" / "person_0001", root / "person_0001")
    (root / name).write_bytes(b"something")
    source = open_source(root)
    assert source.kind == "class folders"
    assert sum(isinstance(entry, ImageRecord) for entry in source.images()) == 6


def test_a_linked_list_names_images_beside_the_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "list.txt").write_text("1.jpg Ada\n")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "1.jpg").write_bytes(b"image")
    (tmp_path / "source" / "list.txt").symlink_to(tmp_path / "elsewhere" / "list.txt")
    (entry,) = open_source(tmp_path / "source" / "list.txt").images()
    assert content_of(entry) == b"image"


@pytest.mark.parametrize("column", ["label", "who"])
def test_parquet_columns_are_told(tmp_path, column):
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


def test_parquet_that_cannot_be_told_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    for columns in ({"a": [b"x"], "b": [b"y"], "label": [1]}, {"a": [b"x"], "b": [1], "c": [2]}):
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        with pytest.raises(ValueError, match="must have one column of encoded images"):
            list(open_source(path).images())
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="is not a parquet file"):
        list(open_source(path).images())


def test_a_parquet_file_cut_short_is_refused_or_named(faces, tmp_path):
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


def test_readers_take_any_open_file(faces, tmp_path):
    path = as_zip(faces / "images", tmp_path)
    reader = registry.reader_of(path.read_bytes()[:512], path.name)
    entries = list(reader(io.BytesIO(path.read_bytes()), path.name, ""))
    assert len(entries) == 19 * 6
