import os
import subprocess
import sys

import numpy as np
import pytest

from keras_sphereface.utils import environment


def test_memory_counts_bytes_and_the_peak_stays():
    before, _ = environment.held_memory()
    block = np.ones(50_000_000, np.uint8)
    current, peak = environment.held_memory()
    assert 40e6 < current - before < 80e6
    assert peak > before + 40e6
    del block
    assert environment.held_memory()[1] > peak - 10e6


def test_the_peak_of_a_process_is_watched():
    with environment.most_memory(os.getpid(), interval=0.001) as peak:
        block = np.ones(50_000_000, np.uint8)
        while not peak[0]:
            pass
        del block
    assert peak[0] > 50e6


@pytest.mark.slow
def test_the_memory_of_children_counts():
    program = (
        "import subprocess, sys\n"
        "child = 'import time; held = b\"x\" * 10**8; time.sleep(1)'\n"
        "subprocess.run([sys.executable, '-c', child])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    with environment.most_memory(process.pid) as peak:
        process.wait()
    assert 1e8 < peak[0] < 2e8


def test_the_machine_is_described_in_a_line():
    text = environment.machine()
    assert "cores" in text or " x " in text
    assert "TensorFlow" in text
    assert "\n" not in text
