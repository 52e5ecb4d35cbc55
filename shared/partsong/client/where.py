"""Finding the bus: an address given, in the environment, or noted by a `partsong up` nearby."""

from __future__ import annotations

import json
import os
from pathlib import Path

from partsong.contracts.errors import Unavailable
from partsong.contracts.subjects import check_id
from partsong.runtime import clock

__all__ = ["find_caller", "find_data", "find_http", "find_nats", "find_prefix", "find_snapshots"]


def find_nats(given: str | None = None) -> str:
    """The URL of the NATS server.

    Raises:
        Unavailable: `nats.unknown`, saying where one could be given.
    """
    if found := given or os.environ.get("PARTSONG_NATS_URL") or _noted("nats_url"):
        return found
    raise Unavailable(
        "nats.unknown",
        "no NATS server is given, PARTSONG_NATS_URL is not set, and no `partsong up` runs in this directory",
        fix="run `partsong up` here, or set PARTSONG_NATS_URL",
    )


def find_http(given: str | None = None) -> str:
    """The URL of the approval service; the default one if nothing else is known."""
    return given or os.environ.get("PARTSONG_URL") or _noted("http_url") or "http://127.0.0.1:8420"


def find_prefix(given: str | None = None) -> str:
    """The first token of every subject."""
    return given or os.environ.get("PARTSONG_PREFIX") or "partsong"


def find_caller(given: str | None = None, *, otherwise: str = "") -> str:
    """Whose requests these are: callers begin runs by turns. One that is not named is a caller of its own.

    Raises:
        InvalidInput: `id.invalid`: the name cannot stand in a subject.
    """
    named = given or os.environ.get("PARTSONG_CALLER") or otherwise
    return check_id("caller", named) if named else f"client-{clock.new_id()}"


def find_snapshots() -> str:
    """The URL of the snapshots that the engines keep; a client that finds none there reads the log instead."""
    return os.environ.get("PARTSONG_SNAPSHOTS") or "kv:"


def find_data() -> Path:
    """The data directory of the services on this machine: where marks of the log are kept."""
    return Path(os.environ.get("PARTSONG_DATA") or ".partsong")


def _noted(key: str) -> str:
    """What a `partsong up` noted in PARTSONG_DATA, or in ./.partsong; a note whose process is gone counts for nothing."""
    try:
        note = json.loads((find_data() / "up.json").read_text(encoding="utf-8"))
        os.kill(int(note["pid"]), 0)
        return str(note.get(key, ""))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
