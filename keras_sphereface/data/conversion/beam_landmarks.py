"""The points of a landmark file for the images of a source, on Beam.

As `keys.matched_keys` and the manifest of a local conversion do: first the equal name, then one
that differs in its suffix, in `./` or in its Unicode form, then one that ends in the same parts.
Only names travel here; images may come with their bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from keras_sphereface.data.keys import canonical_key, last_parts, num_parts


class KeyPoints(NamedTuple):
    """The key of an image and its points in the landmark file; None as long as none are known.

    `is_open` is whether points that have another name are wanted: the source has none.
    """

    key: str
    points: np.ndarray | None
    is_open: bool


def match_landmarks(pipeline: Any, images: Any, points: Any) -> Any:
    """Return the collection of (key, points) of the images that the landmark file knows.

    Args:
        pipeline: Pipeline.
        images: Collection of `ImageRecord`.
        points: Collection of (name, points), the lines of the file.
    """
    keys = images | "Keys" >> beam.Map(lambda image: (image.key, image.landmarks is not None))
    lines = points | "Lines of a name" >> beam.GroupByKey() | beam.Map(lambda g: first_points(g))
    groups = {"keys": keys, "points": lines} | "Same name" >> beam.CoGroupByKey()
    found = groups | "Equal" >> beam.FlatMap(lambda group: points_of_key(group))
    names = _unique("Names", lines | beam.Map(lambda line: (canonical_key(line[0]), line[1])))
    keyed = found | "By canonical" >> beam.Map(lambda found: (canonical_key(found.key), found))
    groups = {"keys": keyed, "points": names} | "Same canonical" >> beam.CoGroupByKey()
    found = groups | "Canonical" >> beam.FlatMap(lambda group: points_of_name(group))
    depth = AsSingleton(_depth(pipeline, names, found))
    # With a depth of 0 there are no endings, and nothing is matched by them.
    endings = names | "Ends" >> beam.FlatMap(
        lambda name, depth: [(last_parts(name[0], depth), name[1])] if depth else [], depth
    )
    keyed = found | "By ending" >> beam.Map(
        lambda found, depth: (last_parts(canonical_key(found.key), depth), found), depth
    )
    groups = {"keys": keyed, "points": _unique("Endings", endings)}
    groups = groups | "Same ending" >> beam.CoGroupByKey()
    found = groups | "Ending" >> beam.FlatMap(lambda group: points_of_ending(group))
    known = found | "Known" >> beam.Filter(lambda found: found.points is not None)
    return known | "Points" >> beam.Map(lambda found: (found.key, found.points))


def first_points(group: tuple[str, Iterable[np.ndarray]]) -> tuple[str, np.ndarray]:
    """Return a name and one of its points, the same if a bundle is done again."""
    name, points = group
    return name, min(points, key=lambda points: points.tolist())


def points_of_key(group: tuple[str, Mapping[str, Iterable]]) -> Iterator[KeyPoints]:
    """Yield a key that images have, with the points of the equal name."""
    key, sides = group
    have_landmarks, points = list(sides["keys"]), list(sides["points"])
    if have_landmarks:
        is_open = not (points or any(have_landmarks))
        yield KeyPoints(key, points[0] if points else None, is_open)


def points_of_name(group: tuple[str, Mapping[str, Iterable]]) -> Iterator[KeyPoints]:
    """Yield the keys of a name, those that are open with the points of the name."""
    _, sides = group
    points = list(sides["points"])
    for found in sides["keys"]:
        yield found._replace(points=points[0], is_open=False) if points and found.is_open else found


def points_of_ending(group: tuple[str, Mapping[str, Iterable]]) -> Iterator[KeyPoints]:
    """Yield the keys of an ending, with the points of the ending if no other key has it."""
    ending, sides = group
    keys = list(sides["keys"])
    yield from points_of_name((ending, {**sides, "keys": keys})) if len(keys) == 1 else keys


def common_depth(of_names: int, of_keys: int) -> int:
    """Return how many parts of a path must agree: all of the shorter; 0 if none is shorter."""
    return min(of_names, of_keys) if of_names != of_keys else 0


def _unique(name: str, points: Any) -> Any:
    """Return the (name, points) of the names that are met once."""
    groups = points | f"{name}: group" >> beam.GroupByKey()
    groups = groups | f"{name}: list" >> beam.Map(lambda group: (group[0], list(group[1])))
    once = groups | f"{name}: once" >> beam.Filter(lambda group: len(group[1]) == 1)
    return once | f"{name}: points" >> beam.Map(lambda group: (group[0], group[1][0]))


def _depth(pipeline: Any, names: Any, found: Any) -> Any:
    """Return the `common_depth` of the names and of the keys that are open still."""
    is_open = found | "Open" >> beam.Filter(lambda found: found.is_open)
    parts = [
        names | "Parts of names" >> beam.Map(lambda name: num_parts(name[0])),
        is_open | "Parts of keys" >> beam.Map(lambda found: num_parts(found.key)),
    ]
    longest = [
        AsSingleton(side | f"Longest {i}" >> beam.CombineGlobally(lambda n: max(n, default=0)))
        for i, side in enumerate(parts)
    ]
    start = pipeline | "Depth" >> beam.Create([None])
    # Where no key is open, or no name, 0 is the shorter.
    return start | "Common" >> beam.Map(lambda _, names, keys: common_depth(names, keys), *longest)
