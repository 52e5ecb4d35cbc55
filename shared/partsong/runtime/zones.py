"""Time zones by their IANA names, from where this machine keeps them."""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

__all__ = ["zone_of"]


def zone_of(name: str | None) -> tzinfo:
    """The time zone of a name; without one, UTC.

    `ZONEINFO` may name a folder with more zones, as it does for nats-server.

    Raises:
        LookupError: this machine knows no such zone.
    """
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (
        LookupError,
        ValueError,
        OSError,
    ):  # a name that leads out of the folder, or to a folder
        pass
    own = os.environ.get("ZONEINFO")
    try:
        path = Path(own or "") / name
        if own and path.resolve().is_relative_to(Path(own).resolve()):
            with path.open("rb") as file:
                return ZoneInfo.from_file(file, key=name)
    except (ValueError, OSError):
        pass
    raise LookupError(name)
