"""`sphereface gallery`: create a gallery, enroll, list, remove, export and index identities."""

import dataclasses
import json

from keras_sphereface.commands.compare import open_finder
from keras_sphereface.config.gallery import (
    GalleryConfig,
    GalleryCreateConfig,
    GalleryEnrollConfig,
    GalleryExportConfig,
    GalleryIndexConfig,
    GalleryListConfig,
    GalleryRemoveConfig,
)
from keras_sphereface.export.recognition_file import model_fingerprint
from keras_sphereface.recognition import Gallery
from keras_sphereface.recognition.enroll_files import enroll_files
from keras_sphereface.recognition.enroll_images import (
    EnrolledImages,
    enroll_images,
    images_to_enroll,
)
from keras_sphereface.utils.progress import log
from keras_sphereface.utils.text import counted


def run_gallery(config: GalleryConfig) -> None:
    """Do what the word after `gallery` says, and print the result."""
    match config:
        case GalleryCreateConfig():
            model = model_fingerprint(config.model)
            with Gallery.create(config.gallery, model, config.embedding_size) as gallery:
                print(f"written to {gallery.place}")
        case GalleryEnrollConfig():
            _enroll_images(config) if config.images else _enroll_files(config)
        case GalleryListConfig():
            with Gallery.open(config.gallery) as gallery:
                print(_as_json(gallery) if config.json else _as_table(gallery))
        case GalleryRemoveConfig():
            with Gallery.open(config.gallery) as gallery:
                gallery.remove(*config.name)
                print(f"removed from {gallery.place}: {', '.join(config.name)}")
        case GalleryExportConfig():
            with Gallery.open(config.gallery) as gallery:
                print(
                    f"{counted(gallery.export(config.out), 'template')} of "
                    f"{counted(len(gallery), 'identity')}"
                )
            print(f"written to {config.out}")
        case GalleryIndexConfig():
            with Gallery.open(config.gallery) as gallery:
                print(gallery.build_index(config.num_probes).describe())
                print(f"written to {gallery.place}")


def _enroll_files(config: GalleryEnrollConfig) -> None:
    fingerprint = model_fingerprint(config.model) if config.model else None
    with Gallery.open(config.gallery, fingerprint) as gallery:
        counts = enroll_files(gallery, config.embeddings, config.identities)
        _print_enrolled(gallery, EnrolledImages(counts, {}, {}), counts.describe(), config.json)


def _enroll_images(config: GalleryEnrollConfig) -> None:
    images = images_to_enroll(config.images, config.name, config.identities, config.by_file_name)
    with Gallery.open(config.gallery, model_fingerprint(config.model)) as gallery:
        finder = open_finder(config, [image.name for image in images])
        enrolled = enroll_images(gallery, finder, images, config.batch_size, config.keep_images)
        for name, reason in enrolled.refused.items():
            log(f"{name}: {reason}")
        for name, warning in enrolled.warnings.items():
            log(f"{name} is enrolled, but {warning}")
        _print_enrolled(gallery, enrolled, enrolled.describe(), config.json)


def _print_enrolled(gallery: Gallery, enrolled: EnrolledImages, text: str, as_json: bool) -> None:
    if as_json:
        values = {
            **dataclasses.asdict(enrolled.counts),
            "refused": enrolled.refused,
            "warnings": enrolled.warnings,
            "gallery": gallery.place,
        }
        print(json.dumps(values, indent=2, ensure_ascii=False))
        return
    print(text)
    print(f"written to {gallery.place}")


def _as_json(gallery: Gallery) -> str:
    listed = {
        "fingerprint": gallery.fingerprint,
        "embedding_size": gallery.dim,
        "identities": [dataclasses.asdict(identity) for identity in gallery.identities()],
    }
    return json.dumps(listed, indent=2, ensure_ascii=False)


def _as_table(gallery: Gallery) -> str:
    identities = gallery.identities()
    width = max([len(identity.name) for identity in identities], default=0)
    lines = [
        f"{entry.name:<{width}}  {entry.num_templates:>9}"
        + ("" if entry.quality is None else f"  {entry.quality:.3f}")
        for entry in identities
    ]
    header = f"{'identity':<{width}}  templates"
    total = sum(entry.num_templates for entry in identities)
    templates = f"{counted(total, 'template')} of {gallery.dim or 'no'} numbers"
    last = f"{counted(len(identities), 'identity')}, {templates}"
    return "\n".join([*([header] if lines else []), *lines, last])
