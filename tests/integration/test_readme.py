"""Every code block of the README runs: on a tiny data set, with a few steps."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from keras_sphereface.data.pairs import insightface_bin, lfw
from keras_sphereface.distribute import strategy
from tests.conftest import ROOT

# A program's further arguments come last, so that those for launch_local.py are the program's.
SHORT_TRAINING = "--width 0.1 --batch-size 4 --total-steps 2 --log-steps 1"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
# What the README asks for takes hours; the last of two equal flags counts.
FEWER = {
    "train_casia.py": SHORT_TRAINING,
    "launch_local.py": SHORT_TRAINING,
    "compare_losses.py": "--losses softmax triplet --num-seeds 1 -- --backbone sphereface4 "
    "--width 0.05 --batch-size 8 --total-steps 2",
    "feature_spheres.py": "--num-identities 3 --total-steps 2 --m 4 --num-seeds 1",
    "benchmark.py head": "--cases A-Softmax --num-classes 40 --sweep 30 --repeats 1 --batch-size 4",
    "benchmark.py convergence": "--num-networks 1 --m 4 --total-steps 5 --width 0.1 --batch-size 4",
    "benchmark.py data": "--num-images 130 --memory-images 0 --repeats 1",
    "benchmark.py train": "--data records --backbone sphereface4 --width 0.05 --batch-size 4 "
    "--steps 1 --repeats 1 --memory-classes 0",
    "benchmark.py evaluate": "--backbone sphereface4 --width 0.05 --num-images 8 --num-pairs 100 "
    "--num-probes 160 --num-distractors 500 --repeats 1",
    "generate_faces.py": "--num-identities 2 --images-per-identity 2 --num-test-identities 4",
}

pytestmark = pytest.mark.full


def commands(block):
    """The commands of a shell block, continued lines joined, comments left out."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def shortened(words, fewer):
    """The words of a command and those that shorten it, which may have arguments behind a `--`."""
    if "--" not in fewer:
        return [*words, *fewer]
    behind = fewer.index("--")
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], *fewer[:behind], "--", *words[end + 1 :], *fewer[behind + 1 :]]


def run(words, folder):
    return subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def test_the_blocks_of_the_readme_run_in_their_order(faces, tmp_path, monkeypatch):
    # The names that the README uses for what a user holds.
    for name in ("casia", "lfw"):
        (tmp_path / name).mkdir()
        for part in ("images", "landmarks.txt", "pairs.txt"):
            (tmp_path / name / part).symlink_to(faces / part)
    pairs = lfw.read_pairs(faces / "pairs.txt")
    # Matched and mismatched pairs alternate, as in sets that are divided into ten folds.
    sides = np.flatnonzero(pairs.is_same), np.flatnonzero(~pairs.is_same)
    order = np.stack(sides, axis=1).ravel()
    keys = [side[i] for i in order for side in (pairs.first, pairs.second)]
    images = [(faces / "images" / key).read_bytes() for key in keys]
    insightface_bin.write_bin(tmp_path / "lfw" / "lfw.bin", images, pairs.is_same[order])
    (tmp_path / "casia" / "in_lfw.txt").write_text("person_0001\n")
    for name in ("tools", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert {language for language, _ in BLOCKS} == {"sh", "python", "yaml", "json"}
    for language, block in BLOCKS:
        if language == "yaml":  # its first line names the file
            (tmp_path / block.split()[1]).write_text(block)
            continue
        if language == "json":  # the TF_CONFIG of a worker on another machine
            monkeypatch.setenv("TF_CONFIG", block)
            assert strategy.workers_of_cluster() == 2
            monkeypatch.delenv("TF_CONFIG")
            continue
        if language == "python":
            result = run([sys.executable, "-c", block], tmp_path)
            assert result.returncode == 0, block + result.stderr
            continue
        for words in commands(block):
            if words[0] == "make":
                result = run(["make", "-n", *words[1:]], ROOT)
            elif words[0] == "python":
                script = words[1].split("/")[-1]
                fewer = FEWER.get(script) or FEWER.get(f"{script} {words[2]}") or ""
                result = run([sys.executable, *shortened(words[1:], fewer.split())], tmp_path)
            else:
                assert words[:2] == ["pip", "install"], f"a command unknown here: {words}"
                continue
            assert result.returncode == 0, " ".join(words) + "\n" + result.stderr
