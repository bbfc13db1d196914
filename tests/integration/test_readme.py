"""Documents name commands that exist, and every code block of the README runs, with few steps."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from keras_sphereface.commands.main import main
from keras_sphereface.commands.registry import COMMANDS
from keras_sphereface.data.pairs import insightface_bin, lfw
from keras_sphereface.distribute import strategy
from tests.conftest import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*.ipynb")),
    *sorted((ROOT / ".github").rglob("*.*")),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)
# A command's further arguments come last, so that those for `launch` are the training's.
SHORT_TRAINING = "--width 0.1 --batch-size 4 --total-steps 2 --log-steps 1"
# What the README asks for takes hours; the last of two equal flags counts.
FEWER = {
    "train": SHORT_TRAINING,
    "launch": SHORT_TRAINING,
    "compare-losses": "--losses softmax triplet --num-seeds 1 -- --backbone sphereface4 "
    "--width 0.05 --batch-size 8 --total-steps 2",
    "spheres": "--num-identities 3 --total-steps 2 --m 4 --num-seeds 1",
    "benchmark head": "--cases A-Softmax --num-classes 40 --sweep 30 --repeats 1 --batch-size 4",
    "benchmark convergence": "--num-networks 1 --m 4 --total-steps 5 --width 0.1 --batch-size 4",
    "benchmark data": "--num-images 130 --memory-images 0 --repeats 1",
    "benchmark train": "--data records --backbone sphereface4 --width 0.05 --batch-size 4 "
    "--steps 1 --repeats 1 --memory-classes 0",
    "benchmark evaluate": "--backbone sphereface4 --width 0.05 --num-images 8 --num-pairs 100 "
    "--num-probes 160 --num-distractors 500 --repeats 1",
    "faces": "--num-identities 2 --images-per-identity 2 --num-test-identities 4",
}


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


def parsed(words):
    """Every command line in the words after `sphereface`, as one that only prints its settings."""
    end = words.index("--") if "--" in words else len(words)
    yield [*words[:end], "--print-config", *words[end:]]
    behind = words[end + 1 :]
    if words[0] == "launch":
        yield from parsed(behind)
    if words[0] == "compare-losses":
        yield from parsed(["train", *behind])


def test_the_table_of_commands_is_complete():
    assert re.findall(r"^\| `sphereface ([a-z-]+)` \|", README, re.M) == list(COMMANDS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_commands_that_exist(path):
    named = re.findall(r"`sphereface\s+([a-z][a-z-]*)", path.read_text(encoding="utf-8"))
    assert set(named) <= set(COMMANDS)


def test_the_command_lines_of_the_readme_are_valid(tmp_path, monkeypatch, capsys):
    (settings,) = [block for language, block in BLOCKS if language == "yaml"]
    (tmp_path / settings.split()[1]).write_text(settings)
    monkeypatch.chdir(tmp_path)
    blocks = [block for language, block in BLOCKS if language == "sh"]
    lines = [words for block in blocks for words in commands(block) if words[0] == "sphereface"]
    assert len(lines) > 20
    for words in (words for line in lines for words in parsed(line[1:])):
        with pytest.raises(SystemExit) as ending:
            main(words)
        assert ending.value.code == 0, (words, capsys.readouterr().err)


def run(words, folder):
    return subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def program_of(words):
    """The words that start a program of the README, shortened; None for what is not run."""
    if words[0] == "sphereface":
        fewer = FEWER.get(words[1]) or FEWER.get(" ".join(words[1:3])) or ""
        return [sys.executable, "-m", "keras_sphereface", *shortened(words[1:], fewer.split())]
    if words[0] == "python":
        return [sys.executable, *words[1:]]
    if words[0].startswith("KERAS_BACKEND="):  # and a script of the user's
        return None
    assert words[:2] == ["pip", "install"], f"a command unknown here: {words}"
    return None


@pytest.mark.full
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
    (tmp_path / "tools").symlink_to(ROOT / "tools")
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
            program = program_of(words)
            if program:
                result = run(program, tmp_path)
                assert result.returncode == 0, " ".join(words) + "\n" + result.stderr
