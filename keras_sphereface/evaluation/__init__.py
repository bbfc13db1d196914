"""Protocols on models and files: verification, identification, reports.

`keras_sphereface.evaluation.evaluate.evaluate` verifies pairs as `sphereface evaluate` does.
"""

from keras_sphereface.backend import only_tensorflow

only_tensorflow(__name__)

from keras_sphereface.evaluation.embedders import Embedder, open_embedders  # noqa: E402
from keras_sphereface.evaluation.embeddings import (  # noqa: E402
    Embeddings,
    embed_faces,
    load_embeddings,
    save_embeddings,
    template_embeddings,
)
from keras_sphereface.evaluation.evaluate import evaluate  # noqa: E402
from keras_sphereface.evaluation.export_comparison import FormatComparison, export_and_compare  # noqa: E402
from keras_sphereface.evaluation.face_pairs import (  # noqa: E402
    PairDataset,
    PairSources,
    load_pair_dataset,
    read_pair_dataset,
)
from keras_sphereface.evaluation.faces import Faces, FaceSources, MissingFaceError, open_faces  # noqa: E402
from keras_sphereface.evaluation.projection import (  # noqa: E402
    ProjectionResult,
    fit_and_export_projection,
)
from keras_sphereface.evaluation.verification import Verification, verify_pairs  # noqa: E402
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics, VerificationMetrics  # noqa: E402

__all__ = [
    "Embedder",
    "Embeddings",
    "EvaluationMetrics",
    "FaceSources",
    "Faces",
    "FormatComparison",
    "MissingFaceError",
    "PairDataset",
    "PairSources",
    "ProjectionResult",
    "Verification",
    "VerificationMetrics",
    "embed_faces",
    "evaluate",
    "export_and_compare",
    "fit_and_export_projection",
    "load_embeddings",
    "load_pair_dataset",
    "open_embedders",
    "open_faces",
    "read_pair_dataset",
    "save_embeddings",
    "template_embeddings",
    "verify_pairs",
]
