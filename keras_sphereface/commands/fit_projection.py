"""`sphereface fit-projection`: a linear map of embeddings, folded into the export."""

from keras_sphereface.config.projection import FitProjectionConfig
from keras_sphereface.evaluation.projection import fit_and_export_projection, score_table
from keras_sphereface.evaluation.report import verification_summary
from keras_sphereface.utils.text import counted


def run_fit_projection(config: FitProjectionConfig) -> None:
    """Choose, fit and export the map; print the candidates, and the pairs before and after."""
    result = fit_and_export_projection(config)
    print(score_table(result.scores))
    chosen = result.chosen
    print(
        f"{chosen.method}, shrinkage {chosen.shrinkage:g}, fitted on "
        f"{counted(result.num_images, 'image')} of {counted(result.num_identities, 'identity')}"
    )
    for metrics in result.metrics:
        print(f"\n{verification_summary(metrics)}")
    print(f"written to {config.out}")
