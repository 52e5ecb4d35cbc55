"""Guarded calls: looked up, claimed before they are made, closed only by who claimed them.

The call's subject is the whole truth about it. A claim expects the subject's last record, the result expects the
claim; so of two workers one is refused before it acts, and a worker that was given up is refused afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from partsong.contracts import events as e
from partsong.contracts.envelope import decode, encode_report
from partsong.contracts.subjects import Subjects
from partsong.log.port import Log, WrongSequence

__all__ = ["Claim", "claim"]

_Claimed = e.CallClaimed | e.AgentTurnClaimed
_Closing = e.CallCompleted | e.CallFailed | e.AgentTurnCompleted | e.AgentTurnFailed


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that is ours to make."""

    _log: Log
    _subject: str
    _run_id: str
    _seq: int

    async def close(self, event: _Closing) -> bool:
        """Append the result; False if the call was taken from us meanwhile, and the result does not count."""
        try:
            await self._log.append(
                self._subject, encode_report(self._run_id, event), id=event.id, expect=self._seq
            )
        except WrongSequence:
            return False
        return True


async def claim(
    log: Log, subjects: Subjects, run_id: str, event: _Claimed
) -> Claim | Literal["busy", "closed"]:
    """Claim an attempt of a call.

    `busy`: another worker has claimed this attempt; if it is dead, the engine will say so and ask for another one.
    `closed`: the attempt has its result, or nobody needs it any more.
    """
    subject = subjects.call(run_id, event.call_id)
    last = await log.last(subject)
    if last is not None:
        match _standing(last.body, event.attempt):
            case "open":
                pass
            case "busy" | "closed" as standing:
                return standing
    try:
        done = await log.append(
            subject,
            encode_report(run_id, event),
            id=event.id,
            expect=last.seq if last is not None else 0,
        )
    except WrongSequence:
        return "busy"
    return Claim(log, subject, run_id, done.seq)


def _standing(body: bytes, attempt: int) -> Literal["open", "busy", "closed"]:
    """What the newest record of a call's subject means for an attempt at it."""
    event = decode(body).events[-1]
    match event:
        case e.CallClaimed() | e.AgentTurnClaimed():
            return "closed" if event.attempt > attempt else "busy"
        case e.CallCompleted() | e.AgentTurnCompleted() | e.CallCancelled():
            return "closed"
        case e.CallFailed() | e.AgentTurnFailed() | e.CallLapsed():
            return "open" if event.attempt < attempt else "closed"
        case _:
            return "closed"
