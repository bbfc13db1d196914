"""Writes the faces of class folders as every other kind of source."""

import base64
import tarfile
import zipfile

import pyarrow
import pyarrow.parquet

from tests.helpers.recordio_writer import pack, write_rec


def images_of(root):
    """Return (identity, file) of class folders, in order."""
    files = [path for path in root.glob("*/*") if path.suffix in (".jpg", ".pgm")]
    return [(path.parent.name, path) for path in sorted(files)]


def as_folders(root, where):
    return root


def as_list(root, where):
    lines = [f"{path}\t{identity}" for identity, path in images_of(root)]
    (where / "list.txt").write_text("\n".join(lines) + "\n")
    return where / "list.txt"


def as_base64_table(root, where):
    with open(where / "faces.tsv", "w") as file:
        for rank, (identity, path) in enumerate(images_of(root)):
            image = base64.b64encode(path.read_bytes()).decode()
            file.write(f"{identity}\t{rank}\tFaceId-0\t{image}\n")
    return where / "faces.tsv"


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
    """Write a folder of one archive an identity."""
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
    for number, start in enumerate((0, len(rows) // 2)):
        half = table[start : len(rows) // 2 if number == 0 else None]
        half = half.replace_schema_metadata({b"huggingface": described.encode()})
        pyarrow.parquet.write_table(half, where / "data" / f"train-{number}.parquet")
    return where
