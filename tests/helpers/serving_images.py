"""Draw the page of the service for the documents, from what `sphereface demo` leaves.

    python -m tests.helpers.serving_images runs/demo docs/images

It writes serving.png, two faces compared, and serving_phone.png, one identified on a phone, and
both for dark pages, in a minute. It needs a Chromium. No detector finds drawn faces, so that their
places come from the file of landmarks.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from keras_sphereface.commands.demo import FACES, MODEL
from keras_sphereface.data import images, landmarks, synthetic
from keras_sphereface.data.detection import DetectedFaces, no_faces
from keras_sphereface.experiments.demo_model import small_network_path
from keras_sphereface.recognition import FaceRecognizer
from tests.helpers.browser import Page, opened
from tests.helpers.service import Client, serving

# CSS pixels; letters are still read where a page shows the first at 600 pixels.
DESKTOP_WIDTH, PHONE_WIDTH = 760, 360
CANDIDATES = 2  # of the five, on a phone
COLORS, GRAY = 128, (128, 128, 128)
# Of the people whom the network has never seen; the first two images of each are enrolled.
NAMES = ("Ada", "Bela", "Chen", "Dora", "Emil", "Finn", "Goran", "Hana")
COMPARED, IDENTIFIED = 3, 2  # places in NAMES
NEW_IMAGES = (5, 9)  # numbers of images that are not enrolled


def main(demo: Path, out: Path) -> None:
    """Start the service, use its page as a person does, and write both images."""
    recognizer = FaceRecognizer.load(small_network_path(demo / MODEL), detector_of_drawings(demo))
    faces = demo / FACES / synthetic.IMAGES
    people = (demo / FACES / synthetic.TEST_IDENTITIES).read_text(encoding="utf-8").split()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(recognizer, f"{folder}/people.db", detect=True) as client,
    ):
        for name, person in zip(NAMES, people, strict=False):
            enroll(client, name, [image_path(faces, person, number) for number in (1, 2)])
        for scheme, end in (("light", ""), ("dark", "-dark")):
            first, second = (image_path(faces, people[COMPARED], n) for n in NEW_IMAGES)
            with used(client.port, DESKTOP_WIDTH, scheme, "compare", first, second) as page:
                save(page, out / f"serving{end}.png", "figure:has(.curve)")
            probe = image_path(faces, people[IDENTIFIED], NEW_IMAGES[0])
            with used(client.port, PHONE_WIDTH, scheme, "identify", probe) as page:
                last = f".candidates li:nth-child({CANDIDATES})"
                save(page, out / f"serving_phone{end}.png", last)


def detector_of_drawings(demo: Path):
    """Return a detector that knows the landmarks of a demo's faces."""
    folder = demo / FACES
    points_by_key = landmarks.read_landmarks(folder / synthetic.LANDMARKS)
    points_by_pixels = {
        images.decode((folder / synthetic.IMAGES / key).read_bytes()).tobytes(): points
        for key, points in points_by_key.items()
    }

    def detect(image: np.ndarray) -> DetectedFaces:
        points = points_by_pixels.get(image.tobytes())
        if points is None:
            return no_faces()
        points = np.reshape(points, (5, 2))
        # Forehead, cheeks and chin lie around the points, by these parts of their extent.
        width, height = np.ptp(points, axis=0)
        around = np.array([-0.6 * width, -0.9 * height, 0.6 * width, 0.6 * height])
        box = np.concatenate([points.min(axis=0), points.max(axis=0)]) + around
        return DetectedFaces(box[None], points[None], np.ones(1))

    return detect


def image_path(faces: Path, person: str, number: int) -> Path:
    """The path of an image of a generated face."""
    return faces / person / f"{person}_{number:04d}.jpg"


def enroll(client: Client, name: str, paths: list[Path]) -> None:
    """Enroll images under a name."""
    parts = [("images", path.read_bytes()) for path in paths]
    answer = client.post("/v1/identities", ("name", name), *parts, ("strict", "false"))
    if answer.status != 201:
        raise RuntimeError(f"{name} is not enrolled: {answer.body.decode()}")


@contextlib.contextmanager
def used(port: int, width: int, scheme: str, panel: str, *paths: Path) -> Iterator[Page]:
    """The page after its button for these images was pressed."""
    with opened(f"http://127.0.0.1:{port}/", width, 300) as page:
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        page.call("Emulation.setEmulatedMedia", features=media)
        page.wait_for("!document.getElementById('tool').hidden")
        page.evaluate(f"document.getElementById('tab-{panel}').click()")
        for number, path in enumerate(paths):
            choose(page, f"#panel-{panel} [data-picker]", number, path)
        page.wait_for(f"!document.getElementById('{panel}').disabled")
        page.evaluate(f"document.getElementById('{panel}').click()")
        page.wait_for(f"!!document.querySelector('#panel-{panel} .verdict')")
        page.evaluate("document.activeElement.blur()")
        yield page


def choose(page: Page, pickers: str, number: int, path: Path) -> None:
    """Choose a file in one of the fields for images."""
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    fields = page.call("DOM.querySelectorAll", nodeId=root, selector=f"{pickers} input[type=file]")
    # Every field has one input for a file, and one for the camera of a phone.
    node = fields["nodeIds"][2 * number]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(path.resolve())])


def save(page: Page, file: Path, last: str) -> None:
    """Write the page as a framed PNG, down to the element `last`."""
    image = Image.open(io.BytesIO(page.screenshot(whole=True))).convert("RGB")
    box = f"document.querySelector({last!r}).getBoundingClientRect()"
    end = page.evaluate(f"scrollY + {box}.bottom")
    image = image.crop((0, 0, image.width, int(end) + 6))
    # Without a frame it would pass into the document around it.
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=GRAY)
    image.quantize(COLORS, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("demo", type=Path, help="folder of `sphereface demo`")
    parser.add_argument("out", type=Path, help="folder of both images")
    arguments = parser.parse_args()
    main(arguments.demo, arguments.out)
