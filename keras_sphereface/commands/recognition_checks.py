"""Checks of the commands that recognize faces, before anything heavy is imported; see `checks`."""

import importlib.util
import os
from pathlib import Path

from keras_sphereface.config import rules
from keras_sphereface.config.compare import CompareFacesConfig, EmbedConfig, IdentifyFacesConfig
from keras_sphereface.config.fields import flag_of
from keras_sphereface.config.gallery import GalleryConfig, GalleryEnrollConfig, GalleryExportConfig
from keras_sphereface.config.serve import ServeConfig
from keras_sphereface.data import folders
from keras_sphereface.export.network_files import check_network_path
from keras_sphereface.utils.validation import check_real

SERVE_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
MAX_PORT = 65_535
MIN_ANSWER_SECONDS = 0.1


def check_embed(config: EmbedConfig) -> None:
    """Refuse a model that is none, faces that nothing can find, and a file of another kind.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    rules.check_crops(config.crops)
    # Only now: it imports NumPy.
    from keras_sphereface.recognition.gallery_export import check_export_path

    check_export_path(Path(config.out))
    check_compare_faces(config)


def check_compare_faces(config: CompareFacesConfig | EmbedConfig | IdentifyFacesConfig) -> None:
    """Refuse a model that is none, and faces that nothing can find.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    check_network_path(config.model)
    check_face_choice(config.detector, config.aligned, config.landmarks, config.landmark_columns)


def check_face_choice(detector: str, aligned: bool, landmarks: str, columns: str) -> None:
    """Refuse faces that nothing can find, and that two things would find.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    given = {"--detector": bool(detector), "--aligned": aligned, "--landmarks": bool(landmarks)}
    chosen = [flag for flag, is_given in given.items() if is_given]
    if len(chosen) != 1:
        raise ValueError(
            "The faces must be detected or aligned: --detector mtcnn, --detector FILE.onnx of "
            "YuNet, --landmarks FILE with the points of every face, or --aligned for images that "
            f"are aligned faces. Received: {' and '.join(chosen) or 'none of them'}"
        )
    if landmarks:
        check_landmarks(landmarks, columns)
    check_detector(detector)


def check_detector(detector: str) -> None:
    """Refuse a detector that is not installed, and a file that is none.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    if detector == "mtcnn":
        from keras_sphereface.data.detection import check_mtcnn_installed

        check_mtcnn_installed()
    elif detector:
        from keras_sphereface.data.yunet import check_yunet_file

        check_yunet_file(detector)


def check_identify_faces(config: IdentifyFacesConfig) -> None:
    """Refuse a model that is none, faces that nothing can find, and a rate that is none.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    if config.fpir is not None and not 0 < config.fpir < 1:
        raise ValueError(f"`fpir` must be in (0, 1). Received: fpir={config.fpir}")
    check_compare_faces(config)


def check_serve(config: ServeConfig) -> None:
    """Refuse a model that is none, an address without a key, and missing packages.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    check_network_path(config.model)
    if bool(config.detector) == config.aligned:
        raise ValueError(
            "The faces of uploads must be detected or aligned: --detector mtcnn, --detector "
            "FILE.onnx of YuNet, or --aligned for images that are aligned faces. "
            f"Received: {'both' if config.aligned else 'neither'}"
        )
    check_face_choice(config.detector, config.aligned, "", "")
    if config.port > MAX_PORT:
        raise ValueError(f"`port` must be at most {MAX_PORT}. Received: port={config.port}")
    check_real(config.answer_seconds, "answer_seconds", MIN_ANSWER_SECONDS)
    missing = [name for name in SERVE_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            "The service needs more packages: pip install 'keras-sphereface[serve]'. "
            f"Received: an environment without {', '.join(missing)}"
        )
    # Only now: it imports one of them.
    from keras_sphereface.serving.access import check_binding, read_api_key

    check_binding(config.host, read_api_key(config.api_key_file))


def check_gallery(config: GalleryConfig) -> None:
    """Refuse a model that is none, and a file to write of a kind that there is not.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    if model := getattr(config, "model", ""):
        check_network_path(model)
    if isinstance(config, GalleryEnrollConfig):
        _check_enroll(config)
    if isinstance(config, GalleryExportConfig):
        # Only now: it imports NumPy.
        from keras_sphereface.recognition.gallery_export import check_export_path

        check_export_path(Path(config.out))


def _check_enroll(config: GalleryEnrollConfig) -> None:
    if bool(config.images) == bool(config.embeddings):
        raise ValueError(
            "What is enrolled must be images, as in `sphereface gallery enroll people --gallery "
            "people.db --model MODEL --aligned`, or --embeddings FILE. "
            f"Received: {'both' if config.images else 'neither'}"
        )
    if config.embeddings:
        flags = (
            "name",
            "by_file_name",
            "detector",
            "aligned",
            "landmarks",
            "strict",
            "keep_images",
        )
        given = [flag_of(name) for name in flags if getattr(config, name)]
        if given:
            raise ValueError(
                f"Embeddings have no faces to look for, and their identities are those of "
                f"--identities or of their keys. Received: --embeddings with {' and '.join(given)}"
            )
        return
    if not config.model:
        raise ValueError(
            "Images need the network that embeds them: --model. Received: images without it"
        )
    sources = ("name", "identities", "by_file_name")
    if len(given := [flag_of(name) for name in sources if getattr(config, name)]) > 1:
        raise ValueError(
            "The identities must be one --name, those of --identities, or by --by-file-name those "
            f"in the names of the files. Received: {' and '.join(given)}"
        )
    check_face_choice(config.detector, config.aligned, config.landmarks, config.landmark_columns)
    if not given:
        for folder in filter(os.path.isdir, config.images):
            try:
                folders.check_class_folders(folder, "images")
            except ValueError as error:
                raise ValueError(
                    f"{error}. If their names say who is on them, as `ada 1.jpg`, add "
                    "--by-file-name; if all are of one person, --name NAME"
                ) from None


def check_landmarks(path: str, columns: str = "") -> None:
    """Refuse a file that does not begin as a file of landmarks does.

    Raises:
        ValueError: With the form of a line.
    """
    from keras_sphereface.data.landmarks import landmark_lines

    if next(landmark_lines(path, columns), None) is None:
        raise ValueError(f"`landmarks` must hold a line for each image. Received: {path}, empty")
