"""`sphereface gallery`: the commands on files of embeddings, without TensorFlow."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_sphereface.commands.main import main
from keras_sphereface.data import images
from keras_sphereface.recognition import Gallery
from keras_sphereface.recognition.gallery_file import GalleryFile
from tests.conftest import ROOT
from tests.recognition.test_face_recognizer import noise

KEYS = ["ada/1.jpg", "ada/2.jpg", "bob/1.jpg"]
ROWS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("model", "other"):
        (tmp_path / f"{name}.tflite").write_text(name)
    np.savez("faces.npz", keys=KEYS, embeddings=ROWS)
    return tmp_path


def run(words, capsys):
    capsys.readouterr()
    assert main(["gallery", *words.split()]) == 0
    return capsys.readouterr().out.splitlines()


def error_of(words, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["gallery", *words.split()])
    assert ended.value.code == 1
    return capsys.readouterr().err.splitlines()[-1].removeprefix("error: ")


CREATE = "create --gallery people.db --model model.tflite"
ENROLL = "enroll --gallery people.db --embeddings faces.npz"


def test_the_way_of_a_gallery(place, capsys):
    assert run(CREATE, capsys) == ["written to people.db"]
    assert run("list --gallery people.db", capsys) == ["0 identities, 0 templates of no numbers"]
    first = ["3 templates of 2 identities enrolled", "written to people.db"]
    assert run(ENROLL, capsys) == first
    again = "0 templates of 2 identities enrolled; 3 were there already"
    assert run(f"{ENROLL} --model model.tflite", capsys)[0] == again
    assert run("list --gallery people.db", capsys)[1:] == [
        "ada          2",
        "bob          1",
        "2 identities, 3 templates of 4 numbers",
    ]
    listed = json.loads("\n".join(run("list --gallery people.db --json", capsys)))
    assert listed["embedding_size"] == 4
    assert len(listed["fingerprint"]) == 64
    assert listed["identities"][0] == {"name": "ada", "num_templates": 2, "quality": None}
    exported = ["3 templates of 2 identities", "written to people.npz"]
    assert run("export --gallery people.db --out people.npz", capsys) == exported
    removed = run("remove --gallery people.db --name ada", capsys)
    assert removed == ["removed from people.db: ada"]
    # What was exported can be enrolled again.
    assert run("enroll --gallery people.db --embeddings people.npz", capsys)[0] == (
        "2 templates of 2 identities enrolled; 1 were there already"
    )
    with Gallery.open("people.db") as gallery:
        matches = gallery.search(ROWS, top=1)
    assert [match.name for (match,) in matches] == ["ada", "ada", "bob"]


def test_a_list_gives_the_identities(place, capsys):
    run(CREATE, capsys)
    (place / "list.txt").write_text("ada/1.png\tAda Lovelace\nbob/1.jpg\tBob\n")
    lines = run(f"{ENROLL} --identities list.txt", capsys)
    assert lines[0] == "2 templates of 2 identities enrolled"
    with Gallery.open("people.db") as gallery:
        assert [entry.name for entry in gallery.identities()] == ["Ada Lovelace", "Bob"]
        (((match),),) = gallery.search(ROWS[:1], top=1)
    assert match.name == "Ada Lovelace"


def test_mirrored_embeddings_are_joined(place, capsys):
    np.savez("both.npz", keys=KEYS, embeddings=ROWS, mirrored=2 * ROWS)
    run(CREATE, capsys)
    run("enroll --gallery people.db --embeddings both.npz", capsys)
    with Gallery.open("people.db") as gallery:
        (((match),),) = gallery.search(np.concatenate([ROWS, 2 * ROWS], axis=1)[:1], top=1)
        assert gallery.dim == 8
    assert match.score == pytest.approx(1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            CREATE,
            "A gallery must be a new file; remove the old one, or enroll into it. Received: pe",
        ),
        ("create --gallery new.db --model faces.npz", "A network must be a SavedModel folder"),
        (f"{ENROLL} --model other.tflite", "The templates of people.db come from another model"),
        (
            "enroll --gallery people.db --embeddings model.tflite",
            "model.tflite must be an .npz file",
        ),
        (
            "enroll --gallery people.db --embeddings flat.npz",
            "--identities FILE. Received: flat.npz",
        ),
        ("enroll --gallery people.db --embeddings wide.npz", "`templates` must be embeddings of 4"),
        ("enroll --gallery people.db --embeddings alien.npz", "alien.npz come from another model"),
        ("enroll --gallery people.db --embeddings odd.npz", "`embeddings` (N, D) of floats"),
        (f"{ENROLL} --identities wrong.txt", "that are not, the first is eve/1.jpg"),
        ("enroll --gallery peple.db --embeddings faces.npz", "Did you mean `people.db`?"),
        (
            "list --gallery faces.npz",
            "`gallery` must be the file of a gallery. Received: faces.npz",
        ),
        ("remove --gallery people.db --name adda", "Did you mean `ada`?"),
        ("export --gallery people.db --out people.csv", "`out` must end in .npz or .parquet"),
    ],
)
def test_a_mistake_ends_in_a_sentence_and_changes_nothing(place, words, message, capsys):
    run(CREATE, capsys)
    run(ENROLL, capsys)
    np.savez("flat.npz", keys=["1.jpg"], embeddings=ROWS[:1])
    np.savez("wide.npz", keys=["eve/1.jpg"], embeddings=np.ones((1, 5)))
    np.savez("alien.npz", keys=["eve/1.jpg"], embeddings=ROWS[:1], fingerprint="sha256:77")
    np.savez("odd.npz", keys=KEYS, embeddings=ROWS[:2])
    (place / "wrong.txt").write_text("ada/1.jpg\tada\neve/1.jpg\teve\n")
    assert message in error_of(words, capsys)
    assert run("list --gallery people.db", capsys)[-1].startswith("2 identities, 3 templates")


@pytest.mark.slow
def test_no_command_imports_tensorflow(place):
    program = (
        "import sys\n"
        "sys.argv = ['sphereface']\n"
        "from keras_sphereface.commands.main import main\n"
        f"for words in {[CREATE, ENROLL, 'list --gallery people.db']}:\n"
        "    main(['gallery', *words.split()])\n"
        "assert not {'tensorflow', 'keras', 'pandas'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


@pytest.mark.slow
def test_the_way_of_a_gallery_in_a_database(place, postgres_server, capsys):
    with postgres_server.new_schema() as url:
        url = url.replace("postgres:@", "postgres:secret@")
        run(f"create --gallery {url} --model model.tflite", capsys)
        printed = run(f"enroll --gallery {url} --embeddings faces.npz", capsys)
        assert printed[0] == "3 templates of 2 identities enrolled"
        assert printed[1].startswith("written to postgresql://postgres@/postgres?schema=test")
        assert run(f"remove --gallery {url} --name bob", capsys)[0].endswith(": bob")
        assert run(f"list --gallery {url}", capsys)[-1] == "1 identity, 2 templates of 4 numbers"
        run(f"export --gallery {url} --out out.npz", capsys)
        with np.load("out.npz") as arrays:
            np.testing.assert_array_equal(arrays["embeddings"], ROWS[:2])
        error = error_of(
            f"enroll --gallery {url} --embeddings faces.npz --model other.tflite", capsys
        )
        assert "come from another model" in error
        assert "secret" not in error


def test_an_index_is_built_and_its_recall_printed(place, monkeypatch, capsys):
    pytest.importorskip("faiss", reason="faiss-cpu is not installed beside this Python")
    run(CREATE, capsys)
    run(ENROLL, capsys)
    message = error_of("index --gallery people.db", capsys)
    assert message.startswith("An index must have more than 100,000 templates")
    monkeypatch.setattr(GalleryFile, "index_above", 2)
    lines = run("index --gallery people.db --num-probes 2", capsys)
    assert lines[0].startswith("FAISS HNSW index of 3 templates, built in ")
    assert lines[0].endswith("recall at 1: 1.000 of 2 sampled templates")
    assert lines[1] == "written to people.db"


@pytest.fixture
def people(place, savedmodel):
    (place / "net").symlink_to(savedmodel)
    for seed, key in enumerate(("ada/1.png", "ada/2.png", "bob/1.png")):
        path = place / "people" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.encode_png(noise(seed)[0]))
    (place / "people" / "bob" / "bad.png").write_bytes(b"")
    return place


def test_images_are_enrolled_and_refused_ones_listed(people, capsys):
    run("create --gallery people.db --model net", capsys)
    words = "enroll people --gallery people.db --model net --aligned"
    main(["gallery", *words.split()])
    written = capsys.readouterr()
    assert written.out.splitlines()[-2:] == [
        "3 templates of 2 identities enrolled; 1 image refused",
        "written to people.db",
    ]
    assert "bob/bad.png: cannot be read: the file is empty" in written.err
    values = json.loads("\n".join(run(f"{words} --json", capsys)))
    assert (values["num_added"], values["num_present"]) == (0, 3)
    assert list(values["refused"]) == ["bob/bad.png"]
    named = "enroll people/bob/1.png --name Robert --gallery people.db --model net --aligned"
    assert run(named, capsys)[0].startswith("1 template of 1 identity enrolled")
    assert run("list --gallery people.db", capsys)[1].split()[:2] == ["Robert", "1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--gallery people.db", "Received: neither"),
        ("people --embeddings faces.npz --gallery people.db", "Received: both"),
        ("people --gallery people.db --aligned", "Images need the network"),
        ("people --gallery people.db --model net", "Received: none of them"),
        (
            "people --gallery people.db --model net --aligned --name a --identities faces.npz",
            "Received: --name and --identities",
        ),
        (
            "people/ada --gallery people.db --model net --aligned",
            "If their names say who is on them, as `ada 1.jpg`, add --by-file-name",
        ),
        ("--embeddings faces.npz --gallery people.db --aligned", "--embeddings with --aligned"),
        ("people/ada --gallery people.db --model net --aligned", "people/ada"),
        ("people --gallery people.db --model model.tflite --aligned", "come from another model"),
    ],
)
def test_mistakes_in_enrolling_images_are_answered(people, words, message, capsys):
    run("create --gallery people.db --model net", capsys)
    assert message in error_of(f"enroll {words}", capsys)
