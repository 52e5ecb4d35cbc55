"""Progress of long work, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from partsong.cli.output import Output

if TYPE_CHECKING:
    from partsong.log.walk import Progress

__all__ = ["progress_of"]

_EVERY = 3.0
"""Seconds between two lines."""


def progress_of(out: Output, what: str) -> Progress:
    """Tell a person every few seconds how far it is."""
    from partsong.runtime import clock

    last = clock.monotonic()

    def say(done: int, of: int) -> None:
        nonlocal last
        if clock.monotonic() - last >= _EVERY:
            last = clock.monotonic()
            out.say(f"{what} {done:,} of {of:,}")

    return say
