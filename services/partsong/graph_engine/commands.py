"""Commands on their way into the log: each is a record of the run it concerns, stored once for ever.

A command's subject names its request, and its append expects that subject to be empty. So of any number of engines that
take the same request one stores it, also long after the server has forgotten message ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import BaseModel, JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, InvalidInput, Unavailable
from partsong.contracts.events.command import Verb
from partsong.contracts.events.envelope import decode_known, encode_report, newest_event
from partsong.contracts.wire.headers import ASKED
from partsong.contracts.wire.requests import Accepted, Rejected
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.commands import runs
from partsong.engine.ledger import Ledger
from partsong.log.blobs import LOST
from partsong.log.port import Log, Record, WrongSequence
from partsong.runtime import clock

__all__ = ["Commands"]


class Commands:
    """Appends commands, and finds what became of one."""

    def __init__(self, log: Log, subjects: Subjects) -> None:
        self._log, self._subjects = log, subjects

    async def append(
        self, verb: Verb, run_id: str, request_id: str, request: BaseModel, *, stored_ns: int = 0
    ) -> bool:
        """Store a command; False if it is stored already. `stored_ns` is when its request was, if a run may begin by it.

        Raises:
            Conflict: `request.reused`: the id belongs to a request that asks for something else.
            Unavailable: the log did not answer.
        """
        asked = request.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        asked = {"id": request_id, **asked}
        digest = _digest(asked)
        event = e.CommandReceived(
            id=f"{run_id}.{request_id}.received",
            time=clock.now_text(),
            cause=request_id,
            request_id=request_id,
            verb=verb,
            digest=digest,
            request=asked,
        )
        subject, body = self._subjects.command(run_id, request_id), encode_report(run_id, event)
        headers = {ASKED: _text_of(stored_ns)} if stored_ns else None
        try:
            done = await self._log.append(
                subject, body, id=f"{event.id}.{digest}", expect=0, headers=headers
            )
        except WrongSequence:
            await self._same(subject, digest, request_id, run_id)
            return False
        return not done.duplicate

    async def outcome(self, run_id: str, request_id: str) -> Accepted | Rejected | None:
        """What became of a command; None if its run has not been decided on since, and somebody will.

        Nobody decides on a run whose log cannot be folded, so why it cannot be is the answer then.
        """
        ledger = Ledger(self._log, self._subjects, run_id)
        try:
            async for record in self._log.read(self._subjects.run(run_id)):
                ledger.fold(record)
                for event in _commands_of(record):
                    if isinstance(event, e.CommandSettled) and event.request_id == request_id:
                        if event.error is not None:
                            return Rejected(id=request_id, error=event.error)
                        return Accepted(id=request_id, run_id=run_id, seq=ledger.first_seq)
        except (InvalidInput, Conflict) as error:
            return Rejected(id=request_id, error=error.problem)
        except Unavailable as error:
            if error.problem.code not in LOST:
                raise
            return Rejected(id=request_id, error=error.problem)
        newer = ledger.state.newer is not None
        return Rejected(id=request_id, error=runs.too_old(ledger.state)) if newer else None

    async def unsettled(self, run_id: str) -> set[str]:
        """Requests about a run whose commands stand in its log without an outcome, as far as it can be read."""
        received, settled = set[str](), set[str]()
        try:
            async for record in self._log.read(self._subjects.run(run_id)):
                with contextlib.suppress(InvalidInput):
                    for event in _commands_of(record):
                        if isinstance(event, e.CommandReceived):
                            received.add(event.request_id)
                        else:
                            settled.add(event.request_id)
        except Unavailable:
            pass  # what the server cannot read is what the run was set aside for
        return received - settled

    async def _same(self, subject: str, digest: str, request_id: str, run_id: str) -> None:
        stored = await self._log.last(subject)
        event = newest_event(stored.body) if stored is not None else None
        if isinstance(event, e.CommandReceived) and event.digest == digest:
            return
        raise Conflict(
            "request.reused",
            f"request {request_id} was made before about run {run_id}, and asked for something else",
            where="id",
            fix="give every request an id of its own; only the very same request may be repeated",
        )


def _commands_of(record: Record) -> Iterator[e.CommandReceived | e.CommandSettled]:
    if b'"command.' in record.body:  # most records hold none, and are not read
        for event in decode_known(record.body).events:
            if isinstance(event, e.CommandReceived | e.CommandSettled):
                yield event


def _text_of(stored_ns: int) -> str:
    return clock.to_text(datetime.fromtimestamp(stored_ns / 1e9, UTC))


def _digest(asked: dict[str, JsonValue]) -> str:
    """What is asked for, whoever asks and whenever: everything but the request's id."""
    content = {key: value for key, value in asked.items() if key not in {"id", "v"}}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return hashlib.sha256(text.encode()).hexdigest()[:32]
    except UnicodeEncodeError as error:
        raise InvalidInput(
            "request.malformed",
            f"the request holds text that is not Unicode: {error.reason}",
            where="body",
            fix="send no lone surrogates",
        ) from None
