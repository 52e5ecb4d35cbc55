"""The desk: what an approver can ask and do, whichever way the question came in.

A decision is an append to the call's own subject, guarded by the last record known of it. So it is the log that lets the
first one win, among all processes, and against the engine's own expiry and cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from partsong.approval.core.approval import Approval, Position, Status, parse_id
from partsong.approval.core.decision import Closed, Decision, after, decide, is_repeat
from partsong.approval.projector import Projector
from partsong.approval.store import Store
from partsong.contracts.errors import InvalidInput, NotFound, Unavailable
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.wire.damage import Hit
from partsong.contracts.wire.subjects import Subjects
from partsong.log.port import Log, WrongSequence
from partsong.runtime import clock
from partsong.runtime.evaluation.evaluator import settle
from partsong.runtime.telemetry import spans
from partsong.runtime.telemetry.telemetry import Telemetry, traceparent

__all__ = ["LONGEST_PAGE", "Decided", "Desk", "Listed"]

LONGEST_PAGE = 200
_ATTEMPTS = 5
"""Records that may come in between before a decision is given up; there is no reason for even one."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of approvals."""

    items: tuple[Approval, ...]
    next: Position | None
    position: int


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that is in the log."""

    approval: Approval
    shown: bool
    """Whether lists show it already; they will."""


class Desk:
    """Answers from the projection, decides in the log. `within` bounds every wait for the projection, in seconds."""

    def __init__(
        self,
        source: Log,
        subjects: Subjects,
        store: Store,
        projector: Projector,
        *,
        within: float = 5.0,
        hit: Callable[[], Hit] = Hit,
        telemetry: Telemetry | None = None,
    ) -> None:
        """`hit` says which runs lack records now."""
        self._log, self._subjects, self._store = source, subjects, store
        self._projector, self._within, self._hit = projector, within, hit
        self._telemetry = telemetry or Telemetry()
        self.in_flight = 0
        """Decisions under way."""

    async def list(
        self,
        *,
        status: Status | None = None,
        run_id: str | None = None,
        before: Position | None = None,
        limit: int = 50,
    ) -> Listed:
        """A page, the newest first.

        Raises:
            InvalidInput: `page.limit`.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(
                "page.limit",
                f"limit is {limit}, not between 1 and {LONGEST_PAGE}",
                where="limit",
                fix="ask for less, and follow `next`",
            )
        position = self._projector.position
        hit = self._hit()
        found = await self._store.page(
            status=status, run_id=run_id, before=before, limit=limit + 1, damaged=hit.runs
        )
        items = tuple(replace(one, damage=hit.why(one.run_id)) for one in found[:limit])
        return Listed(items, items[-1].requested if len(found) > limit else None, position)

    async def find(self, id: str) -> Approval:
        """One approval. One that is unknown is looked for again when all is read that the log holds now.

        Raises:
            NotFound: `approval.unknown`.
            Unavailable: `approval.behind`; whether there is one cannot be told yet.
        """
        run_id, call_id = parse_id(id)
        found = await self._store.get(run_id, call_id)
        if found is None:
            await self._catch_up(await self.head())
            found = await self._store.get(run_id, call_id)
        if found is None:
            raise NotFound(
                "approval.unknown",
                f"no approval {id} was ever asked for",
                where="id",
                fix="GET /api/approvals lists them all",
            )
        return replace(found, damage=self._hit().why(run_id))

    async def decide(self, id: str, decision: Decision) -> Decided:
        """Decide an approval; done again with the same key, it is the same decision.

        Raises:
            Closed: it has ended, or somebody else was first.
            Conflict: `approval.deadline_passed`.
            NotFound: `approval.unknown`.
            Unavailable: the log or the database does not answer, or `log.unreadable`: the run lacks records.
        """
        with self._busy():
            approval = await self.find(id)
            for _ in range(_ATTEMPTS):
                if is_repeat(approval, decision):
                    return Decided(approval, shown=True)
                try:
                    return await self._append(approval, decision)
                except WrongSequence as lost:
                    await self._catch_up(lost.found)
                    approval = await self.find(id)
            raise Closed(approval)

    async def head(self) -> int:
        """Sequence of the log's newest record.

        Raises:
            Unavailable: the log does not answer.
        """
        try:
            async with asyncio.timeout(self._within):
                return await self._log.head()
        except TimeoutError as error:
            raise Unavailable(
                "log.no_answer",
                f"the log did not answer within {self._within:g} s",
                fix="check that NATS runs",
                retryable=True,
            ) from error

    async def _append(self, approval: Approval, decision: Decision) -> Decided:
        event = await settle(partial(decide, approval, decision, clock.now_text()))
        run_id, call_id = approval.run_id, approval.call_id
        place = traceparent(run_id, call_id, "approval")
        with self._telemetry.span(spans.append(run_id, events=1), parent=place):
            done = await self._log.append(
                self._subjects.call(run_id, call_id),
                encode_report(run_id, event),
                id=event.id,
                expect=approval.guard,
                headers={"traceparent": place},
            )
        if not done.duplicate and not await self._projector.wait_for(done.seq, self._within):
            return Decided(after(approval, event, Position(done.seq, 0)), shown=False)
        await self._catch_up(done.seq)
        now = await self.find(approval.id)
        if not is_repeat(now, decision):
            raise Closed(now)
        return Decided(now, shown=True)

    async def _catch_up(self, seq: int) -> None:
        if not await self._projector.wait_for(seq, self._within):
            raise Unavailable(
                "approval.behind",
                f"the inbox is at {self._projector.position}, the log at {seq}",
                fix="try again; GET /readyz tells when it has caught up",
                retryable=True,
            )

    @contextmanager
    def _busy(self) -> Generator[None, None, None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
