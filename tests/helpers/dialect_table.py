"""The tables of docs/dialects.md: each dialect given to what each command does with it.

`python -m tests.helpers.dialect_table` writes the document.
"""

import tempfile
from pathlib import Path

import numpy as np

from keras_sphereface.commands import checks
from keras_sphereface.config import ClosedSetConfig, EvaluateConfig
from keras_sphereface.config.paths import check_paths
from keras_sphereface.data import folders, images
from keras_sphereface.data.conversion import beam_source
from keras_sphereface.data.conversion.manifest import Manifest
from keras_sphereface.data.conversion.prepare import content_of
from keras_sphereface.data.filenames import is_image_name
from keras_sphereface.data.landmarks import landmark_lines, landmarks_of_keys, read_landmarks
from keras_sphereface.data.pairs import write_bin
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.data.readers import open_source
from keras_sphereface.data.types import ImageRecord
from keras_sphereface.evaluation.face_pairs import PairSources, read_pair_dataset
from keras_sphereface.evaluation.identification.identity_map import read_identity_list
from tests.data import test_landmark_layout as landmark_dialects
from tests.data.pairs import test_pair_layout as pair_dialects
from tests.data.pairs import test_published_lists as published
from tests.data.readers import test_list_layout as list_dialects
from tests.helpers import sources as forms

DOCUMENT = Path(__file__).parents[2] / "docs" / "dialects.md"
INTRODUCTION = """# Dialects of files, and which command reads them

Sources, landmarks and pairs circulate in many forms. Each cell below was tried: a test writes the
dialect, gives it to the functions by which the commands read it, and compares the result. A cell is
`read`, or `refused` with the number of the sentence that says so. `tests/helpers/dialect_table.py`
writes this page, and `tests/integration/test_dialects.py` compares it.
"""


def _encoded(text: str) -> bytes:
    return text.encode("utf-16-le" if text.startswith("\ufeff") else "utf-8")


# Sources


def _image_root(where: Path) -> Path:
    """Class folders of two identities, with three images each."""
    rng = np.random.default_rng(0)
    for name in ("Ada", "Bob"):
        (where / "images" / name).mkdir(parents=True)
        for i in range(1, 4):
            face = images.encode(rng.integers(0, 256, (28, 24, 3), np.uint8))
            (where / "images" / name / f"{name} {i}.jpg").write_bytes(face)
    return where / "images"


def _listed(text: str):
    def write(root: Path, where: Path) -> Path:
        (root.parent / "list.txt").write_bytes(_encoded(text))
        return root.parent / "list.txt"

    return write


def _parts(root: Path, where: Path) -> Path:
    (where / "part1").mkdir()
    forms.as_recordio(root, where / "part1")
    return where


def _bin(root: Path, where: Path) -> Path:
    encoded = [path.read_bytes() for _, path in forms.images_of(root)]
    write_bin(where / "lfw.bin", encoded[:4], [True, False])
    return where / "lfw.bin"


SOURCES = {
    "class folders": forms.as_folders,
    **{f"list: {name}": _listed(text) for name, text in list_dialects.DIALECTS.items()},
    "list: paths alone": _listed("\n".join(list_dialects.KEYS)),
    "base64 table (MS-Celeb-1M)": forms.as_base64_table,
    ".zip": forms.as_zip,
    ".tar": forms.as_tar,
    ".tar.gz": forms.as_tar_gz,
    "folder of .tar": forms.as_tars,
    ".rec with .idx and property": forms.as_recordio,
    ".rec alone": forms.as_bare_recordio,
    ".rec in subfolders": _parts,
    "parquet": forms.as_parquet,
    "verification set (.bin)": _bin,
}


def _groups(entries: list[tuple[str, bytes]]) -> list[list[bytes]]:
    """Return the images of each identity, whatever identities are called."""
    names = sorted({name for name, _ in entries})
    return sorted(sorted(image for name, image in entries if name == own) for own in names)


def _convert(path: Path, root: Path) -> None:
    entries = list(open_source(path).images())
    _compare([(entry.identity, content_of(entry)) for entry in entries], root)


def _convert_on_beam(path: Path, root: Path) -> None:
    _, files = beam_source.find_source(str(path))
    entries = [entry for file in files for entry in beam_source.read_source_file(file)]
    loaded = [image for entry in entries for image in beam_source.load_content(entry)]
    _compare([(image.identity, image.content) for image in loaded], root)


def _compare(entries: list[tuple[str, bytes]], root: Path) -> None:
    expected = [(identity, file.read_bytes()) for identity, file in forms.images_of(root)]
    assert _groups(entries) == _groups(expected)


def _images_flag(path: Path, root: Path) -> None:
    check_paths(EvaluateConfig(out="x", images=(str(path),)))
    folders.check_class_folders(path, "images")


def _gallery(path: Path, root: Path) -> None:
    check_paths(ClosedSetConfig(out="x", gallery=str(path)))
    listed = read_identity_list(path, images=root.parent)
    expected = [path for _, path in forms.images_of(root)]
    assert {Path(key).name for key in listed} == {file.name for file in expected}
    assert len(set(listed.values())) == 2


# Landmarks


def _landmarks_of_convert(file: Path, where: Path) -> None:
    manifest = Manifest(where / "manifest")
    listed = [ImageRecord(key, key.split("/")[0], b"") for key in landmark_dialects.KEYS]
    manifest.list_images(listed, 0, dict)
    manifest.add_landmarks(landmark_lines(file))
    manifest.arrange(1, "few", "no landmarks")
    items = {item.image.key: item.image.landmarks for item in manifest.items(1, len(listed))}
    manifest.close()
    _same_points(items)


def _landmarks_of_others(file: Path, where: Path) -> None:
    _same_points(landmarks_of_keys(read_landmarks(file), landmark_dialects.KEYS))


def _same_points(found: dict) -> None:
    assert found.keys() == landmark_dialects.POINTS.keys()
    for key, points in landmark_dialects.POINTS.items():
        np.testing.assert_array_equal(found[key], points)


# Pairs: functions that write a list into a folder; they return its path, and that of templates.


def _pair_list(text: str):
    def write(where: Path) -> tuple[Path, str]:
        (where / "pairs.txt").write_bytes(_encoded(text))
        return where / "pairs.txt", ""

    return write


def _plain(form):
    return lambda where: (form(where), "")


def _calfw(where: Path) -> tuple[Path, str]:
    lines = [f"Ada_{i:04d}.jpg {i}\nAda_{i + 1:04d}.jpg {i}\n" for i in range(1, 4)]
    lines += [f"Ada_{i:04d}.jpg 0\nBo_B_{i:04d}.jpg 0\n" for i in range(1, 4)]
    (where / "pairs_CALFW.txt").write_text("".join(lines))
    return where / "pairs_CALFW.txt", ""


def _ijbc(where: Path) -> tuple[Path, str]:
    (where / "ijbc_face_tid_mid.txt").write_text("1.jpg 1 5\n2.jpg 2 6\n3.jpg 3 7\n")
    (where / "ijbc_template_pair_label.txt").write_text("1 2 1\n1 3 0\n")
    return where / "ijbc_template_pair_label.txt", str(where / "ijbc_face_tid_mid.txt")


def _ijbb(where: Path) -> tuple[Path, str]:
    (where / "protocol").mkdir()
    rows = "1,7,img/1.jpg,3,0\n2,7,img/2.jpg,4,0\n3,8,img/3.jpg,4,0\n"
    (where / "protocol/ijbb_1N_gallery_S1.csv").write_text(published.IJB_HEADER + rows)
    (where / "ijbb_11_S1_S2_matches.csv").write_text("1,2\n1,3\n")
    return where / "ijbb_11_S1_S2_matches.csv", str(where / "protocol")


def _people(where: Path) -> tuple[Path, str]:
    (where / "people.txt").write_text("2\nAda\t4\nBo_B\t4\n")
    return where / "people.txt", ""


PAIRS = {
    **{name: _pair_list(text) for name, text in pair_dialects.DIALECTS.items()},
    "paths with spaces, between spaces": _pair_list(
        published.SPACED[0][0] + "\n" + published.SPACED[0][1]
    ),
    "XQLFW": _plain(published.xqlfw),
    "LFW as csv (Kaggle's pairs.csv)": _plain(published.kaggle),
    "LFW's View 1 as csv (match and mismatch)": _plain(published.kaggle_view_1),
    "lfw_ann.txt, agedb_30_ann.txt": _plain(published.insightface_annotations),
    "CALFW, names without folders": _calfw,
    "CFP, Protocol/Split/FF": lambda where: (published.cfp(where, "FF"), ""),
    "CFP, Protocol/Split/FP": lambda where: (published.cfp(where, "FP"), ""),
    "IJB-C, template_pair_label and face_tid_mid": _ijbc,
    "IJB, matches and csv of templates": _ijbb,
    "LFW's people.txt (unrestricted)": _people,
    "verification set (.bin)": lambda where: (_bin(_image_root(where), where), ""),
}


def _pairs_of_evaluate(file: Path, templates: str) -> None:
    _check_pairs(read_pair_dataset(PairSources(str(_text(file)), templates=templates)).pairs)


def _pairs_of_train(file: Path, templates: str) -> None:
    pairs = read_pair_dataset(PairSources(str(_text(file)))).pairs
    shown = file.parent / "shown"
    for key in filter(is_image_name, pairs.keys()):
        (shown / key).parent.mkdir(parents=True, exist_ok=True)
        (shown / key).touch()
    checks.check_pairs(str(file), str(shown))
    _check_pairs(pairs)


def _pairs_of_exclusions(file: Path, templates: str) -> None:
    assert len(identities_of_pairs(file)) == 2


def _text(file: Path) -> Path:
    if file.suffix == ".bin":  # what every command with --pairs asks first
        checks.check_pairs(str(file), "")
    return file


def _check_pairs(pairs) -> None:
    assert set(pairs.is_same) == {True, False}
    assert all(a != b for a, b in zip(pairs.first, pairs.second, strict=True))


# The document


def _tried(attempt, *arguments: object) -> str:
    """Return "" if the attempt succeeds, else the sentence that refuses, without what it names."""
    try:
        attempt(*arguments)
    except (ValueError, OSError) as error:
        sentence = str(error).split(" Received:")[0]
        for argument in arguments:
            if isinstance(argument, Path):
                sentence = sentence.replace(str(argument), "FILE")
        return sentence
    return ""


def _table(title: str, dialect: str, attempts: dict, rows: dict[str, list[str]]) -> str:
    """Return a section: a table with numbers in the place of sentences, and these."""
    sentences = list(dict.fromkeys(cell for cells in rows.values() for cell in cells if cell))
    lines = [f"## {title}", "", f"| {dialect} | " + " | ".join(attempts) + " |"]
    lines.append("|---" * (len(attempts) + 1) + "|")
    for name, cells in rows.items():
        shown = [f"refused ({sentences.index(c) + 1})" if c else "read" for c in cells]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    lines.append("")
    lines += [f"{number}. {sentence}" for number, sentence in enumerate(sentences, start=1)]
    return "\n".join(lines).rstrip() + "\n"


def _sources(folder: Path) -> str:
    attempts = {
        "`convert --source`": _convert,
        "`convert --runner` (Beam)": _convert_on_beam,
        "`--images` of `evaluate-identification`, `export`": _images_flag,
        "`--gallery`, `--probes`": _gallery,
    }
    rows = {}
    for number, (name, form) in enumerate(SOURCES.items()):
        root = _image_root(folder / str(number))
        (folder / str(number) / "source").mkdir()
        path = form(root, folder / str(number) / "source")
        rows[name] = [_tried(attempt, path, root) for attempt in attempts.values()]
    return _table("Sources of images", "source", attempts, rows)


def _landmarks(folder: Path) -> str:
    attempts = {
        "`convert --landmarks`": _landmarks_of_convert,
        "`--landmarks` of `evaluate`, `evaluate-identification`, `export`, `compare-losses`; "
        "`--verify-landmarks`, `--distractor-landmarks`": _landmarks_of_others,
    }
    rows = {}
    for number, name in enumerate(landmark_dialects.DIALECTS):
        (folder / f"landmarks{number}").mkdir()
        file = landmark_dialects.write(folder / f"landmarks{number}", name)
        rows[name] = [_tried(attempt, file, file.parent) for attempt in attempts.values()]
    return _table("Landmarks", "line", attempts, rows)


def _pairs(folder: Path) -> str:
    attempts = {
        "`evaluate --pairs` (`--templates`)": _pairs_of_evaluate,
        "`train --verify-pairs`, `export --pairs`, `compare-losses --pairs`": _pairs_of_train,
        "`convert --exclude-pairs`, `evaluate-identification --pairs`": _pairs_of_exclusions,
    }
    rows = {}
    for number, (name, form) in enumerate(PAIRS.items()):
        (folder / f"pairs{number}").mkdir()
        file, templates = form(folder / f"pairs{number}")
        rows[name] = [_tried(attempt, Path(file), templates) for attempt in attempts.values()]
    return _table("Pairs", "list", attempts, rows)


def document(folder: Path) -> str:
    """Return the text of docs/dialects.md, with files made in an empty folder."""
    return "\n".join((INTRODUCTION, _sources(folder), _landmarks(folder), _pairs(folder)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        DOCUMENT.write_text(document(Path(folder)), encoding="utf-8")
