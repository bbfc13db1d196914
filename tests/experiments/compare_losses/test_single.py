"""One run: its folder, its process and its numbers."""

import dataclasses
import subprocess
import sys
import time

import pytest

from keras_sphereface.experiments.compare_losses import single
from tests.experiments.compare_losses.settings import SMALL, plan


def test_a_folder_with_another_run_is_refused(faces, records_folder, tmp_path):
    (run,) = plan(faces, records_folder, tmp_path, "softmax")
    single.check_run_folder(run)
    run.folder.mkdir()
    (run.folder / "plan.json").write_text(run.to_json(), encoding="utf-8")
    single.check_run_folder(run)
    other = dataclasses.replace(run.training, shift=1.0, total_steps=7)
    message = r"other settings.*total_steps: 6 before, 7 now; shift: 0.0 before, 1.0 now"
    with pytest.raises(ValueError, match=message):
        single.check_run_folder(dataclasses.replace(run, training=other))
    elsewhere = {**run.conditions, "machine": "another"}
    with pytest.raises(ValueError, match=r"machine: .* before, 'another' now"):
        single.check_run_folder(dataclasses.replace(run, conditions=elsewhere))


@pytest.mark.slow
def test_a_run_that_diverges_has_a_reason_and_no_numbers(faces, records_folder, tmp_path):
    flags = (*SMALL, "--learning-rate", "1e30", "--optimizer", "sgd")
    (run,) = plan(faces, records_folder, tmp_path, "softmax", flags=flags)
    result = single.train_and_evaluate(run)
    assert "the run diverged" in result.diverged
    assert result == single.RunResult(diverged=result.diverged)


@pytest.mark.slow
def test_the_memory_of_a_training_is_kept_for_a_restart(faces, records_folder, tmp_path):
    (run,) = plan(faces, records_folder, tmp_path, "softmax")
    file = tmp_path / "memory.json"
    single.train(run.training, callbacks=[single.PeakMemory(file)])
    text = file.read_text()
    assert float(text.split('"peak_bytes": ')[1].split()[0]) > 1e8
    single.train(run.training, callbacks=[single.PeakMemory(file)])
    assert file.read_text() == text


@pytest.mark.full
def test_a_run_that_fails_names_the_file_with_its_output(faces, records_folder, tmp_path):
    # A network that cannot be made, as only its process finds out.
    flags = (*SMALL, "--backbone", "tests.helpers.small_training:checkpoint")
    (run,) = plan(faces, records_folder, tmp_path, "softmax", flags=flags)
    with pytest.raises(RuntimeError, match=r"softmax with seed 0 failed.*output.txt") as caught:
        single.finish_run(run)
    output = (run.folder / "output.txt").read_text(encoding="utf-8")
    assert "checkpoint() got an unexpected keyword" in output
    assert str(tmp_path) in str(caught.value)
    assert not (run.folder / "result.json").exists()


@pytest.mark.full
def test_no_two_processes_work_on_one_run(faces, records_folder, tmp_path):
    flags = (*SMALL, "--total-steps", "100000", "--checkpoint-steps", "50")
    (run,) = plan(faces, records_folder, tmp_path, "softmax", flags=flags)
    run.folder.mkdir()
    (run.folder / "plan.json").write_text(run.to_json(), encoding="utf-8")
    command = [sys.executable, "-m", single.MODULE, str(run.folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 200
        while not (run.folder / "checkpoints" / "step-00000050").is_dir():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        process.kill()
    assert second.returncode == 1
    assert f"{run.folder} is in use by another process" in second.stderr
    short = dataclasses.replace(run.training, total_steps=6)
    with pytest.raises(ValueError, match="total_steps: 100000 before, 6 now"):
        single.check_run_folder(dataclasses.replace(run, training=short))
