"""Quality of images in words: the part of a report, its figure, and the faces of lowest quality."""

import functools
from collections.abc import Mapping

from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.evaluation.face_pairs import Templates
from keras_sphereface.evaluation.face_sheets import face_sheet, short_name
from keras_sphereface.evaluation.faces import Faces
from keras_sphereface.evaluation.operating_point import OperatingPoint
from keras_sphereface.evaluation.quality_metrics import QualityMeasure, QualityMetrics, Refusal
from keras_sphereface.reporting.blocks import Block, Details, ImageBlock, Paragraph, Table
from keras_sphereface.reporting.figures import FigurePngs, draw_figure
from keras_sphereface.utils.text import counted

CURVE_TEXT = (
    "FNMR at the same threshold where the matched comparisons of lowest quality are discarded; "
    "discarding at random changes nothing, and the best possible measure discards errors alone."
)
LOWEST_TEXT = "The faces of the shortest embeddings, |x|: those of lowest quality to the network."


def quality_figure(metrics: QualityMetrics) -> FigurePngs:
    """Return the figure with the error-versus-discard curves of all measures."""
    curves = {one.name: one.fnmr_by_discard for one in metrics.measures}
    draw = functools.partial(_draw, curves=curves, fnmr=metrics.point.fnmr)
    return draw_figure(draw)


def _draw(figure: Figure, curves: Mapping[str, tuple[float, ...]], fnmr: float) -> None:
    plots.plot_discard(figure.subplots(), curves, fnmr)


def lowest_sheet(metrics: QualityMetrics, faces: Faces, templates: Templates) -> bytes | None:
    """Return a PNG of the faces of lowest quality; None if none can be loaded."""
    keys = [one.image for one in metrics.lowest]
    captions = [f"{one.quality:.2f} {short_name(one.image)}" for one in metrics.lowest]
    return face_sheet(faces, templates, keys, captions)


def quality_blocks(metrics: QualityMetrics, images: Mapping[str, FigurePngs]) -> list[Block]:
    """Return the part of a report on quality, without its heading.

    Args:
        metrics: Quality of images.
        images: {file: figure}, "quality.png" and "lowest_quality.png" if there are any.
    """
    blocks: list[Block] = [Paragraph(" ".join(quality_sentences(metrics)))]
    if figure := images.get("quality.png"):
        blocks.append(ImageBlock(figure.light, CURVE_TEXT, CURVE_TEXT, figure.dark))
    blocks.append(_measure_table(metrics))
    for one in metrics.measures:
        table = _refusal_table(one)
        blocks.append(table if one.name == "norm" else Details(f"Refusal by {one.name}", [table]))
    if figure := images.get("lowest_quality.png"):
        blocks.append(ImageBlock(figure.light, LOWEST_TEXT, LOWEST_TEXT))
    return blocks


def quality_sentences(metrics: QualityMetrics) -> list[str]:
    """Return whether |x| foretells errors and what to refuse, a sentence each."""
    norm = next((one for one in metrics.measures if one.name == "norm"), None)
    if norm is None:
        return ["The embeddings are equally long: |x| tells nothing about quality."]
    if norm.area is None:
        number = "Every" if metrics.point.fnmr > 0 else "No"
        return [
            f"{number} matched comparison fails, so no measure of quality can foretell which do."
        ]
    area = f"{norm.area:.2f}"
    if norm.interval:
        area += f" ({norm.interval.low:.2f} to {norm.interval.high:.2f})"
    verdict = (
        "|x| foretells false non-matches"
        if norm.is_better_than_random
        else "|x| is not shown to foretell false non-matches"
    )
    sentences = [
        f"{verdict}: its error-versus-discard area is {area}, where 0 is the best possible and 1 "
        "is discarding at random."
    ]
    others = [one for one in metrics.measures if one.area is not None and one is not norm]
    better = [one.name for one in others if one.area is not None and one.area < norm.area]
    if better:
        sentences.append(f"Better by this measure: {', '.join(better)}.")
    sentences.append(
        "No refusal by |x| surely lowers the FNMR, so none is suggested."
        if metrics.suggested is None
        else f"Suggested limit for enrollment: {_cost(metrics.suggested, metrics.point)}"
    )
    return sentences


def _cost(one: Refusal, point: OperatingPoint) -> str:
    text = (
        f"refuse images with |x| below {one.limit:.4g}. That refuses "
        f"{counted(one.num_refused, 'image')} ({100 * one.share:.0f} %)"
    )
    if one.num_identities_lost == 0:
        text += " and leaves every identity one"
    elif one.num_identities_lost is not None:
        lost = counted(one.num_identities_lost, "identity has", "identities have")
        text += f", after which {lost} none"
    if one.fnmr is not None:
        text += f", and lowers the FNMR from {100 * point.fnmr:.3g} to {100 * one.fnmr:.3g} %"
    if one.interval is not None:
        low, high = (-100 * end for end in (one.interval.high, one.interval.low))
        text += f" (by {low:.2g} to {high:.2g} points)"
    if one.fmr is not None:
        text += f"; the FMR becomes {100 * one.fmr:.3g} in place of {100 * point.fmr:.3g} %"
    return text + "."


def _measure_table(metrics: QualityMetrics) -> Table:
    rows = []
    for one in metrics.measures:
        ends = one.interval
        between = f"{ends.low:.2f} to {ends.high:.2f}" if ends else ""
        at = [f"{100 * one.fnmr_by_discard[percent]:.3g}" for percent in (0, 5, 20)]
        area = "none" if one.area is None else f"{one.area:.2f}"
        rows.append([one.name, one.description, area, between, *at])
    header = ["measure", "what it is", "area", "95 %"]
    header += ["FNMR, %", "5 % discarded", "20 % discarded"]
    note = (
        "Area under the error-versus-discard curve up to 20 %: 0 is the best possible, 1 is "
        f"random. {metrics.point}"
    )
    return Table(header, rows, note)


def _refusal_table(measure: QualityMeasure) -> Table:
    rows = []
    for one in measure.refusals:
        ends = one.interval
        rows.append(
            [
                f"{100 * one.share:.0f}",
                f"{one.limit:.4g}",
                f"{one.num_refused:,}",
                "unknown" if one.num_identities_lost is None else f"{one.num_identities_lost:,}",
                "none" if one.fnmr is None else f"{100 * one.fnmr:.3g}",
                f"{100 * ends.low:+.2f} to {100 * ends.high:+.2f}" if ends else "",
                "none" if one.fmr is None else f"{100 * one.fmr:.3g}",
            ]
        )
    header = ["refused, %", f"limit of {measure.name}", "images", "identities lost", "FNMR, %"]
    header += ["change, points (95 %)", "FMR, %"]
    return Table(header, rows, caption=f"Refusing images by {measure.name}")
