"""Arrivals: tool-runners that have come since, and may have what parked calls lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from partsong.contracts.services import TOOL_RUNNER

__all__ = ["Arrivals", "SaidAlive"]

_SETTLED = 8.0
"""Seconds after which a worker has loaded what it has; it beats before it is ready."""


class SaidAlive(Protocol):
    """What a heartbeat says of its worker."""

    @property
    def service(self) -> str:
        """Its role."""
        ...

    @property
    def worker(self) -> str:
        """Its id, another one after each start."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether it was the last one."""
        ...


@dataclass(slots=True)
class _Arrival:
    since: float
    settled: bool = False


class Arrivals:
    """Says when parked calls are worth another try: when a worker comes, and once more when it has settled."""

    def __init__(self, beats: Mapping[str, SaidAlive], now: Callable[[], float]) -> None:
        """`beats` are the last ones of all workers, and go on changing."""
        self._beats, self._now = beats, now
        self._known: dict[str, _Arrival] = {}

    def __call__(self) -> bool:
        """Whether somebody has come, or settled, since the last call."""
        now, news = self._now(), False
        alive = {
            x.worker for x in self._beats.values() if x.service == TOOL_RUNNER and not x.stopped
        }
        self._known = {worker: known for worker, known in self._known.items() if worker in alive}
        for worker in alive:
            known = self._known.get(worker)
            if known is None:
                self._known[worker] = _Arrival(now)
                news = True
            elif not known.settled and now - known.since >= _SETTLED:
                known.settled = True
                news = True
        return news
