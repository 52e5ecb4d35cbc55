"""Logs by name: a file's path, or the URL of a Redis."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.log import journal
from partsong.log.file import FileLog

if TYPE_CHECKING:
    from partsong.log.port import Log, Record

__all__ = ["check_place", "open_log", "read"]

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_REDIS = frozenset({"redis", "rediss", "unix"})
_BUS = frozenset({"nats", "tls", "ws", "wss"})


@asynccontextmanager
async def open_log(place: str | Path) -> AsyncIterator[Log]:
    """The log of a name, closed at the end.

    Raises:
        InvalidInput: `log.unknown_scheme` and others, the name leads to no log.
        Unavailable: `log.no_driver`, the extra for Redis is not installed; or its server does not answer.
    """
    if check_place(place):
        async with await _redis().RedisLog.open(str(place)) as log:
            yield log
    else:
        async with await FileLog.open(Path(place)) as log:
            yield log


def read(place: str | Path) -> Iterator[Record]:
    """All records of a log that somebody may be writing, without an event loop; none if there is no log yet.

    Raises:
        InvalidInput: see `open_log`.
        Unavailable: see `open_log`; `log.corrupt`.
    """
    return _redis().read(str(place)) if check_place(place) else journal.read(Path(place))


def check_place(place: str | Path) -> bool:
    """Whether a name is the URL of a Redis, and not a path.

    Raises:
        InvalidInput: `log.unknown_scheme`, it is a URL of something else.
    """
    found = _URL.match(place) if isinstance(place, str) else None
    if found is None:
        return False
    scheme = found["scheme"].lower()
    if scheme in _REDIS:
        return True
    raise InvalidInput(
        "log.unknown_scheme",
        f"{scheme}:// names no log that runs of this process can be kept in",
        where="log",
        fix="begin a run on NATS with `await Client(url).start(graph)`, where `partsong up` or services run it"
        if scheme in _BUS
        else "give a file's path, like runs.jsonl, or redis://host:6379/0 (also rediss:// and unix://)",
    )


def _redis() -> ModuleType:
    try:
        from partsong.log import redis
    except ModuleNotFoundError as error:
        raise Unavailable(
            "log.no_driver",
            f"the client for Redis is not installed: {error.name}",
            where="log",
            fix="pip install 'partsong[redis]'",
        ) from error
    return redis
