"""The README and docs: commands and links are right, and every block runs or says why not."""

import ast
import html
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_sphereface.commands.main import main
from keras_sphereface.commands.registry import COMMANDS
from keras_sphereface.data.pairs import insightface_bin, lfw
from keras_sphereface.distribute import strategy
from tests.conftest import ROOT
from tests.helpers import badges
from tests.helpers.documents import GUIDES, README, blocks, commands, name_of

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*.ipynb")),
    *sorted((ROOT / ".github").rglob("*.*")),
]
RUN = {"sh", "python", "yaml", "json"}
# What is there to be read: diagrams, what a program prints, a reference.
READ = {"mermaid", "text", "bibtex"}
# A command's further arguments come last, so that those for `launch` are the training's.
SHORT_TRAINING = "--width 0.1 --batch-size 4 --total-steps 2 --log-steps 1"
# What the documents ask for takes hours; the last of two equal flags counts.
FEWER = {
    "train": SHORT_TRAINING,
    "launch": SHORT_TRAINING,
    # Other documents begin with the embeddings.
    "evaluate": "--save-embeddings",
    "compare-losses": "--losses softmax triplet --num-seeds 1 -- --backbone sphereface4 "
    "--width 0.05 --batch-size 8 --total-steps 2",
    "spheres": "--num-identities 3 --total-steps 2 --m 4 --num-seeds 1",
    "benchmark head": "--cases A-Softmax --num-classes 40 --sweep 30 --repeats 1 --batch-size 4",
    "benchmark convergence": "--num-networks 1 --m 4 --total-steps 5 --width 0.1 --batch-size 4",
    "benchmark data": "--num-images 130 --memory-images 0 --repeats 1",
    "benchmark train": "--data records --backbone sphereface4 --width 0.05 --batch-size 4 "
    "--steps 1 --repeats 1 --memory-classes 0",
    "benchmark scaling": "--repeats 0",
    "benchmark evaluate": "--backbone sphereface4 --width 0.05 --num-images 8 --num-pairs 100 "
    "--num-probes 160 --num-distractors 500 --repeats 1",
    "faces": "--num-identities 2 --images-per-identity 2 --num-test-identities 4",
}
# Programs that a shell block may name. What cannot be run here is marked in the document.
PROGRAMS = {"sphereface", "python", "pip"}


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
    table = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `sphereface ([a-z-]+)` \|", table, re.M) == list(COMMANDS)


def test_the_readme_is_short_and_its_badges_are_true():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 220
    drawn = badges.badges()
    shown = re.findall(r"!\[(.*?)\]\((docs/images/badges/(.*?))\)", text)
    assert {name for _, _, name in shown} == set(drawn)
    for title, file, name in shown:
        assert f"<title>{title}</title>" in drawn[name]
        assert (ROOT / file).read_text(encoding="utf-8") == drawn[name]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_document_names_commands_that_exist(path):
    named = re.findall(r"`sphereface\s+([a-z][a-z-]*)", path.read_text(encoding="utf-8"))
    assert set(named) <= set(COMMANDS)


def anchors(path):
    """The anchors of a document: GitHub's and the site's names of its headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ +(.+?) *$", text, re.M)
    words = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in words}


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + GUIDES[1:], ids=name_of)
def test_the_links_of_a_document_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    targets += re.findall(r'\b(?:src|srcset|href)="([^"]+)"', text)
    for target in targets:
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = html.unescape(target).partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("path", GUIDES, ids=name_of)
def test_the_blocks_of_a_document_run_or_say_why_not(path):
    for block in blocks(path):
        assert block.language, f"a block without a language: {block.text}"
        if block.reason is not None:
            assert len(block.reason.split()) > 3, "the reason is a sentence"
            continue
        assert block.language in RUN | READ, block
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "sh":
            assert {words[0] for words in commands(block.text)} <= PROGRAMS, block.text


@pytest.mark.parametrize("path", GUIDES, ids=name_of)
def test_the_command_lines_of_a_document_are_valid(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for block in blocks(path):
        if block.language == "yaml" and block.reason is None:
            (tmp_path / block.text.split()[1]).write_text(block.text)
    for block in (block for block in blocks(path) if block.language == "sh"):
        for line in (words for words in commands(block.text) if words[0] == "sphereface"):
            for words in parsed(line[1:]):
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
    """The words that start a program of a document, shortened; None for what is not run."""
    if words[0] == "sphereface":
        fewer = FEWER.get(words[1]) or FEWER.get(" ".join(words[1:3])) or ""
        # The drawings that the tests use are aligned faces; a detector finds none in them.
        if words[1] == "compare" and "--detector" in words:
            at = words.index("--detector")
            words = [*words[:at], "--aligned", *words[at + 2 :]]
        return [sys.executable, "-m", "keras_sphereface", *shortened(words[1:], fewer.split())]
    if words[0] == "python":
        return [sys.executable, *words[1:]]
    assert words[:2] == ["pip", "install"], f"a command unknown here: {words}"
    return None


def run_document(path, folder):
    """Run the blocks of a document in their order, in the folder of a user."""
    shown = blocks(path)
    for block, following in zip(shown, [*shown[1:], None], strict=True):
        if block.reason is not None:
            continue
        if block.language == "yaml":  # its first line names the file
            (folder / block.text.split()[1]).write_text(block.text)
        if block.language == "json":  # the TF_CONFIG of a worker on another machine
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TF_CONFIG", block.text)
                assert strategy.workers_of_cluster() == 2
        if block.language == "python":
            result = run([sys.executable, "-c", block.text], folder)
            assert result.returncode == 0, block.text + result.stderr
            if following and following.language == "text" and following.reason is None:
                assert result.stdout.split() == following.text.split()
        if block.language == "sh":
            for program in filter(None, map(program_of, commands(block.text))):
                result = run(program, folder)
                assert result.returncode == 0, " ".join(program) + "\n" + result.stderr


@pytest.fixture(scope="module")
def user_folder(faces, tmp_path_factory):
    """The names that the documents use for what a user holds, and what the README makes of it."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("casia", "lfw"):
        (folder / name).mkdir()
        for part in ("images", "landmarks.txt", "pairs.txt"):
            (folder / name / part).symlink_to(faces / part)
    pairs = lfw.read_pairs(faces / "pairs.txt")
    # Matched and mismatched pairs alternate, as in sets that are divided into ten folds.
    sides = np.flatnonzero(pairs.is_same), np.flatnonzero(~pairs.is_same)
    order = np.stack(sides, axis=1).ravel()
    keys = [side[i] for i in order for side in (pairs.first, pairs.second)]
    images = [(faces / "images" / key).read_bytes() for key in keys]
    insightface_bin.write_bin(folder / "lfw" / "lfw.bin", images, pairs.is_same[order])
    people = sorted({key.split("/")[0] for key in keys})
    groups = [f"{person},{('woman', 'man')[n % 2]}" for n, person in enumerate(people)]
    (folder / "lfw" / "groups.csv").write_text("\n".join(["identity,gender", *groups]))
    for name, image in zip(("first.jpg", "second.jpg"), images, strict=False):
        (folder / name).write_bytes(image)
    (folder / "tools").symlink_to(ROOT / "tools")
    run_document(README, folder)
    return folder


@pytest.mark.full
@pytest.mark.parametrize("path", [p for p in GUIDES if blocks(p)], ids=name_of)
def test_the_blocks_of_a_document_run_in_their_order(path, user_folder, tmp_path):
    if path == README:  # `user_folder` has run it
        return
    folder = tmp_path / "user"
    shutil.copytree(user_folder, folder, symlinks=True)
    run_document(path, folder)
