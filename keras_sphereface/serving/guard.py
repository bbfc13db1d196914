"""The outermost layer: who may ask, what is counted and logged, and what no answer may lack."""

import logging
import secrets
import time
import traceback

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_sphereface.serving.access import Gate
from keras_sphereface.serving.metrics import ServiceMetrics
from keras_sphereface.serving.problems import ProblemError, problem_response

LOGGER = logging.getLogger(__name__)
NO_ROUTE = "none"  # for addresses that lead nowhere: theirs are anyone's words
# Any token may stand for a method, and each value of a label is kept for good.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Middleware around the application.

    A request is logged by its route, status, time and size: no address, since names are in some; no
    image, no embedding, no name. Errors that nothing foresaw are logged by their class and lines
    of code, without their message, which may quote the request.
    """

    def __init__(self, app: ASGIApp, gate: Gate, metrics: ServiceMetrics) -> None:
        self._app, self._gate, self._metrics = app, gate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        scope.setdefault("state", {})
        try:
            try:
                self._gate.check_origin(Headers(scope=scope))
                await self._app(scope, exchange.receive, exchange.send)
            except ProblemError as problem:
                scope["state"]["code"] = problem.code
                await problem_response(problem)(scope, receive, exchange.send)
            except Exception as error:
                _log_fault(error, exchange.id)
                scope["state"]["code"] = "fault"
                if exchange.status:
                    raise ConnectionError("The answer cannot be completed.") from None
                fault = ProblemError(
                    500, "fault", "The service has failed; its log tells more.", id=exchange.id
                )
                await problem_response(fault)(scope, receive, exchange.send)
        finally:
            self._count(scope, exchange)

    def _count(self, scope: Scope, exchange: "_Exchange") -> None:
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        seconds = time.monotonic() - exchange.began
        method = scope["method"] if route != NO_ROUTE and scope["method"] in _METHODS else ""
        code = scope["state"].get("code", "")
        self._metrics.requests.labels(route, method, exchange.status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if code:
            self._metrics.problems.labels(code).inc()
        LOGGER.info(
            "%s %s %s %d%s, %.0f ms, %d bytes",
            exchange.id,
            method or "-",
            route,
            exchange.status,
            f" {code}" * bool(code),
            1000 * seconds,
            exchange.received,
        )


class _Exchange:
    """A request and its answer as they pass."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.id = secrets.token_hex(4)
        self.began, self.status, self.received = time.monotonic(), 0, 0
        self._receive, self._send = receive, send

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in {**_HEADERS, "X-Request-Id": self.id}.items():
                headers.setdefault(name, value)
        await self._send(message)


def _log_fault(error: Exception, exchange_id: str) -> None:
    lines = "".join(traceback.format_tb(error.__traceback__))
    LOGGER.error("%s has failed: %s\n%s", exchange_id, type(error).__name__, lines)
