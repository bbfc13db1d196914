"""Real faces in the dialects of public sets, sources and landmarks, become equal records."""

import base64
import json
import shutil
import unicodedata

import numpy as np
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import records
from keras_sphereface.data.conversion import make_records
from keras_sphereface.data.landmarks import read_landmarks
from tests.helpers.recordio_writer import pack, write_rec
from tests.helpers.sources import as_tar_gz

PARTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
SWAPPED = [1, 0, 2, 4, 3]  # left and right of the person
BOX = (60, 60, 120, 140)


@pytest.fixture(scope="module")
def lfw(real_faces, tmp_path_factory):
    """A few identities of LFW, one with another name: class folders, and {key: points}."""
    root = tmp_path_factory.mktemp("lfw") / "images"
    points = read_landmarks(real_faces / "lfw_dev/landmarks.txt")
    counts = {}
    for key in sorted(points):
        counts.setdefault(key.split("/")[0], []).append(key)
    names = [name for name, keys in counts.items() if 3 <= len(keys) <= 5][:6]
    kept = {}
    for name in names:
        shutil.copytree(real_faces / "lfw_dev/images" / name, root / name)
        kept |= {key: points[key] for key in counts[name]}
    return root, kept


def joined(sign, *values):
    return sign.join(str(v) for value in values for v in np.ravel(value)) + "\n"


def labels_of(points):
    names = sorted({key.split("/")[0] for key in points})
    return {key: names.index(key.split("/")[0]) for key in points}


def write_landmarks(where, form, points, header=""):
    """`form` makes the line of (key, points (5, 2), label)."""
    labels, file = labels_of(points), where / "landmarks.txt"
    lines = [form(key, p.astype(int), labels[key]) for key, p in points.items()]
    file.write_text(header + "".join(lines), encoding="utf-8")
    return file


def casia(root, points, where):
    """Class folders, and a label between path and points."""
    return root, write_landmarks(where, lambda k, p, n: joined("\t", k, n, p), points)


def aligned_by_another_tool(root, points, where):
    """Class folders; landmarks with another suffix, ./, a box and a score, separated by commas."""

    def form(k, p, n):
        return joined(",", f"./{k[:-4]}.png", BOX, 0.998, p)

    return root, write_landmarks(where, form, points)


def celeba(root, points, where):
    """`path label` with a root; landmarks with a count and named columns."""
    names = " ".join(f"{part}_{axis}" for part in PARTS for axis in "xy")
    labels = labels_of(points)
    (where / "identity.txt").write_text("".join(f"{k} {labels[k]}\n" for k in points))
    header = f"{len(points)}\n{names}\n"

    def form(k, p, n):
        return joined(" ", k, p)

    return where / "identity.txt", write_landmarks(where, form, points, header), {"root": str(root)}


def im2rec(root, points, where):
    """MXNet's `index label path`, and five x before five y."""
    labels = labels_of(points)
    lines = [f"{i}\t{labels[k]:.6f}\timages/{k}\n" for i, k in enumerate(points)]
    (root.parent / "train.lst").write_text("".join(lines))
    landmarks = write_landmarks(where, lambda k, p, n: joined("\t", f"images/{k}", p.T), points)
    return root.parent / "train.lst", landmarks


def insightface(root, points, where):
    """InsightFace's `1 path label` with absolute paths, and its landmarks with a box."""
    labels = labels_of(points)
    (where / "faces.lst").write_text("".join(f"1\t{root}/{k}\t{labels[k]}\n" for k in points))

    def form(k, p, n):
        return joined("\t", 0, f"{root}/{k}", n, BOX, p.T)

    return where / "faces.lst", write_landmarks(where, form, points)


def kaggle(root, points, where):
    """A csv with other columns, in UTF-16; landmarks by the person's left and right."""
    labels = labels_of(points)
    lines = [f'{labels[k]},train,"{k}"\n' for k in points]
    text = "Identity ID,split,File Name\n" + "".join(lines)
    (where / "train.csv").write_text(text, encoding="utf-16")
    header = "file," + ",".join(f"p{i}{axis}" for i in range(1, 6) for axis in "xy") + "\n"

    def form(k, p, n):
        return joined(",", k, p[SWAPPED])

    landmarks = write_landmarks(where, form, points, header)
    return where / "train.csv", landmarks, {"root": str(root)}


def json_lines(root, points, where):
    """JSON lines with backslashes and without suffix; y before x."""
    labels = labels_of(points)
    lines = [{"file_name": k[:-4].replace("/", "\\"), "label": labels[k]} for k in points]
    (where / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    landmarks = write_landmarks(where, lambda k, p, n: joined(";", k, p[:, ::-1]), points)
    return where / "train.jsonl", landmarks, {"root": str(root)}


def ms_celeb(root, points, where):
    """A table of base64 images, whose keys are `identity/rank-FaceId-0.jpg`."""
    keys = {}
    with open(where / "faces.tsv", "w") as file:
        for rank, key in enumerate(points):
            identity = key.split("/")[0]
            encoded = base64.b64encode((root / key).read_bytes()).decode()
            file.write(f"{identity}\t{rank}\tFaceId-0\t{encoded}\n")
            keys[key] = f"{identity}/{rank}-FaceId-0.jpg"

    def form(k, p, n):
        return joined("\t", keys[k], p, 0.9)

    return where / "faces.tsv", write_landmarks(where, form, points)


def recordio_parts(root, points, where):
    """RecordIO in two subfolders, landmarks by part and number of the record."""
    labels, keys = labels_of(points), {}
    for part in (0, 1):
        folder = where / f"source/part{part}"
        folder.mkdir(parents=True)
        chosen = list(points)[part::2]
        payloads = [pack(labels[k], (root / k).read_bytes(), i) for i, k in enumerate(chosen)]
        write_rec(folder / "train.rec", payloads, folder / "train.idx")
        keys |= {key: f"part{part}/train/{i:08d}" for i, key in enumerate(chosen)}
    (where / "source/property").write_text(f"{len(set(labels.values()))},176,176")
    return where / "source", write_landmarks(where, lambda k, p, n: joined(" ", keys[k], p), points)


def archive(root, points, where):
    """A .tar.gz, and landmarks in the order `index, points, path`."""
    landmarks = write_landmarks(where, lambda k, p, n: joined("\t", n, n, p, f"faces/{k}"), points)
    return as_tar_gz(root, where), landmarks


def macos(root, points, where):
    """Class folders whose names are decomposed, and a list of landmarks with composed names."""
    composed = {key: key.replace("/", "é/", 1) for key in points}
    for key in points:
        path = where / "images" / unicodedata.normalize("NFD", composed[key])
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / key, path)

    def form(k, p, n):
        return joined("\t", unicodedata.normalize("NFC", composed[k]), p)

    return where / "images", write_landmarks(where, form, points)


DIALECTS = (casia, aligned_by_another_tool, celeba, im2rec, insightface, kaggle, json_lines)
DIALECTS += (ms_celeb, recordio_parts, archive, macos)


def converted(source, landmarks, out, extra=None):
    """Return the labels and images of the records, in any order, and the warnings."""
    config = ConvertConfig(
        source=str(source), landmarks=str(landmarks), out=str(out), workers=1, **(extra or {})
    )
    info = make_records(config)
    assert (info.num_skipped, info.alignment) == (0, "five-point similarity")
    faces = sorted((record.label, record.image) for record in records.read_folder(out))
    return faces, info.warnings


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda form: form.__name__)
def test_real_faces_in_every_dialect_become_equal_records(dialect, lfw, tmp_path):
    root, points = lfw
    plain = write_landmarks(tmp_path, lambda k, p, n: joined("\t", k, p), points)
    expected, _ = converted(root, plain, tmp_path / "plain")
    assert len(expected) == len(points) >= 18
    (tmp_path / "dialect").mkdir()
    source, landmarks, *extra = dialect(root, points, tmp_path / "dialect")
    faces, warnings = converted(source, landmarks, tmp_path / "out", *extra)
    assert faces == expected
    assert not any("landmarks" in warning for warning in warnings)
