"""Files that people read: HTML reports, figures, Markdown tables, metrics, projector files."""

from keras_sphereface.reporting.blocks import (
    Details,
    Heading,
    ImageBlock,
    KeyNumbers,
    Paragraph,
    Statements,
    Table,
    Warnings,
)
from keras_sphereface.reporting.figures import FigurePngs, draw_figure, figure_png, save_figure
from keras_sphereface.reporting.html import (
    render_page,
    security_policy,
    template_environment,
)
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.reporting.metrics_file import as_json, write_metrics
from keras_sphereface.reporting.projector import write_projector

__all__ = [
    "Details",
    "FigurePngs",
    "Heading",
    "ImageBlock",
    "KeyNumbers",
    "Paragraph",
    "Statements",
    "Table",
    "Warnings",
    "as_json",
    "draw_figure",
    "figure_png",
    "markdown_table",
    "render_page",
    "save_figure",
    "security_policy",
    "template_environment",
    "write_metrics",
    "write_projector",
]
