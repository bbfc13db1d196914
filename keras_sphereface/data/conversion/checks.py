"""Checks of the settings and the places of a conversion, before any work is done."""

import os
from collections.abc import Iterable
from pathlib import Path

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import detection, records


def check_convert_config(config: ConvertConfig) -> None:
    """Raise a ValueError if settings are missing, out of range or contradict each other."""
    if not (config.source and config.out):
        raise ValueError(
            "`source` and `out` are needed; set --source and --out. "
            f"Received: source={config.source!r}, out={config.out!r}"
        )
    for name, minimum in dict(num_shards=0, workers=0, min_images=1, height=0, width=0).items():
        if getattr(config, name) < minimum:
            raise ValueError(f"`{name}` must be >= {minimum}. Received: {getattr(config, name)}")
    if config.follow_links and config.runner:
        raise ValueError(
            "`follow_links` is of a conversion on this machine; leave --follow-links or --runner "
            f"out. Received: runner={config.runner!r}"
        )
    if config.exclude_folds and not config.exclude_pairs:
        raise ValueError(
            "`exclude_folds` are folds of `exclude_pairs`; set --exclude-pairs too. "
            f"Received: exclude_folds={config.exclude_folds}, exclude_pairs=''"
        )
    if config.detect:
        detection.check_mtcnn_installed()


def check_places(out: Path, source: Path, lists: Iterable[str], contact_sheet: str) -> None:
    """Raise an error if the output would replace an input, or cannot be placed.

    Args:
        out: Path of the output folder.
        source: Path of the source.
        lists: Iterable of str. Paths of the other files that are read; "" for none.
        contact_sheet: Str. Path of the contact sheet, or "".

    Raises:
        ValueError, FileNotFoundError: naming the path.
    """
    resolved = out.resolve()
    if source.resolve() in (resolved, *resolved.parents):
        raise ValueError(f"The output must lie outside of the source. Received: {out}")
    for path in filter(None, [str(source), *lists]):
        if resolved in Path(path).resolve().parents:
            raise ValueError(f"Inputs must lie outside of the output. Received: {path}")
    if os.path.ismount(out):
        raise ValueError(
            f"The output must not be a mount point; set --out to a folder in it. Received: {out}"
        )
    sheet = Path(contact_sheet or ".").absolute()
    if not sheet.parent.is_dir():
        raise FileNotFoundError(
            f"`contact_sheet` must lie in a folder that exists. Received: {sheet}"
        )


def check_output(out: Path, overwrite: bool) -> None:
    """Raise a FileExistsError if OUT holds anything but records that may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    foreign = [entry.name for entry in out.iterdir() if not records.is_own_file(entry.name)]
    if foreign or not (out / records.INFO_FILE).is_file():
        raise FileExistsError(
            "The output folder must be new, empty, or hold records and nothing else. "
            f"Received: {out}" + (f", with {foreign[0]}" if foreign else "")
        )
    if not overwrite:
        raise FileExistsError(
            f"The output folder holds records; `--overwrite` replaces them. Received: {out}"
        )
