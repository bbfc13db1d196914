"""Mistakes of users, command by command: a sentence with the next step, before TensorFlow loads."""

import contextlib
import resource
import shutil
import subprocess
import sys

import pytest

from keras_sphereface.commands.main import main
from keras_sphereface.data.records import INFO_FILE
from keras_sphereface.training.run_config import RUN_FILE, SETTINGS_FILE
from keras_sphereface.utils import startup

SMALL = "--backbone sphereface4 --width 0.05 --embedding-size 8 --batch-size 5 --total-steps 3"


@pytest.fixture
def place(faces, records_folder, tmp_path, monkeypatch):
    """A working folder with faces, records, a network, and what users take for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(startup.QUIET, "1")
    for name, target in {"faces": faces, "records": records_folder}.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "run" / "export").mkdir(parents=True)
    (tmp_path / "run" / "export" / "saved_model.pb").touch()
    (tmp_path / "one" / "ada").mkdir(parents=True)
    shutil.copy(next((faces / "images").glob("*/*.jpg")), tmp_path / "one" / "ada" / "1.jpg")
    for name in ("net.keras", "empty.txt", "other/photo.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "lfw.bin").write_bytes(b"\x80\x04")
    return tmp_path


def end_of(words, capsys):
    """Run a command that must fail; return its exit status and its only line."""
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(words if isinstance(words, list) else words.split()))
    output = capsys.readouterr()
    (line,) = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in output.err
    assert "This should not happen" not in line
    return ended.value.code, line


EVALUATE = "evaluate --out e --model run/export"
PAIRS = "--pairs faces/pairs.txt"
CONVERT_FACES = "sphereface convert --source faces/images --out records"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        # The wrong kind of folder, or the right one a level away.
        ("train --data nowhere", "`--data` must be a folder that exists. Received: nowhere"),
        ("train --data recrods", "Did you mean `records`?"),
        ("train --data faces", CONVERT_FACES),
        ("train --data faces/images", CONVERT_FACES),
        ("train --data faces/images/person_0001", CONVERT_FACES),
        ("train --data .", "The records are in records"),
        (f"train --data records/{INFO_FILE}", "which is a file"),
        ("train --data other", "It holds photo.txt, but no images"),
        ("spheres --out s --data faces", CONVERT_FACES),
        (f"compare-losses --out c --data faces {PAIRS} --images faces/images", CONVERT_FACES),
        ("benchmark train --out b --data faces", CONVERT_FACES),
        ("launch -- train --data faces", CONVERT_FACES),
        # What a training needs.
        ("train --data records --batch-size 31", "number of images, 30. Received: batch_size=31"),
        ("train --data records --batch-size 0", "`batch_size` must be at least 1. Received: batch"),
        ("train --m 3.5", "sphereface-r-v2 take fractions. Received: m=3.5"),
        ("train --m 0", "`m` of the head asoftmax must be a whole number of at least 1"),
        ("train --width 0", "`width` must be above 0. Received: width=0.0"),
        ("train --verify-steps 5", "belong together. Received: verify_steps=5"),
        ("train --backbone resnet:make", "no module is called resnet"),
        ("train --backbone keras:MobilNetV2", "Did you mean `MobileNetV2`?"),
        (
            f"train --verify-steps 5 {PAIRS.replace('--', '--verify-')} --verify-images faces",
            "They are in faces/images",
        ),
        ("train --verify-steps 5 --verify-bin empty.txt", "goes to --pairs. Received: bin=empty"),
        ("launch --workers 0 -- train", "`workers` must be at least 1"),
        ("launch", "must follow a lone `--`, for example: sphereface launch"),
        ("launch -- script.py", "a Python script that exists. Received: script.py"),
        # Networks, pairs and their images.
        ("evaluate --out e", "--model, for example runs/first/export"),
        (EVALUATE, "--images FOLDER, --bin FILE, or --sets FOLDER. Received: none of them"),
        (f"{EVALUATE} {PAIRS}", "--images FOLDER or --records FOLDER"),
        (f"evaluate --out e --model run {PAIRS} --images faces", "The network is in run/export"),
        ("pairs faces --out pairs.txt", "The class folders are in faces/images"),
        ("train --teacher net.keras", "sphereface export --model net.keras"),
        (
            "compare one/ada/1.jpg one/ada/1.jpg --model 7",
            "`sphereface train` writes a network from your faces",
        ),
        (f"{EVALUATE} {PAIRS} --images faces", "They are in faces/images"),
        (f"{EVALUATE} {PAIRS} --images one", "with none of the "),
        (f"{EVALUATE} {PAIRS} --images faces/images --folds 9", "Received: [9]"),
        (f"{EVALUATE} {PAIRS} --records faces", CONVERT_FACES),
        (f"{EVALUATE} --pairs empty.txt --images faces/images", "Received: an empty file"),
        (f"{EVALUATE} --pairs lfw.bin --images faces/images", "goes to --bin"),
        (f"{EVALUATE} --bin faces/pairs.txt", "goes to --pairs"),
        (
            f"{EVALUATE} {PAIRS} --images faces/images --landmarks faces/pairs.txt",
            "faces/pairs.txt, line 1: expected a path and ten finite numbers",
        ),
        ("evaluate-identification closed-set --out i --model run/export", "A network needs images"),
        (
            "evaluate-identification open-set --out i --model run/export --images faces",
            "The class folders are in faces/images",
        ),
        (
            "evaluate-identification distractors --out i --model run/export --images faces/images",
            "`distractors` must be named",
        ),
        ("export --model run --out x", "The network is in run/export"),
        ("export --model run/export --out x", "give --images FOLDER, or leave the format out"),
        (
            "export --model run/export --out x --formats tflite --images faces",
            "The class folders are in faces/images",
        ),
        # Numbers and flags of the experiments.
        ("spheres --out s --num-identities 9", "from 2 to 8"),
        ("spheres --out s --m 0", "Each of `m` must be at least 1. Received: m=(0,)"),
        ("margins --out m --angle 0", "from 30 to 170. Received: angle=0.0"),
        ("compare-losses --out c --data records", "belong together. Received: data='records'"),
        ("benchmark data --out b --source records", "It holds records already"),
        # Outputs that hold other things.
        ("demo --out other", "choose another --out. Received: other"),
        ("train --workdir one/ada/1.jpg", "but one/ada/1.jpg is a file"),
    ],
)
def test_a_mistake_is_answered_before_tensorflow_is_imported(
    place, words, message, capsys, monkeypatch
):
    def import_too_early():
        raise AssertionError("TensorFlow would be imported")

    monkeypatch.setattr(startup, "import_whole_package", import_too_early)
    status, line = end_of(words, capsys)
    assert status == 1
    # The place where pytest makes its folders does not matter.
    assert message in line.replace(f"{place}/", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("convert", "set --source and --out"),
        ("convert --source one/ada --out o", "one/ada/PERSON/IMAGE.jpg"),
        ("convert --source faces --out o", "The class folders are in"),
        ("convert --source records --out o", "It holds records already: sphereface train --data"),
        ("convert --source other --out o", "It holds photo.txt, but no images"),
        ("convert --source lfw.bin --out o", "`sphereface evaluate --bin` reads it"),
        ("convert --source faces/images --out records", "`--overwrite` replaces them"),
        ("convert --source faces/images --out other", "or hold records and nothing else"),
        (
            "convert --source one --landmarks empty.txt --out o",
            "Names in --landmarks must be those",
        ),
        ("convert --verify faces", CONVERT_FACES),
    ],
)
def test_a_mistake_in_a_conversion_ends_in_a_sentence(place, words, message, capsys):
    status, line = end_of(words, capsys)
    assert status == 1
    assert message in line
    assert not (place / "o").exists()


def test_records_of_one_identity_are_refused(place, capsys):
    assert main("convert --source one --out alone".split()) == 0
    capsys.readouterr()
    status, line = end_of("train --data alone --batch-size 1", capsys)
    assert status == 1
    assert "at least 2 identities. Received: 1 in alone" in line


@pytest.mark.slow
def test_a_run_with_other_settings_names_them_and_the_file_of_the_run(
    place, trained_workdir, capsys
):
    words = ["train", "--data", "records", "--workdir", str(trained_workdir), *SMALL.split()]
    _, line = end_of([*words, "--m", "3"], capsys)
    assert "batch_size: 10 before, 5 now" in line
    assert f"--config {trained_workdir / SETTINGS_FILE}" in line
    shutil.copytree(trained_workdir, place / "changed")
    run = place / "changed" / RUN_FILE
    run.write_text(run.read_text().replace('"data_checksum": "', '"data_checksum": "0'))
    settings = str(trained_workdir / SETTINGS_FILE)
    _, line = end_of(["train", "--config", settings, "--workdir", "changed"], capsys)
    assert line.endswith("Received: other records in --data")


def test_the_traceback_is_shown_on_request_only(place):
    with pytest.raises(FileNotFoundError, match=CONVERT_FACES):
        main("--debug train --data faces".split())


def test_nothing_heavy_is_imported_for_the_answer_of_a_process(place):
    words = "-X importtime -m keras_sphereface train --data faces".split()
    result = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert CONVERT_FACES in result.stderr
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "keras_sphereface.data.records" in imported
    assert not imported & {"tensorflow", "keras", "pandas", "matplotlib", "numpy", "cv2", "PIL"}


@pytest.mark.slow
def test_damaged_records_are_named_in_a_sentence(place, records_folder, capsys):
    shutil.copytree(records_folder, place / "damaged")
    for shard in (place / "damaged").glob("*.tfrecord"):
        content = bytearray(shard.read_bytes())
        content[3000:3010] = b"0123456789"
        shard.write_bytes(content)
    status, line = end_of(f"train --data damaged --workdir w {SMALL}", capsys)
    assert status == 1
    assert "damaged: sphereface convert --verify damaged names the files" in line
    assert not (place / "w" / "export").exists()


@contextlib.contextmanager
def largest_file(num_bytes):
    """No file may grow beyond this size, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "finished"),
    [
        ("convert --source faces/images --landmarks faces/landmarks.txt --out o", "o"),
        (f"train --data records --workdir w {SMALL}", "w/export"),
    ],
)
def test_a_full_disk_ends_in_a_sentence_and_leaves_nothing_that_looks_finished(
    place, words, finished, capsys
):
    with largest_file(100_000 if words.startswith("convert") else 40_000):
        status, line = end_of(words, capsys)
    assert status == 1
    assert "The disk is full" in line
    assert "ree some space and run the same command again" in line
    assert not (place / finished).exists()
    assert not list(place.glob("w/checkpoints/step-*"))


@pytest.mark.slow
def test_an_evaluation_on_a_full_disk_has_no_metrics(place, savedmodel, capsys):
    words = f"evaluate --out e --model {savedmodel} {PAIRS} --images faces/images --bootstrap 0"
    with largest_file(30_000):
        status, line = end_of(words, capsys)
    assert status == 1
    assert "The disk is full" in line
    assert not (place / "e" / "metrics.json").exists()
