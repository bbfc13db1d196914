"""`sphereface demo`: the whole job on generated faces, and what its result means."""

import importlib.util
import shutil
import time
from pathlib import Path

from keras_sphereface.commands.checks import DEMO_MARK, check_demo_folder
from keras_sphereface.config.convert import ConvertConfig
from keras_sphereface.config.demo import DemoConfig
from keras_sphereface.config.evaluate import EvaluateConfig
from keras_sphereface.config.experiments import SpheresConfig
from keras_sphereface.config.train import TrainConfig
from keras_sphereface.data import synthetic
from keras_sphereface.data.conversion import make_records
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.experiments import demo_model
from keras_sphereface.experiments.feature_spheres.run import feature_spheres
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.training.train import train
from keras_sphereface.utils.progress import log
from keras_sphereface.utils.text import counted

# Folders in that of the demo.
FACES, MODEL, EXAMPLES = "faces", "model", "examples"
# So small a network misses half of the matched pairs at the usual 0.001.
FMR = 0.01


def run_demo(config: DemoConfig) -> None:
    """Run every step, and print the result in words with the next command to type."""
    out, started = Path(config.out), time.monotonic()
    start_folder(out)
    conversion, training, evaluation, spheres = demo_settings(config)
    log("1 of 6: generate 2,000 faces of 100 people")
    synthetic.generate_faces(out / FACES, seed=config.seed)
    log("2 of 6: align the faces of 60 of them into records")
    make_records(conversion)
    log("3 of 6: train a network of 4 layers with A-Softmax, m = 4")
    train(training)
    log("4 of 6: write it in 8 bits, a file of 3 MB")
    demo_model.write_small_network(
        Path(training.workdir) / "export", Path(conversion.out), out / MODEL
    )
    log("5 of 6: compare faces of the other 40, which it has never seen")
    (metrics,) = evaluate(evaluation)
    demo_model.write_card(Path(evaluation.out), out / MODEL)
    demo_model.write_example_faces(
        Path(evaluation.out),
        Path(conversion.source),
        Path(conversion.landmarks),
        out / EXAMPLES,
    )
    log("6 of 6: train 3-D features with softmax and m = 1 to 4, and draw them")
    feature_spheres(spheres)
    print(demo_summary(metrics, out, time.monotonic() - started))


def start_folder(out: Path) -> None:
    """Make the folder of a demo, in place of what an earlier demo left there.

    Raises:
        FileExistsError: If it holds something else.
    """
    check_demo_folder(out)
    if out.is_dir():
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / DEMO_MARK).write_text("Written by `sphereface demo`; the next replaces it.\n", "utf-8")


def demo_settings(
    config: DemoConfig,
) -> tuple[ConvertConfig, TrainConfig, EvaluateConfig, SpheresConfig]:
    """Return the settings of the steps that follow the generated faces."""
    out = Path(config.out)
    faces, records, workdir = out / FACES, out / "records", out / "training"
    images, landmarks = str(faces / synthetic.IMAGES), str(faces / synthetic.LANDMARKS)
    conversion = ConvertConfig(
        source=images,
        landmarks=landmarks,
        exclude=str(faces / synthetic.TEST_IDENTITIES),
        out=str(records),
        seed=config.seed,
    )
    training = TrainConfig(
        data=str(records),
        workdir=str(workdir),
        backbone="sphereface4",
        width=0.25,
        batch_size=32,
        total_steps=300,
        optimizer="adam",
        log_steps=50,
        seed=config.seed,
    )
    evaluation = EvaluateConfig(
        model=(str(demo_model.small_network_path(out / MODEL)),),
        images=(images,),
        pairs=(str(faces / synthetic.PAIRS),),
        landmarks=(landmarks,),
        calibrate=True,
        out=str(out / "evaluation"),
    )
    spheres = SpheresConfig(
        out=str(out / "spheres"),
        dim=3,
        total_steps=100,
        html=importlib.util.find_spec("plotly") is not None,
        seed=config.seed,
    )
    return conversion, training, evaluation, spheres


def demo_summary(metrics: EvaluationMetrics, out: Path, seconds: float) -> str:
    """Return the result in words: how good, what lies where, what to do next."""
    numbers, network = metrics.verification, demo_model.small_network_path(out / MODEL)
    pages = [
        (out / "evaluation" / "report.html", "how good, with ROC curve and the worst errors"),
        (out / MODEL / "model_card.md", "what the network knows, and what it does not"),
        (out / "training" / "summary.md", "the course of the training"),
        (out / "spheres" / "spheres_3d.png", "features: the cloud shrinks as m grows"),
    ]
    if (interactive := out / "spheres" / "spheres.html").is_file():
        pages.append((interactive, "the same spheres, to turn by mouse"))
    return "\n".join(
        [
            f"Of {counted(numbers.num_pairs, 'pair')} of faces, of people never trained on, the "
            f"network tells {100 * numbers.accuracy_mean:.2f} % rightly",
            f"as the same person or two people{_interval(numbers.intervals.auc)}.",
            "The faces are generated, so it knows no real ones.",
            "",
            "Open in a browser or viewer:",
            *(f"  {path}\n      {what}" for path, what in pages),
            "",
            "Are two of its faces one person? Ask the network, a file of "
            f"{network.stat().st_size / 1e6:.1f} MB:",
            *(f"  {line}" for line in compare_lines(out)),
            *_advice_on_litert(),
            "",
            "Next, with your own faces (a folder for each person):",
            "  sphereface convert --source FACES --out records",
            "  sphereface train --data records --workdir run",
            "",
            f"The demo took {seconds / 60:.1f} min; everything is in {out}",
        ]
    )


def compare_lines(out: Path) -> list[str]:
    """Return the commands that compare the faces of a demo, one of each kind.

    Example:
        >>> compare_lines(Path("demo"))[0]
        'sphereface compare demo/examples/same_1.png demo/examples/same_2.png --aligned --fmr ...'
    """
    network, examples = demo_model.small_network_path(out / MODEL), out / EXAMPLES
    return [
        f"sphereface compare {examples / f'{kind}_1.png'} {examples / f'{kind}_2.png'} "
        f"--aligned --fmr {FMR:g} --model {network}"
        for kind in ("same", "different")
    ]


def _advice_on_litert() -> list[str]:
    if importlib.util.find_spec("ai_edge_litert") is not None:
        return []
    return ["  (With pip install ai-edge-litert it answers in a second, without TensorFlow.)"]


def _interval(auc: Interval | None) -> str:
    return f" (AUC {auc.low:.4f} to {auc.high:.4f}, 95 % interval)" if auc else ""
