"""Identification as a whole: sources of faces, lists, templates, missing images, the command."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.commands.identify import run_identify
from keras_sphereface.config import ConvertConfig
from keras_sphereface.config.identify import IDENTIFY_CONFIGS, ClosedSetConfig, OpenSetConfig
from keras_sphereface.config.parsing import parse_command
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.evaluation.identification.evaluate import evaluate_identification
from keras_sphereface.evaluation.identification.identity_map import (
    identities_of_folders,
    select_identities,
)
from tests.conftest import ROOT
from tests.helpers.identification import (
    check_probes,
    evaluate,
    identity_of,
    lists_by_hand,
    read_probes,
    save_views,
    search_by_hand,
    write_lists,
)

CHANGES = {
    "closed-set": {"max_rank": 5},
    "open-set": {"unknown_share": 0.4},
    "distractors": {},
}


@pytest.fixture(scope="module")
def aligned_records(aligned, tmp_path_factory):
    """Records keep aligned images as they are."""
    folder = tmp_path_factory.mktemp("records") / "records"
    make_records(ConvertConfig(source=str(aligned), out=str(folder)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("protocol", CHANGES)
def test_images_records_and_embeddings_give_the_same_numbers(
    settings, quick, aligned, aligned_records, distractors, tmp_path, protocol
):
    changes = CHANGES[protocol] | (distractors if protocol == "distractors" else {})
    common = {name: settings[name] for name in ("model", "out", "batch_size")}
    results, tables = [], []
    for source in (
        settings,
        {**common, "images": str(aligned)},
        {**common, "records": str(aligned_records)},
        quick,
    ):
        (metrics,) = evaluate(protocol, source, **changes)
        results.append(dataclasses.replace(metrics, model=""))
        tables.append(read_probes(tmp_path).assign(model=""))
    assert results[0] == results[1] == results[2]
    if protocol == "open-set":  # rounded otherwise
        results = [dataclasses.replace(metrics, verification=None) for metrics in results]
    assert results[3] == results[0]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "num_unknown"), [("closed-set", 0), ("open-set", 7)])
def test_lists_give_gallery_and_probes(settings, views, tmp_path, protocol, num_unknown):
    gallery, probes = lists_by_hand(views, num_unknown)
    (metrics,) = evaluate(protocol, settings, **write_lists(tmp_path, gallery, probes))
    check_probes(read_probes(tmp_path), search_by_hand(views, gallery, probes))
    assert metrics.num_gallery_entries == len(gallery) == 2 * metrics.num_gallery_identities
    assert metrics.num_probes == 38
    assert getattr(metrics, "num_nonmated", 0) == 2 * num_unknown
    assert metrics.warnings == ()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["closed-set", "open-set"])
def test_templates_are_means_of_their_images(settings, views, tmp_path, protocol):
    identities = sorted({identity_of(key) for key in views})
    enrolled = identities[:-5] if protocol == "open-set" else identities
    lines, means = [], {}
    for identity in identities:
        keys = [f"{identity}/{identity}_000{i}.jpg" for i in range(1, 7)]
        # Of template A the first two images are frames of one video.
        lines += [f"{key}\t{identity}/A\t{max(i, 1)}" for i, key in enumerate(keys[:3])]
        lines += [f"{key}\t{identity}/B" for key in keys[3:]]
        of = np.array([views[key] for key in keys], np.float64)
        means[f"{identity}/A"] = (of[0] + of[1]) / 4 + of[2] / 2
        means[f"{identity}/B"] = of[3:].mean(0)
    (tmp_path / "templates.txt").write_text("\n".join(lines))
    gallery = {f"{identity}/A": identity for identity in enrolled}
    probes = {f"{identity}/B": identity for identity in identities}
    (metrics,) = evaluate(
        protocol,
        settings,
        **write_lists(tmp_path, gallery, probes),
        templates=f"{tmp_path}/templates.txt",
    )
    check_probes(read_probes(tmp_path), search_by_hand(means, gallery, probes))
    assert (metrics.num_gallery_entries, metrics.num_probes) == (len(enrolled), 19)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["closed-set", "open-set"])
def test_several_systems_are_each_measured_as_alone(quick, views, tmp_path, protocol):
    rng = np.random.default_rng(0)
    noisy = {key: view + rng.normal(0, 0.5, view.shape) for key, view in views.items()}
    (tmp_path / "again").mkdir()
    others = (
        save_views(tmp_path / "other.npz", noisy),
        save_views(tmp_path / "again" / "other.npz", views),
    )
    paths = (*quick["embeddings"], *map(str, others))
    results = evaluate(protocol, quick, embeddings=paths)
    assert [metrics.model for metrics in results] == ["by hand", "other", "other (2)"]
    table = read_probes(tmp_path)
    page = (tmp_path / "out" / "report.html").read_text()
    for metrics, path in zip(results, paths, strict=True):
        rows = table[table["model"] == metrics.model].drop(columns="model")
        (alone,) = evaluate(protocol, quick, embeddings=(path,))
        assert alone == dataclasses.replace(metrics, model=alone.model)
        pd.testing.assert_frame_equal(
            read_probes(tmp_path).drop(columns="model"), rows.reset_index(drop=True)
        )
        assert metrics.model in page
    assert results[0] != dataclasses.replace(results[1], model="by hand")
    assert results[0] == dataclasses.replace(results[2], model="by hand")


@pytest.mark.slow
def test_networks_and_embeddings_are_compared_side_by_side(settings, saved):
    of_network, of_file = evaluate("closed-set", settings, embeddings=(str(saved),))
    assert of_file.model == "by hand"
    assert of_network.cmc == of_file.cmc


@pytest.mark.slow
def test_missing_images_are_warned_of_with_their_reasons(settings, faces, views, tmp_path, capsys):
    gallery, probes = lists_by_hand(views)
    deleted, *_, without_landmarks = list(probes)[:4]
    shutil.copytree(faces / "images", tmp_path / "images")
    (tmp_path / "images" / deleted).unlink()
    lines = (faces / "landmarks.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(without_landmarks)]
    (tmp_path / "landmarks.txt").write_text("\n".join(kept))
    (metrics,) = evaluate(
        "closed-set",
        settings,
        images=f"{tmp_path}/images",
        landmarks=f"{tmp_path}/landmarks.txt",
        **write_lists(tmp_path, gallery, probes),
    )
    assert metrics.missing == {deleted: "no such image", without_landmarks: "no landmarks"}
    assert metrics.num_probes == 36
    assert (metrics.num_failures_to_acquire, metrics.num_failures_to_enroll) == (2, 0)
    assert metrics.fta == 2 / 38
    assert metrics.measures()["rank 1, failures counted"] == metrics.rank_1 * 36 / 38
    assert metrics.warnings == (
        f"Missing images, left out: 1 no landmarks, for example {without_landmarks}; "
        f"1 no such image, for example {deleted}.",
    )
    assert f"WARNING: {metrics.warnings[0]}\n" in capsys.readouterr().err
    present = {key: who for key, who in probes.items() if key not in metrics.missing}
    check_probes(read_probes(tmp_path), search_by_hand(views, gallery, present))


@pytest.mark.parametrize(("protocol", "num_unknown"), [("closed-set", 0), ("open-set", 7)])
def test_probes_of_an_identity_without_gallery_image_are_left_out(
    quick, views, tmp_path, protocol, num_unknown
):
    gallery, probes = lists_by_hand(views, num_unknown)
    identity = sorted(set(gallery.values()))[2]
    missing = [key for key in gallery if identity_of(key) == identity]
    some = save_views(tmp_path / "some.npz", {k: v for k, v in views.items() if k not in missing})
    (metrics,) = evaluate(
        protocol, quick, embeddings=(str(some),), **write_lists(tmp_path, gallery, probes)
    )
    others = [{k: w for k, w in listed.items() if w != identity} for listed in (gallery, probes)]
    check_probes(read_probes(tmp_path), search_by_hand(views, *others))
    assert metrics.missing == dict.fromkeys(missing, "no embedding")
    assert getattr(metrics, "num_nonmated", 0) == 2 * num_unknown
    assert (metrics.num_failures_to_acquire, metrics.num_failures_to_enroll) == (0, 1)
    assert metrics.fte == 1 / (19 - num_unknown)
    if num_unknown:
        num_mated = 2 * (19 - num_unknown)
        assert metrics.num_mated == num_mated - 2
        found = metrics.dir_at_far["0.1"] * (num_mated - 2)
        assert metrics.fnir_at_fpir["0.1"] == pytest.approx(1 - found / num_mated)
    assert metrics.warnings[1] == (
        f"1 identity has no image left in the gallery, for example {identity}: 2 probes are left "
        "out."
    )


@pytest.mark.parametrize("protocol", CHANGES)
def test_images_that_are_all_missing_are_an_error(quick, views, distractors, tmp_path, protocol):
    others = {f"X/{i}.jpg": view for i, view in enumerate(views.values())}
    path = save_views(tmp_path / "others.npz", others)
    changes = {"images": distractors["pairs"].replace("pairs.txt", "images")}
    changes |= distractors if protocol == "distractors" else {}
    expected = "others must have images .* Received: .* missing, for example .*no embedding"
    with pytest.raises(ValueError, match=expected):
        evaluate(protocol, quick, embeddings=(str(path),), **changes)


@pytest.mark.slow
def test_unaligned_images_are_warned_of(settings, aligned):
    (metrics,) = evaluate("closed-set", settings, images=str(aligned), landmarks="")
    assert metrics.warnings == ()
    (metrics,) = evaluate("closed-set", settings, landmarks="")
    assert any("look unaligned" in warning for warning in metrics.warnings)


def test_the_command_line_has_a_command_for_each_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b", "i"):
        (tmp_path / folder).mkdir()
    arguments = "open-set --model a b --images i --out o --unknown-share 0.25 --folds 1 2".split()
    protocol, config = parse_command(IDENTIFY_CONFIGS, arguments)
    assert protocol == config.protocol == "open-set"
    assert (config.model, config.unknown_share, config.folds) == (("a", "b"), 0.25, (1, 2))


def test_users_read_numbers_or_one_sentence_instead_of_a_traceback(quick, tmp_path, capsys):
    with pytest.raises(ValueError, match="Received: max_rank=0"):
        run_identify(ClosedSetConfig(**quick, max_rank=0))
    run_identify(ClosedSetConfig(**quick, bootstrap=0))
    (metrics,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["systems"]
    assert capsys.readouterr().out == (
        "by hand: 95 probes, a gallery of 19 identities with 19 images\n"
        f"  rank 1   {100 * metrics['rank_1']:.2f} %\n"
        f"  rank 5   {100 * metrics['rank_5']:.2f} %\n"
        f"  rank 10  {100 * metrics['rank_10']:.2f} %\n"
        f"written to {tmp_path}/out\n"
    )


def test_intervals_by_identity_stand_beside_the_rates(quick, tmp_path, capsys):
    run_identify(ClosedSetConfig(**quick, bootstrap=50))
    (metrics,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["systems"]
    both = metrics["intervals"]["rank 1"]
    by_identity = both["by_identity"]
    assert by_identity["low"] < metrics["rank_1"] < by_identity["high"]
    assert both["by_probe"] != by_identity
    shown = f"95 %: {100 * by_identity['low']:.2f} to {100 * by_identity['high']:.2f} %"
    assert shown in capsys.readouterr().out
    assert "95 % by identity" in (tmp_path / "out" / "report.html").read_text()


def test_open_set_rates_have_intervals_too(quick):
    (metrics,) = evaluate_identification(OpenSetConfig(**quick, bootstrap=50))
    assert "rank 1 of mated probes" in metrics.intervals
    measures = metrics.measures()
    for name, both in metrics.intervals.items():
        assert both.by_identity.low <= measures[name] <= both.by_identity.high


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["open"], "one of closed-set, open-set, distractors. Received: open. Did you mean"),
        (["open-set", "--distractors", "d"], "there is no flag `--distractors`"),
        (["closed-set", "--candidates"], "there is no flag `--candidates`"),
    ],
)
def test_unknown_commands_and_flags_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse_command(IDENTIFY_CONFIGS, [*arguments, "--out", "o"])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.parametrize("share", ["0.3", "3"])
def test_the_script_identifies_or_ends_in_one_sentence(quick, tmp_path, share):
    script = [sys.executable, str(ROOT / "tools" / "identify.py"), "open-set"]
    flags = ["--embeddings", *quick["embeddings"], "--out", quick["out"], "--unknown-share", share]
    result = subprocess.run([*script, *flags], capture_output=True, text=True, check=False)
    if share == "0.3":
        assert result.returncode == 0, result.stderr
        assert "36 of the probes are of unknown identities" in result.stdout
        assert (tmp_path / "out" / "metrics.json").is_file()
    else:
        assert result.returncode == 1
        last = result.stderr.splitlines()[-1]
        assert last.startswith("error: `unknown_share` must be in (0, 1)")
        assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_real_faces_are_identified_better_than_by_chance(savedmodel, real_faces, tmp_path):
    folder = real_faces / "lfw_dev"
    common = {
        "model": (str(savedmodel),),
        "images": str(folder / "images"),
        "landmarks": str(folder / "landmarks.txt"),
        "pairs": str(folder / "pairs.txt"),
        "folds": (7,),
        "out": str(tmp_path / "out"),
    }
    identity_map = select_identities(
        identities_of_folders(folder / "images"), identities_of_pairs(common["pairs"], (7,))
    )
    counts = pd.Series(list(identity_map.values())).value_counts()
    (closed,) = evaluate("closed-set", common)
    # One of the probes has no landmarks.
    assert list(closed.missing.values()) == ["no landmarks"]
    assert len(closed.warnings) == 1
    assert closed.num_gallery_identities == (counts > 1).sum()
    assert closed.num_probes == (counts - 1).sum() - 1
    # A network that was never trained is better than chance, and not by much.
    assert 1 / closed.num_gallery_identities < closed.rank_1 < 0.5
    assert closed.rank_1 <= closed.rank_5 <= closed.rank_10
    (opened,) = evaluate("open-set", common)
    assert opened.num_gallery_identities == len(counts) - round(len(counts) / 2)
    assert opened.num_mated + opened.num_nonmated == opened.num_probes
    for rates in (opened.dir_at_far, opened.tpir_at_fpir):
        measured = [rate for rate in rates.values() if rate is not None]
        assert len(measured) >= 2
        assert measured == sorted(measured, reverse=True)
    assert opened.dir_at_far["0.1"] <= opened.tpir_at_fpir["0.1"]
    assert opened.dir_at_far["0.1"] <= opened.rank_1
    assert 0.5 < opened.verification.auc < 0.9
    assert 0.1 < opened.verification.eer < 0.5
