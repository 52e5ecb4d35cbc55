"""Which browser pages may speak to the service: those from its own address.

A page from anywhere can make a visitor's browser send requests to 127.0.0.1, and approve things there. Browsers say in
`Origin` which page it was, on every WebSocket and every POST, so a foreign one is refused. A page may also have a name
of its own point to 127.0.0.1 (DNS rebinding) and so be of the same origin; hence a service that listens on loopback
answers to the names of loopback only.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from partsong.contracts.errors import Problem

__all__ = ["is_loopback", "refusal"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine's own."""
    return host in _LOOPBACK


def refusal(host: str, origin: str | None, *, loopback: bool) -> Problem | None:
    """Why a request with these headers is refused; None if it is not. `loopback`: the service listens there only."""
    if loopback and not is_loopback(_name(host)):
        return Problem(
            code="http.foreign_host",
            message=f"the request is for host {host[:80]!r}, but this service is only reached as localhost",
            where="Host",
            fix="use http://127.0.0.1, or set PARTSONG_HTTP_HOST to listen on another address",
        )
    if origin is None or _place(origin) == host.lower():
        return None
    return Problem(
        code="http.foreign_origin",
        message=f"a page from {origin[:80]!r} may not speak to {host[:80]!r}",
        where="Origin",
        fix="open the page from the service's own address",
    )


def _name(host: str) -> str:
    """The host without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _place(origin: str) -> str | None:
    """`host[:port]` of an origin, as a browser writes it into `Host`."""
    try:
        found = urlsplit(origin)
    except ValueError:
        return None
    return found.netloc.lower() if found.scheme in {"http", "https"} else None
