"""Clocks that a test moves; each is to be made in the test's own task, whose time it becomes."""

from __future__ import annotations

import secrets

from partsong.runtime import clock

__all__ = ["Still"]


class Still:
    """Stands still until it is put forward."""

    randbits = staticmethod(secrets.randbits)

    def __init__(self) -> None:
        self.at = 1_000_000.0
        clock.set_source(self)

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at
