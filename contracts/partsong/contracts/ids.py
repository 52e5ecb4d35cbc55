"""Ids: what can stand in a subject of NATS, in a file's name and in a URL."""

from __future__ import annotations

import re

from partsong.contracts.errors import InvalidInput

__all__ = ["LONGEST_PATH", "check_id", "is_id"]

_ID = re.compile(r"[A-Za-z0-9_\-:/~@+=]+")
_MAX = 200
LONGEST_PATH = 1000
"""Characters of the id of a call or a timer: the path of its execution, through all graphs that are in each other."""
_PATHS = frozenset({"call_id", "timer_id"})


def is_id(kind: str, value: str) -> bool:
    """Say whether `check_id` lets a value pass; quicker where nobody is to be told why not."""
    most = LONGEST_PATH if kind in _PATHS else _MAX
    return len(value) <= most and _ID.fullmatch(value) is not None


def check_id(kind: str, value: str) -> str:
    """Return `value` if it can stand in a subject: with 200 characters at most, the id of a call or a timer with 1,000.

    Raises:
        InvalidInput: `id.invalid`, with the offending character and its place.
    """
    most = LONGEST_PATH if kind in _PATHS else _MAX
    if not value:
        raise InvalidInput(
            "id.invalid",
            f"{kind} is empty",
            where=kind,
            fix=f"give a {kind} of 1 to {most} characters",
        )
    if len(value) > most:
        raise InvalidInput(
            "id.invalid",
            f"{kind} has {len(value)} characters, at most {most} fit",
            where=kind,
            fix=f"shorten the {kind}",
        )
    if _ID.fullmatch(value):
        return value
    at = next(i for i, c in enumerate(value) if not _ID.fullmatch(c))
    raise InvalidInput(
        "id.invalid",
        f"{kind} {value!r} holds {value[at]!r} at position {at}, which cannot stand in a subject",
        where=kind,
        fix="use letters, digits and - _ : / ~ @ + = only",
    )
