"""What the approval service's tests share: a writer of logs, the service around any log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from httpx2 import AsyncClient

from partsong.approval.database import connect
from partsong.approval.desk import Desk
from partsong.approval.http import create_app
from partsong.approval.hub import Hub
from partsong.approval.projector import Projector
from partsong.approval.store import Store
from partsong.contracts import events as e
from partsong.contracts.events.envelope import START_HASH, encode_commit, encode_report
from partsong.contracts.wire.subjects import Subjects
from partsong.log.port import Log
from partsong.runtime.clock import new_id
from partsong.web.server import Server

PATIENCE = 30.0
"""Seconds until a test gives up waiting."""
NOON = "2026-01-01T12:00:00.000Z"


async def until(what: str, true: Callable[[], bool]) -> None:
    """Look again and again until it is so."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110  # what is waited for is inside the server
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"it never happened that {what}") from None


def asked(run: str, call: str, **fields: object) -> e.ApprovalRequested:
    """The event that asks for an approval."""
    base = {
        "id": f"{run}.{call}.requested",
        "time": NOON,
        "call_id": call,
        "exec": call.partition("/")[0],
        "title": f"May {call} go on?",
    }
    return e.ApprovalRequested.model_validate(base | fields)


class Scribe:
    """Writes into a log what engines and workers would."""

    def __init__(self, log: Log, subjects: Subjects) -> None:
        self.log, self.subjects = log, subjects
        self._commits: Counter[str] = Counter()

    async def commit(self, run: str, *events: e.Event) -> int:
        """The engine's next commit of a run; its sequence."""
        self._commits[run] += 1
        commit, body = encode_commit(run, self._commits[run], 0, START_HASH, events)
        done = await self.log.append(self.subjects.engine(run), body, id=commit.id)
        return done.seq

    async def ask(self, run: str, call: str, **fields: object) -> int:
        """A commit with one request for approval."""
        return await self.commit(run, asked(run, call, **fields))

    async def close(
        self, run: str, event: e.ApprovalDecided | e.ApprovalExpired | e.CallCancelled
    ) -> int:
        """The first record of a call's subject."""
        done = await self.log.append(
            self.subjects.call(run, event.call_id),
            encode_report(run, event),
            id=event.id,
            expect=0,
        )
        return done.seq

    async def raw(self, subject: str, body: bytes) -> int:
        """Anything at all."""
        return (await self.log.append(subject, body, id=new_id())).seq


@dataclass(frozen=True)
class Office:
    """A running service without a bus: any log, any database, real HTTP."""

    store: Store
    hub: Hub
    projector: Projector
    desk: Desk
    server: Server
    url: str
    http: AsyncClient

    @property
    def ws(self) -> str:
        """The URL of its WebSocket."""
        return f"{self.url.replace('http', 'ws', 1)}/ws/approvals"

    async def shows(self, seq: int) -> None:
        """Wait until record `seq` is projected."""
        assert await self.projector.wait_for(seq, PATIENCE)


@asynccontextmanager
async def an_office(
    log: Log, subjects: Subjects, database: str, *, ping: float = 15.0, most: int = 1000
) -> AsyncIterator[Office]:
    """The service, from caught up to drained."""
    store, hub = Store(connect(database, Path("unused"))), Hub(most=most)
    projector = Projector(log, subjects, store, hub)
    desk = Desk(log, subjects, store, projector, within=PATIENCE)
    server = Server(create_app(desk, projector, hub, loopback=True, ping=ping), "127.0.0.1", 0)
    projector.start()
    url = await server.start()
    try:
        assert await projector.catch_up(PATIENCE)
        async with AsyncClient(base_url=url, timeout=PATIENCE, verify=False) as http:
            yield Office(store, hub, projector, desk, server, url, http)
    finally:
        await hub.close()
        await server.stop()
        await projector.stop()
        await store.close()
