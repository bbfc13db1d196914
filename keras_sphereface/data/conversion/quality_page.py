"""quality.html beside the records: the table of quality, and the faces that it names."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_sphereface.data import images
from keras_sphereface.data.contact_sheet import draw_contact_sheet
from keras_sphereface.data.conversion.manifest import Manifest
from keras_sphereface.data.conversion.prepare import Preparation
from keras_sphereface.data.conversion.quality import SINGLE
from keras_sphereface.data.conversion.steps import PreparedFace, prepare_block
from keras_sphereface.data.keys import short_key
from keras_sphereface.data.records import QualityRow
from keras_sphereface.reporting import (
    Details,
    Heading,
    ImageBlock,
    Paragraph,
    Table,
    Warnings,
    render_page,
)
from keras_sphereface.reporting.blocks import Block
from keras_sphereface.utils.text import counted

COLUMNS = 6  # even: the two faces of a pair stand side by side
MEANINGS = {
    "upside down": "Turned by half a turn, the face fits the five-point template much better. "
    "Of faces of LFW that are turned 93 % are found, of those that are not 0.2 %.",
    "aligned twice": "The face does not fit the template, and a third of the image is black: it "
    "was aligned by the landmarks of another image, or twice.",
    "poor fit to the template": "Eyes, nose and mouth are not where the template has them: faces "
    "that are not aligned, profiles, hands, glasses, dark images. Of aligned faces of LFW these "
    "are 1 %, of faces cropped at random 60 %, but of faces centered without alignment 14 %: the "
    "warnings judge a set as a whole.",
    "BGR": "The face is bluer than it is red: its channels are swapped. Of faces of LFW these are "
    "0.04 %, of swapped ones 99.8 %.",
    "gray": "The three channels are equal. A network trained on color recognizes gray faces less "
    "accurately.",
    "several faces": "The detector found further faces at least a third as high; the face nearest "
    "to the center was taken.",
    "exact duplicates, several identities": "One file under several names, of which one at most is "
    "right. Each pair stands side by side; duplicates.csv lists all of them, for --exclude.",
    "exact duplicates, same identity": "One file several times; duplicates.csv lists all of them.",
    "near duplicates, several identities": "One photograph under several names, encoded anew, "
    "resized or edited: one name at most is right. Each pair stands side by side; "
    "near_duplicates.csv lists all of them, for --exclude.",
    "near duplicates, same identity": "One photograph several times, or several of one moment; "
    "near_duplicates.csv lists all of them.",
    "identities with one image": "Nothing about how a face varies can be learned from one image; "
    "--min-images leaves them out.",
}


def render_quality(
    rows: Sequence[QualityRow],
    num_images: int,
    warnings: Sequence[str],
    faces: Mapping[str, np.ndarray],
) -> str:
    """Return the page as HTML.

    Args:
        rows: Sequence of the checks.
        num_images: Int. Number of records.
        warnings: Sequence of the warnings of the conversion.
        faces: {key: pixels} of the examples, as they are in the records.
    """
    blocks: list[Block] = [
        Warnings(warnings),
        Paragraph(
            f"{counted(num_images, 'face')} as they are in the records, measured one by one. A "
            "finding is a suspicion: look at the examples before you exclude anything."
        ),
        _table(rows, num_images),
    ]
    for row in rows:
        shown = [key for key in row.examples if key in faces]
        if shown:
            sheet = draw_contact_sheet(
                [faces[key] for key in shown], COLUMNS, [short_key(key) for key in shown]
            )
            png, names = images.encode_png(sheet), Table(["image"], [[key] for key in shown])
            blocks += [
                Heading(row.check[0].upper() + row.check[1:]),
                Paragraph(f"{_count(row, num_images)}. {MEANINGS[row.check]}"),
                ImageBlock(png, f"{len(shown)} examples of: {row.check}"),
                Details("Names of these images", [names]),
            ]
    return render_page("Quality of the faces", blocks)


def _table(rows: Sequence[QualityRow], num_images: int) -> Table:
    cells = []
    for row in rows:
        count, share = "", ""
        if row.num_found is not None:
            count, share = str(row.num_found), f"{row.num_found / max(1, num_images):.2%}"
        cells.append([row.check, count, "" if row.check == SINGLE else share, row.note])
    header = ["check", "found", "of all images", ""]
    if not any(row.note for row in rows):
        header, cells = header[:-1], [each[:-1] for each in cells]
    return Table(header, cells)


def _count(row: QualityRow, num_images: int) -> str:
    if row.check == SINGLE:
        return counted(row.num_found or 0, "identity")
    return f"{row.num_found} of {counted(num_images, 'image')}"


def example_faces(
    rows: Sequence[QualityRow], manifest: Manifest, preparation: Preparation
) -> dict[str, np.ndarray]:
    """Return {key: pixels} of the examples, as they are in the records."""
    keys = [key for row in rows for key in row.examples]
    # The landmarks are known by now.
    preparation = preparation._replace(measure=False, detect=False)
    faces = prepare_block(list(manifest.images_with(keys)), preparation)
    return {
        face.image.key: images.decode(face.face.image)
        for face in faces
        if isinstance(face, PreparedFace)
    }
