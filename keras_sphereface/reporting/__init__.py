"""Files that people read: HTML reports, figures, Markdown tables, metrics, projector files.

The names below are imported on first use: who only reads a file of numbers needs no Matplotlib.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from keras_sphereface.reporting.figures import (
        FigurePngs,
        draw_figure,
        figure_png,
        save_figure,
        save_light_and_dark,
    )
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
    "save_light_and_dark",
    "security_policy",
    "template_environment",
    "write_metrics",
    "write_projector",
]

_MODULES = {
    "blocks": (
        "Details",
        "Heading",
        "ImageBlock",
        "KeyNumbers",
        "Paragraph",
        "Statements",
        "Table",
        "Warnings",
    ),
    "figures": ("FigurePngs", "draw_figure", "figure_png", "save_figure", "save_light_and_dark"),
    "html": ("render_page", "security_policy", "template_environment"),
    "markdown": ("markdown_table",),
    "metrics_file": ("as_json", "write_metrics"),
    "projector": ("write_projector",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
