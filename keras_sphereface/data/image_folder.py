"""Images of a folder by key, whatever their suffix: LFW's list names none, and tools write any."""

import functools
import os
from pathlib import Path

from keras_sphereface.data.filenames import is_image_name
from keras_sphereface.data.keys import canonical_key, canonical_name
from keras_sphereface.utils.progress import log

# Faces are loaded when they are checked and when they are embedded.
_log_once = functools.cache(log)


class ImageFolder:
    """Images below a folder by key.

    Args:
        root: Folder that keys are relative to.

    Example:

    >>> folder = ImageFolder("faces/images")
    >>> print(folder.path_of("person_0001/person_0001_0001.png"))
    faces/images/person_0001/person_0001_0001.jpg
    >>> print(folder.path_of("person_0001/none.png"))
    None
    """

    def __init__(self, root: str | os.PathLike):
        self.root = Path(root)
        self._images: dict[Path, dict[str, list[str]]] = {}

    def path_of(self, key: str) -> Path | None:
        """Return the file or folder of a key, else the image with its stem; None without one.

        Names are compared in one Unicode form. Of several images the first by name is taken, and
        logged.
        """
        path = self.root / key
        try:
            if path.exists():
                return path
            folder = _in_any_form(path.parent)
            images = self._images_of(folder).get(canonical_key(path.name), [])
        except (OSError, ValueError):
            return None
        if not images:
            return None
        if len(images) > 1:
            _log_once(f"{path} may be any of {', '.join(images)}; {images[0]} is taken.")
        return folder / images[0]

    def _images_of(self, folder: Path) -> dict[str, list[str]]:
        """Return {stem: names} of the images of a folder."""
        if folder not in self._images:
            images: dict[str, list[str]] = {}
            for name in sorted(filter(is_image_name, os.listdir(folder))):
                images.setdefault(canonical_key(name), []).append(name)
            self._images[folder] = images
        return self._images[folder]


def _in_any_form(folder: Path) -> Path:
    """Return a folder, or the one whose name is the same in another Unicode form."""
    if str(folder).isascii() or folder.exists():
        return folder
    parent = _in_any_form(folder.parent)
    wanted = canonical_name(folder.name)
    same = (name for name in sorted(os.listdir(parent)) if canonical_name(name) == wanted)
    return parent / next(same, folder.name)
