"""A server without room, in words: which of its answers, and which of its silences, mean that, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client

from partsong.contracts.errors import Problem, Unavailable

__all__ = ["ACCOUNT_LIMIT", "is_full", "log_full", "log_mute"]

_ACCOUNT = 10002
_CODES = frozenset({_ACCOUNT, 10023, 10028, 10047})
"""Resource limits of the account exceeded; insufficient resources: of any kind, of memory, of storage."""
_WORDS = ("no space left", "maximum bytes", "disk quota")
"""A store that cannot write says why in words only."""
_WITHIN = 1.0
"""Seconds that the server has to say what it holds."""

_DISK = (
    "make room on the disk of the NATS server, then restart it: before that it stores nothing more"
)
_SERVER_LIMIT = (
    "raise max_file_store in the jetstream block of the server's configuration (where it is not set, the server takes "
    "three quarters of what is free on its disk when it starts), or make room there; then restart the server"
)
ACCOUNT_LIMIT = (
    "raise max_file of the account's JetStream limits in the server's configuration, then reload it"
)
"""What to do about an account that holds all it may."""
_STREAM_LIMIT = "take max_bytes off the stream: `partsong doctor` names what is not as it must be"


def is_full(error: Mapping[str, object]) -> bool:
    """Whether a JetStream error says that there is no room."""
    said = str(error.get("description", "")).lower()
    return error.get("err_code") in _CODES or any(word in said for word in _WORDS)


async def log_full(nc: Client, where: str, error: Mapping[str, object]) -> Unavailable:
    """The error of an append that found no room: what is held, whose limit it is, and what to do. It may be made again."""
    said = f"{error.get('description')} ({error.get('err_code')})"
    limit, fix = _limit(error, await _account(nc))
    return Unavailable(
        "log.full",
        f"the server has no room left for {where}: {said}; {limit}",
        where=where,
        fix=fix,
        retryable=True,
    )


async def _account(nc: Client) -> Mapping[str, Any]:
    """What the server says of this account; nothing if it does not say, or this user may not ask."""
    try:
        answer = json.loads((await nc.request("$JS.API.INFO", timeout=_WITHIN)).data)
    except (nats.errors.Error, TimeoutError, OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) and "error" not in answer else {}


def _limit(error: Mapping[str, object], account: Mapping[str, Any]) -> tuple[str, str]:
    """Whose limit has been met, and how it is raised."""
    used = account.get("storage")
    held = "its streams hold" + (f" {used} bytes" if isinstance(used, int) else " all they may")
    most = (account.get("limits") or {}).get("max_storage", -1)
    if "maximum bytes" in str(error.get("description")).lower():
        return f"{held}, and this stream has a limit of its own", _STREAM_LIMIT
    if error.get("err_code") == _ACCOUNT or most >= 0:
        of = f"of the {most} that its account may have" if most >= 0 else "and the account no more"
        return f"{held}, {of}", ACCOUNT_LIMIT
    if any(word in str(error.get("description")).lower() for word in _WORDS):
        return f"{held}, and its disk is full", _DISK
    return f"{held}, and the server's own Max Storage is no more than that", _SERVER_LIMIT


def log_mute() -> Problem:
    """What is wrong with a server that says how the log stands, and answers no append.

    nats-server 2.15 is like that once a write has failed: it says so in its own log only, and goes on being so when
    there is room again, until it is started anew.
    """
    return Problem(
        code="log.mute",
        message="the server answers what is asked of the log, and stores nothing: no append was answered",
        where="log",
        fix="look into the server's log, make room on its disk, then restart it: before that it stores nothing more",
        retryable=True,
        fault="platform",
    )
