"""The projection as pure steps: records of the log in, changed approvals out.

Rules, the same as the fold's:

* An approval opens with `approval.requested`, and the first event that closes its call closes it; later ones are void.
* An execution that ends takes its open approvals with it, and so does a run: nobody waits for the answer any more.
* An event that cannot be read is no reason to miss its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from pydantic import JsonValue

from partsong.approval.core.approval import Approval, Closure, Position
from partsong.approval.core.decision import closed_by
from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events.envelope import spelled_out
from partsong.contracts.wire.subjects import LogSubject

__all__ = ["Change", "Message", "What", "concerns", "project", "read"]

What = Literal["created", "guarded", "decided", "expired", "cancelled"]

_MARK = b'"approval.'
"""Every type of event that opens an approval or says how it was decided begins like this."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the log, as far as it can be read."""

    events: tuple[tuple[int, e.Event], ...]
    """Each with its index."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A new version of an approval. `guarded`: only the sequence to guard its decision with is a new one."""

    what: What
    approval: Approval


def concerns(subject: LogSubject, body: bytes, pending: Mapping[str, Approval]) -> bool:
    """Whether a message can change anything, given its run's open approvals by call id. Most cannot, so most are not read."""
    return subject.entity != "fact" and (bool(pending) or _MARK in body)


def read(body: bytes, run_id: str | None = None) -> Message:
    """The events of a message one by one: a commit may hold types that only a newer release knows.

    With `run_id`, nothing if it says that it is of another run.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Message((), (_malformed(f"not JSON: {error}"),))
    listed = raw.get("events") if isinstance(raw, dict) else None
    if not isinstance(listed, list):
        return Message((), (_malformed("expected an object with a list `events`"),))
    events, problems = [], []
    run = str(raw.get("run", ""))
    if run_id not in {None, run}:
        return Message((), (_malformed(f"it says that it is of run {run[:80]!r}"),))
    for index, one in enumerate(spelled_out(run, listed)):
        try:
            events.append((index, e.read(_told(one))))
        except InvalidInput as error:
            where = f"events[{index}]: {error.problem.where}"
            problems.append(error.problem.model_copy(update={"where": where}))
    return Message(tuple(events), tuple(problems))


def _told(raw: JsonValue) -> JsonValue:
    """An event that a database and a browser can be told of: half a character or no number would stop them for all."""
    try:
        json.dumps(raw, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "event.malformed", f"no text that can be kept: {error}", where="data"
        ) from None
    return raw


def project(
    subject: LogSubject, seq: int, message: Message, pending: Mapping[str, Approval]
) -> tuple[Change, ...]:
    """What a message changes, in order. `pending` are its run's open approvals by call id."""
    now, changes = dict(pending), list[Change]()
    if subject.call_id in now:
        guarded = replace(now[subject.call_id], guard=seq)
        now[guarded.call_id] = guarded
        changes.append(Change("guarded", guarded))
    for index, event in message.events:
        for change in _step(subject, Position(seq, index), event, now):
            changes.append(change)
            if change.what == "created":
                now[change.approval.call_id] = change.approval
            else:
                del now[change.approval.call_id]
    return tuple(changes)


def _step(
    subject: LogSubject, at: Position, event: e.Event, pending: Mapping[str, Approval]
) -> tuple[Change, ...]:
    match event:
        case e.ApprovalRequested():
            asks = subject.entity == "engine" and event.call_id not in pending
            return (_asked(subject.run_id, at, event),) if asks else ()
        case e.ApprovalDecided() | e.ApprovalExpired() | e.CallCancelled():
            asked = pending.get(event.call_id)
            return (_closed(asked, at, event),) if asked else ()
        case e.NodeCompleted() | e.NodeFailed():
            gone = [asked for asked in pending.values() if asked.exec == event.exec]
            return tuple(_dropped(asked, at, event, f"{event.exec} has ended") for asked in gone)
        case e.RunCompleted() | e.RunFailedEvent() | e.RunCancelled() | e.RunLimitExceeded():
            return tuple(
                _dropped(asked, at, event, "the run has ended") for asked in pending.values()
            )
        case _:
            return ()


def _asked(run_id: str, at: Position, event: e.ApprovalRequested) -> Change:
    approval = Approval(
        run_id=run_id,
        call_id=event.call_id,
        exec=event.exec,
        event=event.id,
        requested=at,
        requested_at=event.time,
        title=event.title,
        detail=event.detail,
        context=event.context,
        editable=event.editable,
        edit_schema=event.edit_schema,
        deadline=event.deadline,
        otherwise=event.otherwise,
    )
    return Change("created", approval)


def _closed(
    asked: Approval, at: Position, event: e.ApprovalDecided | e.ApprovalExpired | e.CallCancelled
) -> Change:
    match event:
        case e.ApprovalDecided():
            return Change("decided", replace(asked, closure=closed_by(event, at)))
        case e.ApprovalExpired():
            closure = Closure(at, event.id, "expired", event.time, asked.otherwise)
            return Change("expired", replace(asked, closure=closure))
        case e.CallCancelled(reason=reason):
            closure = Closure(at, event.id, "cancelled", event.time, reason=reason)
            return Change("cancelled", replace(asked, closure=closure))
        case _:
            assert_never(event)


def _dropped(asked: Approval, at: Position, event: e.Event, reason: str) -> Change:
    closure = Closure(at, event.id, "cancelled", event.time, reason=reason)
    return Change("cancelled", replace(asked, closure=closure))


def _malformed(message: str) -> Problem:
    return Problem(code="envelope.malformed", message=message, where="body", fault="platform")
