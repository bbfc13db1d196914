"""Training: records in, checkpoints, logs, a summary and a SavedModel out."""

import contextlib
import dataclasses
import logging
import math
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_sphereface.callbacks.pair_verification import PairVerification
from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import START_PREFIX
from keras_sphereface.config.rules import check_train_settings
from keras_sphereface.config.train import SETTINGS_FILE, has_begun
from keras_sphereface.data import records, synthetic
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.distribute.strategy import (
    assert_equal_across_workers,
    explain_lost_workers,
    is_chief,
    make_strategy,
    num_workers,
    stay_for_the_others,
    wait_for_all,
)
from keras_sphereface.evaluation.face_pairs import PairSources, load_pair_dataset
from keras_sphereface.export import saved_model
from keras_sphereface.models.embedding_network import contract_of
from keras_sphereface.models.stages import rates_by_stage
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.training import summary
from keras_sphereface.training.backbones import Backbone, name_of_backbone
from keras_sphereface.training.build import (
    build_intervals,
    build_old_pair_sources,
    build_pair_sources,
    build_step,
    build_trainer,
    distributed_batches,
)
from keras_sphereface.training.checkpoints import Checkpoints
from keras_sphereface.training.class_weights import (
    ClassesKept,
    keep_class_weights,
    read_labels,
    save_class_weights,
)
from keras_sphereface.training.forgetting import OldTestSet, write_forgetting
from keras_sphereface.training.imprinting import imprint_class_weights
from keras_sphereface.training.intervals import Intervals
from keras_sphereface.training.logging import LogAccumulator, TrainingLog, TrainingMonitor
from keras_sphereface.training.loop import TrainingLoop
from keras_sphereface.training.overview import (
    RunOverview,
    annealing_advice,
    describe,
    device_advice,
)
from keras_sphereface.training.run_config import (
    check_same_run,
    complete_settings,
    fingerprint,
    save_settings,
    saved_settings,
    take_network_settings,
)
from keras_sphereface.training.starting_point import (
    BEGINNING_FILE,
    StartingPoint,
    read_beginning,
    read_starting_point,
    save_network,
    save_start,
)
from keras_sphereface.training.trainer import Trainer
from keras_sphereface.utils.atomic import check_free_space
from keras_sphereface.utils.progress import log, stage
from keras_sphereface.utils.text import counted

VERIFICATION_BATCH = 64  # faces on each device
GENERATED_FOLDER = "generated"
GENERATED = (60, 20, 40)  # identities, images of each, identities in pairs


def train(
    config: TrainConfig,
    backbone: Backbone | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Train a network and export it as a SavedModel.

    It runs on all visible devices of this machine, or with the other workers of a cluster that
    `TF_CONFIG` names. A run that was stopped continues from its newest checkpoint when it is
    started again with the same settings, on the same or another number of devices: weights,
    optimizer, lambda, place in the data and log are kept. (A network that draws random numbers
    itself, for dropout for example, draws others after that.) With more `total_steps` a run goes
    on after its end: from there on the learning rate follows the schedule of a run of the new
    length; warm-up, clipping and annealing stay as they were.

    Beside the export a run leaves `network.keras`, the network as Keras saves it, and
    `head.weights.h5` with labels.csv, the class weights and their names. `config.start_from` goes
    on from these with other identities.

    Args:
        config: Settings of the run. `config.data` is a folder of records, or empty for generated
            faces.
        backbone: Called with `input_shape`, `embedding_size` and `seed`; returns the network in
            place of `config.backbone`. It may be any Keras model from images to vectors. The
            function stands at the top level of a module: the run is recorded by its name.
        callbacks: Keras callbacks, whose model is the network. Batches are the steps of the run,
            counted on when it is continued; `logs` holds the row of the log at the steps that
            have one, and epochs are passes over the data. `stop_training` ends the run. Of
            several workers each calls its own, and if one stops, all do, at the next row of the
            log or checkpoint.

    Returns:
        The folder of the SavedModel, `WORKDIR/export`.

    Raises:
        FileNotFoundError, ValueError: If the data or the settings cannot be used.
            Also if the network of `config.start_from` cannot be trained on these records.
        OSError: If `workdir` cannot be written to.
        FloatingPointError: If the loss is no longer finite.
        WorkerLostError: If the connection to another worker is lost.

    Example:
        >>> config = TrainConfig(
        ...     data="records", workdir="run", backbone="sphereface4", width=0.05,
        ...     embedding_size=8, batch_size=4, total_steps=1,
        ... )
        >>> print(train(config))
        run/export
    """
    check_train_settings(config)
    if backbone is not None:
        config = dataclasses.replace(config, backbone=name_of_backbone(backbone))
    strategy = make_strategy()
    advice = "Start all workers again with the same command: they continue from the checkpoint."
    with explain_lost_workers(strategy, advice), stay_for_the_others(strategy):
        return _train(config, strategy, backbone, callbacks)


def _train(
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
    backbone: Backbone | None,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Path:
    workdir, chief = Path(config.workdir), is_chief(strategy)
    given, (config, info, start) = config, _prepare(config, strategy)
    with precision(config.precision), stage("building the network", disable=not chief):
        trainer = build_trainer(config, info, strategy, backbone, start)
    config = dataclasses.replace(config, input_range=contract_of(trainer.backbone).input_range)
    chosen = [name for name in vars(config) if getattr(given, name) != getattr(config, name)]
    intervals, accumulator = build_intervals(config, info.num_images), LogAccumulator()
    checkpoints = _checkpoints(workdir, config.keep_checkpoints, trainer, accumulator)
    # Before the first step there is nothing to continue.
    if checkpoints.newest_step() > 0:
        check_same_run(config, info, strategy)
        checkpoints.restore()
        if chief:
            log(f"continuing from step {trainer.step}")
    old_test_set = _old_test_set(config, info, trainer, start)
    if start is not None:
        _begin(config, trainer, start)
    run = _overview(trainer, intervals, info.num_identities, config, chosen)
    overview = describe(run)
    if chief:
        if trainer.step < intervals.total_steps:
            _check_space(workdir, trainer, checkpoints)
        log(overview)
        if advice := annealing_advice(run):
            log(advice, logging.WARNING)
        if advice := device_advice(run):
            log(advice)
        save_settings(config, info, strategy, trainer.step)
    if trainer.step < intervals.total_steps:
        # Kept while the results are written: TensorFlow may take most of a minute to let it go.
        batches = iter(distributed_batches(config, strategy, trainer.step))
        if not trainer.step:
            if old_test_set:
                old_test_set.embed_before(chief)
            checkpoints.save(0)
        training_log = TrainingLog(workdir, trainer.step) if chief else None
        monitor = TrainingMonitor(
            trainer.head, trainer.solver.rate, intervals, trainer.step, accumulator, training_log
        )
        verification = _verification(config, info, trainer, monitor)
        loop = TrainingLoop(trainer, intervals, monitor, checkpoints, callbacks, verification)
        loop.run(build_step(config, trainer), batches)
    # A callback may have ended the run before its last step.
    last = checkpoints.path(checkpoints.newest_step())
    return _write_results(config, info, trainer, overview, last, old_test_set)


def _prepare(
    config: TrainConfig, strategy: tf.distribute.Strategy
) -> tuple[TrainConfig, records.DatasetInfo, StartingPoint | None]:
    """Check folders and workers, and complete the settings by the data and by what it starts from.

    A run that has begun needs the network that it started from no more.
    """
    workdir = Path(config.workdir)
    if is_chief(strategy) or config.shard_classes:  # each worker writes its own classes
        check_writable(workdir)
    saved_model.check_savedmodel_folder(workdir / "export")
    if not config.data:
        config = dataclasses.replace(config, data=_generated_faces(workdir, config.seed, strategy))
    info = records.read_info(config.data)
    records.check_identities(info, config.data)
    start = None
    if config.start_from and has_begun(config.workdir):
        config = take_network_settings(config, saved_settings(workdir))
    elif config.start_from:
        with stage(f"reading {config.start_from}", disable=not is_chief(strategy)):
            start = read_starting_point(config.start_from)
        config = take_network_settings(config, start.settings)
        if is_chief(strategy) and config.backbone.startswith(START_PREFIX):
            save_start(workdir, start)
        wait_for_all(strategy)
    config = complete_settings(config, info)
    assert_equal_across_workers(
        strategy, fingerprint(config, info), "The checksum of settings and records"
    )
    keras.utils.set_random_seed(config.seed)
    return config, info, start


def _begin(config: TrainConfig, trainer: Trainer, start: StartingPoint) -> None:
    """Give the head the class weights that it shares with the start, and note what began so."""
    labels, chief = read_labels(config.data), is_chief(trainer.strategy)
    kept = keep_class_weights(trainer, start.head_file, start.labels, labels)
    if config.new_classes == "mean" and trainer.head.block_sizes() and not trainer.gallery:
        known = {label for name, label in labels.items() if kept.kept and name in start.labels}
        new = set(range(trainer.head.num_classes)) - known
        count = imprint_class_weights(trainer, config.data, new, quiet=not chief)
        kept = dataclasses.replace(kept, imprinted=count)
    if chief:
        write_metrics(Path(config.workdir) / BEGINNING_FILE, start.beginning(kept))


def _old_test_set(
    config: TrainConfig,
    info: records.DatasetInfo,
    trainer: Trainer,
    start: StartingPoint | None,
) -> OldTestSet | None:
    """The pairs by which forgetting is measured; None: there are none, or nothing to forget."""
    if not config.start_from:
        return None
    workdir = Path(config.workdir)
    settings = start.settings if start else read_beginning(workdir).get("settings", {})
    sources, folds = build_old_pair_sources(config, settings)
    if not (sources.bin or sources.pairs):
        return None
    named = bool(config.old_bin or config.old_pairs)
    if not named and not all(Path(p).exists() for p in (sources.file, sources.images) if p):
        log(f"The old test set is left out: {sources.file} of the first run is not there.")
        return None
    batch_size = VERIFICATION_BATCH * trainer.strategy.num_replicas_in_sync
    height, width = info.image_size
    return OldTestSet(sources, folds, (height, width), trainer.backbone, batch_size, workdir)


def _write_results(
    config: TrainConfig,
    info: records.DatasetInfo,
    trainer: Trainer,
    overview: str,
    last_checkpoint: Path,
    old_test_set: OldTestSet | None,
) -> Path:
    """Write SavedModel, network, class weights and summary; return the folder of the SavedModel."""
    workdir = Path(config.workdir)
    chief, result = is_chief(trainer.strategy), None
    with trainer.averaged() as network:
        with stage("exporting the network", disable=not chief):
            folder = _export(network, workdir / "export", trainer.strategy)
        if chief:
            save_network(workdir, network)
        if old_test_set:
            result = old_test_set.compare(config.start_from)
    if chief:
        save_class_weights(workdir, trainer, last_checkpoint, config.data)
        if result:
            write_forgetting(workdir, result)
        evaluate = summary.evaluate_command(folder, _pair_sources(config), config.verify_folds)
        path = summary.write_summary(
            workdir,
            overview=overview,
            export=folder,
            evaluate_command=evaluate,
            repeat_command=summary.repeat_command(workdir / SETTINGS_FILE),
            seed=config.seed,
            data_checksum=records.data_checksum(info),
            forgetting=result.describe() if result else "",
        )
        log(f"summary in {path}")
        log(f"evaluate it with: {shlex.join(evaluate)}")
        for hint in summary.pairs_hint(evaluate):
            log(hint)
    return folder


def _pair_sources(config: TrainConfig) -> PairSources:
    """The pairs to evaluate on: those of the run, or of generated faces beside the records."""
    sources, faces = build_pair_sources(config), Path(config.data).parent / "faces"
    are_generated = (faces / synthetic.DESCRIPTION).is_file()
    if sources.bin or sources.images or not (are_generated and (faces / synthetic.PAIRS).is_file()):
        return sources
    names = (synthetic.PAIRS, synthetic.IMAGES, synthetic.LANDMARKS)
    return PairSources(*(str(faces / name) for name in names))


def check_writable(workdir: Path) -> None:
    """Make the folder of a run, and check that files can be made in it.

    Raises:
        OSError: If they cannot.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir) as file:
            file.write(b"0")
    except OSError as error:
        raise OSError(
            error.errno, f"`workdir` cannot be written to: {error.strerror}", str(workdir)
        ) from error


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Give layers that are made in this block a dtype policy."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _generated_faces(workdir: Path, seed: int, strategy: tf.distribute.Strategy) -> str:
    """The folder of generated records; the chief makes it."""
    folder = workdir / GENERATED_FOLDER
    if is_chief(strategy):
        log("No --data: training on generated faces.")
        log("The defaults suit CASIA-WebFace; for a quick run see `sphereface demo`.")
        generated_records(folder, *GENERATED, seed)
    wait_for_all(strategy)
    return str(generated_records(folder, *GENERATED, seed).records)


def _checkpoints(
    workdir: Path, kept: int, trainer: Trainer, accumulator: LogAccumulator
) -> Checkpoints:
    objects = {
        "backbone": trainer.backbone,
        "head": trainer.head,
        "optimizer": trainer.optimizer,
        "averages": trainer.averages,
        "open_row": accumulator,
    }
    if gallery := trainer.gallery:
        objects["gallery"] = gallery.network
        objects["prototypes"] = gallery.queue.prototypes
        objects["identities"] = gallery.queue.identities
    return Checkpoints(
        workdir / "checkpoints", kept, trainer.strategy, objects, trainer.sharded_head
    )


def _check_space(workdir: Path, trainer: Trainer, checkpoints: Checkpoints) -> None:
    """Find out before the first step, not after hours, that the disk is too small.

    A checkpoint more than are kept is there while it is written; export and log need another.
    """
    missing = max(1, checkpoints.max_to_keep + 2 - len(checkpoints.steps()))
    check_free_space(workdir, missing * trainer.num_bytes)


def _verification(
    config: TrainConfig, info: records.DatasetInfo, trainer: Trainer, monitor: TrainingMonitor
) -> PairVerification | None:
    """The callback that the settings ask for, with its faces read; None: pairs are not verified."""
    if not config.verify_steps:
        return None
    chief = is_chief(trainer.strategy)
    verification = PairVerification(
        load_pair_dataset(build_pair_sources(config), info.image_size, config.verify_folds),
        trainer.backbone,
        config.verify_steps,
        VERIFICATION_BATCH * trainer.strategy.num_replicas_in_sync,
        Path(config.workdir) / summary.VERIFICATION_FILE if chief else "",
        monitor.log_verification if chief else None,
    )
    verification.on_train_begin()
    return verification


def _overview(
    trainer: Trainer,
    intervals: Intervals,
    num_identities: int,
    config: TrainConfig,
    chosen: Sequence[str],
) -> RunOverview:
    workers = num_workers(trainer.strategy)
    on_all, on_one = trainer.head_parameters
    return RunOverview(
        devices=tuple(trainer.strategy.extended.worker_devices) * workers,
        num_workers=workers,
        batch_size=intervals.batch_size,
        num_images=intervals.num_images,
        num_identities=num_identities,
        total_steps=intervals.total_steps,
        start_step=trainer.step,
        network=config.backbone,
        network_parameters=trainer.backbone.count_params(),
        head=config.head,
        head_parameters=on_all,
        head_parameters_per_device=on_one,
        slots=trainer.solver.num_slots,
        averaged=bool(trainer.averages),
        annealing=getattr(trainer.head, "annealing", None),
        precision=config.precision,
        solver=trainer.solver,
        chosen=tuple(chosen),
        takes=contract_of(trainer.backbone).describe(),
        embedding_size=trainer.backbone.output_shape[-1],
        start=_start_lines(config, trainer),
        gallery_bytes=trainer.gallery.num_bytes if trainer.gallery else 0,
        num_prototypes=trainer.gallery.queue.size if trainer.gallery else 0,
    )


def _start_lines(config: TrainConfig, trainer: Trainer) -> dict[str, str]:
    """The lines of the overview about prototypes, about the start, and about what is trained."""
    beginning = read_beginning(Path(config.workdir)) if config.start_from else {}
    lines = {}
    if gallery := trainer.gallery:
        lines["prototypes"] = f"by a moving average of the network, momentum {gallery.momentum:g}"
    if beginning:
        lines["start"] = config.start_from
        lines["  classes"] = ClassesKept(**beginning["classes"]).describe()
    trained = sum(math.prod(weight.shape) for weight in trainer.backbone.trainable_weights)
    if config.freeze_stages or config.hold_batch_norm:
        lines["  trained"] = f"{counted(trained, 'weight')} of the network"
    if config.layer_decay != 1:
        rates = rates_by_stage(trainer.backbone, config.layer_decay).values()
        lines["  rates"] = " ".join(f"{rate:.3g}" for rate in dict.fromkeys(rates))
    return lines


def _export(network: keras.Model, folder: Path, strategy: tf.distribute.Strategy) -> Path:
    """Write the SavedModel. All workers take part, but only the file of the chief stays."""
    if is_chief(strategy):
        saved_model.export_savedmodel(network, folder)
    else:
        with tempfile.TemporaryDirectory() as elsewhere:
            saved_model.export_savedmodel(network, Path(elsewhere) / "export")
    wait_for_all(strategy)
    return folder
