"""`sphereface faces`: generate faces in the form of LFW."""

import dataclasses

from keras_sphereface.config.convert import FacesConfig
from keras_sphereface.data.synthetic import generate_faces


def run_faces(config: FacesConfig) -> None:
    """Generate the faces, and print where they are."""
    settings = dataclasses.asdict(config)
    print(f"written to {generate_faces(settings.pop('out'), **settings)}")
