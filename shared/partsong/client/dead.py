"""Dead letters: what services could not work off is looked at, sent again, or given up.

What is done about a letter is kept in its place, with who did it and why: nothing is dropped without a trace. Only what
waits in a queue is sent again: requests and hints. A log is never written to from here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import nats.errors
from nats.aio.client import Client as Nats
from nats.js.errors import APIError
from pydantic import ValidationError

from partsong.contracts.errors import Conflict, InvalidInput, NotFound, Problem, Unavailable
from partsong.contracts.wire.dead_letter import DeadLetter, Settled
from partsong.contracts.wire.headers import MSG_ID, REDRIVEN, REMINDER
from partsong.contracts.wire.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.runtime import clock
from partsong.runtime.streams import Names

__all__ = ["DeadLetters", "KeptLetter"]

_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter and its sequence, by which it is named."""

    seq: int
    letter: DeadLetter


class DeadLetters:
    """The dead letters of the bus, which keeps 10,000 of them for 30 days."""

    def __init__(self, nc: Callable[[], Nats], subjects: Subjects) -> None:
        self._nc, self._subjects, self._names = nc, subjects, Names.of(subjects)

    async def list(self, *, service: str | None = None, settled: bool = False) -> list[KeptLetter]:
        """Those of all services or of one, the oldest first; with `settled`, those that were dealt with instead.

        Raises:
            Unavailable: the server did not answer.
        """
        subject = self._subjects.dead(service) if service else self._subjects.deads()
        found = list[KeptLetter]()
        async with self._kept() as kept, aclosing(kept.read(subject)) as records:
            async for record in records:
                one = _read(record.seq, record.body)
                if one is not None and (one.letter.settled is not None) == settled:
                    found.append(one)
        return found

    async def get(self, seq: int) -> KeptLetter:
        """One of them, be it dealt with.

        Raises:
            NotFound: `dead_letter.unknown`: there is none, or no more.
            Unavailable: the server did not answer.
        """
        found = None
        async with self._kept() as kept:
            records = kept.read(self._subjects.deads(), after=seq - 1, upto=seq)
            async with aclosing(records):
                async for record in records:
                    found = _read(record.seq, record.body) if record.seq == seq else None
        if found is None:
            raise NotFound(
                "dead_letter.unknown",
                f"there is no dead letter {seq}",
                where="seq",
                fix="`partsong bus dead list` lists those that are there",
            )
        return found

    async def retry(
        self, seq: int, *, by: str, reason: str = "", force: bool = False
    ) -> KeptLetter:
        """Send the message of a letter to where it had come from; the letter as it was.

        A message that became a dead letter again after that is poison: it is sent no second time unless by `force`.

        Raises:
            NotFound: `dead_letter.unknown`.
            Conflict: `dead_letter.settled`, `dead_letter.poison`, `dead_letter.cut`: not all of it was kept, or
                `dead_letter.no_message`: it stands for no message of a queue.
            Unavailable: the server did not answer.
        """
        found = await self._open(seq)
        body = self._fit(found, force=force)
        subject = found.letter.subject
        # Who gets a hint that was sent before asks first whether its call is still wanted.
        reminder = {REMINDER: "1"} if subject.startswith(f"{self._subjects.prefix}.work.") else {}
        headers = {
            **found.letter.headers,
            **reminder,
            REDRIVEN: str(seq),
            MSG_ID: f"redriven.{seq}",  # twice at the same time is once
        }
        await self._publish(subject, body, headers)
        await self._settle(found, "retried", by, reason)
        return found

    async def discard(self, seq: int, *, by: str, reason: str) -> KeptLetter:
        """Give a letter up; why is kept in its place.

        Raises:
            NotFound: `dead_letter.unknown`.
            Conflict: `dead_letter.settled`.
            InvalidInput: `dead_letter.no_reason`.
            Unavailable: the server did not answer.
        """
        if not reason.strip():
            raise InvalidInput("dead_letter.no_reason", "a reason is needed", where="reason")
        found = await self._open(seq)
        await self._settle(found, "discarded", by, reason)
        return found

    async def _open(self, seq: int) -> KeptLetter:
        found = await self.get(seq)
        if (settled := found.letter.settled) is not None:
            said = f"dead letter {seq} was {settled.how} by {settled.by} at {settled.time}"
            raise Conflict("dead_letter.settled", said, where="seq")
        return found

    def _fit(self, found: KeptLetter, *, force: bool) -> bytes:
        """The message of a letter, if it can be sent again."""
        letter, body = found.letter, found.letter.message()
        queues = tuple(f"{self._subjects.prefix}.{kind}." for kind in ("request", "work"))
        if not (letter.seq and letter.subject.startswith(queues)):
            raise _refused(found, "no_message", "stands for no message of a queue", "mend by hand what it says, then discard it")  # fmt: skip
        if body is None:
            raise _refused(found, "cut", f"holds the first of {letter.size} bytes only", "publish the message again from where it came, then discard this one")  # fmt: skip
        if letter.redriven and not force:
            raise _refused(found, "poison", f"was sent again before, as letter {letter.headers[REDRIVEN]}, and came back", "mend what it failed by and give --force, or discard it")  # fmt: skip
        return body

    async def _settle(
        self, found: KeptLetter, how: Literal["retried", "discarded"], by: str, reason: str
    ) -> None:
        """Put a letter that says what was done in the place of the one that was open."""
        settled = Settled(how=how, time=clock.now_text(), by=by, reason=reason, letter=found.seq)
        letter = found.letter.model_copy(update={"settled": settled, "raw": ""})
        body = letter.model_dump_json(exclude_none=True).encode()
        await self._publish(
            self._subjects.dead(found.letter.service), body, {MSG_ID: f"settled.{found.seq}"}
        )
        try:
            await self._nc().jetstream().delete_msg(self._names.dead, found.seq)
        except (nats.errors.Error, APIError, TimeoutError) as error:
            raise _silent(error) from error

    async def _publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            js = self._nc().jetstream()
            await js.publish(subject, body, timeout=_WITHIN, headers=headers)
        except (nats.errors.Error, APIError, TimeoutError) as error:
            raise _silent(error) from error

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[JetStreamLog]:
        kept = JetStreamLog(
            self._nc(), stream=self._names.dead, attempt=2.0, deadline=_WITHIN, forgets=True
        )
        try:
            yield kept
        finally:
            await kept.close()


def _read(seq: int, body: bytes) -> KeptLetter | None:
    """A letter; of what anybody else has put there, what can be said of it."""
    try:
        return KeptLetter(seq, DeadLetter.model_validate_json(body))
    except ValidationError:
        problem = Problem(code="dead_letter.malformed", message="it is no dead letter")
        return KeptLetter(
            seq, DeadLetter(time="", service="unknown", reason=problem, subject="", seq=0, body="")
        )


def _refused(found: KeptLetter, code: str, says: str, fix: str) -> Conflict:
    return Conflict(f"dead_letter.{code}", f"dead letter {found.seq} {says}", where="seq", fix=fix)


def _silent(error: Exception) -> Unavailable:
    return Unavailable(
        "dead_letter.no_answer", f"the server did not confirm it: {error!r}", retryable=True
    )
