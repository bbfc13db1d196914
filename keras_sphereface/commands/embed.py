"""`sphereface embed`: the images of a folder as a file of embeddings."""

import json

from keras_sphereface.commands.compare import open_finder
from keras_sphereface.config.compare import EmbedConfig
from keras_sphereface.export.crops import with_crops
from keras_sphereface.recognition.face_finder import images_below
from keras_sphereface.recognition.folder_embeddings import embed_folder, write_embeddings
from keras_sphereface.utils.progress import log
from keras_sphereface.utils.text import counted


def run_embed(config: EmbedConfig) -> None:
    """Embed, write the file, and print how many; the refused images go to standard error."""
    keys = images_below(config.folder)
    finder = open_finder(config, keys)
    recognizer = finder.recognizer
    recognizer.network = with_crops(recognizer.network, config.crops)
    embeddings = embed_folder(finder, config.folder, keys, batch_size=config.batch_size)
    for key, reason in embeddings.refused.items():
        log(f"{key}: {reason}")
    # Galleries of single embeddings refuse averaged ones, whose scores are others.
    averaged = f"-{config.crops}-crops" if config.crops > 1 else ""
    fingerprint = finder.recognizer.fingerprint + averaged
    write_embeddings(embeddings, config.out, fingerprint)
    if config.json:
        values = {
            "num_embedded": len(embeddings.keys),
            "refused": embeddings.refused,
            "fingerprint": fingerprint,
            "out": config.out,
        }
        print(json.dumps(values, indent=2, ensure_ascii=False))
        return
    print(f"{counted(len(embeddings.keys), 'image')} embedded, {len(embeddings.refused)} refused")
    print(f"written to {config.out}")
