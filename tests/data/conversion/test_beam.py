"""A conversion on Beam, in several processes, gives what one on this machine alone gives."""

import csv
import re
import shlex
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("apache_beam")

from apache_beam.options.pipeline_options import PipelineOptions

from keras_sphereface.commands.convert import convert
from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import alignment, detection, images, landmarks, records
from keras_sphereface.data.conversion import beam_source, prepare
from keras_sphereface.data.conversion.beam import make_records_on_beam
from keras_sphereface.data.conversion.convert import EmptyDatasetError, make_records
from keras_sphereface.data.conversion.exclusions import UnknownExclusionError
from keras_sphereface.utils.startup import DATA_ONLY
from tests.helpers.sources import (
    as_base64_table,
    as_list,
    as_parquet,
    as_recordio,
    as_tar_gz,
    as_tars,
    as_zip,
)

SEVERAL_PROCESSES = (
    *("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
    "--no_pipeline_type_check",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def messy(faces, tmp_path_factory):
    """Class folders and landmarks with many faults."""
    root = tmp_path_factory.mktemp("messy")
    source = root / "source"
    for number in range(1, 13):
        shutil.copytree(faces / "images" / f"person_{number:04d}", source / f"{number}")
    for file in source.glob("*/*.jpg"):
        file.rename(file.with_name(file.name[-8:]))
    (source / "1" / "0001.jpg").write_bytes(b"")
    (source / "2" / "0002.jpg").write_bytes(b"broken")
    (source / "2" / "Thumbs.db").touch()
    (source / "empty").mkdir()
    (source / "stray.jpg").touch()
    for number in range(2, 7):
        (source / "3" / f"{number:04d}.jpg").unlink()  # too few
    shutil.copy(source / "4" / "0001.jpg", source / "4" / "0009.jpg")
    shutil.copy(source / "5" / "0001.jpg", source / "6" / "0009.jpg")
    with open(root / "landmarks.txt", "w") as file:
        for key, points in landmarks.read_landmarks(faces / "landmarks.txt").items():
            identity, number = int(key[7:11]), key[-8:]
            if (identity, number) != (7, "0003.jpg"):
                file.write(landmarks.landmark_line(f"{identity}/{number}", points))
        file.write(landmarks.landmark_line("4/0009.jpg", np.arange(10) * 10 + 5))
        file.write(landmarks.landmark_line("6/0009.jpg", np.arange(10) ** 1.5 * 5 + 5))
    (root / "exclude.txt").write_text("8\n1[12]\n9/0004.jpg\nNobody\n")
    return root


def contents(folder):
    info = records.read_info(folder)
    tables = {}
    names = (records.LABELS_FILE, records.SKIPPED_FILE, records.DUPLICATES_FILE)
    for name in (*names, records.NEAR_DUPLICATES_FILE):
        with open(folder / name, newline="") as file:
            tables[name] = list(csv.reader(file))
    tables[records.QUALITY_FILE] = (folder / records.QUALITY_FILE).read_text()
    return info, sorted(records.read_folder(folder)), tables


def assert_the_same(tmp_path, options, **settings):
    config = dict(num_shards=4, workers=1, **settings)
    make_records(ConvertConfig(out=str(tmp_path / "local"), **config))
    settings_on_beam = dict(runner="DirectRunner", beam_options=options, **config)
    make_records_on_beam(ConvertConfig(out=str(tmp_path / "beam"), **settings_on_beam))
    local, expected, expected_tables = contents(tmp_path / "local")
    info, on_beam, tables = contents(tmp_path / "beam")
    assert on_beam == expected
    assert tables == expected_tables
    assert len(info.shards) == 4
    assert records.damaged_shards(tmp_path / "beam") == {}
    for name in (
        *("source", "num_images", "num_identities", "image_size", "alignment", "seed"),
        *("excluded_identities", "excluded_images", "unknown_exclusions"),
        *("duplicates_same_identity", "duplicates_several_identities"),
        *("skipped_by_reason", "skipped_examples", "skipped", "warnings", "quality"),
    ):
        assert getattr(info, name) == getattr(local, name), name
    return info


@pytest.mark.parametrize("options", [(), SEVERAL_PROCESSES])
def test_messy_class_folders_give_the_same(messy, tmp_path, options, monkeypatch):
    # As `sphereface convert` does, so that further processes start quickly.
    monkeypatch.setenv(DATA_ONLY, "1")
    info = assert_the_same(
        tmp_path,
        options,
        source=str(messy / "source"),
        landmarks=str(messy / "landmarks.txt"),
        exclude=str(messy / "exclude.txt"),
        allow_missing=True,
        min_images=3,
    )
    assert info.num_images == 8 * 6 - 4 + 2
    assert len(info.skipped_by_reason) >= 5


@pytest.mark.parametrize(
    "form",
    [
        as_list,
        as_tar_gz,
        *(
            pytest.param(form, marks=pytest.mark.full)
            for form in (as_tars, as_zip, as_recordio, as_parquet)
        ),
    ],
)
def test_every_kind_of_source_gives_the_same(messy, tmp_path, form):
    (tmp_path / "source").mkdir()
    path = form(messy / "source", tmp_path / "source")
    assert_the_same(tmp_path, (), source=str(path), min_images=2)


@pytest.fixture(scope="module")
def named(faces, tmp_path_factory):
    """Class folders whose names landmark files write differently, and their landmarks by key."""
    root = tmp_path_factory.mktemp("named")
    points = {}
    for number, name in enumerate(("Zoe\u0308", "Bob", "bob", "Cem"), start=1):
        (root / "faces" / name).mkdir(parents=True)
        for i in (1, 2, 3):
            source = f"person_{number:04d}/person_{number:04d}_{i:04d}.jpg"
            shutil.copy(faces / "images" / source, root / "faces" / name / f"{name}_{i}.jpg")
            points[f"{name}/{name}_{i}.jpg"] = landmarks.read_landmarks(faces / "landmarks.txt")[
                source
            ]
    return root, points


def write_landmarks(path, names_and_points):
    path.write_text("".join(landmarks.landmark_line(*entry) for entry in names_and_points))


@pytest.mark.parametrize(
    ("rename", "num_matched"),
    [
        (lambda key: "./" + key.replace(".jpg", ".png"), 12),
        (lambda key: unicodedata.normalize("NFC", key), 12),
        (lambda key: f"/data/casia/{key}", 12),
        # The last part alone; of two lines with one name neither is taken.
        (lambda key: key.rpartition("/")[2].replace("bob_1.jpg", "Cem_1.png"), 10),
        # An equal name comes first, and is no other's.
        (lambda key: key if "Bob" in key else key.replace(".jpg", ".bmp"), 12),
    ],
)
def test_landmarks_are_matched_by_the_same_names(named, tmp_path, rename, num_matched):
    root, points = named
    write_landmarks(tmp_path / "points.txt", ((rename(key), p) for key, p in points.items()))
    files = dict(source=str(root / "faces"), landmarks=str(tmp_path / "points.txt"))
    info = assert_the_same(tmp_path, (), **files)
    assert info.num_images == num_matched
    assert "'Bob' and 'bob'" in info.warnings[0]


def test_warnings_about_landmarks_are_the_same(named, tmp_path, monkeypatch):
    root, points = named
    found = detection.Detection(points["Cem/Cem_1.jpg"], num_faces=1)
    monkeypatch.setattr(prepare, "_detector", lambda: lambda _: found)
    monkeypatch.setattr(detection, "check_mtcnn_installed", lambda: None)
    aligned = alignment.landmark_template((112, 112))
    write_landmarks(tmp_path / "points.txt", [("Cem/Cem_1.jpg", aligned)])
    files = dict(source=str(root / "faces"), landmarks=str(tmp_path / "points.txt"))
    info = assert_the_same(tmp_path, (), detect=True, **files)
    assert any("faces aligned to 112 x 112" in warning for warning in info.warnings)
    assert any("Only 1 of 12 images have landmarks" in warning for warning in info.warnings)


def test_lists_of_other_layouts_and_suffixes_are_read_as_on_this_machine(named, tmp_path):
    root, points = named
    lines = ["label,path", *(f"{key.split('/')[0]},{key[:-4]}.png" for key in points), "Cem,no.png"]
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    files = dict(source=str(tmp_path / "list.csv"), root=str(root / "faces"))
    info = assert_the_same(tmp_path, (), **files)
    assert (info.num_images, info.num_skipped) == (12, 1)


def test_a_base64_table_is_read_from_any_place(named, tmp_path):
    root, _ = named
    table = as_base64_table(root / "faces", tmp_path)
    assert_the_same(tmp_path, (), source=str(table))
    # A pattern is found as remote files are.
    summary, files = beam_source.find_source(f"{tmp_path}/*.tsv")
    assert summary.kind == "base64 table"
    assert len(list(beam_source.read_source_file(files[0]))) == 12


def message_of(error, function, **settings):
    with pytest.raises(error) as caught:
        function(ConvertConfig(**settings))
    return str(caught.value)


def test_a_mistyped_exclusion_and_an_empty_source_end_with_the_same_errors(named, tmp_path):
    root, points = named
    (tmp_path / "exclude.txt").write_text("Cen\nBob\n")
    write_landmarks(tmp_path / "points.txt", [("other/none.jpg", points["Cem/Cem_1.jpg"])])
    for error, settings in (
        (UnknownExclusionError, dict(exclude=str(tmp_path / "exclude.txt"))),
        (EmptyDatasetError, dict(landmarks=str(tmp_path / "points.txt"))),
    ):
        settings["source"] = str(root / "faces")
        local = message_of(error, make_records, out=str(tmp_path / "local"), **settings)
        settings |= dict(out=str(tmp_path / error.__name__), runner="DirectRunner")
        assert message_of(error, make_records_on_beam, **settings) == local
        assert not (tmp_path / error.__name__ / records.INFO_FILE).exists()
    assert not list((tmp_path / UnknownExclusionError.__name__).glob("*.tfrecord"))


@pytest.mark.full
def test_ten_thousand_images_give_the_same(tmp_path):
    rng = np.random.default_rng(0)
    with open(tmp_path / "points.txt", "w") as file:
        for number in range(10_000):
            folder = tmp_path / "faces" / f"{number % 700:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 256, (7, 6, 3), dtype=np.uint8)
            name = f"{number:05d}"
            (folder / f"{name}.jpg").write_bytes(images.encode(images.crop_to(noise, (56, 48))))
            if number % 50:
                points = alignment.landmark_template((56, 48)) + rng.normal(size=(5, 2))
                file.write(landmarks.landmark_line(f"casia/{folder.name}/{name}.png", points))
    (tmp_path / "exclude.txt").write_text("0007\n012?\n0300/00300.jpg\n")
    info = assert_the_same(
        tmp_path,
        (),
        source=str(tmp_path / "faces"),
        landmarks=str(tmp_path / "points.txt"),
        exclude=str(tmp_path / "exclude.txt"),
        min_images=14,
    )
    assert info.num_images > 9_000
    assert info.excluded_images > 100


def test_the_size_of_the_images_and_the_property_are_the_same(tmp_path):
    for number in range(6):
        (tmp_path / f"faces/{number // 2}").mkdir(parents=True, exist_ok=True)
        face = images.encode(np.full((112, 112, 3), 40 * number, np.uint8))
        (tmp_path / f"faces/{number // 2}/{number}.jpg").write_bytes(face)
    (tmp_path / "source").mkdir()
    path = as_recordio(tmp_path / "faces", tmp_path / "source")
    (path / "property").write_text("85742,112,112")
    (tmp_path / "exclude.txt").write_text("2\n")
    exclude = str(tmp_path / "exclude.txt")
    info = assert_the_same(tmp_path, (), source=str(path), exclude=exclude)
    assert info.image_size == (112, 112)
    assert "says 85742 identities" in info.warnings[0]
    assert "The files hold 3 identities" in info.warnings[0]


def test_detected_landmarks_are_the_same(messy, tmp_path, monkeypatch):
    def detect(image):
        points = np.array(image[:5, 0, :2], np.float64) + np.eye(5, 2)
        return None if image.mean() < 100 else detection.Detection(points, 1)

    monkeypatch.setattr(prepare, "_detector", lambda: detect)
    monkeypatch.setattr(detection, "check_mtcnn_installed", lambda: None)
    assert_the_same(tmp_path, (), source=str(messy / "source"), detect=True)
    lines = [(tmp_path / name / "landmarks.txt").read_text() for name in ("local", "beam")]
    assert len(lines[0].splitlines()) > 10
    assert sorted(lines[1].splitlines()) == lines[0].splitlines()


def test_a_pattern_of_files_is_read_through_beams_file_systems(messy, tmp_path):
    (tmp_path / "source").mkdir()
    as_tars(messy / "source", tmp_path / "source")
    config = dict(source=f"{tmp_path}/source/*.tar", runner="DirectRunner")
    info = make_records_on_beam(ConvertConfig(out=str(tmp_path / "out"), **config))
    whole = dict(source=str(tmp_path / "source"), workers=1)
    assert (
        info.num_images == make_records(ConvertConfig(out=str(tmp_path / "w"), **whole)).num_images
    )


def test_the_options_in_the_documentation_are_beams():
    text = (Path(__file__).parents[3] / "docs" / "beam.md").read_text(encoding="utf-8")
    commands = [
        shlex.split(block.replace("\\\n", " "))
        for block in re.findall("```sh\n(.*?)```", text, re.S)
    ]
    options = [command[command.index("--") + 1 :] for command in commands]
    assert len(options) == 4
    for given in options:
        names = {option[2:].partition("=")[0] for option in given}
        assert names <= set(PipelineOptions(given).get_all_options(drop_default=True))


def test_without_quality_nothing_is_measured(messy, tmp_path):
    settings = dict(source=str(messy / "source"), out=str(tmp_path / "out"), quality=False)
    info = make_records_on_beam(ConvertConfig(runner="DirectRunner", **settings))
    assert info.quality == ()
    assert not (tmp_path / "out" / records.QUALITY_FILE).exists()


def test_finished_records_are_not_replaced(messy, tmp_path):
    (tmp_path / records.INFO_FILE).touch()
    with pytest.raises(FileExistsError, match="set --out to a new folder"):
        make_records_on_beam(
            ConvertConfig(source=str(messy / "source"), out=str(tmp_path), runner="DirectRunner")
        )


def test_without_beam_the_extra_is_named(messy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "keras_sphereface.data.conversion.beam")
    config = ConvertConfig(source=str(messy), out=str(tmp_path), runner="DirectRunner")
    with pytest.raises(ImportError, match=r"pip install 'keras-sphereface\[beam\]'"):
        convert(config)


def test_a_contact_sheet_is_written(messy, tmp_path):
    sheet = tmp_path / "sheet.png"
    config = dict(source=str(messy / "source"), contact_sheet=str(sheet), runner="DirectRunner")
    make_records_on_beam(ConvertConfig(out=str(tmp_path / "out"), **config))
    assert images.decode(sheet.read_bytes()).shape[1] > 96
