"""Images are enrolled once, whatever interrupts it, and refused with their reason."""

import numpy as np
import pytest

from keras_sphereface.data import images
from keras_sphereface.export.recognition_file import OrdinaryNorms
from keras_sphereface.recognition import Gallery
from keras_sphereface.recognition.enroll_images import enroll_images, images_to_enroll
from keras_sphereface.recognition.enrollment import identity_of_file_name
from keras_sphereface.recognition.face_finder import FaceFinder
from tests.recognition.test_face_recognizer import RECOGNITION, noise, recognizer

KEYS = ("ada/1.png", "ada/2.png", "bob/1.png", "eve/1.png")


@pytest.fixture
def folder(tmp_path):
    for seed, key in enumerate(KEYS):
        write(tmp_path / "people" / key, noise(seed)[0])
    return tmp_path / "people"


@pytest.fixture
def gallery(tmp_path):
    with Gallery.create(tmp_path / "people.db", "sha256:5a") as gallery:
        yield gallery


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.encode_png(pixels))


def names_of(gallery):
    return {entry.name: entry.num_templates for entry in gallery.identities()}


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_each_folder_is_an_identity_with_the_network_s_embeddings(folder, gallery, batch_size):
    finder = FaceFinder(recognizer(), detect=False)
    enrolled = enroll_images(gallery, finder, images_to_enroll([folder]), batch_size)
    counts = enrolled.counts
    assert (counts.num_identities, counts.num_added, counts.num_present) == (3, 4, 0)
    assert names_of(gallery) == {"ada": 2, "bob": 1, "eve": 1}
    rows = recognizer().embed(noise(*range(4)), detect=False)
    matches = [match.name for (match,) in gallery.search(rows, top=1)]
    assert matches == ["ada", "ada", "bob", "eve"]
    assert gallery.search(rows[:1], top=1)[0][0].score == pytest.approx(1)
    # The quality is |x|, that of the face alone.
    (norm,) = np.linalg.norm(recognizer().views_of([finder.face(noise(2)[0], "x")])[:, 0], axis=1)
    assert gallery.identities()[1].quality == pytest.approx(norm, rel=1e-5)


def test_what_is_enrolled_is_not_embedded_again(folder, gallery):
    images = images_to_enroll([folder])
    finder = FaceFinder(recognizer(), detect=False)
    enroll_images(gallery, finder, images[:3])
    write(folder / "ada" / "copy.png", noise(0)[0])
    ours = recognizer()
    embedded = []
    network = ours.views_of
    ours.views_of = lambda faces: embedded.extend(faces) or network(faces)
    again = enroll_images(gallery, FaceFinder(ours, detect=False), images_to_enroll([folder]))
    assert len(embedded) == 1
    assert (again.counts.num_added, again.counts.num_present) == (1, 4)
    assert names_of(gallery) == {"ada": 2, "bob": 1, "eve": 1}


def test_an_interruption_loses_at_most_a_batch(folder, gallery):
    ours = recognizer()
    network = ours.views_of
    calls = []

    def cut_short(faces):
        calls.append(len(faces))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return network(faces)

    ours.views_of = cut_short
    images = images_to_enroll([folder])
    with pytest.raises(KeyboardInterrupt):
        enroll_images(gallery, FaceFinder(ours, detect=False), images, batch_size=2)
    assert names_of(gallery) == {"ada": 2}
    finder = FaceFinder(recognizer(), detect=False)
    counts = enroll_images(gallery, finder, images, batch_size=2).counts
    assert (counts.num_added, counts.num_present) == (2, 2)


def test_refused_images_have_reasons_and_doubtful_ones_warnings(folder, gallery):
    (folder / "bob" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    write(folder / "bob" / "ada.png", noise(0)[0])
    write(folder / "eve" / "smooth.png", np.full((112, 96, 3), np.arange(96)[:, None], np.uint8))
    finder = FaceFinder(recognizer(), detect=False)
    enrolled = enroll_images(gallery, finder, images_to_enroll([folder]))
    assert enrolled.refused["bob/ada.png"] == "the same image is given as ada"
    assert enrolled.refused["bob/bad.jpg"].startswith("cannot be read")
    assert len(enrolled.refused) == 2
    assert enrolled.warnings["eve/smooth.png"].startswith("the face is blurred")
    assert names_of(gallery) == {"ada": 2, "bob": 1, "eve": 2}
    assert enrolled.describe().endswith("2 images refused")
    strict = FaceFinder(recognizer(), detect=False, strict=True)
    (folder / "eve" / "smooth.png").rename(folder / "bob" / "smooth.png")
    assert "bob/smooth.png" in enroll_images(gallery, strict, images_to_enroll([folder])).refused


def test_an_enrollment_without_any_face_is_an_error(tmp_path, gallery):
    (tmp_path / "bad.jpg").write_bytes(b"")
    images = images_to_enroll([tmp_path / "bad.jpg"], "ada")
    with pytest.raises(ValueError, match=r"1 image, all refused.*the file is empty"):
        enroll_images(gallery, FaceFinder(recognizer(), detect=False), images)
    assert len(gallery) == 0


def test_known_landmarks_align_what_is_enrolled(tmp_path, gallery):
    photo = np.zeros((200, 200, 3), np.uint8)
    photo[30 : 30 + 112, 20 : 20 + 96] = noise(7)[0]
    write(tmp_path / "people" / "ada" / "1.png", photo)
    write(tmp_path / "people" / "ada" / "2.png", photo[1:])
    points = np.array(RECOGNITION.template) + (20, 30)
    finder = FaceFinder(recognizer(), landmarks={"ada/1.png": points})
    images = images_to_enroll([tmp_path / "people"])
    enrolled = enroll_images(gallery, finder, images, keep_images=True)
    assert enrolled.refused == {"ada/2.png": "no landmarks"}
    (match,) = gallery.search(recognizer().embed(noise(7), detect=False), top=1)[0]
    assert (match.name, match.score) == ("ada", pytest.approx(1, abs=1e-4))
    content = (tmp_path / "people" / "ada" / "1.png").read_bytes()
    assert gallery._store.value("SELECT content FROM images") == content


def test_identities_come_from_folders_a_name_or_a_list(folder, tmp_path):
    one = images_to_enroll([folder / "ada", folder / "bob" / "1.png"], "carol")
    assert [(image.identity, image.path.name) for image in one] == [
        ("carol", "1.png"),
        ("carol", "2.png"),
        ("carol", "1.png"),
    ]
    (tmp_path / "list.txt").write_text("ada/2.jpg\tAda Lovelace\nbob/1.png\tBob\n")
    listed = images_to_enroll([folder], identity_list=tmp_path / "list.txt")
    assert [(image.identity, image.name) for image in listed] == [
        ("Ada Lovelace", "ada/2.png"),
        ("Bob", "bob/1.png"),
    ]
    with pytest.raises(ValueError, match=r"--name NAME. Received: .*1.png, a file without"):
        images_to_enroll([folder / "bob" / "1.png"])
    with pytest.raises(ValueError, match="Keys must be IDENTITY/IMAGE"):
        images_to_enroll([folder / "bob"])


def test_identities_come_from_the_names_of_files(tmp_path):
    for name in ("ada lovelace 1.png", "ada lovelace 2.png", "Bob.png"):
        write(tmp_path / "photos" / name, noise(0)[0])
    named = images_to_enroll([tmp_path / "photos"], by_file_name=True)
    assert [image.identity for image in named] == ["Bob", "ada lovelace", "ada lovelace"]
    one = images_to_enroll([tmp_path / "photos" / "Bob.png"], by_file_name=True)
    assert [(image.identity, image.path.name) for image in one] == [("Bob", "Bob.png")]


@pytest.mark.parametrize(
    ("key", "identity"),
    [
        ("ada.jpg", "ada"),
        ("ada 1.jpg", "ada"),
        ("ada_0002.PNG", "ada"),
        ("ada-3.webp", "ada"),
        ("ada (4).jpg", "ada"),
        ("ada5.jpg", "ada"),
        ("x/y/ada lovelace 12.jpg", "ada lovelace"),
        ("Louis 14 2.jpg", "Louis 14"),
        ("Zo\u00eb 1.jpg", "Zo\u00eb"),
        ("007.jpg", "007"),
    ],
)
def test_a_file_is_named_after_its_identity(key, identity):
    assert identity_of_file_name(key) == identity


def test_short_embeddings_are_enrolled_with_a_warning_or_strictly_refused(folder, gallery):
    ours = recognizer(norms=OrdinaryNorms(1e6, 2e6, 3e6, 900))
    images = images_to_enroll([folder])
    strict = FaceFinder(ours, detect=False, strict=True)
    with pytest.raises(ValueError, match=r"4 images, all refused.*the embedding is short"):
        enroll_images(gallery, strict, images)
    assert len(gallery) == 0
    faces = recognizer().find_faces(noise(3)[0], detect=False)
    for seed in range(3):
        faces += recognizer().find_faces(noise(seed)[0], detect=False)
    *_, second, longest = sorted(face.quality.norm for face in recognizer().embed_faces(faces)[1])
    one_is_long = recognizer(norms=OrdinaryNorms((second + longest) / 2, 2e6, 3e6, 900))
    strict = FaceFinder(one_is_long, detect=False, strict=True)
    enrolled = enroll_images(gallery, strict, images)
    assert len(enrolled.refused) == 3
    assert enrolled.counts.num_identities == len(gallery) == 1
    gallery.remove(*[one.name for one in gallery.identities()])
    warnings = enroll_images(gallery, FaceFinder(ours, detect=False), images).warnings
    assert list(warnings) == list(KEYS)
    assert gallery.num_templates == 4
