"""Findings beside the rates: calibration, groups, quality, errors; figures of each."""

from collections.abc import Mapping

import pandas as pd

from keras_sphereface.evaluation.beyond_report import beyond_blocks
from keras_sphereface.evaluation.calibration_report import (
    CALIBRATION_FILE,
    calibration_blocks,
    calibration_figure,
)
from keras_sphereface.evaluation.error_report import error_blocks, error_sheets
from keras_sphereface.evaluation.group_report import group_blocks, group_figure, group_table
from keras_sphereface.evaluation.quality_report import (
    lowest_sheet,
    quality_blocks,
    quality_figure,
)
from keras_sphereface.evaluation.result import EvaluationResult
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.reporting.blocks import Block, Heading
from keras_sphereface.reporting.figures import FigurePngs

FINDING_FILES = (
    CALIBRATION_FILE,
    *("groups.csv", "groups.png", "identities.csv", "images.csv"),
    *("quality.png", "lowest_quality.png"),
    *("confusions.png", "label_doubts.png", "worst_images.png", "best_images.png"),
)


def finding_tables(result: EvaluationResult) -> dict[str, pd.DataFrame]:
    """Return {file: table}, of `FINDING_FILES`."""
    tables = dict(result.tables)
    if result.metrics.groups is not None:
        tables["groups.csv"] = group_table(result.metrics.groups)
    return tables


def finding_figures(result: EvaluationResult) -> dict[str, FigurePngs]:
    """Return {file: figure, or faces without a dark twin}, of `FINDING_FILES`."""
    metrics, figures = result.metrics, {}
    if result.calibration is not None:
        figures[CALIBRATION_FILE] = calibration_figure(result.calibration)
    if metrics.groups is not None:
        figures["groups.png"] = group_figure(metrics.groups)
    if metrics.quality is not None:
        figures["quality.png"] = quality_figure(metrics.quality)
        if result.faces is not None and (
            png := lowest_sheet(metrics.quality, result.faces, result.templates)
        ):
            figures["lowest_quality.png"] = FigurePngs(png, b"")
    if metrics.errors is not None and result.faces is not None:
        sheets = error_sheets(metrics.errors, result.faces, result.templates)
        figures |= {name: FigurePngs(png, b"") for name, png in sheets.items()}
    return figures


def finding_blocks(metrics: EvaluationMetrics, images: Mapping[str, FigurePngs]) -> list[Block]:
    """Return the parts of a report on findings, with their headings.

    Args:
        metrics: Contents of metrics.json.
        images: {file: figure}, those of `finding_figures` among them.
    """
    blocks = calibration_blocks(metrics.calibration, images.get(CALIBRATION_FILE))
    blocks += beyond_blocks(metrics.beyond)
    if metrics.groups is not None:
        blocks += [Heading("Groups"), *group_blocks(metrics.groups, images.get("groups.png"))]
    if metrics.quality is not None:
        blocks += [Heading("Quality of images"), *quality_blocks(metrics.quality, images)]
    if metrics.errors is not None:
        blocks += [Heading("Errors to learn from"), *error_blocks(metrics.errors, images)]
    return blocks
