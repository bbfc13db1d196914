"""`sphereface serve`: recognition over HTTP."""

from keras_sphereface.commands.compare import open_recognizer
from keras_sphereface.config.serve import ServeConfig
from keras_sphereface.serving.access import check_binding, read_api_key
from keras_sphereface.serving.app import create_app
from keras_sphereface.serving.limits import ServiceLimits
from keras_sphereface.serving.server import address_of, log_to_stderr, make_server, open_socket
from keras_sphereface.serving.service import RecognitionService
from keras_sphereface.utils.progress import log


def run_serve(config: ServeConfig) -> None:
    """Answer until the process is stopped; the address goes to standard output."""
    api_key = read_api_key(config.api_key_file)
    check_binding(config.host, api_key)
    limits = ServiceLimits(
        max_body_bytes=config.max_upload_mb * 2**20,
        max_pixels=config.max_pixels,
        queue_size=config.queue_size,
        batch_size=config.batch_size,
        answer_seconds=config.answer_seconds,
    )
    with open_socket(config.host, config.port) as listening:
        recognizer = open_recognizer(config.model, config.detector)
        service = RecognitionService(
            recognizer, config.gallery, detect=not config.aligned, limits=limits
        )
        service.start()  # here a gallery that does not fit is an error of the command
        try:
            app = create_app(service, api_key, config.allowed_host)
            print(f"serving at {address_of(listening)} until Ctrl-C", flush=True)
            log_to_stderr()
            server = make_server(app, limits)
            server.run([listening])
        finally:
            service.stop()  # a second Ctrl-C leaves the application without its end
    log("stopped." if server.force_exit else "stopped: what was in service is answered.")
