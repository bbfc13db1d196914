"""The conversion as users call it, and records of generated faces."""

import dataclasses
import shutil
import subprocess
import sys

import pytest

from keras_sphereface.commands import convert
from keras_sphereface.commands.main import main
from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import images, records
from keras_sphereface.data.conversion import generated
from tests.conftest import ROOT


def call(*words):
    return main(["convert", *map(str, words)])


@pytest.mark.slow
def test_the_command_converts_and_verifies(faces, tmp_path, capsys):
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    flags = ["--source", faces / "images", "--out", out, "--contact-sheet", sheet]
    call(*flags, "--landmarks", faces / "landmarks.txt", "--num-shards", 2)
    assert "114 images of 19 identities in 2 shards" in capsys.readouterr().out
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    call("--verify", out)
    assert capsys.readouterr().out == "2 shards match their checksums: 114 images\n"
    with open(out / records.shard_name(1, 2), "r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    with pytest.raises(SystemExit):
        call("--verify", out)
    message = capsys.readouterr().err
    assert "train-00001-of-00002.tfrecord has another checksum" in message
    assert "train-00000" not in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--source", "empty"],
            "error: `source` and `out` are needed; set --source and --out.",
        ),
        (["--source", "empty", "--out", "y"], "error: `source` must hold a folder of images for"),
        (["--verify", "empty"], "error: A folder of records holds dataset.json"),
        (
            ["--source", "empty", "--out", "y", "--workers", "-1"],
            "error: `workers` must be at least 0. Received: workers=-1",
        ),
    ],
)
def test_an_error_that_users_can_mend_is_one_sentence(
    flags, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        call(*flags)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)


@pytest.mark.slow
def test_it_converts_without_tensorflow(faces, tmp_path):
    words = ["sphereface", "convert", "--source", str(faces / "images"), "--out", "out"]
    program = (
        "import sys\n"
        f"sys.argv = {words}\n"
        "from keras_sphereface.__main__ import main\n"
        "assert main() == 0\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "114 images of 19 identities" in result.stdout


@pytest.mark.slow
def test_real_faces_are_drawn_on_a_contact_sheet(real_faces):
    # In a folder that stays, so that users can look at it.
    folder = ROOT / "runs" / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    sheet, data = folder / "contact_sheet.png", real_faces / "lfw_dev"
    config = ConvertConfig(
        source=str(data / "images"),
        landmarks=str(data / "landmarks.txt"),
        out=str(folder / "records"),
        contact_sheet=str(sheet),
        overwrite=True,
    )
    info = convert.convert(config)
    assert (info.num_images, info.num_identities, info.warnings) == (8085, 3000, ())
    assert info.skipped_by_reason == {"no landmarks": 1}
    height, width = images.decode(sheet.read_bytes()).shape[:2]
    assert width > 12 * 96
    assert height > 8 * 112
    shutil.rmtree(folder / "records")


def test_what_the_quality_checks_found_is_summed_up_and_suspicious_shares_are_warnings(
    records_folder,
):
    found = {"upside down": 6, "BGR": 4, "poor fit to the template": 3, "gray": 0}
    rows = [records.QualityRow(check, count, ()) for check, count in found.items()]
    near = "near duplicates, several identities"
    rows.append(records.QualityRow(near, 2, ("a/1.jpg", "b/1.jpg")))
    rows.append(records.QualityRow("several faces", None, (), "Only --detect counts faces."))
    info = dataclasses.replace(records.read_info(records_folder), quality=tuple(rows))
    line = convert.conversion_summary(info).splitlines()[-1]
    assert line == (
        "quality: 6 upside down; 4 BGR; 3 poor fit to the template; 2 near duplicates, several "
        "identities; quality.html shows examples"
    )
    alike, turned = convert.conversion_warnings(info)
    assert "near_duplicates.csv lists them for --exclude" in alike
    assert turned.startswith("6 of 30 images seem to be wrong: upside down")
    # Where faces are not aligned, some fit better when they are turned.
    rows[2] = records.QualityRow("poor fit to the template", 7, ())
    unaligned = dataclasses.replace(info, quality=tuple(rows))
    assert len(convert.conversion_warnings(unaligned)) == 1


def test_the_summary_names_exclusions_and_warnings(records_folder):
    info = records.read_info(records_folder)
    first = "30 images of 5 identities in 3 shards, 112 x 96, alignment: five-point similarity"
    excluded = f"excluded: 14 identities, {14 * 6} images"
    read = "114 read: 30 kept, 84 excluded, 0 skipped"
    assert convert.conversion_summary(info).splitlines()[:3] == [first, read, excluded]
    of_casia = dataclasses.replace(info, excluded_identities=("0166921", "1193098", "ada"))
    in_lfw = (
        f"excluded: 3 identities, {14 * 6} images; 0166921, 1193098 of CASIA-WebFace are in LFW"
    )
    assert convert.conversion_summary(of_casia).splitlines()[2] == in_lfw
    reasons = {f"reason {number}": 20 - number for number in range(12)}
    faulty = dataclasses.replace(
        info,
        unknown_exclusions=("a", "b", "c", "d"),
        duplicates_same_identity=2,
        duplicates_several_identities=3,
        skipped_by_reason=reasons,
        skipped_examples={"reason 0": "a/1.jpg"},
        warnings=("These images look like BGR.",),
    )
    lines = convert.conversion_summary(faulty).splitlines()
    assert lines[1] == "288 read: 30 kept, 84 excluded, 174 skipped"
    assert lines[3].startswith("2 images occur more than once under one identity")
    assert lines[4] == "skipped 20: reason 0, for example a/1.jpg"
    assert lines[5] == "skipped 19: reason 1"  # of an older dataset.json
    assert lines[14:16] == ["and 2 more reasons", "skipped.csv lists every skipped image"]
    exclusions, duplicates = convert.conversion_warnings(faulty)
    assert exclusions.startswith("lines of the exclusions that match nothing in the source: 4")
    assert exclusions.endswith("for example a, b, c")
    assert duplicates.startswith("3 images occur under several identities")


def test_generated_records_follow_the_faces_they_are_made_of(tmp_path):
    made = [
        records.read_info(generated.generated_records(tmp_path, identities, 2, 0, seed).records)
        for identities, seed in ((2, 0), (2, 0), (1, 1))
    ]
    assert made[0] == made[1]
    assert [info.num_identities for info in made] == [2, 2, 1]
    shutil.rmtree(tmp_path / "records")
    again = generated.generated_records(tmp_path, 1, 2, 0, 1)
    assert records.read_info(again.records) == made[2]
