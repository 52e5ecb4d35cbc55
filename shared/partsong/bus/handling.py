"""Answering deliveries: acknowledged when their work is done, delivered again when it failed, kept when it never will be.

What is refused as invalid becomes a dead letter at once. What fails for another reason is delivered again later and
later, and becomes a dead letter after `MOST` deliveries, unless something of the platform's was away: that is not the
message's fault, however long it takes. Nothing is dropped without a trace.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from nats.aio.client import Client

from partsong.bus.dead import dead_letter
from partsong.bus.legible import legible
from partsong.bus.pull import Delivery
from partsong.contracts.errors import InvalidInput, PartsongError, Problem, Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.backoff import backoff

__all__ = ["MOST", "Busy", "Handling"]

_log = logging.getLogger("partsong.bus")

MOST = 20
"""Deliveries of one message before it becomes a dead letter."""
_FIRST, _LONGEST = 0.4, 30.0


class Busy(Exception):
    """It is for somebody else: deliver it again after `delay` seconds."""

    def __init__(self, delay: float = 1.0) -> None:
        super().__init__(delay)
        self.delay = delay


class Handling:
    """How one service answers what it is delivered."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        service: str,
        *,
        fault: str,
        most: int = MOST,
        buried: Callable[[Delivery, Problem], Awaitable[None]] | None = None,
    ) -> None:
        """`fault` is the code of a problem that nobody foresaw; `buried` tells whoever waits that nothing will come of it."""
        self._nc, self._subjects, self._service = nc, subjects, service
        self._fault, self._most, self._buried = fault, most, buried

    async def answer(self, delivery: Delivery, work: Awaitable[None]) -> None:
        """Do the work, and answer its delivery in every case but cancellation: who cancels answers.

        `work` raises `Busy` if it is to be delivered again soon, `InvalidInput` if nobody could ever do it, and anything
        else if it may work another time.
        """
        try:
            await work
        except Busy as busy:
            delivery.nak(busy.delay)
        except InvalidInput as error:
            await self._bury(delivery, error.problem)
        except Exception as error:
            await self._failed(delivery, error)
        else:
            delivery.ack()

    async def _failed(self, delivery: Delivery, error: Exception) -> None:
        problem = error.problem if isinstance(error, PartsongError) else self._unforeseen(error)
        told = {"subject": delivery.subject, "seq": delivery.stream_seq, "problem": problem.code}
        _log.warning("work failed", extra=told, exc_info=error)
        tries = delivery.num_delivered
        away = isinstance(error, Unavailable) and problem.retryable
        if tries >= self._most and not away:
            await self._bury(delivery, problem)
        else:
            delivery.nak(backoff(tries, first=_FIRST, longest=_LONGEST))

    async def _bury(self, delivery: Delivery, problem: Problem) -> None:
        told = {"subject": delivery.subject, "seq": delivery.stream_seq, "problem": problem.code}
        _log.error("message buried", extra=told)
        try:
            await dead_letter(
                self._nc,
                self._subjects,
                self._service,
                problem,
                subject=delivery.subject,
                seq=delivery.stream_seq,
                deliveries=delivery.num_delivered,
                body=delivery.data,
                headers=delivery.headers,
                id=f"{delivery.subject}.{delivery.stream_seq}",
            )
            if self._buried is not None:
                await self._buried(delivery, legible(problem))
        except Unavailable:
            delivery.nak(1.0)
        except Exception:  # whom it names cannot be told, however often it is tried: no such run, call or request can be
            _log.warning("nobody could be told", extra=told, exc_info=True)
            delivery.term(problem.code)
        else:
            delivery.term(problem.code)

    def _unforeseen(self, error: Exception) -> Problem:
        return Problem(
            code=self._fault,
            message=f"{type(error).__name__}: {error}",
            retryable=True,
            fault="platform",
        )
