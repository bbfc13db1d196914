"""Which images are identified: settings, lists, and identities that are left out."""

import pytest

from keras_sphereface.data.pairs import lfw
from tests.helpers.identification import (
    evaluate,
    identity_of,
    lists_by_hand,
    read_probes,
    save_views,
    write_labels,
    write_lists,
)


@pytest.mark.parametrize(
    ("protocol", "changes", "error", "message"),
    [
        ("closed-set", {"embeddings": ()}, ValueError, "`model` or `embeddings` must name"),
        ("closed-set", {"gallery": "g"}, ValueError, r"belong together. .* gallery='g', probes=''"),
        ("open-set", {"probes": "p"}, ValueError, r"belong together. .* gallery='', probes='p'"),
        ("closed-set", {"gallery": "g", "probes": "p"}, FileNotFoundError, "'g'"),
        ("closed-set", {"images": "i", "records": "r"}, ValueError, "images='i', records='r'"),
        ("closed-set", {"images": "absent"}, FileNotFoundError, "`images` must be .*absent"),
        ("closed-set", {"landmarks": "l"}, ValueError, "`landmarks` needs `images`. Received: "),
        ("closed-set", {"templates": "t"}, ValueError, "`templates` needs `gallery` and `probes`"),
        ("closed-set", {"folds": (1,)}, ValueError, r"`folds` needs `pairs`. Received: folds=\(1"),
        ("closed-set", {"batch_size": 0}, ValueError, "Received: batch_size=0"),
        ("closed-set", {"max_rank": 0}, ValueError, "`max_rank` must be >= 1. .* max_rank=0"),
        ("closed-set", {"gallery_images": 0}, ValueError, "Received: gallery_images=0"),
        ("closed-set", {"gallery_images": 6}, ValueError, "more than 6 images, .* 114 images"),
        ("open-set", {"candidates": 0}, ValueError, "`candidates` must be >= 1. .* candidates=0"),
        ("open-set", {"unknown_share": 1.0}, ValueError, "Received: unknown_share=1.0"),
        ("open-set", {"gallery_images": 6}, ValueError, "10 of 19 identities unknown"),
        ("distractors", {}, ValueError, "`distractors` must be class folders.*Received: nothing"),
        ("distractors", {"distractors": "absent"}, FileNotFoundError, "`distractors` must be a fo"),
        ("distractors", {"distractors": "absent.npz"}, FileNotFoundError, "absent.npz"),
        ("distractors", {"max_rank": -1}, ValueError, "`max_rank` must be >= 1"),
        ("closed-set", {"train_labels": "absent.csv"}, FileNotFoundError, "absent.csv"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(
    quick, tmp_path, protocol, changes, error, message
):
    with pytest.raises(error, match=message):
        evaluate(protocol, quick, **changes)
    assert not (tmp_path / "out").exists()


def test_networks_need_images(settings, views, tmp_path):
    lists = write_lists(tmp_path, *lists_by_hand(views))
    with pytest.raises(ValueError, match="needs images: give `images` or `records`"):
        evaluate("closed-set", settings, images="", landmarks="", **lists)


def test_keys_of_saved_embeddings_must_hold_identities(quick, views, tmp_path):
    nameless = {key.replace("/", "-"): view for key, view in views.items()}
    path = save_views(tmp_path / "nameless.npz", nameless)
    with pytest.raises(ValueError, match="Identities must come from `images`, `records`"):
        evaluate("closed-set", quick, embeddings=(str(path),))


def test_identities_outside_of_the_pairs_and_folds_are_left_out(quick, faces, tmp_path):
    pairs = str(faces / "pairs.txt")
    (metrics,) = evaluate("closed-set", quick, pairs=pairs)
    assert set(read_probes(tmp_path)["identity"]) == lfw.read_pairs(pairs).identities()
    assert metrics.num_gallery_identities == 14
    evaluate("open-set", quick, pairs=pairs, folds=(2, 5))
    wanted = lfw.read_pairs(pairs).in_folds((2, 5)).identities()
    assert set(read_probes(tmp_path)["identity"]) == wanted
    assert len(wanted) == 4


def test_identities_of_the_training_set_are_left_out_and_warned_of(quick, views, tmp_path):
    identities = sorted({identity_of(key) for key in views})
    labels = write_labels(tmp_path / "labels.csv", [*identities[:6], "Somebody else"])
    (metrics,) = evaluate("closed-set", quick, train_labels=labels)
    assert set(read_probes(tmp_path)["identity"]) == set(identities[6:])
    assert metrics.warnings == ("Left out, as asked: 6 identities of the training set.",)
    lists = write_lists(tmp_path, *lists_by_hand(views, 5))
    (metrics,) = evaluate("open-set", quick, train_labels=labels, **lists)
    assert set(read_probes(tmp_path)["identity"]) == set(identities[6:])
    assert metrics.num_gallery_identities == 19 - 6 - 5


def test_an_empty_gallery_is_refused(quick, views, tmp_path):
    identities = sorted({identity_of(key) for key in views})
    labels = write_labels(tmp_path / "all.csv", identities)
    with pytest.raises(ValueError, match=r"No identity is left. Received: pairs='', .*all.csv"):
        evaluate("closed-set", quick, train_labels=labels)
    lists = write_lists(tmp_path, *lists_by_hand(views, 4))
    labels = write_labels(tmp_path / "known.csv", identities[:-4])
    with pytest.raises(ValueError, match=r"No identity of `gallery` is left. .* Received: 30 k"):
        evaluate("open-set", quick, train_labels=labels, **lists)
