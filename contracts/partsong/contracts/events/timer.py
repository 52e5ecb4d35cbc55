"""Events of durable timers: of retries, deadlines and waits."""

from __future__ import annotations

from typing import ClassVar, Literal

from partsong.contracts.events.base import EventBase
from partsong.contracts.services import GRAPH_ENGINE, Service

__all__ = ["TimerFired", "TimerPurpose", "TimerSet"]

TimerPurpose = Literal["retry", "approval_deadline", "run_deadline", "wait", "signal_deadline"]


class TimerSet(EventBase):
    """A durable timer waits."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["timer.set"] = "timer.set"
    timer_id: str
    at: str
    purpose: TimerPurpose
    call_id: str | None = None
    exec: str | None = None
    """Wait nodes have no call; this is the execution that waits."""
    reason: str | None = None
    """The error code a retry answers to."""


class TimerFired(EventBase):
    """A timer's moment has come. Late or twice does no harm."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["timer.fired"] = "timer.fired"
    timer_id: str
    at: str | None = None
    """The moment it was set for: a timer set anew does not fire for the one before."""
