"""Calls' results on their way into the log; guarded calls are claimed before they are made.

A guarded call's subject is the whole truth about it. A claim expects the subject's last record, the result expects the
claim; so of two workers one is refused before it acts, and a worker that was given up is refused afterwards.

What has been done must not be done again only because the log did not answer: a result is appended however long that
takes. So a claim of our own that stands open is one whose append was never confirmed, and it is ours to act on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, assert_never

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import ChildWork, FunctionWork, HookWork, ToolWork, TurnWork, Work
from partsong.log.port import Appended, Log, Record, WrongSequence
from partsong.log.reading import Unreadable, message_of
from partsong.runtime.event_head import event_head

__all__ = ["Claim", "claim", "claimed_by", "refuse", "report"]

_log = logging.getLogger("partsong.bus")

_Claimed = e.CallClaimed | e.AgentTurnClaimed
_Closing = (
    e.CallCompleted
    | e.CallFailed
    | e.CallSuspended
    | e.AgentTurnCompleted
    | e.AgentTurnFailed
    | e.HookDecided
)

_FIRST, _LONGEST = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that is ours to make."""

    _store: Log
    _subject: str
    _run_id: str
    _seq: int
    events: tuple[e.Event, ...] = ()
    """What stands in the log with the claim, the claim last."""

    async def close(self, event: _Closing) -> bool:
        """Append the result; False if the call was taken from us meanwhile, and the result does not count."""
        body = encode_report(self._run_id, event)
        try:
            await _insist(
                lambda: self._store.append(self._subject, body, id=event.id, expect=self._seq)
            )
        except WrongSequence:
            return False
        return True


async def report(store: Log, subjects: Subjects, run_id: str, event: _Closing) -> None:
    """Append the result of a call that needs no claim. Of several the first one counts."""
    subject, body = subjects.fact(run_id), encode_report(run_id, event)
    await _insist(lambda: store.append(subject, body, id=event.id))


async def claim(
    store: Log, subjects: Subjects, run_id: str, event: _Claimed, *before: e.Event
) -> Claim | Literal["busy", "closed"]:
    """Claim an attempt of a call; what was decided `before` stands in the same record.

    `busy`: another worker has claimed this attempt; if it is dead, the engine will say so and ask for another one.
    `closed`: the attempt has its result, or nobody needs it any more.

    Raises:
        Unavailable: the log did not answer; try again.
        InvalidInput: the call's newest record cannot be read, so nobody can say how it stands; its engine sets the run
            aside.
    """
    subject = subjects.call(run_id, event.call_id)
    last = await store.last(subject)
    if last is not None:
        said = _said(subjects, last)
        match _standing(said, event):
            case "open":
                pass
            case "ours":
                # Stores nothing. A log that has lost its end, and our result with it, refuses it, and nobody writes to
                # one that was not looked at: what stands open there may have been done.
                await store.append(subject, last.body, id=event.id, expect=0)
                return Claim(store, subject, run_id, last.seq, said)
            case "busy" | "closed" as standing:
                return standing
    try:
        done = await store.append(
            subject,
            encode_report(run_id, *before, event),
            id=event.id,
            expect=last.seq if last is not None else 0,
        )
    except WrongSequence:
        return "busy"
    return Claim(store, subject, run_id, done.seq, (*before, event))


def claimed_by(worker: str, work: Work, *, repeatable: bool = False) -> e.CallClaimed:
    """The claim of a tool-runner; `repeatable` is what may be made again, whatever becomes of it."""
    return e.CallClaimed(repeatable=repeatable, **event_head(work, f"claimed.{worker}", worker))


async def refuse(store: Log, subjects: Subjects, worker: str, work: Work, problem: Problem) -> None:
    """Close a call that no worker can make, so that its run does not wait for it.

    Raises:
        Unavailable: the log did not answer; try again.
    """
    head = event_head(work, "closed", worker)
    match work:
        case ChildWork():
            return  # never in a queue
        case FunctionWork() | HookWork():
            await report(store, subjects, work.run_id, e.CallFailed(error=problem, **head))
            return
        case TurnWork():
            stands: _Claimed = e.AgentTurnClaimed(**event_head(work, f"claimed.{worker}", worker))
            end: _Closing = e.AgentTurnFailed(error=problem, **head)
        case ToolWork():
            stands = claimed_by(worker, work, repeatable=True)
            end = e.CallFailed(error=problem, **head)
        case _:
            assert_never(work)
    claimed = await claim(store, subjects, work.run_id, stands)
    if isinstance(claimed, Claim):
        await claimed.close(end)


def _said(subjects: Subjects, last: Record) -> tuple[e.Event, ...]:
    """What the newest record of a call's subject says; trying again would find nothing else."""
    message = message_of(subjects, last)
    if isinstance(message, Unreadable):
        raise InvalidInput.of(message.problem)
    if message.newer is not None:
        raise InvalidInput.of(message.newer)
    return message.events


def _standing(
    said: tuple[e.Event, ...], mine: _Claimed
) -> Literal["open", "ours", "busy", "closed"]:
    """What the newest record of a call's subject means for an attempt at it."""
    event = said[-1]
    match event:
        case e.CallClaimed() | e.AgentTurnClaimed():
            if event.id == mine.id:
                return "ours"
            return "closed" if event.attempt > mine.attempt else "busy"
        case (
            e.CallCompleted()
            | e.CallFailed()
            | e.CallSuspended()
            | e.AgentTurnCompleted()
            | e.AgentTurnFailed()
            | e.CallLapsed()
        ):
            return "open" if event.attempt < mine.attempt else "closed"
        case e.CallCancelled():  # the run was retried since; 0: it does not say
            return "open" if 0 < event.attempt < mine.attempt else "closed"
        case _:
            return "closed"


async def _insist(append: Callable[[], Awaitable[Appended]]) -> None:
    wait = _FIRST
    while True:
        try:
            await append()
        except Unavailable as error:
            _log.warning(
                "result not in the log yet",
                extra={"problem": error.problem.code, "why": str(error), "again_in": wait},
            )
        else:
            return
        await asyncio.sleep(wait)
        wait = min(_LONGEST, wait * 2)
