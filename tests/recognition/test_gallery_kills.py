"""A process that enrolls is killed at any moment: all that it confirmed is in the gallery."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_sphereface.recognition import Gallery
from keras_sphereface.utils import startup
from tests.conftest import ROOT
from tests.helpers.gallery_process import TEMPLATES, templates_of

# Without it the process would import Keras and TensorFlow, which takes seconds.
LEAN = {**os.environ, startup.DATA_ONLY: "1"}


def enroll_until_killed(path, first, seconds):
    """Kill -9 a process that enrolls from `first` on; return the numbers that it confirmed."""
    command = [sys.executable, "-m", "tests.helpers.gallery_process", str(path), str(first)]
    process = subprocess.Popen(command, cwd=ROOT, env=LEAN, stdout=subprocess.PIPE, text=True)
    try:
        confirmed = [process.stdout.readline()]
        time.sleep(seconds)
    finally:
        process.kill()
    confirmed += process.communicate()[0].splitlines()
    # The kill may have cut the last line.
    return [int(line) for line in confirmed if line.strip()]


def check(path, confirmed):
    with Gallery.open(path) as gallery:
        if isinstance(path, Path):
            assert gallery._store.value("PRAGMA integrity_check") == "ok"
        counts = {entry.name: entry.num_templates for entry in gallery.identities()}
        assert set(counts.values()) == {TEMPLATES}, "all templates of an identity, or none"
        assert len(confirmed) <= len(counts)
        for number in confirmed:
            assert counts[f"identity {number}"] == TEMPLATES
        probes = np.concatenate([templates_of(number)[-1:] for number in confirmed])
        found = [matches[0] for matches in gallery.search(probes, top=1)]
        assert [match.name for match in found] == [f"identity {number}" for number in confirmed]
        return len(counts)


@pytest.fixture(params=["file", "database"])
def path(request, tmp_path):
    if request.param == "file":
        yield tmp_path / "people.db"
        return
    with request.getfixturevalue("postgres_server").new_schema() as url:
        yield url


@pytest.mark.parametrize(
    "kills", [pytest.param(3, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.full)]
)
def test_nothing_that_was_confirmed_is_lost(path, kills):
    Gallery.create(path, "sha256:5a").close()
    seconds = np.random.default_rng(kills).uniform(0, 0.1, kills)
    confirmed = []
    for run in range(kills):
        confirmed += enroll_until_killed(path, 100_000 * run, seconds[run])
        number = check(path, confirmed)
        # At most one identity a run was confirmed by the gallery and not yet on the output.
        assert number <= len(confirmed) + run + 1
    assert len(confirmed) >= kills


@pytest.mark.slow
def test_two_processes_enroll_at_once(path):
    Gallery.create(path, "sha256:5a").close()
    command = [sys.executable, "-m", "tests.helpers.gallery_process", str(path)]
    processes = [
        subprocess.Popen([*command, first], cwd=ROOT, env=LEAN, stdout=subprocess.PIPE, text=True)
        for first in ("0", "100000")
    ]
    confirmed = [[int(p.stdout.readline()) for _ in range(20)] for p in processes]
    for process in processes:
        process.kill()
        process.communicate()
    check(path, [*confirmed[0], *confirmed[1]])
