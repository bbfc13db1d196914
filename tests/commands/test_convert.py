"""The data tool as users call it, and records of generated faces."""

import shutil
import subprocess
import sys

import pytest

from keras_sphereface.commands import convert
from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import images, records
from keras_sphereface.data.conversion import generated
from tests.conftest import ROOT


def call(*words):
    command = [sys.executable, str(ROOT / "tools" / "make_tfrecords.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_tool_converts_and_verifies(faces, tmp_path):
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    flags = ["--source", faces / "images", "--out", out, "--contact-sheet", sheet]
    result = call(*flags, "--landmarks", faces / "landmarks.txt", "--num-shards", 2)
    assert result.returncode == 0, result.stderr
    assert "114 images of 19 identities in 2 shards" in result.stdout
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    result = call("--verify", out)
    assert result.stdout == "all 2 shards match their checksums: 114 images\n"
    with open(out / records.shard_name(1, 2), "r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    result = call("--verify", out)
    assert result.returncode == 1
    assert "train-00001-of-00002.tfrecord has another checksum" in result.stderr
    assert "train-00000" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--source", "x"], "`source` and `out` are needed"),
        (["--source", "x", "--out", "y"], "error: The source must be"),
        (["--verify", "x"], "error: A folder of records holds dataset.json"),
    ],
)
def test_what_users_can_mend_is_said_in_one_sentence(flags, message):
    result = call(*flags)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_the_tool_needs_no_tensorflow(faces, tmp_path):
    words = ["x", "--source", str(faces / "images"), "--out", str(tmp_path / "out")]
    program = (
        "import runpy, sys\n"
        f"sys.argv = {words}\n"
        f"runpy.run_path({str(ROOT / 'tools' / 'make_tfrecords.py')!r}, run_name='__main__')\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_real_faces_are_drawn_on_a_contact_sheet(real_faces):
    # In a folder that stays, so that people can look at it.
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


def test_generated_records_follow_the_faces_they_are_made_of(tmp_path):
    made = [
        records.read_info(generated.generated_records(tmp_path, people, 2, 0, seed).records)
        for people, seed in ((2, 0), (2, 0), (1, 1))
    ]
    assert made[0] == made[1]
    assert [info.num_identities for info in made] == [2, 2, 1]
    shutil.rmtree(tmp_path / "records")
    again = generated.generated_records(tmp_path, 1, 2, 0, 1)
    assert records.read_info(again.records) == made[2]
