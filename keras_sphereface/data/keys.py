"""Names of images that are written in different ways: absolute, with `./`, with another suffix."""

import collections
import unicodedata
from collections.abc import Iterable

from keras_sphereface.data.filenames import without_image_suffix


def canonical_name(name: str) -> str:
    """Return a name in the form that is compared: composed (NFC); macOS keeps names decomposed.

    Example:

    >>> canonical_name("Zoe\\u0308") == "Zo\\u00eb"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def names_in_both(names: Iterable[str], others: Iterable[str]) -> set[str]:
    """Return those of `names` that are among `others`, compared in one Unicode form."""
    wanted = set(map(canonical_name, others))
    return {name for name in names if canonical_name(name) in wanted}


def folded_name(name: str) -> str:
    """Return a name in the form that is equal for names that differ in case or Unicode form."""
    return canonical_name(canonical_name(name).casefold())


def canonical_key(key: str) -> str:
    """Return a key in the form that is compared: composed (NFC), slashes, without image suffix.

    Example:

    >>> canonical_key("./Ada\\\\Ada_0001.JPG")
    'Ada/Ada_0001'
    """
    key = canonical_name(key)
    parts = [part for part in key.replace("\\", "/").split("/") if part not in ("", ".")]
    return without_image_suffix("/".join(parts))


def last_parts(key: str, count: int) -> str:
    """Return the last `count` parts of a path with slashes.

    Example:

    >>> last_parts("data/casia/0000045/001", 2)
    '0000045/001'
    """
    return "/".join(key.rsplit("/", count)[-count:])


def short_key(key: str) -> str:
    """Return the name of an image for a caption: with its folder, unless it starts with its name.

    Example:

    >>> short_key("lfw/Ann/Ann_0001.jpg"), short_key("casia/0000045/017.jpg")
    ('Ann_0001.jpg', '0000045/017.jpg')
    """
    name = last_parts(key.replace("\\", "/"), 2)
    folder, _, image = name.rpartition("/")
    return image if image.startswith(folder) else name


def num_parts(key: str) -> int:
    """Return the number of parts of a path with slashes."""
    return key.count("/") + 1


def matched_keys(keys: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return {key: the name that means the same image}, for the keys that have one.

    A name that is equal comes first, then one that differs in its suffix, in `./` or in its
    Unicode form, then one that ends in the same parts, if no other name or key does.

    Args:
        keys: Iterable of str. Keys of images.
        names: Iterable of str. Names in another file.

    Example:

    >>> matched_keys(["ada/1.png", "bob/2.jpg"], ["/data/faces/ada/1.jpg", "/data/faces/x/1.jpg"])
    {'ada/1.png': '/data/faces/ada/1.jpg'}
    """
    keys, names = list(dict.fromkeys(keys)), list(dict.fromkeys(names))
    known = set(names)
    matched = {key: key for key in keys if key in known}
    if len(matched) == len(keys):
        return matched
    by_canonical = _unique((canonical_key(name), name) for name in names)
    for key in keys:
        name = by_canonical.get(canonical_key(key))
        if key not in matched and name is not None:
            matched[key] = name
    remaining = {key: canonical_key(key) for key in keys if key not in matched}
    if not remaining or not names:
        return matched
    # All parts of the shorter ones must agree.
    depth = min(max(map(num_parts, remaining.values())), max(map(num_parts, by_canonical or names)))
    by_end = _unique((last_parts(name, depth), by_canonical[name]) for name in by_canonical)
    of_end = _unique((last_parts(canonical_key(key), depth), key) for key in keys)
    for end, key in of_end.items():
        if key in remaining and end in by_end:
            matched[key] = by_end[end]
    return matched


def _unique(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the items whose first is met once."""
    of_first: dict[str, str] = {}
    counts: collections.Counter[str] = collections.Counter()
    for first, second in items:
        counts[first] += 1
        of_first[first] = second
    return {first: second for first, second in of_first.items() if counts[first] == 1}
