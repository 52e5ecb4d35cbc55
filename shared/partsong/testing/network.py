"""`closed_network`: a block in which this process reaches nobody."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

__all__ = ["NetworkClosed", "closed_network"]

_DOORS: tuple[tuple[object, str], ...] = (
    (socket.socket, "connect"),
    (socket.socket, "connect_ex"),
    (socket.socket, "sendto"),
    (socket.socket, "sendmsg"),
    (socket, "getaddrinfo"),
    (socket, "gethostbyname"),
)
"""What a connection or a datagram of Python code passes; connections that are open already go on."""


class NetworkClosed(ConnectionError):
    """Somebody wanted to reach somebody. To most code it looks like an unreachable host."""


@contextmanager
def closed_network() -> Iterator[list[str]]:
    """Refuse all new connections, look-ups and datagrams, of all threads; yields those that were tried."""
    tried: list[str] = []
    with ExitStack() as stack:
        for owner, name in _DOORS:
            if name in vars(owner):
                stack.callback(setattr, owner, name, vars(owner)[name])
            else:  # inherited: what covers it is taken away again
                stack.callback(delattr, owner, name)
            setattr(owner, name, _refusal(name, tried))
        yield tried


def _refusal(door: str, tried: list[str]) -> Callable[..., NoReturn]:
    def refuse(*args: object, **_options: object) -> NoReturn:
        where = " ".join(str(each) for each in args if not isinstance(each, socket.socket | bytes))
        tried.append(f"{door} {where}".strip())
        raise NetworkClosed(f"the network is closed here: {tried[-1]}")

    return refuse
