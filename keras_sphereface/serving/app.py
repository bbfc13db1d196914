"""The web application: routes, forms and errors around a `RecognitionService`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import fastapi
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from keras_sphereface.config.compare import FACE_POLICIES
from keras_sphereface.serving import answers, metrics, pages
from keras_sphereface.serving.access import Gate
from keras_sphereface.serving.forms import Form, parse_form
from keras_sphereface.serving.guard import Guard
from keras_sphereface.serving.problems import ProblemError, problem_response
from keras_sphereface.serving.service import MAX_PAGE, MAX_TOP, RecognitionService
from keras_sphereface.serving.uploads import check_image, read_body
from keras_sphereface.utils.text import counted
from keras_sphereface.version import __version__

DESCRIPTION = (
    "Faces compared, identities enrolled and found. Images are JPEG, PNG or WebP and are not kept. "
    "Errors are application/problem+json with a `code` for programs and a `detail` for people."
)
_POLICY = {
    "type": "string",
    "enum": list(FACE_POLICIES),
    "default": "exactly-one",
    "description": "Choice of the face of an image.",
}
_IMAGE = {"type": "string", "format": "binary", "description": "A JPEG, PNG or WebP image."}
_CROPS = {"type": "boolean", "default": False, "description": "Return the aligned faces too."}
_NUMBER = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}


def _flag(default: bool) -> dict[str, Any]:
    return {
        "type": "boolean",
        "default": default,
        "description": "Refuse faces of poor quality: tiny, blurred, or with a low |x|.",
    }


_COMPARE = {
    "first": _IMAGE,
    "second": _IMAGE,
    "fmr": {**_NUMBER, "description": "Wanted false match rate, one of those of /v1/model."},
    "policy": _POLICY,
    "strict": _flag(False),
    "crops": _CROPS,
}
_IDENTIFY = {
    "image": _IMAGE,
    "top": {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": 5},
    "fpir": {**_NUMBER, "description": "Wanted false positive identification rate."},
    "policy": _POLICY,
    "strict": _flag(False),
    "crops": _CROPS,
}
_ENROLL = {
    "name": {"type": "string", "maxLength": 200, "description": "Name of the identity."},
    "images": {"type": "array", "items": _IMAGE, "minItems": 1},
    "policy": _POLICY,
    "strict": _flag(True),
    "crops": _CROPS,
}


def _of_form(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """The description of a form for OpenAPI."""
    schema = {"type": "object", "required": list(required), "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def create_app(
    service: RecognitionService, api_key: str = "", allowed_hosts: Sequence[str] = ()
) -> fastapi.FastAPI:
    """Return the web application of a service, for any server of ASGI.

    It starts the service, and stops it at the end.

    Args:
        service: The service.
        api_key: The key that every request needs; "": requests of this machine are answered.
        allowed_hosts: Without a key, further names in the header Host that are answered.

    Example:
        >>> from keras_sphereface import FaceRecognizer
        >>> service = RecognitionService(FaceRecognizer.load("model"), detect=False)
        >>> sorted(create_app(service).openapi()["paths"])
        ['/healthz', '/metrics', '/v1/compare', '/v1/identify', '/v1/identities', ...]
    """
    gate = Gate(api_key, allowed_hosts)

    @contextlib.asynccontextmanager
    async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.stop)

    app = fastapi.FastAPI(
        title="SphereFace",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={"default": {"model": answers.ProblemAnswer, "description": "An error."}},
    )
    app.include_router(_api(service, gate))
    app.include_router(_about(service, gate))
    app.include_router(pages.routes(app.openapi))
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_middleware(Guard, gate=gate, metrics=service.metrics)
    return app


def _api(service: RecognitionService, gate: Gate) -> fastapi.APIRouter:
    router = fastapi.APIRouter(prefix="/v1", dependencies=[_key_check(gate)], tags=["recognition"])

    @router.post("/compare", openapi_extra=_of_form(_COMPARE, "first", "second"))
    async def compare(request: Request) -> answers.CompareAnswer:
        """Tell whether two images show one person."""
        async with _form_of(request, service, _COMPARE) as form:
            first, second = form.image("first"), form.image("second")
            fmr, options = form.rate("fmr"), form.options()
            return await service.compare(first, second, fmr=fmr, **options)

    @router.post("/identify", openapi_extra=_of_form(_IDENTIFY, "image"))
    async def identify(request: Request) -> answers.IdentifyAnswer:
        """Look for a face among the enrolled identities."""
        async with _form_of(request, service, _IDENTIFY) as form:
            top, fpir = form.count("top", 5, MAX_TOP), form.rate("fpir")
            return await service.identify(form.image("image"), top=top, fpir=fpir, **form.options())

    @router.post("/identities", status_code=201, openapi_extra=_of_form(_ENROLL, "name", "images"))
    async def enroll(request: Request) -> answers.EnrollAnswer:
        """Enroll the faces of images under a name, all or none."""
        async with _form_of(request, service, _ENROLL) as form:
            return await service.enroll(
                form.text("name"), form.images("images"), **form.options(strict=True)
            )

    @router.get("/identities")
    async def identities(
        after: str = "", limit: Annotated[int, fastapi.Query(ge=1, le=MAX_PAGE)] = 100
    ) -> answers.IdentitiesAnswer:
        """List the enrolled identities by name."""
        with service.place():
            return await service.identities(after, limit)

    @router.delete("/identities/{name:path}")
    async def remove(name: str, response: Response) -> answers.RemoveAnswer:
        """Remove an identity, so that nothing of it remains in the gallery's file."""
        with service.place():
            answer = await service.remove(name)
        response.status_code = 200 if answer.erased else 202
        return answer

    @router.get("/model")
    async def model() -> answers.ModelAnswer:
        """Tell the network, its calibration, and what the service allows."""
        return service.model()

    return router


def _about(service: RecognitionService, gate: Gate) -> fastapi.APIRouter:
    router = fastapi.APIRouter(tags=["operation"])

    @router.get("/healthz", responses={503: {"model": answers.ProblemAnswer}})
    async def healthz() -> answers.HealthAnswer:
        """Tell whether requests are answered; needs no key."""
        if not service.is_alive:
            raise ProblemError(503, "stopped", "The service does not answer requests.")
        return answers.HealthAnswer(status="ok")

    @router.get("/metrics", dependencies=[_key_check(gate)], response_class=Response)
    async def metrics_text() -> Response:
        """Counts and times for Prometheus."""
        return Response(service.metrics.text(), media_type=metrics.CONTENT_TYPE)

    return router


def _key_check(gate: Gate) -> Any:
    async def check(request: Request) -> None:  # in the loop: a thread takes longer
        gate.check_key(request.headers)

    return fastapi.Depends(check)


@contextlib.asynccontextmanager
async def _form_of(
    request: Request, service: RecognitionService, properties: dict[str, Any]
) -> AsyncIterator["_CheckedForm"]:
    """The form of a request, which has a place in service as long as the block runs."""
    with service.place():
        body = await read_body(request, service.limits)
        content_type = request.headers.get("content-type", "")
        yield await asyncio.to_thread(_CheckedForm, content_type, body, service.limits, properties)


class _CheckedForm:
    """A form whose images may be decoded, and its fields as what they stand for."""

    def __init__(
        self, content_type: str, body: bytes, limits: Any, properties: dict[str, Any]
    ) -> None:
        self._form: Form = parse_form(content_type, body)
        self._limits = limits
        unknown = (self._form.values.keys() | self._form.files.keys()) - properties.keys()
        if unknown:
            raise ProblemError(
                422,
                "unknown-field",
                f"The fields of this form are {', '.join(properties)}. Received: {len(unknown)} "
                "other",
            )
        for name, contents in self._form.files.items():
            for content in contents:
                check_image(content, name, limits.max_pixels)

    def image(self, name: str) -> bytes:
        contents = self._form.files.get(name, [])
        if len(contents) != 1:
            raise _field_error(name, f"must be one file. Received: {len(contents)}")
        return contents[0]

    def images(self, name: str) -> list[bytes]:
        contents = self._form.files.get(name, [])
        most = self._limits.max_images
        if not 1 <= len(contents) <= most:
            raise _field_error(
                name, f"must be 1 to {counted(most, 'file')}. Received: {len(contents)}"
            )
        return contents

    def text(self, name: str) -> str:
        if name not in self._form.values:
            raise _field_error(name, "must be given.")
        return self._form.values[name]

    def rate(self, name: str) -> float | None:
        text = self._form.values.get(name, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < 1:  # nan is refused too
            raise _field_error(name, "must be a number above 0 and below 1.")
        return value

    def count(self, name: str, default: int, most: int) -> int:
        text = self._form.values.get(name, "") or str(default)
        value = int(text) if text.isdecimal() and len(text) < 10 else 0
        if not 1 <= value <= most:
            raise _field_error(name, f"must be a whole number from 1 to {most}.")
        return value

    def flag(self, name: str, default: bool) -> bool:
        text = self._form.values.get(name, "").lower() or str(default).lower()
        if text not in ("true", "false"):
            raise _field_error(name, "must be true or false.")
        return text == "true"

    def options(self, strict: bool = False) -> dict[str, Any]:
        """What all forms have."""
        policy = self._form.values.get("policy", "") or "exactly-one"
        if policy not in FACE_POLICIES:
            raise _field_error("policy", f"must be one of {', '.join(FACE_POLICIES)}.")
        return {
            "policy": policy,
            "strict": self.flag("strict", strict),
            "crops": self.flag("crops", False),
        }


def _field_error(name: str, message: str) -> ProblemError:
    return ProblemError(422, "bad-field", f"`{name}` {message}", field=name)


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    request.state.code = error.code
    return problem_response(error)


async def _answer_http(request: Request, error: Exception) -> Response:
    """A route or a method that there is not."""
    assert isinstance(error, HTTPException)
    code = {404: "no-such-page", 405: "no-such-method"}.get(error.status_code, "http")
    problem = ProblemError(error.status_code, code, str(error.detail), error.headers)
    return await _answer_problem(request, problem)


async def _answer_validation(request: Request, error: Exception) -> Response:
    """A parameter of the address that does not fit; its value is not repeated."""
    assert isinstance(error, RequestValidationError)
    places = sorted({str(one["loc"][-1]) for one in error.errors()})
    detail = f"These parameters do not fit: {', '.join(places)}. /docs describes them."
    return await _answer_problem(request, ProblemError(422, "bad-parameter", detail))
