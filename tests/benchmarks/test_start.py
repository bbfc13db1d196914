"""The benchmark of the start waits for the first step, and says why there is none."""

import pytest

from keras_sphereface.benchmarks.start import seconds_to_first_step


@pytest.mark.slow
def test_the_first_step_is_waited_for(records_folder, tmp_path):
    words = ["--data", str(records_folder), "--backbone", "sphereface4", "--width", "0.05"]
    seconds = seconds_to_first_step([*words, "--batch-size", "4"], tmp_path / "run")
    assert 0.5 < seconds < 300
    assert (tmp_path / "run" / "log.csv").read_text().splitlines()[1].startswith("1,")


def test_a_training_that_cannot_start_says_why(tmp_path):
    with pytest.raises(RuntimeError, match=r"took no step in .*Received: .*nowhere"):
        seconds_to_first_step(["--data", str(tmp_path / "nowhere")], tmp_path / "run")
