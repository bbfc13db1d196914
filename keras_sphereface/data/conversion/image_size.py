"""The size of the faces in the records, taken from the images where nothing else asks for one."""

import collections
from collections.abc import Iterable, Mapping

from keras_sphereface.data import images
from keras_sphereface.data.conversion.prepare import Preparation, content_of
from keras_sphereface.data.landmarks import ALIGNED_SIZES
from keras_sphereface.data.readers.recordio import RecordioProperty
from keras_sphereface.data.types import ImageRecord

Size = tuple[int, int]  # height, width


def image_sizes(block: Iterable[ImageRecord]) -> dict[Size, int]:
    """Return how many of some images have each (height, width), the most frequent size first.

    Images that cannot be read are not counted.
    """
    counts: collections.Counter[Size] = collections.Counter()
    for image in block:
        try:
            counts[images.size_of(content_of(image))] += 1
        except (OSError, ValueError):
            continue
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def sized(preparation: Preparation, sizes: Mapping[Size, int]) -> Preparation:
    """Return a preparation whose size is known.

    A height or width that is given stays. Faces that are aligned become 112 x 96. Other images
    keep their size if they all have that of aligned faces, 112 x 96 or 112 x 112, and become
    112 x 96 otherwise.

    Args:
        preparation: Preparation, 0 in its size where none is given.
        sizes: Mapping from (height, width) to the number of images, of some images.

    Example:

    >>> sized(Preparation((0, 0)), {(112, 112): 96}).size
    (112, 112)
    >>> sized(Preparation((0, 0), align=True), {(112, 112): 96}).size
    (112, 96)
    """
    (height, width), default = preparation.size, images.IMAGE_SIZE
    if not (height or width or preparation.align) and len(sizes) == 1:
        default = next((size for size in ALIGNED_SIZES if size in sizes), default)
    return preparation._replace(size=(height or default[0], width or default[1]))


def size_notes(preparation: Preparation, sizes: Mapping[Size, int]) -> list[str]:
    """Return sentences on the size that was chosen, and on images that are cropped to it.

    Args:
        preparation: Preparation with its size.
        sizes: Mapping from (height, width) to the number of images, of some images.
    """
    chosen, default = preparation.size, images.IMAGE_SIZE
    if preparation.align or not sizes or sizes.keys() <= {default} & {chosen}:
        return []
    listed = ", ".join(f"{count} are {_text(size)}" for size, count in list(sizes.items())[:3])
    seen = f"Of {sum(sizes.values())} images, {listed}{', ...' if len(sizes) > 3 else ''}."
    if sizes.keys() == {chosen}:
        return [f"{seen} The records keep this size; --height and --width overrule it."]
    return [
        f"{seen} Others than {_text(chosen)} are cropped at their center and resized to it; "
        "--height and --width ask for another size, and --landmarks aligns faces."
    ]


def property_warnings(
    promised: RecordioProperty | None, num_identities: int | None, sizes: Mapping[Size, int]
) -> list[str]:
    """Return a warning if RecordIO files hold something else than the `property` beside them.

    Args:
        promised: Contents of the file, or None.
        num_identities: Int. Identities in the source; None: unknown.
        sizes: Mapping from (height, width) to the number of images, of some images.
    """
    if promised is None or not sizes:
        return []
    size = next(iter(sizes))
    num_found = promised.num_identities if num_identities is None else num_identities
    if (num_found, *size) == promised:
        return []
    few = " Parts of the set may be missing." if num_found < promised.num_identities else ""
    return [
        f"`property` beside the RecordIO files says {promised.num_identities} identities and "
        f"images of {_text(promised.size)}. The files hold {num_found} identities and images of "
        f"{_text(size)}.{few}"
    ]


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
