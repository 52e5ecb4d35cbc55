"""Events of hooks: what a run's plugins decided."""

from __future__ import annotations

from typing import ClassVar, Literal

from partsong.contracts.events.base import EventBase
from partsong.contracts.services import TOOL_RUNNER, Service
from partsong.contracts.talk.hooks import HookOutcome, HookPoint, HookReport

__all__ = ["HookDecided"]


class HookDecided(EventBase):
    """Plugins were asked at a hook point; what they decided holds, also for every replay."""

    writer: ClassVar[Service] = TOOL_RUNNER
    type: Literal["hook.decided"] = "hook.decided"
    call_id: str
    attempt: int
    worker: str = ""
    point: HookPoint
    outcome: HookOutcome
    outcomes: tuple[HookReport, ...] = ()
    """What each plugin said, in the order in which they were asked."""
    seen: int = 0
    """How many messages they were shown, where it was messages."""
