"""A server without room, in words: which of its answers, and which of its silences, mean that, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from partsong.contracts.errors import Problem, Unavailable

__all__ = ["is_full", "log_full", "log_mute"]

_CODES = frozenset({10023, 10028, 10047})
"""Insufficient resources; resource limits of memory and of storage exceeded."""
_WORDS = ("no space left", "maximum bytes", "disk quota")
"""A store that cannot write says why in words only."""


def is_full(error: Mapping[str, object]) -> bool:
    """Whether a JetStream error says that there is no room."""
    said = str(error.get("description", "")).lower()
    return error.get("err_code") in _CODES or any(word in said for word in _WORDS)


def log_full(where: str, error: Mapping[str, object]) -> Unavailable:
    """The error of an append that found no room. It may be made again: room can be made."""
    return Unavailable(
        "log.full",
        f"the server has no room left for {where}: {error.get('description')} ({error.get('err_code')})",
        where=where,
        fix="make room on the disk of the NATS server, or raise max_file_store; restart it if it has switched JetStream off",
        retryable=True,
    )


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
