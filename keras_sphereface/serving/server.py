"""The server: a socket, connections that may not dawdle, and a clean end."""

import asyncio
import ipaddress
import logging
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from keras_sphereface.serving.limits import ServiceLimits

MAX_CONNECTIONS = 512
MAX_HEAD_BYTES = 16 * 1024
KEEP_ALIVE_SECONDS = 15
LOG_FORMAT = "%(asctime)s %(message)s"


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: Address or name.
        port: Int; 0: any that is free.

    Raises:
        OSError: If the port is taken or there is no such address, with what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol: asyncio sends small packets at once on such sockets alone; on others each
    # answer of a connection that is kept waits 40 ms for an acknowledgment.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(MAX_CONNECTIONS)
    except OSError as error:
        listening.close()
        raise OSError(
            "The service cannot listen there: choose another --port, or an address of this machine "
            f"for --host. Received: {host}, port {port}: {error.strerror or error}"
        ) from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the address for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    ip = ipaddress.ip_address(host)
    if ip.is_unspecified:
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def make_server(app: Any, limits: ServiceLimits) -> uvicorn.Server:
    """Return a server; `run([socket])` answers until SIGTERM, Ctrl-C or `should_exit` is set.

    What is in service then is answered before it returns.

    Args:
        app: The application of ASGI.
        limits: Bounds of requests.
    """
    config = uvicorn.Config(
        app,
        http=type("TimedProtocol", (_TimedProtocol,), {"head_seconds": limits.read_seconds}),
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_config=None,
        access_log=False,  # it would log addresses, and so names
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(limits.stop_seconds),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """A server whose end by a signal is a success."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The original also raises the signal anew at the end, and the process dies of it.
        self.force_exit = self.should_exit
        self.should_exit = True


class _TimedProtocol(H11Protocol):
    """A connection that is closed if the head of a request does not arrive in time."""

    head_seconds = 20.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Time the wait for a head, from its first byte or that of the connection."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        if not is_waiting:
            self._forget()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def log_to_stderr() -> None:
    """Write a line a request to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    for name, level in (("keras_sphereface.serving", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
