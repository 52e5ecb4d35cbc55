"""Two runs side by side: where they parted, what each did then, and how their states differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.events.envelope import decode
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.state import Origin, RunState, Status
from partsong.contracts.state.timeline import Change, diff

__all__ = ["Comparison", "Side", "Stretch", "begun_by", "compared", "labels_of", "origin_of"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs."""

    run_id: str
    status: Status
    error: Problem | None
    steps: int
    usage: e.TurnUsage
    executions: Mapping[str, str]
    """What became of each execution that ended: `completed`, its label or its error's code.

    Those of the runs it was forked from are among them.
    """


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one run differs from another."""

    a: Side
    b: Side
    parted: Origin | None
    """The last moment they have in common; None if neither was forked from the other, nor both from a third."""
    executions: tuple[Change, ...]
    """By execution: what became of it in one, and in the other; None where it did not end."""
    state: tuple[Change, ...]
    """By key of the state."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of a run's log that belongs to the past of another run, or all of it."""

    run_id: str
    until: int | None
    """Sequence at which it was forked; None for the run itself."""
    records: Sequence[tuple[int, bytes]]


def begun_by(body: bytes) -> e.RunStarted | e.RunForked | None:
    """The event that began a run, if a record of its log holds it; commands may come before."""
    for event in decode(body).events:
        if isinstance(event, e.RunStarted | e.RunForked):
            return event
    return None


def labels_of(begun: e.RunStarted | e.RunForked | None) -> dict[str, str]:
    """The labels a run began with, as the event says that began it."""
    match begun:
        case e.RunStarted(options=options):
            return dict(options.labels)
        case e.RunForked(state=state):
            return dict(e.RunOptions.model_validate(state.get("options") or {}).labels)
        case None:
            return {}


def origin_of(records: Iterable[tuple[int, bytes]]) -> Origin | None:
    """Where a run comes from, by the records of its log."""
    begun = next((found for _, body in records if (found := begun_by(body))), None)
    return Origin(begun.origin, begun.origin_seq) if isinstance(begun, e.RunForked) else None


def compared(a: Sequence[Stretch], b: Sequence[Stretch]) -> Comparison:
    """Compare two runs, given with the stretches of the runs they come from, the oldest first."""
    (left, old), (right, new) = _side(a), _side(b)
    executions = tuple(diff(dict(left.executions), dict(right.executions)))
    return Comparison(left, right, _parted(a, b), executions, tuple(diff(old, new)))


def _side(stretches: Sequence[Stretch]) -> tuple[Side, dict[str, JsonValue]]:
    ends: dict[str, str] = {}
    state = RunState(stretches[-1].run_id)
    for stretch in stretches:
        for seq, body in stretch.records:
            message = decode(body)
            for event in message.events:
                _note(ends, event)
            if stretch.until is None:
                state = fold_message(state, message, seq)
    side = Side(state.run_id, state.phase, state.error, state.steps, state.usage, ends)
    return side, state.values


def _note(ends: dict[str, str], event: e.Event) -> None:
    match event:
        case e.NodeCompleted():
            ends[event.exec] = event.label or "completed"
        case e.NodeFailed():
            ends[event.exec] = event.error.code
        case e.NodeCancelled():
            ends[event.exec] = "cancelled"
        case _:
            pass


def _parted(a: Sequence[Stretch], b: Sequence[Stretch]) -> Origin | None:
    others = {stretch.run_id: stretch.until for stretch in b}
    for stretch in reversed(a):
        if stretch.run_id in others:
            moments = [seq for seq in (stretch.until, others[stretch.run_id]) if seq is not None]
            return Origin(stretch.run_id, min(moments)) if moments else None
    return None
