"""A sample of the images, which is prepared and checked before the long run."""

from collections.abc import Sequence

import numpy as np

from keras_sphereface.data import images
from keras_sphereface.data.contact_sheet import draw_contact_sheet
from keras_sphereface.data.conversion.prepare import Preparation, content_of
from keras_sphereface.data.conversion.steps import RECORD_OVERHEAD, PreparedFace, prepare_block
from keras_sphereface.data.quality_checks import check_images
from keras_sphereface.data.types import ImageRecord

SAMPLE_SIZE = 96
DETECTED_SAMPLE_SIZE = 48  # finding a face takes a hundred times as long as aligning it

Sample = list[PreparedFace]


def sample_size(preparation: Preparation) -> int:
    """Return the number of images of a sample."""
    return DETECTED_SAMPLE_SIZE if preparation.detect else SAMPLE_SIZE


def prepare_sample(block: Sequence[ImageRecord], preparation: Preparation) -> Sample:
    """Return those of the images that can be used, with their faces."""
    results = prepare_block(block, preparation)
    return [result for result in results if isinstance(result, PreparedFace)]


def estimate_bytes(sample: Sample, num_images: int) -> int:
    """Return about how many bytes the records of all images take."""
    mean = sum(len(face.image) for _, face in sample) / max(1, len(sample))
    return int(num_images * (mean + RECORD_OVERHEAD))


def check_sample(sample: Sample, preparation: Preparation) -> list[str]:
    """Return the warnings of the quality checks."""
    faces = _faces(sample)
    if not preparation.align:
        return check_images(faces)
    # One after the other: whole images may be large.
    cropped = [
        images.crop_to(images.decode(content_of(image)), preparation.size) for image, _ in sample
    ]
    return check_images(faces, cropped)


def draw_sample(sample: Sample) -> bytes:
    """Return a contact sheet of a sample as PNG; a white one if the sample is empty."""
    if not sample:
        return images.encode_png(np.full((112, 96, 3), 255, np.uint8))
    captions = [image.identity for image, _ in sample]
    return images.encode_png(draw_contact_sheet(_faces(sample), captions=captions))


def _faces(sample: Sample) -> list[np.ndarray]:
    return [images.decode(face.image) for _, face in sample]
