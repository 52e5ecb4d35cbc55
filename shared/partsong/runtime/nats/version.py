"""The oldest nats-server that can do all the platform needs, and the refusal of an older one."""

from __future__ import annotations

import re

from partsong.contracts.errors import Unavailable

__all__ = ["OLDEST", "needed", "refuse_older", "version_in"]

OLDEST = (2, 14)
"""The first nats-server whose message schedules know intervals, cron expressions and time zones.

A server of 2.12 has the streams, but never answers an interval and calls every cron expression a bad one.
"""


def needed() -> str:
    """The oldest version as people write it: `2.14`."""
    return ".".join(map(str, OLDEST))


def version_in(said: str) -> tuple[int, ...]:
    """(2, 15, 1) from whatever a server or a binary says of itself; empty if there is no version in it."""
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()


def refuse_older(what: str, said: str, *, where: str, fix: str) -> None:
    """Refuse what is older than `OLDEST`, or does not say how old it is.

    Raises:
        Unavailable: `nats.too_old`, with what was found and what is needed.
    """
    found = version_in(said)
    if found[:2] >= OLDEST:
        return
    raise Unavailable(
        "nats.too_old",
        f"{what} is nats-server {'.'.join(map(str, found)) or 'of an unknown version'}, "
        f"{needed()} or newer is needed",
        where=where,
        fix=fix,
    )
