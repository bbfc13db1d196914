"""`sphereface pairs`: draw pairs for evaluation from a folder of people."""

import numpy as np

from keras_sphereface.config.convert import PairsConfig
from keras_sphereface.data.pairs import draw_pairs, write_pair_list
from keras_sphereface.data.readers.class_folders import read_class_folders
from keras_sphereface.data.types import ImageRecord
from keras_sphereface.utils.text import counted


def run_pairs(config: PairsConfig) -> None:
    """Draw the pairs, write them, and print what they are."""
    images: dict[str, list[str]] = {}
    # Names alone are read: links may lead anywhere, as where images are opened for evaluation.
    for entry in read_class_folders(config.images, follow_links=True):
        if isinstance(entry, ImageRecord):
            images.setdefault(entry.identity, []).append(entry.key)
    pairs = draw_pairs(
        images, config.num_folds, config.pairs_per_class, config.num_identities, config.seed
    )
    write_pair_list(config.out, pairs)
    matched = int(np.count_nonzero(pairs.is_same))
    print(
        f"{matched:,} matched and {len(pairs.first) - matched:,} mismatched pairs of "
        f"{counted(len(pairs.identities()), 'person', 'people')} in "
        f"{counted(pairs.folds.max(), 'fold')}: {config.out}"
    )
