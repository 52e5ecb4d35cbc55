"""Snapshots by URL: what `PARTSONG_SNAPSHOTS` may say.

    kv:                     the bus's own bucket
    file:/path              a directory
    redis://host:6379/0     Redis; also rediss:// and unix:///path
    memory:                 this process
    none:                   nowhere

Options: `?newest=8&older=56`, how many of each run are kept; `&ttl=1d`, in `kv` and Redis, for how long.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from nats.aio.client import Client

from partsong.contracts.durations import parse_duration
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.log.snapshots.file import FileSnapshots
from partsong.log.snapshots.kv import KvSnapshots
from partsong.log.snapshots.memory import MemorySnapshots, NoSnapshots
from partsong.log.snapshots.port import Snapshots
from partsong.log.snapshots.retention import Retention

__all__ = ["open_snapshots"]

_WHERE = "PARTSONG_SNAPSHOTS"


@asynccontextmanager
async def open_snapshots(
    url: str,
    *,
    nc: Client | None = None,
    name: str = "partsong_snapshots",
    patience: float = 6.0,
) -> AsyncGenerator[Snapshots, None]:
    """The snapshots that a URL names, closed at the end; no server is asked yet.

    `nc` is the connection that `kv:` needs, and `patience` how many seconds its bucket has to answer; `name` is the
    bucket, and what the keys in Redis start with.

    Raises:
        InvalidInput: `settings.invalid`: the URL is none of these, or an option is wrong; `duration.invalid`.
        Unavailable: `snapshots.no_driver`: the extra for Redis is not installed.
    """
    wanted = _parse(url)
    async with AsyncExitStack() as stack:
        match wanted.url:
            case SplitResult(scheme="kv", netloc="", path=""):
                if nc is None:
                    raise _invalid("kv: needs a connection to NATS, and there is none")
                kv = KvSnapshots(
                    nc,
                    bucket=name,
                    retention=wanted.retention,
                    ttl=wanted.ttl,
                    deadline=patience,
                )
                stack.push_async_callback(kv.close)
                yield kv
            case SplitResult(scheme="file", netloc="", path=path) if path:
                yield FileSnapshots(Path(unquote(path)), retention=wanted.retention)
            case SplitResult(scheme="redis" | "rediss" | "unix"):
                yield await _redis(wanted, name, stack)
            case SplitResult(scheme="memory", netloc="", path=""):
                yield MemorySnapshots(retention=wanted.retention)
            case SplitResult(scheme="none", netloc="", path=""):
                yield NoSnapshots()
            case other:  # the rest of it may hold a password
                raise _invalid(
                    f"a URL with the scheme {other.scheme!r} names no store: "
                    "kv:, file:/path, redis://host, memory: or none: do"
                )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A URL without our options, and those."""

    url: SplitResult
    retention: Retention
    ttl: int | None


def _parse(url: str) -> _Wanted:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _invalid(f"it is no URL: {error}") from error
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    default = Retention()
    retention = Retention(
        _whole(options, "newest", default.newest, least=1),
        _whole(options, "older", default.older, least=0),
    )
    redis = parts.scheme in {"redis", "rediss", "unix"}
    ttl = options.pop("ttl", "") if redis or parts.scheme == "kv" else ""
    if options and not redis:  # Redis has many of its own
        raise _invalid(f"{parts.scheme}: has no option {', '.join(sorted(options))}")
    return _Wanted(parts._replace(query=urlencode(options)), retention, _ttl(ttl))


async def _redis(wanted: _Wanted, name: str, stack: AsyncExitStack) -> Snapshots:
    try:
        from partsong.log.snapshots.redis import RedisSnapshots, connected
    except ModuleNotFoundError as error:
        raise Unavailable(
            "snapshots.no_driver",
            f"the client for Redis is not installed: {error.name}",
            where=_WHERE,
            fix="pip install 'partsong[redis]'",
        ) from error
    try:
        client = connected(wanted.url.geturl())
    except ValueError as error:  # it repeats what is wrong, which may be a password
        raise _invalid(
            "it is no URL of a Redis: its port or one of its options is wrong"
        ) from error
    stack.push_async_callback(client.aclose)
    return RedisSnapshots(client, prefix=name, retention=wanted.retention, ttl=wanted.ttl)


def _whole(options: dict[str, str], option: str, default: int, *, least: int) -> int:
    """Take an option out."""
    text = options.pop(option, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise _invalid(f"{option} is {text!r}, not a whole number of at least {least}")
    return int(text)


def _ttl(text: str) -> int | None:
    """Whole seconds, which is what stores count."""
    return math.ceil(parse_duration(text, f"{_WHERE}: ttl")) if text else None


def _invalid(why: str) -> InvalidInput:
    return InvalidInput("settings.invalid", why, where=_WHERE, fix=f"unset {_WHERE} or correct it")
