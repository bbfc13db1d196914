"""Records from the command line, and records of generated faces."""

from keras_sphereface.config import ConvertConfig
from keras_sphereface.config.parsing import errors_in_one_sentence
from keras_sphereface.data import records
from keras_sphereface.data.conversion.convert import make_records


def main(config: ConvertConfig) -> None:
    """Convert, or verify, and print what came of it; what users can mend ends in one sentence."""
    with errors_in_one_sentence():
        print(verify(config.verify) if config.verify else summary(convert(config)))


def convert(config: ConvertConfig) -> records.DatasetInfo:
    """Make records on this machine, or on Beam if a runner is named.

    Raises:
        ImportError: if a runner is named and Beam is not installed.
        FileNotFoundError, FileExistsError, ValueError, OSError: as `conversion.make_records`.
    """
    if not config.runner:
        return make_records(config)
    try:
        # Only now: Beam takes long to import, and is an extra.
        from keras_sphereface.data.conversion import beam
    except ImportError as error:
        raise ImportError(
            "`runner` needs Apache Beam: pip install keras-sphereface[beam]"
        ) from error
    return beam.make_records(config)


def verify(folder: str) -> str:
    """Compare the shards of a folder of records with their checksums, and say that they fit.

    Raises:
        FileNotFoundError: if the folder holds no records.
        ValueError: naming each shard that does not fit.
    """
    damaged = records.damaged_shards(folder)
    if damaged:
        listed = "\n".join(f"  {file} {what}" for file, what in damaged.items())
        raise ValueError(
            f"Shards are not as they were written. Received: {len(damaged)} of them\n{listed}"
        )
    info = records.read_info(folder)
    return f"all {len(info.shards)} shards are as they were written: {info.num_images} images"


def summary(info: records.DatasetInfo) -> str:
    """What a user wants to read after a conversion, the drops by reason included."""
    lines = [
        f"{info.num_images} images of {info.num_identities} people in {len(info.shards)} "
        f"shards, {info.image_size[0]} x {info.image_size[1]}, alignment: {info.alignment}"
    ]
    if info.excluded_images:
        lines.append(
            f"left out as asked: {len(info.excluded_identities)} people, "
            f"{info.excluded_images} images"
        )
    if info.unknown_exclusions:
        names = ", ".join(info.unknown_exclusions[:3])
        lines.append(
            f"WARNING: {len(info.unknown_exclusions)} people to leave out are not in the source, "
            f"for example {names}"
        )
    if info.duplicates_same_identity:
        lines.append(
            f"{info.duplicates_same_identity} images are there more than once for one person; "
            f"{records.DUPLICATES_FILE} lists them"
        )
    if info.duplicates_several_identities:
        lines.append(
            f"WARNING: {info.duplicates_several_identities} images stand under several identities, "
            f"and one must be wrong; {records.DUPLICATES_FILE} lists them for --exclude"
        )
    reasons = list(info.skipped_by_reason.items())
    lines += [f"dropped {count}: {reason}" for reason, count in reasons[:10]]
    if len(reasons) > 10:
        lines.append(f"and {len(reasons) - 10} more reasons")
    if reasons:
        lines.append(f"{records.SKIPPED_FILE} lists every dropped image")
    lines += [f"WARNING: {warning}" for warning in info.warnings]
    return "\n".join(lines)
