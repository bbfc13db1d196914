"""`sphereface convert`: convert faces to records, or verify records, and print the result."""

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import records
from keras_sphereface.data.conversion import make_records
from keras_sphereface.data.conversion.exclusions import IN_CASIA_AND_LFW
from keras_sphereface.utils.progress import stage, warn_once
from keras_sphereface.utils.text import counted

# Of faces of LFW, five times as many as are found in error.
SUSPICIOUS_SHARES = {"upside down": 0.01, "aligned twice": 0.005, "BGR": 0.002}
MIN_SUSPICIOUS = 5  # images


def run_convert(config: ConvertConfig) -> None:
    """Convert, or verify, and print the result."""
    if config.verify:
        with stage("comparing the shards with their checksums"):
            result = verify_shards(config.verify)
        print(result)
        return
    info = convert(config)
    warn_once(conversion_warnings(info), set())
    print(conversion_summary(info))
    print(f"written to {config.out}")


def convert(config: ConvertConfig) -> records.DatasetInfo:
    """Make records on this machine, or on Beam if a runner is named.

    Raises:
        ImportError: if a runner is named and Beam is not installed.
        FileNotFoundError, FileExistsError, ValueError, OSError: as `make_records`.
    """
    if not config.runner:
        return make_records(config)
    try:
        # Only now: Beam takes long to import, and is an extra.
        from keras_sphereface.data.conversion.beam import make_records_on_beam
    except ImportError as error:
        raise ImportError(
            "`runner` needs Apache Beam: pip install 'keras-sphereface[beam]'. "
            f"Received: runner={config.runner!r}"
        ) from error
    return make_records_on_beam(config)


def verify_shards(folder: str) -> str:
    """Compare the shards of a folder of records with their checksums; return that they match.

    Raises:
        FileNotFoundError: if the folder holds no records.
        ValueError: naming each shard that does not match.
    """
    damaged = records.damaged_shards(folder)
    if damaged:
        listed = "\n".join(f"  {file} {problem}" for file, problem in damaged.items())
        raise ValueError(
            "Shards differ from their checksums in dataset.json; convert the source again. "
            f"Received: {len(damaged)} of them\n{listed}"
        )
    info = records.read_info(folder)
    shards = counted(len(info.shards), "shard matches its checksum", "shards match their checksums")
    return f"{shards}: {counted(info.num_images, 'image')}"


def conversion_summary(info: records.DatasetInfo) -> str:
    """Return the result of a conversion for the terminal, skipped images by reason included."""
    lines = [
        f"{counted(info.num_images, 'image')} of {counted(info.num_identities, 'identity')} in "
        f"{counted(len(info.shards), 'shard')}, {info.image_size[0]} x {info.image_size[1]}, "
        f"alignment: {info.alignment}"
    ]
    if info.num_read != info.num_images:
        lines.append(
            f"{info.num_read:,} read: {info.num_images:,} kept, {info.excluded_images:,} excluded, "
            f"{info.num_skipped:,} skipped"
        )
    if info.excluded_images:
        in_lfw = sorted(IN_CASIA_AND_LFW.intersection(info.excluded_identities))
        lines.append(
            f"excluded: {counted(len(info.excluded_identities), 'identity')}, "
            f"{counted(info.excluded_images, 'image')}"
            + (f"; {', '.join(in_lfw)} of CASIA-WebFace are in LFW" if in_lfw else "")
        )
    if info.duplicates_same_identity:
        lines.append(
            f"{counted(info.duplicates_same_identity, 'image occurs', 'images occur')} more than "
            f"once under one identity; {records.DUPLICATES_FILE} lists them"
        )
    reasons = list(info.skipped_by_reason.items())
    for reason, count in reasons[:10]:
        example = info.skipped_examples.get(reason)
        shown = f", for example {example}" if example else ""
        lines.append(f"skipped {count:,}: {reason}{shown}")
    if len(reasons) > 10:
        lines.append(f"and {len(reasons) - 10} more reasons")
    if reasons:
        lines.append(f"{records.SKIPPED_FILE} lists every skipped image")
    lines += _quality_lines(info)
    return "\n".join(lines)


def _quality_lines(info: records.DatasetInfo) -> list[str]:
    """Return what the quality checks of all faces found, and what they could not look for."""
    found = [f"{row.num_found} {row.check}" for row in info.quality if row.num_found]
    notes = sorted({row.note for row in info.quality if row.note and "--detect" not in row.note})
    if found:
        notes.append(f"quality: {'; '.join(found)}; {records.QUALITY_FILE} shows examples")
    return notes


def conversion_warnings(info: records.DatasetInfo) -> list[str]:
    """Return what is known only at the end; `info.warnings` were shown while it was converted."""
    warnings = []
    if info.unknown_exclusions:
        names = ", ".join(info.unknown_exclusions[:3])
        warnings.append(
            "lines of the exclusions that match nothing in the source: "
            f"{len(info.unknown_exclusions):,}, for example {names}"
        )
    if info.duplicates_several_identities:
        warnings.append(
            f"{counted(info.duplicates_several_identities, 'image occurs', 'images occur')} under "
            f"several identities, of which one at most is right; {records.DUPLICATES_FILE} lists "
            "them for --exclude"
        )
    counts = {row.check: row.num_found or 0 for row in info.quality}
    if near := counts.get("near duplicates, several identities"):
        warnings.append(
            f"images that look like one photograph under several identities: {near:,}; "
            f"{records.NEAR_DUPLICATES_FILE} lists them for --exclude"
        )
    for check, share in SUSPICIOUS_SHARES.items():
        count = counts.get(check, 0)
        # Of faces that are not aligned at all some fit better when they are turned.
        if check == "upside down" and count <= counts.get("poor fit to the template", 0):
            continue
        if count >= MIN_SUSPICIOUS and count > share * info.num_images:
            warnings.append(
                f"{count} of {info.num_images} images seem to be wrong: {check}. Look at "
                f"{records.QUALITY_FILE}"
            )
    return warnings
