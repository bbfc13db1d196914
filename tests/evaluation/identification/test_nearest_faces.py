"""Probes beside the identities nearest to them."""

import itertools

import numpy as np

from keras_sphereface.data import images
from keras_sphereface.data.contact_sheet import MARGIN
from keras_sphereface.evaluation.faces import Faces, MissingFaceError
from keras_sphereface.evaluation.identification.labeled_images import LabeledEmbeddings
from keras_sphereface.evaluation.identification.nearest_faces import (
    draw_nearest_faces,
    hardest_probes,
)
from keras_sphereface.metrics.identification import nearest_identities, search_gallery
from tests.helpers.identification import (
    cosine,
    evaluate,
    identity_of,
    lists_by_hand,
    read_probes,
    write_lists,
)


def labeled(rows, identities):
    keys = [f"{name}/{i}.jpg" for i, name in enumerate(identities)]
    return LabeledEmbeddings(np.array(rows, float), np.array(identities), keys)


def drawn():
    """Probe 0 is right, 1 is mistaken, and 2 is of nobody in the gallery."""
    entries = labeled([[1, 0, 0], [0, 1, 0], [0, 0, 1]], ["ann", "bob", "cid"])
    probes = labeled([[1, 0.1, 0], [0.9, 0.1, 0], [0.5, 0.4, 0.4]], ["ann", "bob", "eve"])
    result = search_gallery(
        entries.embeddings, entries.identities, probes.embeddings, probes.identities
    )
    nearest = nearest_identities(entries.embeddings, entries.identities, probes.embeddings, 2)
    return entries, probes, result, nearest


def test_the_probes_that_are_mistaken_most_clearly_come_first():
    assert hardest_probes(drawn()[2]).tolist() == [1, 2, 0]


def test_a_row_shows_a_probe_and_its_nearest():
    entries, probes, result, nearest = drawn()
    colors = {"ann": 50, "bob": 120, "cid": 200, "eve": 250}
    faces = Faces(lambda key: np.full((20, 30, 3), colors[identity_of(key)], np.uint8))
    sheet = images.decode(draw_nearest_faces(faces, {}, entries, probes, result, nearest))
    # Three rows and three columns of equal size, and the margins around them.
    row_height, column_width = ((size - MARGIN) // 3 for size in sheet.shape[:2])
    left = MARGIN + (column_width - MARGIN) // 2  # the middle of the first column
    seen = [
        [
            int(sheet[MARGIN + row * row_height + 10, left + column * column_width, 0])
            for column in range(3)
        ]
        for row in range(3)
    ]
    # The probe, then the nearest identities: bob is taken for ann, eve for ann or bob.
    assert seen == [[120, 50, 120], [250, 50, 120], [50, 50, 120]]


def test_without_faces_there_is_nothing_to_show():
    def missing(key):
        raise MissingFaceError("no such image")

    assert draw_nearest_faces(Faces(missing), {}, *drawn()) is None


def test_probes_csv_names_the_best_wrong_match(quick, views, tmp_path):
    lists = write_lists(tmp_path, *lists_by_hand(views, num_unknown=4))
    evaluate("open-set", quick, **lists)
    table = read_probes(tmp_path)
    gallery = lists_by_hand(views, num_unknown=4)[0]
    assert len(table) > 20
    for row in table.itertuples():
        others = {
            k: cosine(views[row.probe], views[k]) for k in gallery if gallery[k] != row.identity
        }
        assert others[row.top_nonmate] >= max(others.values()) - 1e-5
        assert abs(others[row.top_nonmate] - row.top_nonmate_score) < 1e-4
        nearest = [getattr(row, f"nearest_{k}") for k in range(1, 6)]
        scores = [cosine(views[row.probe], views[key]) for key in nearest]
        assert all(a >= b - 1e-5 for a, b in itertools.pairwise(scores))
        assert len({gallery[key] for key in nearest}) == 5
        assert (row.rank == 1) == (gallery[nearest[0]] == row.identity)
