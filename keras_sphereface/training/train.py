"""Training: records in, checkpoints, logs, a summary and a SavedModel out."""

import contextlib
import dataclasses
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_sphereface.callbacks.pair_verification import PairVerification
from keras_sphereface.config import TrainConfig
from keras_sphereface.data import pipeline, records
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.distribute.strategy import (
    all_gather_int,
    assert_equal_across_workers,
    explain_lost_workers,
    is_chief,
    make_strategy,
    num_workers,
    wait_for_all,
    worker_index,
)
from keras_sphereface.evaluation.face_pairs import PairSources, face_set
from keras_sphereface.export import saved_model
from keras_sphereface.training import overview, summary
from keras_sphereface.training.build_head import images_per_identity
from keras_sphereface.training.checkpoints import Checkpoints
from keras_sphereface.training.monitor import LogAccumulator, TrainingMonitor
from keras_sphereface.training.run_config import (
    SETTINGS_FILE,
    check_same_run,
    check_settings,
    data_checksum,
    fingerprint,
    planned_steps,
    save_settings,
)
from keras_sphereface.training.trainer import OPTIMIZER_SLOTS, Trainer, make_step, make_trainer
from keras_sphereface.utils.atomic import check_free_space

CHECKPOINTS_KEPT = 2
VERIFIED_AT_ONCE = 64  # faces, on each device


def train(
    config: TrainConfig,
    backbone: Callable[..., keras.Model] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Train as `config` says and export the network.

    It runs on all visible devices of this machine, or with the other workers of a cluster where
    `TF_CONFIG` names one. A run that was stopped continues from its newest checkpoint when it is
    started again with the same settings, on the same or another number of devices: weights,
    optimizer, lambda, place in the data and log are kept. (A network that draws random numbers
    itself, for dropout say, draws others after that.)

    Args:
        config: the settings; `config.data` is a folder of records, or empty for generated faces.
        backbone: called with `input_shape`, `embedding_size` and `seed`; makes the network in
            place of `config.backbone`. It may be any Keras model from images to vectors.
        callbacks: Keras callbacks, whose model is the network. Batches are the steps of the run,
            counted on when it is continued; `logs` holds the row of the log at the steps that
            have one, and epochs are passes over the data. `stop_training` ends the run. Of
            several workers each calls its own, and if one stops, all do, at the next row of the
            log or checkpoint.

    Returns:
        The folder of the SavedModel, `WORKDIR/export`.

    Raises:
        FileNotFoundError, ValueError: if the data or the settings cannot be used.
        OSError: if there is no place to write.
        FloatingPointError: if the loss is no longer finite.
        WorkerLostError: if another worker has gone.
    """
    check_settings(config)
    strategy = make_strategy()
    help_ = "Start all workers again with the same command: they go on from the newest checkpoint."
    with explain_lost_workers(strategy, help_):
        return _train(config, strategy, backbone, callbacks)


def _train(config, strategy, backbone, callbacks):
    workdir, chief = Path(config.workdir), is_chief(strategy)
    if chief or config.shard_classes:  # each worker writes its own classes
        check_writable(workdir)
    saved_model.check_savedmodel_folder(workdir / "export")
    if not config.data:
        config = _with_generated_faces(config, strategy)
    if backbone:
        config = dataclasses.replace(config, backbone=_name_of(backbone))
    info = records.read_info(config.data)
    assert_equal_across_workers(
        strategy, fingerprint(config, info), "The checksum of settings and records"
    )
    total_steps = planned_steps(config, info.num_images)
    keras.utils.set_random_seed(config.seed)
    with precision(config.precision):
        trainer = make_trainer(config, info, total_steps, strategy, backbone)
    open_row = LogAccumulator()
    checkpoints = Checkpoints(
        workdir / "checkpoints",
        CHECKPOINTS_KEPT,
        strategy,
        trainer.split,
        backbone=trainer.backbone,
        head=trainer.head,
        optimizer=trainer.optimizer,
        averages=trainer.averages,
        open_row=open_row,
    )
    # Before the first step there is nothing to go on from.
    if checkpoints.newest_step() > 0:
        check_same_run(config, info, strategy)
        checkpoints.restore()
        if chief:
            print(f"continuing from step {trainer.step}", flush=True)
    if chief and trainer.step < total_steps:
        # What cannot be written is found out now, not after hours: one checkpoint more while the
        # oldest is still there, and as much for export and log.
        more = max(1, CHECKPOINTS_KEPT + 2 - len(checkpoints.steps()))
        check_free_space(workdir, more * trainer.num_bytes)
    facts = overview.describe(run_facts(trainer, config, info, total_steps)) if chief else ""
    if chief:
        print(facts, flush=True)
        save_settings(config, info, strategy, trainer.step)
    if trainer.step < total_steps:
        # Kept while the results are written: TensorFlow may take most of a minute to let it go.
        batches = iter(distributed_batches(config, strategy, trainer.step))
        _run(trainer, batches, checkpoints, open_row, config, info, total_steps, callbacks)
    with trainer.averaged() as network:
        folder = _export(network, workdir / "export", strategy)
    if chief:
        evaluate = evaluate_command(config, folder)
        path = summary.write_summary(
            workdir,
            overview=facts,
            export=folder,
            evaluate_command=evaluate,
            repeat_command=repeat_command(workdir),
            seed=config.seed,
            data_checksum=data_checksum(info),
        )
        print(f"summary in {path}", flush=True)
        print(f"evaluate it with: {shlex.join(evaluate)}", flush=True)
    return folder


def check_writable(workdir: Path) -> None:
    """Make the folder of a run, and prove that files can be made in it.

    Raises:
        OSError: if they cannot.
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
    """Layers that are made in this block have this dtype policy."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _with_generated_faces(config, strategy):
    """The settings with a folder of generated records; the chief makes it."""
    folder = Path(config.workdir) / "generated"
    if is_chief(strategy):
        print("No --data given: training on generated faces.", flush=True)
        print("The defaults suit CASIA-WebFace; for a quick run see `make demo`.", flush=True)
        generated_records(folder, 60, 20, 40, config.seed)
    wait_for_all(strategy)
    made = generated_records(folder, 60, 20, 40, config.seed)
    return dataclasses.replace(config, data=str(made.records))


def distributed_batches(
    config: TrainConfig, strategy: tf.distribute.Strategy, start_step: int
) -> tf.distribute.DistributedDataset:
    """The batches from `start_step` on, uint8, each split over the devices in their order."""
    workers = num_workers(strategy)

    def batches_of_worker(context):
        batches = pipeline.training_batches(
            config.data,
            config.batch_size,
            config.seed,
            start_step,
            augment=None,
            num_workers=workers,
            worker=worker_index(strategy),
            same_batches=not config.worker_shards,
            images_per_identity=images_per_identity(config),
        )
        size = context.get_per_replica_batch_size(config.batch_size)
        return batches if size * workers == config.batch_size else batches.rebatch(size)

    return strategy.distribute_datasets_from_function(batches_of_worker)


def run_facts(
    trainer: Trainer, config: TrainConfig, info: records.DatasetInfo, total_steps: int
) -> overview.RunFacts:
    """What a run says of itself before its first step."""
    strategy, head, split = trainer.strategy, trainer.head, trainer.split
    devices, workers = strategy.num_replicas_in_sync, num_workers(strategy)
    at_once = config.batch_size // devices // config.accumulate_steps
    slots = OPTIMIZER_SLOTS[config.optimizer]
    embedding_size = trainer.backbone.output_shape[-1]
    if split:
        classes, samples = split.ranges[0][1], at_once * devices
        block_size, few = split.variables["kernel"][0].shape[-1], head.count_params()
        head_parameters = info.num_identities * (embedding_size + head.use_bias) + few
    else:
        classes, samples = sum(head.block_sizes()), at_once
        block_size, head_parameters = max(head.block_sizes(), default=0), head.count_params()
    return overview.RunFacts(
        devices=tuple(strategy.extended.worker_devices) * workers,
        num_workers=workers,
        batch_size=config.batch_size,
        num_images=info.num_images,
        num_classes=info.num_identities,
        total_steps=total_steps,
        start_step=trainer.step,
        network=config.backbone,
        network_parameters=trainer.backbone.count_params(),
        network_memory=overview.memory_of_network(
            trainer.backbone, at_once, slots + bool(config.ema), (*info.image_size, 3)
        ),
        head=config.head,
        head_parameters=head_parameters,
        head_memory=overview.memory_of_head(
            classes,
            embedding_size,
            samples,
            slots + head.extra_slots,
            block_size,
            bool(split),
        ),
        annealing=getattr(head, "annealing", None),
        split=bool(split),
        precision=config.precision,
    )


def evaluate_command(config: TrainConfig, folder: Path) -> list[str]:
    """The words of the command that evaluates a SavedModel, on LFW if nothing else is named."""
    words = ["python", "tools/evaluate.py", "--model", str(folder)]
    if config.verify_bin:
        words += ["--bin", config.verify_bin]
    elif config.verify_images:
        words += ["--images", config.verify_images, "--pairs", config.verify_pairs]
        words += ["--landmarks", config.verify_landmarks] if config.verify_landmarks else []
    else:
        words += ["--images", "lfw/images", "--pairs", "lfw/pairs.txt"]
        words += ["--landmarks", "lfw/landmarks.txt"]
    if config.verify_folds:
        words += ["--folds", *map(str, config.verify_folds)]
    return [*words, "--out", str(folder.parent / "evaluation")]


def repeat_command(workdir: Path) -> list[str]:
    """The words of the command that continues a run."""
    return ["python", "examples/train_casia.py", "--config", str(workdir / SETTINGS_FILE)]


def _verification(trainer, config, info, report):
    """The callback that the settings ask for, with its faces read; or None."""
    if not config.verify_steps:
        return None
    names = ("images", "pairs", "landmarks", "bin")
    paths = PairSources(**{name: getattr(config, f"verify_{name}") for name in names})
    chief = is_chief(trainer.strategy)
    verification = PairVerification(
        face_set(paths, info.image_size, config.verify_folds),
        trainer.backbone,
        config.verify_steps,
        VERIFIED_AT_ONCE * trainer.strategy.num_replicas_in_sync,
        Path(config.workdir) / summary.VERIFICATION_FILE if chief else "",
        report.verified if chief else None,
    )
    verification.on_train_begin()
    return verification


def _run(trainer, batches, checkpoints, open_row, config, info, total_steps, callbacks):
    """From the step of the optimizer to the last, with progress, log and checkpoints."""
    if not trainer.step:
        checkpoints.save(0)
    step_function = make_step(trainer, config)
    watchers = keras.callbacks.CallbackList(list(callbacks), model=trainer.backbone)

    def epoch_of(step):
        return step * config.batch_size // info.num_images

    epoch = epoch_of(trainer.step)
    watchers.on_train_begin()
    watchers.on_epoch_begin(epoch)
    with TrainingMonitor(trainer, config, info.num_images, total_steps, open_row) as report:
        with report.paused():
            verification = _verification(trainer, config, info, report)
        for step in range(trainer.step + 1, total_steps + 1):
            watchers.on_train_batch_begin(step - 1)
            logs = report.see(step, step_function(batches))
            save = step == total_steps or step % config.checkpoint_steps == 0
            if save or (verification and step % config.verify_steps == 0):
                report.check_finite(step)  # which waits for the device: it is no pause yet
            with report.paused():
                watchers.on_train_batch_end(step - 1, logs)
                if epoch_of(step) > epoch:
                    watchers.on_epoch_end(epoch, logs)
                    epoch = epoch_of(step)
                    watchers.on_epoch_begin(epoch)
                last = step == total_steps or _stops(trainer, config, step)
                if verification:
                    due = last or step % config.verify_steps == 0
                    with trainer.averaged() if due else contextlib.nullcontext():
                        verification.on_train_batch_end(step - 1)
                        if last:
                            verification.on_train_end()
                if last or save:
                    # A run that diverged must not be continued from where it did.
                    report.check_finite(step, trainer.is_finite)
                    report.keep()
                    checkpoints.save(step)
            if last:
                break
    watchers.on_train_end(logs)


def _stops(trainer, config, step):
    """Whether a callback, of any worker, has asked for the end."""
    wanted = bool(getattr(trainer.backbone, "stop_training", False))
    alone = num_workers(trainer.strategy) == 1
    # Workers ask each other seldom, since it takes time.
    if alone or step % config.log_steps == 0 or step % config.checkpoint_steps == 0:
        return any(all_gather_int(trainer.strategy, wanted))
    return False


def _name_of(backbone):
    """As `--backbone` takes it, if the function can be had by that name."""
    named = backbone if hasattr(backbone, "__qualname__") else type(backbone)
    return f"{named.__module__}:{named.__qualname__}"


def _export(network, folder, strategy):
    """The SavedModel. All workers take part, but only the chief's stays."""
    if is_chief(strategy):
        saved_model.export_savedmodel(network, folder)
    else:
        with tempfile.TemporaryDirectory() as elsewhere:
            saved_model.export_savedmodel(network, Path(elsewhere) / "export")
    wait_for_all(strategy)
    return folder
