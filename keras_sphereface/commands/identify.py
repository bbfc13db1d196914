"""`sphereface evaluate-identification`: find identities in galleries and print the results."""

from keras_sphereface.config.identify import IdentifyConfig
from keras_sphereface.evaluation.identification.evaluate import evaluate_identification
from keras_sphereface.evaluation.identification.report import summarize


def run_identify(config: IdentifyConfig) -> None:
    """Evaluate and print the results."""
    results = evaluate_identification(config)
    print("\n\n".join(map(summarize, results)))
    print(f"written to {config.out}")
