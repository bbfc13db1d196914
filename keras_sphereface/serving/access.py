"""Who may ask: the addresses that need a key, the key, and the pages that may send requests."""

import hmac
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from keras_sphereface.serving.problems import ProblemError

KEY_VARIABLE = "SPHEREFACE_API_KEY"
MIN_KEY_LENGTH = 16
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_BEARER = "bearer "


def read_api_key(path: str = "") -> str:
    """Return the key of a file, or that of the environment; "": there is none.

    The command line takes no key: every user of a machine can read it there.

    Args:
        path: File with the key in its first line; "": the variable SPHEREFACE_API_KEY.

    Raises:
        ValueError: If the key is too short to be one, or not printable ASCII.

    Example:
        >>> Path("key").write_text("4f2c9e0b77aa41d3\\n")
        17
        >>> read_api_key("key")
        '4f2c9e0b77aa41d3'
    """
    if not path and KEY_VARIABLE not in os.environ:
        return ""
    text = Path(path).read_text(encoding="utf-8") if path else os.environ[KEY_VARIABLE]
    key = (text.splitlines() or [""])[0].strip()
    is_text = key.isascii() and key.isprintable() and " " not in key
    if not is_text or len(key) < MIN_KEY_LENGTH:
        raise ValueError(
            f"The API key must have at least {MIN_KEY_LENGTH} printable ASCII characters without "
            "spaces; `openssl rand -hex 32` makes one. "
            f"Received: {path or KEY_VARIABLE} with {len(key)}"
        )
    return key


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address.

    Example:
        >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "box")]
        [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_binding(host: str, api_key: str) -> None:
    """Refuse to be reached by other machines without a key.

    Raises:
        ValueError: If there is none.

    Example:
        >>> check_binding("0.0.0.0", "")
        Traceback (most recent call last):
        ValueError: An address that other machines reach needs an API key... Received: host=0.0.0.0
    """
    if not api_key and not is_loopback(host):
        raise ValueError(
            "An address that other machines reach needs an API key, since faces and names are "
            f"behind it: set {KEY_VARIABLE}, or give --api-key-file FILE. Received: host={host}"
        )


class Gate:
    """Lets requests in that have the key, or, without a key, those of this machine alone.

    Without a key a page of another site, open in a browser on this machine, must not send requests
    here: neither directly (the header Origin tells) nor under a name of its own that leads to
    127.0.0.1 (the header Host tells).

    Args:
        api_key: The key; "": none.
        allowed_hosts: Further names of this service in Host.
    """

    def __init__(self, api_key: str = "", allowed_hosts: Iterable[str] = ()) -> None:
        self.needs_key = bool(api_key)
        self._key = api_key.encode()
        self._hosts = _LOCAL_NAMES | {host.lower() for host in allowed_hosts}

    def check_origin(self, headers: Headers) -> None:
        """Refuse what comes through another site; of services with a key the key does.

        Raises:
            ProblemError: 403.
        """
        if self.needs_key:
            return
        host, origin = headers.get("host", ""), headers.get("origin")
        if _name_of(host) not in self._hosts:
            raise ProblemError(
                403,
                "other-host",
                "Without an API key the service answers under names of this machine only: "
                "localhost or 127.0.0.1.",
            )
        # An origin is a scheme and a host; "null" and what is malformed are other ones.
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise ProblemError(
                403, "other-origin", "Without an API key pages of other sites are not answered."
            )

    def check_key(self, headers: Headers) -> None:
        """Refuse a request without the key, in time that does not depend on the key.

        Raises:
            ProblemError: 401.
        """
        if not self.needs_key:
            return
        given = headers.get("authorization", "")
        key = given[len(_BEARER) :] if given.lower().startswith(_BEARER) else ""
        if not hmac.compare_digest(key.strip().encode(), self._key):
            raise ProblemError(
                401,
                "no-key",
                "The API key is needed: Authorization: Bearer KEY.",
                {"WWW-Authenticate": "Bearer"},
            )


def _name_of(host: str) -> str:
    """The name in a header Host, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
