"""`sphereface evaluate`: verify pairs of faces and print the results."""

from keras_sphereface.config import EvaluateConfig
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.report import verification_summary


def run_evaluate(config: EvaluateConfig) -> None:
    """Evaluate, and print the results."""
    results = evaluate(config)
    print("\n\n".join(map(verification_summary, results)))
    print(f"written to {config.out}")
