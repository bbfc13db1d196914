"""`tools/evaluate.py`: verify pairs of faces and print what came of it."""

from keras_sphereface.config import EvaluateConfig
from keras_sphereface.config.parsing import errors_in_one_sentence
from keras_sphereface.evaluation import report
from keras_sphereface.evaluation.evaluate import evaluate


def main(config: EvaluateConfig) -> None:
    """Evaluate, and print what came of it; what users can mend ends in one sentence."""
    with errors_in_one_sentence():
        results = evaluate(config)
    print("\n\n".join(map(report.verification_summary, results)))
    print(f"written to {config.out}")
