"""What comes for a run: reports, requests, timers. Each is told what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import PartsongError
from partsong.contracts.graph import Graph
from partsong.contracts.hooks import PluginRef
from partsong.contracts.state import RunState
from partsong.log.port import Record

__all__ = ["Ask", "Fired", "Message", "Reported", "Start", "Started", "Tell", "Wake"]

Tell = Callable[[RunState, str], tuple[e.Event, ...]]
"""The events that a request means for a run as it stands, at a time; raises PartsongError if it must be refused."""


@dataclass(slots=True)
class _Message:
    done: Callable[[PartsongError | None], None] = field(default=lambda _error: None, kw_only=True)
    """Called once: the message's effect is in the log, or why it could not be."""


@dataclass(slots=True)
class Reported(_Message):
    """A fact or a closing event was appended; `next` if nothing of the partition can lie before it unseen."""

    record: Record
    next: bool


@dataclass(slots=True)
class Started:
    """What became of a start: where the run is, and whether this very request began it."""

    run_id: str
    seq: int
    same: bool


@dataclass(slots=True)
class Start(_Message):
    """A run is to begin."""

    graph: Graph
    input: dict[str, JsonValue]
    options: e.RunOptions
    request_id: str
    queued: bool = False
    remembered: dict[str, JsonValue] = field(default_factory=dict)
    plugins: tuple[PluginRef, ...] = ()
    result: Started | None = None


@dataclass(slots=True)
class Ask(_Message):
    """Something is asked of a run, or a run is to begin in another way than by a start."""

    tell: Tell
    begins: bool = False
    """Whether it may be the first thing of a run."""
    known: bool = False
    """Afterwards: whether there is such a run."""
    told: bool = False
    """Afterwards: whether it meant anything new."""
    seq: int = 0
    """Afterwards: where in the log that is; otherwise where the run begins."""
    refused: PartsongError | None = None


@dataclass(slots=True)
class Fired(_Message):
    """A durable timer fired."""

    timer_id: str


@dataclass(slots=True)
class Wake(_Message):
    """Look at the run again: send open hints and timers once more, find claims that lapsed."""


Message = Reported | Start | Ask | Fired | Wake
