"""The heartbeat port: what a service process says about itself once a second, and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nats.aio.client import Client

from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.heartbeat.held import HeldCalls

__all__ = ["Heartbeat", "HeartbeatFactory"]


class Heartbeat(Protocol):
    """Beats once a second until it is stopped, and answers `partsong.query.<service>.ping` with a beat."""

    @property
    def url(self) -> str | None:
        """Where the service answers HTTP, if it does."""
        ...

    @url.setter
    def url(self, url: str | None) -> None: ...

    @property
    def ready(self) -> bool:
        """Whether the service works; it beats before that."""
        ...

    @ready.setter
    def ready(self, ready: bool) -> None: ...

    def drains(self) -> None:
        """Say from now on that the service was told to stop."""
        ...

    @property
    def held(self) -> HeldCalls:
        """The calls in its hands: whoever makes calls enters them."""
        ...

    async def start(self) -> None:
        """Begin to beat; the first beat is sent when this returns."""
        ...

    async def stop(self) -> None:
        """Beat for the last time, and say so."""
        ...


class HeartbeatFactory(Protocol):
    """Makes the heartbeat of one service."""

    def __call__(  # what it says, and where
        self,
        nc: Client,
        subjects: Subjects,
        service: str,
        name: str,
        incarnation: str,
        *,
        in_flight: Callable[[], int],
        nats_url: str,
    ) -> Heartbeat:
        """A heartbeat that has not begun."""
        ...
