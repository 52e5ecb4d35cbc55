"""Events of commands: validated requests as records of the run they concern, and what became of them.

A command stands on a subject of its own, so that it is stored once however often the request arrives. Every command has
one outcome in the end: a commit that holds what it led to, and `command.settled`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events.base import EventBase
from partsong.contracts.services import GRAPH_ENGINE, Service

__all__ = ["CommandReceived", "CommandSettled", "Verb"]

Verb = Literal["run", "fork", "retry", "cancel", "pause", "resume", "signal", "admit"]
"""What may be asked of a run. `admit` comes from an engine: the thread that the run waits for is free."""


class CommandReceived(EventBase):
    """A request has passed the checks that need no state, and waits for the run's decider."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["command.received"] = "command.received"
    request_id: str
    verb: Verb
    digest: str
    """Of what is asked for: a request id that comes again must ask for the same."""
    request: dict[str, JsonValue]
    """The request, with its graph by hash; the graph itself is in the bucket of graphs."""


class CommandSettled(EventBase):
    """A command was carried out, or refused with `error`; delivered again, it means nothing more."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["command.settled"] = "command.settled"
    request_id: str
    error: Problem | None = None
