"""Errors in words: the part of a report, and its faces."""

from collections.abc import Mapping, Sequence

from keras_sphereface.evaluation.error_metrics import (
    Concentration,
    ErrorMetrics,
    ImageScore,
    LabelDoubt,
    ZooMember,
)
from keras_sphereface.evaluation.face_pairs import Templates
from keras_sphereface.evaluation.face_sheets import face_sheet, short_name
from keras_sphereface.evaluation.faces import Faces
from keras_sphereface.evaluation.pair_faces import draw_face_pairs
from keras_sphereface.metrics import zoo
from keras_sphereface.reporting.blocks import Block, Details, ImageBlock, Paragraph, Table
from keras_sphereface.reporting.figures import FigurePngs
from keras_sphereface.utils.text import counted

NUM_PAIRS = 10  # that are shown as faces
NUM_FACES = 12
CAPTIONS = {
    "confusions.png": "Identities that are mistaken for each other most often, by the images that "
    "are most alike.",
    "label_doubts.png": "Pairs whose label may be wrong, with their cosine and the first image.",
    "worst_images.png": "Faces that are least like the others of their identity: mean cosine.",
    "best_images.png": "Faces that are most like the others of their identity: mean cosine.",
}
DEFINITIONS = (
    f"Goats are not recognized as themselves: identities of {zoo.GOAT_IMAGES} images or more whose "
    "false non-match rate is above that of all by two standard errors (of a share of as many "
    "trials as there are images). Wolves imitate others and lambs are imitated; a score is the "
    f"same in both directions, so they are one here: identities with {zoo.WOLF_ERRORS} false "
    f"matches or more, over {zoo.WOLF_RATIO:g} times as many as their images would have at the "
    "false match rate of all (Doddington et al., 1998)."
)


def error_sheets(metrics: ErrorMetrics, faces: Faces, templates: Templates) -> dict[str, bytes]:
    """Return {file: PNG} of the faces of the errors that can be loaded.

    Args:
        metrics: Errors of identities, pairs and images.
        faces: Loaders of the faces.
        templates: Images of keys that are templates.
    """
    confusions = metrics.confusions[:NUM_PAIRS]
    by_kind = [
        [doubt for doubt in metrics.label_doubts if doubt.kind == kind][: NUM_PAIRS // 2]
        for kind in ("matched", "mismatched")
    ]
    doubts = [*by_kind[0], *by_kind[1]]
    sheets = {
        "confusions.png": draw_face_pairs(
            faces,
            templates,
            [(c.first_image, c.second_image, f"{c.first} / {c.second}") for c in confusions],
        ),
        "label_doubts.png": draw_face_pairs(
            faces,
            templates,
            [(d.first, d.second, f"{d.score:.2f} {short_name(d.first)}") for d in doubts],
        ),
    }
    for name in ("worst_images", "best_images"):
        shown: tuple[ImageScore, ...] = getattr(metrics, name)[:NUM_FACES]
        keys = [one.image for one in shown]
        captions = [f"{one.score:.2f} {short_name(one.image)}" for one in shown]
        sheets[f"{name}.png"] = face_sheet(faces, templates, keys, captions)
    return {name: png for name, png in sheets.items() if png}


def error_blocks(metrics: ErrorMetrics, images: Mapping[str, FigurePngs]) -> list[Block]:
    """Return the part of a report on errors, without its heading.

    Args:
        metrics: Errors of identities, pairs and images.
        images: {file: faces}, those of `error_sheets` among them.
    """
    blocks: list[Block] = [Paragraph(str(metrics.point))]
    if metrics.num_goats is not None:
        blocks += [
            Paragraph(" ".join(zoo_sentences(metrics))),
            *_shown(images, "confusions.png"),
            Details("Who is mistaken for whom", [_confusion_table(metrics)]),
            Details("Identities with most errors", [*_zoo_tables(metrics), Paragraph(DEFINITIONS)]),
        ]
    if metrics.label_doubts:
        blocks += [
            Paragraph(
                f"{counted(len(metrics.label_doubts), 'pair looks', 'pairs look')} as if labeled "
                "wrong, or would fail for any model; look there before the network is blamed."
            ),
            *_shown(images, "label_doubts.png"),
            Details("Pairs whose label may be wrong", [doubt_table(metrics.label_doubts)]),
        ]
    return blocks + _shown(images, "worst_images.png") + _shown(images, "best_images.png")


def zoo_sentences(metrics: ErrorMetrics) -> list[str]:
    """Return who fails, a sentence each; `metrics` with identities."""
    sentences = [
        f"{counted(metrics.num_goats or 0, 'identity is', 'identities are')} unusually often not "
        f"recognized (goats), {counted(metrics.num_wolves or 0, 'is', 'are')} unusually often "
        "mistaken for others (wolves or lambs)."
    ]
    for name, one in (
        ("false matches", metrics.false_matches),
        ("false non-matches", metrics.false_nonmatches),
    ):
        if one is not None:
            sentences.append(f"Half of the {name} are of {_share(one)}.")
    if metrics.confusions:
        most = metrics.confusions[0]
        sentences.append(
            f"{most.first} and {most.second} are mistaken for each other most often, in "
            f"{counted(most.num_false_matches, 'comparison')}."
        )
    return sentences


def common_doubts(results: Sequence[ErrorMetrics]) -> list[LabelDoubt]:
    """Return the doubts of a set that all models share, with the scores of the first.

    Args:
        results: Errors of each model on the same set.

    Example:
        >>> common_doubts([])
        []
    """
    if not results:
        return []
    shared = set.intersection(
        *({(d.kind, d.first, d.second) for d in one.label_doubts} for one in results)
    )
    return [d for d in results[0].label_doubts if (d.kind, d.first, d.second) in shared]


def doubt_table(doubts: Sequence[LabelDoubt]) -> Table:
    """Return the table of pairs whose label may be wrong."""
    rows = [[d.kind, d.first, d.second, f"{d.score:.4f}", d.reason] for d in doubts]
    return Table(["labeled", "first", "second", "cosine", "why"], rows)


def _share(one: Concentration) -> str:
    return (
        f"{100 * one.share_with_half:.1f} % of the identities, {100 * one.by_chance:.1f} % if each "
        "comparison were as likely to fail"
    )


def _shown(images: Mapping[str, FigurePngs], name: str) -> list[Block]:
    if name not in images:
        return []
    return [ImageBlock(images[name].light, CAPTIONS[name], CAPTIONS[name])]


def _confusion_table(metrics: ErrorMetrics) -> Table:
    rows = [
        [one.first, one.second, f"{one.num_false_matches:,}", f"{one.highest_score:.4f}"]
        for one in metrics.confusions
    ]
    return Table(["identity", "other identity", "false matches", "highest cosine"], rows)


def _zoo_tables(metrics: ErrorMetrics) -> list[Block]:
    header = ["identity", "kind", "images", "errors", "share of all errors, %"]

    def row(one: ZooMember, errors: int, share: float) -> list[str]:
        return [one.identity, one.kind, f"{one.num_images:,}", f"{errors:,}", f"{100 * share:.1f}"]

    goats = [
        row(one, one.num_false_nonmatches, one.share_of_false_nonmatches) for one in metrics.goats
    ]
    wolves = [row(one, one.num_false_matches, one.share_of_false_matches) for one in metrics.wolves]
    return [
        Table(header, goats, caption="False non-matches"),
        Table(header, wolves, caption="False matches"),
    ]
