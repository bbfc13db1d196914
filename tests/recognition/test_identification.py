"""Who a face is: names, scores and the threshold for the size of the gallery, none made up."""

import numpy as np
import pytest

from keras_sphereface.export.recognition_file import RecognitionThreshold
from keras_sphereface.metrics.identification import fmr_for_fpir, fpir_of_fmr
from keras_sphereface.recognition import DoubtfulImageError, Gallery
from keras_sphereface.recognition.identification import open_set_threshold
from tests.recognition.test_face_recognizer import RECOGNITION, faces_at, noise, recognizer

FINE = (RecognitionThreshold(0.01, 0.3), RecognitionThreshold(1e-4, 0.9))


@pytest.fixture
def gallery(tmp_path):
    """Five identities with two templates each; images 0 to 4 are the first ones."""
    rows = recognizer().embed(noise(*range(10)), detect=False)
    with Gallery.create(tmp_path / "people.db", "sha256:5a") as gallery:
        for number in range(5):
            gallery.enroll(f"p{number}", rows[[number, number + 5]])
        yield gallery


@pytest.mark.parametrize("count", [1, 7, 1000])
@pytest.mark.parametrize("fpir", [0.5, 0.01, 1e-6])
def test_fmr_and_fpir_are_inverse_and_those_of_a_product(count, fpir):
    fmr = fmr_for_fpir(fpir, count)
    assert fpir_of_fmr(fmr, count) == pytest.approx(fpir, rel=1e-9)
    product = 1.0
    for _ in range(count):
        product *= 1 - fmr
    assert 1 - product == pytest.approx(fpir, rel=1e-5)


def test_the_ends_of_rates():
    assert (fpir_of_fmr(0, 9), fpir_of_fmr(1, 9), fpir_of_fmr(1, 0), fpir_of_fmr(0.5, 0)) == (
        0,
        1,
        0,
        0,
    )
    assert fpir_of_fmr(1e-17, 10) == pytest.approx(1e-16)
    with pytest.raises(ValueError, match=r"`fpir` must be in \(0, 1\)"):
        fmr_for_fpir(1.0, 5)


def test_an_enrolled_face_is_named_with_what_its_score_is_worth(gallery):
    answer = recognizer(thresholds=FINE).identify(noise(3)[0], gallery, top=3, detect=False)
    assert (answer.name, answer.is_known, len(answer.candidates)) == ("p3", True, 3)
    first = answer.candidates[0]
    assert first.score == pytest.approx(1)
    assert first.log_likelihood_ratio == pytest.approx(20 * first.score - 8)
    # Every one of the ten templates is a comparison.
    assert (answer.num_identities, answer.num_comparisons) == (5, 10)
    assert (answer.threshold, answer.fmr) == (0.9, 1e-4)
    assert answer.fpir == pytest.approx(1 - (1 - 1e-4) ** 10)
    assert answer.describe().startswith("p3: the score 1.000 reaches the threshold 0.900 (about")
    assert answer.notes == ()


def test_a_face_below_the_threshold_is_unknown(gallery):
    answer = recognizer(thresholds=FINE).identify(noise(77)[0], gallery, detect=False)
    assert (answer.name, answer.is_known) == (None, False)
    assert answer.candidates[0].score < 0.9
    assert answer.describe().startswith("Unknown: the most similar, p")


def test_without_recognition_json_there_are_names_and_scores_only(gallery):
    answer = recognizer().identify(noise(2)[0], gallery, detect=False)
    assert answer.candidates[0].name == "p2"
    missing = (answer.is_known, answer.threshold, answer.fmr, answer.fpir, answer.name)
    assert missing == (None,) * 5
    assert answer.candidates[0].log_likelihood_ratio is None
    assert "no recognition.json" in answer.notes[0]
    assert answer.describe() == "Most similar is p2, with the score 1.000."


@pytest.mark.parametrize(
    ("count", "fpir", "fmr"),
    [(1, 0.01, 0.01), (2, 0.01, 1e-4), (100, 0.01, 1e-4), (3, 0.1, 0.01), (1000, 0.1, 1e-4)],
)
def test_the_threshold_is_the_lowest_that_keeps_the_rate(count, fpir, fmr):
    recognition = recognizer(thresholds=FINE).recognition
    threshold, notes = open_set_threshold(recognition, count, fpir)
    assert (threshold.fmr, notes) == (fmr, [])


def test_a_rate_that_no_threshold_keeps_is_refused_or_told():
    with pytest.raises(ValueError, match=r"200 comparisons 0.01 .* is 0.001, .* Give fpir >= 0.18"):
        open_set_threshold(RECOGNITION, 200, 0.01)
    threshold, (note,) = open_set_threshold(RECOGNITION, 200)
    assert threshold.threshold == 0.5
    assert "about 18 % of unknown faces are taken for someone" in note
    assert open_set_threshold(recognizer(thresholds=()).recognition, 200)[0] is None


def test_mean_templates_are_fewer_comparisons_of_another_kind(gallery):
    answer = recognizer(thresholds=FINE).identify(noise(2)[0], gallery, fusion="mean", detect=False)
    assert answer.num_comparisons == 5
    assert "the mean of several templates" in answer.notes[0]


def test_an_empty_gallery_knows_nobody(tmp_path):
    with Gallery.create(tmp_path / "none.db", "sha256:5a") as gallery:
        answer = recognizer(thresholds=FINE).identify(noise(1)[0], gallery, detect=False)
    assert (answer.candidates, answer.is_known, answer.name) == ((), False, None)
    assert answer.describe() == "Unknown: the gallery is empty."


def test_a_gallery_of_another_model_is_refused(gallery):
    ours = recognizer()
    ours.fingerprint = "sha256:77"
    with pytest.raises(ValueError, match=r"come from another model.* Received: sha256:77; .*:5a"):
        ours.identify(noise(1)[0], gallery, detect=False)


def test_all_faces_of_a_photograph_are_identified_in_one_search(gallery):
    photo = np.zeros((300, 400, 3), np.uint8)
    for left, crop in ((20, noise(4)[0]), (220, noise(77)[0])):
        photo[30 : 30 + 112, left : left + 96] = crop
    detector = faces_at((20, 30, 1), (220, 30, 1))
    ours = recognizer(detector, thresholds=FINE)
    known, unknown = ours.identify_faces(ours.find_faces(photo), gallery)
    assert (known.name, known.box[0], unknown.name) == ("p4", 20, None)
    assert ours.identify_faces([], gallery) == []
    with pytest.raises(DoubtfulImageError, match="2 faces are detected"):
        ours.identify(photo, gallery)


def test_detected_faces_have_no_threshold_from_other_alignment(gallery):
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    ours = recognizer(faces_at((20, 30, 1)), alignment="center crop")
    answer = ours.identify(photo, gallery)
    assert (answer.threshold, answer.candidates[0].log_likelihood_ratio) == (None, None)
    assert "another alignment" in answer.notes[0]
