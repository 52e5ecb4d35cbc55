"""A run's past: its checkpoints, its state at any of them, and what lies between two.

A checkpoint is a sequence number of the log. There is no table of them: every commit of the engine is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events.envelope import Commit, Report, decode_known
from partsong.contracts.graph import FunctionNode
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.state import RunState, Status

__all__ = ["Change", "Checkpoint", "beyond", "checkpoints", "diff", "state_at"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A moment of a run that can be read, compared with another, and forked from."""

    run_id: str
    seq: int
    """Position in the log."""
    n: int
    """Which decision of the run's engine it is."""
    time: str
    status: Status
    did: tuple[str, ...]
    """What the decision was: event types with what they are about."""


@dataclass(frozen=True, slots=True)
class Change:
    """One place in the state where two moments differ."""

    path: str
    before: JsonValue
    after: JsonValue
    kind: str
    """`added`, `removed` or `changed`."""


def checkpoints(run_id: str, records: Iterable[tuple[int, bytes]]) -> Iterator[Checkpoint]:
    """The checkpoints of a run, from the records of its log as (sequence, body)."""
    state = RunState(run_id)
    for seq, body in records:
        message = decode_known(body)
        state = fold_message(state, message, seq)
        if isinstance(message, Commit) and message.events:
            did = tuple(_about(event) for event in message.events)
            yield Checkpoint(run_id, seq, message.n, message.events[-1].time, state.phase, did)


def _about(event: e.Event) -> str:
    what = getattr(event, "call_id", None) or getattr(event, "exec", None)
    what = what or getattr(event, "scope", None) or getattr(event, "name", None)
    return f"{event.type} {what}" if what else event.type


def beyond(at: int, head: int, *, last: int) -> InvalidInput:
    """A sequence that the log has not reached; `last` is that of the run's newest record."""
    return InvalidInput(
        "position.beyond",
        f"sequence {at} lies beyond the log, which ends at {head}; the run's last is {last}",
        where="seq",
        fix=f"give at most {last}, or leave it out; `partsong run history` lists the run's",
    )


def state_at(
    run_id: str,
    records: Iterable[tuple[int, bytes]],
    seq: int | None = None,
    outputs: Mapping[str, Mapping[str, JsonValue]] | None = None,
) -> RunState:
    """The state after the record at `seq`, or after all; `outputs` replaces what function executions returned.

    Raises:
        InvalidInput: `fork.unknown_output`, no execution of a function that had returned by then.
    """
    state, left = RunState(run_id), dict(outputs or {})
    for place, body in records:
        if seq is not None and place > seq:
            break
        message = decode_known(body)
        if left:
            message = _with_outputs(state, message, left)
        state = fold_message(state, message, place)
    if left:
        raise InvalidInput(
            "fork.unknown_output",
            f"{', '.join(left)}: no function of that name had returned by {'then' if seq is None else f'sequence {seq}'}",
            where="outputs",
            fix="name executions of functions like a:1, or sub:1/a:1 inside a subgraph, at a sequence behind their completion",
        )
    return state


def _with_outputs(
    state: RunState, message: Commit | Report, left: dict[str, Mapping[str, JsonValue]]
) -> Commit | Report:
    changed: list[e.Event] = []
    for event in message.events:
        if (
            isinstance(event, e.CallCompleted)
            and event.call_id in left
            and _is_functions(state, event.call_id)
        ):
            update = dict(left.pop(event.call_id))
            changed.append(event.model_copy(update={"update": update, "more": ()}))
        else:
            changed.append(event)
    return dataclasses.replace(message, events=tuple(changed))


def _is_functions(state: RunState, call_id: str) -> bool:
    """Whether a call is the one of a function node; what tools and models say is no update of the state."""
    execution = state.execution(call_id)
    return execution is not None and isinstance(state.node(execution), FunctionNode)


def diff(before: JsonValue, after: JsonValue, path: str = "") -> Iterator[Change]:
    """Where two values differ: objects key by key, lists element by element."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            place = f"{path}.{key}" if path else key
            if key not in after:
                yield Change(place, before[key], None, "removed")
            elif key not in before:
                yield Change(place, None, after[key], "added")
            else:
                yield from diff(before[key], after[key], place)
    elif isinstance(before, list) and isinstance(after, list):
        for i in range(max(len(before), len(after))):
            place = f"{path}[{i}]"
            if i >= len(after):
                yield Change(place, before[i], None, "removed")
            elif i >= len(before):
                yield Change(place, None, after[i], "added")
            else:
                yield from diff(before[i], after[i], place)
    elif before != after or type(before) is not type(after):
        yield Change(path, before, after, "changed")
