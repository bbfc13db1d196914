"""Lists of pairs: LFW's form, and one with a line `first second is_same [fold]`."""

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.data.image_folder import ImageFolder
from keras_sphereface.data.landmark_layout import clean_path
from keras_sphereface.data.pairs import cfp, lfw, lfw_csv, pair_layout
from keras_sphereface.data.pairs.pair_layout import (
    NO_FOLD,
    PairLayout,
    split_pair,
    truth_of,
)
from keras_sphereface.utils import text
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import log, warn

_FORM = (
    "`first second 0` or `first second 1`, and maybe a fold from 1, separated by tabs, commas or "
    "spaces"
)


def read_pair_list(
    path: str | os.PathLike,
    num_folds: int = 10,
    columns: str = "",
    images: str | os.PathLike = "",
    identities: Callable[[], Mapping[str, str]] = dict,
) -> lfw.Pairs:
    """Read LFW's pairs.txt or a list with a line `first second is_same [fold]` for each pair.

    In a list, `first` and `second` name images, templates of images, or folders of them;
    `is_same` is 1 or 0, as in IJB's lists of template pairs, -1, or a word: true, same, genuine.
    Tabs, commas, semicolons or spaces separate; names with spaces need another than spaces. A
    first line may name the columns. `is_same` may stand first, and the two images of a pair on two
    lines, as in CALFW and CPLFW. Lines `template template`, the matches of IJB, match by the
    identities of the templates. Read are also LFW's csv files and the folders of CFP's index lists.

    Args:
        path: The file, or a folder `Protocol/Split/FF` or `FP` of CFP.
        num_folds: Int. Number of folds where the list has none, or one that has pairs of one kind
            only: the matched pairs and the mismatched ones are each cut into so many, in their
            order; fewer if there are fewer pairs of a kind.
        columns: Str. Names of the columns, as of `pair_layout.pair_layout_of_names`; "": recognize
            them.
        images: Folder of the images, in which paths that may hold spaces are looked up; "": they
            are not.
        identities: Function that returns the identity of each template, if they are known.

    Raises:
        ValueError: naming file and line, if the file has another form, or all pairs are of one
            kind.

    Example:

    >>> with open("list.txt", "w") as file:
    ...     _ = file.write("ada/1.jpg,ada/2.jpg,1\\nada/1.jpg,bob/1.jpg,0\\n")
    >>> read_pair_list("list.txt").is_same
    array([ True, False])
    """
    if os.path.isdir(path):
        return _with_both_kinds(path, cfp.read_cfp(path), num_folds)
    numbered = itertools.islice(text.numbered_lines(path), pair_layout.SAMPLE_LINES)
    sample = [line for _, line in numbered]
    if not sample:
        raise ValueError(
            f"{path}, line 1: expected pairs, as in LFW's pairs.txt or in lines {_FORM}. "
            "Received: an empty file"
        )
    folder = ImageFolder(images)

    def exists(key: str) -> bool:
        return bool(images) and folder.path_of(key) is not None

    is_spaced = pair_layout.are_spaced(sample, exists)
    split = functools.partial(pair_layout.split_spaced, exists=exists) if is_spaced else split_pair
    if columns:
        named = pair_layout.pair_layout_of_names(columns)
        has_header = pair_layout.named_columns(split_pair(sample[0])) is not None
        layout: PairLayout | None = named._replace(has_header=has_header)
    else:
        layout = pair_layout.choose_pair_layout(sample, split)
    if lfw_csv.is_lfw_csv(split_pair(sample[0])):
        pairs = lfw_csv.read_lfw_csv(path, num_folds)
        if len(files := lfw_csv.csv_files(path)) > 1:
            _log_once(f"{path} has pairs of one kind; {' and '.join(map(str, files))} are read.")
    elif layout is None and _are_matches(sample):
        pairs = _read_matches(path, identities(), num_folds)
    elif layout is None:
        pairs = lfw.read_pairs(path, num_folds)
    elif layout.two_lines:
        pairs = _read_two_lines(path, num_folds)
    else:
        pairs = _read_list(path, layout, num_folds, split)
    if layout and not columns and layout.describe() not in _USUAL:
        _log_once(f"{path} is read as {layout.describe()}; --pair-columns overrules it.")
    return _with_both_kinds(path, pairs, num_folds)


def write_pair_list(path: str | os.PathLike, pairs: lfw.Pairs) -> None:
    """Write pairs in lines `first second is_same fold`, separated by tabs; names may hold spaces.

    Raises:
        ValueError: If a name holds a tab or a line break.

    Example:

    >>> write_pair_list("tabs.txt", read_pair_list("faces/pairs.txt"))
    >>> read_pair_list("tabs.txt").folds.max()
    np.int64(7)
    """
    for key in {*pairs.first, *pairs.second}:
        if re.search(r"[\t\r\n]", key):
            raise ValueError(f"Names must be without tabs and line breaks. Received: {key!r}")
    columns = zip(pairs.first, pairs.second, pairs.is_same, pairs.folds, strict=True)
    lines = [f"{first}\t{second}\t{int(same)}\t{fold}\n" for first, second, same, fold in columns]
    with atomic_file(Path(path)) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


MIN_NAMED = 0.9  # share of pairs; lists have a few errors


def identities_of_pairs(
    path: str | os.PathLike, folds: Iterable[int] = (), columns: str = ""
) -> set[str]:
    """Return the identities that some folds of a list of pairs name; all folds if none is given.

    Raises:
        ValueError: naming the file, as `read_pair_list`, or if its keys do not name identities.

    Example:

    >>> sorted(identities_of_pairs("faces/pairs.txt", folds=[1]))
    ['person_0006', 'person_0007']
    """
    pairs = read_pair_list(path, columns=columns).in_folds(folds)
    if pairs.share_of_named() < MIN_NAMED:
        raise ValueError(
            f"{path}: the identities of pairs are taken from their keys, `name/image.jpg` or "
            "`name_0001.jpg`, which must agree with whether they match. Received: keys that name "
            f"none, as {pairs.first[0]} and {pairs.second[0]}"
        )
    return pairs.identities()


_USUAL = ("first second is_same", "first second is_same fold")
# Commands read a list when they check it and when they use it.
_log_once, _warn_once = functools.cache(log), functools.cache(warn)


def _are_matches(sample: Sequence[str]) -> bool:
    """Return whether lines hold two names and no answer; LFW's header alone is no such line."""
    return len(sample) > 1 and all(len(split_pair(line)) == 2 for line in sample)


def _read_matches(
    path: str | os.PathLike, identities: Mapping[str, str], num_folds: int
) -> lfw.Pairs:
    """Read lines `template template`; pairs of one identity match."""
    first, second, lines = [], [], []
    for number, line in text.numbered_lines(path):
        fields = split_pair(line)
        if number == 1 and identities and not set(fields) & identities.keys():
            continue  # a header
        if len(fields) != 2 or not set(fields) <= identities.keys():
            raise ValueError(
                f"{path}, line {number}: expected {_FORM}; two columns alone are read with "
                "--templates that names the identity of each, as the csv files of IJB with "
                f"TEMPLATE_ID, SUBJECT_ID and FILENAME do. Received: {line!r}"
            )
        first.append(fields[0])
        second.append(fields[1])
        lines.append(number)
    both = zip(first, second, strict=True)
    is_same = np.array([identities[a] == identities[b] for a, b in both], bool)
    folds = lfw.assign_folds(is_same, num_folds)
    return lfw.Pairs(first, second, is_same, folds, np.array(lines))


def _read_list(
    path: str | os.PathLike,
    layout: PairLayout,
    num_folds: int,
    split: Callable[[str], list[str]],
) -> lfw.Pairs:
    first: list[str] = []
    second: list[str] = []
    folds: list[int] = []
    is_same, lines = [], []
    entries = itertools.islice(text.numbered_lines(path), int(layout.has_header), None)
    for number, line in entries:
        fields = split(line)
        if len(fields) != layout.width and len(fields) in (3, 4) and all(fields):
            raise ValueError(
                f"{path}, line {number}: expected {layout.width} fields, as in the first line. "
                f"Received: {line!r}, of {len(fields)}"
            )
        is_whole = len(fields) == layout.width and layout.width >= 3
        same = truth_of(fields[layout.is_same]) if is_whole else None
        fold = [fields[layout.fold]] if is_whole and layout.fold != NO_FOLD else []
        keys = [fields[layout.first], fields[layout.second]] if is_whole else [""]
        if same is None or not (all(keys) and _are_folds(fold)) or _is_too_wide(layout):
            raise ValueError(
                f"{path}, line {number}: expected {_FORM}. Received: {line!r}, of {len(fields)} "
                "columns. If all lines are so, name them: --pair-columns is_same,first,second"
            )
        for side, key in zip((first, second), keys, strict=True):
            side.append(clean_path(key))
        is_same.append(same)
        folds += map(int, fold)
        lines.append(number)
    matched = np.array(is_same, bool)
    fold_of_pair = np.array(folds) if folds else lfw.assign_folds(matched, num_folds)
    return lfw.Pairs(first, second, matched, fold_of_pair, np.array(lines))


def _is_too_wide(layout: PairLayout) -> bool:
    """Return whether a list has columns that nothing names."""
    return layout == PairLayout(width=layout.width) and layout.width > 4


def _read_two_lines(path: str | os.PathLike, num_folds: int) -> lfw.Pairs:
    """Read lines `image number`, two for each pair: its fold, or 0 for two identities.

    The mismatched pairs have no folds and are cut in their order into as many.
    """
    entries = []
    for number, line in text.numbered_lines(path):
        key, _, answer = line.replace("\t", " ").rpartition(" ")
        if not key or not re.fullmatch("[0-9]{1,9}", answer):
            raise ValueError(
                f"{path}, line {number}: expected `image number`, two lines for each pair. "
                f"Received: {line!r}"
            )
        entries.append((number, clean_path(key.strip()), int(answer)))
    for (_, _, fold), (number, key, other) in zip(entries[::2], entries[1::2], strict=False):
        if fold != other:
            raise ValueError(
                f"{path}, line {number}: expected the number of the line above, of the same pair. "
                f"Received: another number for {key}"
            )
    if len(entries) % 2:
        raise ValueError(
            f"{path}, line {entries[-1][0]}: expected two lines for each pair. Received: one"
        )
    fold_of_matched = np.array([fold for _, _, fold in entries[::2]])
    matched = fold_of_matched > 0
    numbers = np.unique(fold_of_matched[matched])
    folds = lfw.assign_folds(matched, num_folds)
    if len(numbers) > 1 and len(numbers) == numbers[-1]:
        folds = lfw.assign_folds(matched, len(numbers))
        folds[matched] = fold_of_matched[matched]
    return lfw.Pairs(
        [key for _, key, _ in entries[::2]],
        [key for _, key, _ in entries[1::2]],
        matched,
        folds,
        np.array([number for number, _, _ in entries[::2]]),
    )


def _are_folds(fields: list[str]) -> bool:
    return all(re.fullmatch("[1-9][0-9]{0,8}", field) for field in fields)


def _with_both_kinds(path: str | os.PathLike, pairs: lfw.Pairs, num_folds: int) -> lfw.Pairs:
    """Return the pairs, cut anew by kind if a fold has one kind only.

    Raises:
        ValueError: if a fold is empty, or all pairs are of one kind.
    """
    if not pairs.first or pairs.lines is None:
        raise ValueError(f"{path}, line 1: expected pairs. Received: none")
    has_both = len(np.unique(pairs.is_same)) == 2
    for fold in range(1, int(pairs.folds.max()) + 1):
        inside = pairs.folds == fold
        if len(kinds := np.unique(pairs.is_same[inside])) == 2:
            continue
        if not inside.any():
            line = pairs.lines[np.argmax(pairs.folds > fold)]
            received = "none"
        else:
            line = pairs.lines[np.argmax(inside)]
            received = f"{inside.sum()} {'matched' if kinds[0] else 'mismatched'} pairs only"
        if inside.any() and has_both:
            cut = pairs._replace(folds=lfw.assign_folds(pairs.is_same, num_folds))
            _warn_once(
                f"{path}, line {line}: fold {fold} has {received}. All pairs are cut into "
                f"{cut.folds.max()} folds anew, matched and mismatched ones separately; accuracies "
                "differ from those of the folds in the file."
            )
            return cut
        raise ValueError(
            f"{path}, line {line}: expected matched and mismatched pairs in fold {fold}. "
            f"Received: {received}"
        )
    return pairs
