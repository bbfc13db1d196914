"""Generate faces in the form of LFW; `--help` lists the flags."""

import dataclasses

from keras_sphereface.config import FacesConfig
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.data.synthetic import generate_faces

if __name__ == "__main__":
    settings = dataclasses.asdict(parse_config(FacesConfig))
    print(f"written to {generate_faces(settings.pop('out'), **settings)}")
