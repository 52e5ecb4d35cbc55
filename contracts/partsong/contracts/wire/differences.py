"""Differences of streams and consumers from what they must be, and the commands that set them back.

Whoever has set a limit by hand has the `nats` tool, so its words are the way back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["PAUSED", "Difference", "set_back"]

PAUSED = "pause_until"
"""Field of a consumer that delivers nothing until then."""

_FLAGS = {
    "max_age": "max-age",
    "max_msgs": "max-msgs",
    "max_bytes": "max-bytes",
    "max_msgs_per_subject": "max-msgs-per-subject",
    "max_msg_size": "max-msg-size",
    "duplicate_window": "dupe-window",
}
"""Fields that `nats stream edit` sets back by a flag of its own; all others it edits as text."""
_DURATIONS = frozenset({"max_age", "duplicate_window"})
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a stream or consumer that is not as it must be."""

    kind: Literal["stream", "consumer"]
    name: str
    """Of a consumer with that of its stream before it: `LOG.engine`."""
    field: str
    wanted: object
    found: object

    def __str__(self) -> str:
        wanted, found = json.dumps(self.wanted), json.dumps(self.found)
        return f"{self.kind} {self.name}: {self.field} should be {wanted}, is {found}"


def set_back(found: Sequence[Difference]) -> str:
    """The commands that set all of some fields back, one for each stream or consumer; empty if nothing differs."""
    of = dict.fromkeys((one.kind, one.name) for one in found)
    return ", ".join(
        _command(kind, name, [one for one in found if (one.kind, one.name) == (kind, name)])
        for kind, name in of
    )


def _command(kind: str, name: str, found: Sequence[Difference]) -> str:
    if all(one.field == PAUSED for one in found):
        return f"`nats {kind} resume {name.replace('.', ' ', 1)}`"
    known = kind == "stream" and all(one.field in _FLAGS for one in found)
    flags = [_flag(one) for one in found] if known else ["--interactive"]
    return f"`nats {kind} edit {name.replace('.', ' ', 1)} {' '.join(flags)}`"


def _flag(one: Difference) -> str:
    value = one.wanted
    if one.field in _DURATIONS and isinstance(value, int):
        value = f"{value // _SECOND}s"
    return f"--{_FLAGS[one.field]}={value}"
