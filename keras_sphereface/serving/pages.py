"""The pages: the one for people at `/`, and the description of the interface at `/docs`.

All they load comes from here, and they run no script but that of the package.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastapi
from starlette.responses import Response

from keras_sphereface import reporting
from keras_sphereface.reporting.html import security_policy, template_environment

FOLDER = Path(__file__).parent / "web"
PAGE_STYLE = Path(reporting.__file__).parent / "page.css"
_SERVICE_POLICY = security_policy(
    script_src="'self'",
    style_src="'self'",
    connect_src="'self'",
    img_src="data: blob:",
    frame_ancestors="'none'",
)
_REFERENCE_POLICY = security_policy()


def routes(openapi: Callable[[], dict[str, Any]]) -> fastapi.APIRouter:
    """Return the routes of the pages.

    Args:
        openapi: Function that returns the description of the interface.
    """
    router = fastapi.APIRouter(include_in_schema=False)
    style = PAGE_STYLE.read_text(encoding="utf-8") + _read("service.css")
    contents = {
        "/": (_read("service.html"), "text/html"),
        "/service.js": (_read("service.js"), "text/javascript"),
        "/service.css": (style, "text/css"),
    }
    for path, (text, media_type) in contents.items():
        router.add_api_route(path, _endpoint(text, media_type), methods=["GET"])

    @router.get("/docs")
    async def reference() -> Response:
        """The description of the interface, as a page."""
        template = template_environment(FOLDER).get_template("reference.html.j2")
        text = template.render(
            title="SphereFace over HTTP", policy=_REFERENCE_POLICY, api=openapi()
        )
        return _page(text, "text/html", _REFERENCE_POLICY)

    return router


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _endpoint(text: str, media_type: str) -> Callable[[], Any]:
    async def answer() -> Response:
        return _page(text, media_type, _SERVICE_POLICY)

    return answer


def _page(text: str, media_type: str, policy: str) -> Response:
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return Response(text, media_type=media_type, headers=headers)
