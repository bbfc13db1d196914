"""`tools/identify.py`: find identities in galleries and print what came of it."""

from keras_sphereface.config.parsing import errors_in_one_sentence
from keras_sphereface.evaluation.identification import report
from keras_sphereface.evaluation.identification.evaluate import evaluate
from keras_sphereface.evaluation.identification.inputs import SearchConfig


def main(command: str, config: SearchConfig) -> None:
    """Evaluate, and print what came of it; what users can mend ends in one sentence."""
    with errors_in_one_sentence():
        results = evaluate(command, config)
    print("\n\n".join(report.summary(command, metrics) for metrics in results))
    print(f"written to {config.out}")
