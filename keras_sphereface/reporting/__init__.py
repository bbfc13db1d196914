"""Files that people read: HTML pages, figures, projector files."""

from keras_sphereface.reporting.figures import save_figure
from keras_sphereface.reporting.projector import write_projector

__all__ = [
    "save_figure",
    "write_projector",
]
