"""A decision in the making: events so far, and the state they lead to."""

from __future__ import annotations

from dataclasses import dataclass, field

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.foreign.question import Evaluate, at_once
from partsong.contracts.state.fold import fold
from partsong.contracts.state.state import RunState

__all__ = ["Closing", "Decision", "Draft"]


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a guarded call, to be appended to the call's own subject before anything else is decided."""

    call_id: str
    event: e.Event
    expect: int
    """Sequence of the last record on that subject."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the engine does next.

    If there are closings, they are appended first, each under its guard; then the engine folds what happened and
    decides again. Only a decision without closings is committed.
    """

    events: tuple[e.Event, ...]
    closings: tuple[Closing, ...]
    state: RunState
    """The state after `events`."""
    more: bool = False
    """Whether more follows at once: it was left for another decision, so that others have their turn before."""


@dataclass(slots=True)
class Draft:
    """Collects events; each is folded at once, so that what follows is decided on what came before."""

    state: RunState
    now: str
    park: bool = True
    """Whether a function or tool that nobody has may still turn up."""
    evaluate: Evaluate = at_once
    """Answers what the graph's author wrote and we evaluate."""
    events: list[e.Event] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)

    def id(self, *parts: object) -> str:
        """An event id, derived from what the event is about."""
        return ".".join([self.state.run_id, *map(str, parts)])

    def rounds(self, *parts: object) -> tuple[object, ...]:
        """`parts`, told apart from what was said before the run was retried."""
        return (*parts, f"r{self.state.round}") if self.state.round else parts

    def add(self, event: e.Event) -> None:
        """Decide `event`."""
        self.events.append(event)
        self.state = fold(self.state, event)

    def close(self, call_id: str, event: e.Event) -> None:
        """Decide that a guarded call ends with `event`."""
        self.closings.append(Closing(call_id, event, self.state.calls[call_id].claim))

    def stop(
        self,
        outcome: e.Outcome,
        *,
        error: Problem | None = None,
        reason: str | None = None,
        cause: str = "",
    ) -> None:
        """Decide that the run will end."""
        self.add(
            e.RunStopping(
                id=self.id(*self.rounds("stopping")),
                time=self.now,
                cause=cause,
                outcome=outcome,
                error=error,
                reason=reason,
            )
        )
