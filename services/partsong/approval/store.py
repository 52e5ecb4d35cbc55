"""The projection in a database: SQLite in a file, or PostgreSQL. It can be thrown away; the log is the truth.

Approvals and the checkpoint change in one transaction, which begins by locking the checkpoint. So several processes may
keep one database up to date from the same log: what one of them has stored, the others leave out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import and_, col, delete, not_, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from partsong.approval.core.approval import Approval, Position, Status
from partsong.approval.database import faults, into_wal, is_broken, put_aside, writing
from partsong.approval.tables import (
    METADATA,
    ApprovalRow,
    CheckpointRow,
    MarkRow,
    from_row,
    to_row,
)
from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.marks import Mark

__all__ = ["BROKEN", "START", "Checkpoint", "DatabaseMarks", "Diverged", "Store"]

log = logging.getLogger("partsong.approval")

BROKEN = "approval.database_broken"
"""Code of the error that means: what is in the database cannot be read any more."""

_NAME = "log"
_SCHEMA_LOCK = 0x7061727473  # any number will do, as long as it is the same one in every process


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last record that was read, by sequence and id: whether a log holds it tells that log from another one."""

    seq: int
    record: str


START = Checkpoint(0, "")


class Diverged(Exception):
    """Another process has begun the projection anew; load it again."""


class Store:
    """Approvals and a checkpoint. Every method raises `Unavailable` if the database cannot be used."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writer = writing(engine)
        self._faults = faults(engine)
        self._opened = False
        self._busy, self._free = 0, asyncio.Event()
        self._renewing = asyncio.Lock()

    async def open(self) -> None:
        """Make the tables if they are missing; several processes may do so at the same time.

        A file that is no database any more is put aside: all that was in it is in the log.
        """
        try:
            await self._open()
        except Unavailable as error:
            if error.problem.code != BROKEN:
                raise
            await self.renew(error.problem.message)
            await self._open()

    async def renew(self, why: str) -> None:
        """Put a broken file aside; `open` makes a new one."""
        async with self._renewing:
            while self._busy:  # nobody is left with a connection to the file that goes
                self._free.clear()
                await self._free.wait()
            self._opened = False
            aside = await put_aside(self._engine)
        log.warning("projection begun anew", extra={"why": why, "aside": str(aside or "")})

    async def _open(self) -> None:
        async with self._talking("open"):
            await into_wal(self._engine)
            await self._make_tables()
        self._opened = True

    async def _make_tables(self) -> None:
        async with self._writer.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
            await connection.run_sync(METADATA.create_all)
            if (await connection.execute(select(CheckpointRow))).first() is None:
                start = {"name": _NAME, "seq": START.seq, "record": START.record}
                await connection.execute(insert(CheckpointRow).values(start))

    async def load(self) -> tuple[Checkpoint, list[Approval]]:
        """The checkpoint, and the approvals that were open there."""
        async with self._talking("load"), AsyncSession(self._writer) as session, session.begin():
            checkpoint = await self._lock(session)
            rows = await session.exec(select(ApprovalRow).where(ApprovalRow.status == "pending"))
            return checkpoint, [from_row(row) for row in rows]

    async def save(self, approvals: Iterable[Approval], upto: Checkpoint, *, known: int) -> None:
        """Store what the records in (known, upto] changed, unless another process has done it.

        Raises:
            Diverged: the checkpoint is behind `known`.
        """
        async with self._talking("save"), AsyncSession(self._writer) as session, session.begin():
            stored = await self._lock(session)
            if stored.seq < known:
                raise Diverged(f"the checkpoint is {stored.seq}, behind {known}")
            if stored.seq >= upto.seq:
                return
            for approval in approvals:
                await session.merge(to_row(approval))
            await session.merge(CheckpointRow(name=_NAME, seq=upto.seq, record=upto.record))

    async def reset(self, judged: Checkpoint) -> None:
        """Begin anew, unless another process has done so since the checkpoint was `judged`."""
        async with self._talking("reset"), AsyncSession(self._writer) as session, session.begin():
            if await self._lock(session) == judged:
                await session.exec(delete(ApprovalRow))
                await session.merge(CheckpointRow(name=_NAME, seq=START.seq, record=START.record))

    async def get(self, run_id: str, call_id: str) -> Approval | None:
        """One approval."""
        async with self._talking("get"), AsyncSession(self._engine) as session:
            row = await session.get(ApprovalRow, (run_id, call_id))
            return from_row(row) if row else None

    async def page(
        self,
        *,
        status: Status | None = None,
        run_id: str | None = None,
        before: Position | None = None,
        limit: int,
        damaged: Collection[str] = (),
    ) -> list[Approval]:
        """Up to `limit` approvals, the newest first, that were asked for before a position.

        Those that are open in a run that is `damaged` have that status.
        """
        seq, index = col(ApprovalRow.requested_seq), col(ApprovalRow.requested_index)
        query = select(ApprovalRow).order_by(seq.desc(), index.desc()).limit(limit)
        if status is not None:
            query = query.where(_has(status, damaged))
        if run_id is not None:
            query = query.where(ApprovalRow.run_id == run_id)
        if before is not None:
            earlier = and_(seq == before.seq, index < before.index)
            query = query.where(or_(seq < before.seq, earlier))
        async with self._talking("page"), AsyncSession(self._engine) as session:
            return [from_row(row) for row in await session.exec(query)]

    async def marks(self) -> tuple[Mark, ...]:
        """The marks of the log that are kept here."""
        if not self._opened:
            await self.open()
        async with self._talking("read"), AsyncSession(self._engine) as session:
            rows = await session.exec(select(MarkRow))
            return tuple(Mark.model_validate(row.model_dump()) for row in rows)

    async def keep_mark(self, mark: Mark) -> None:
        """Keep a mark, unless a newer one of its log is here."""
        async with self._talking("mark"), AsyncSession(self._writer) as session, session.begin():
            kept = await session.get(MarkRow, mark.log_id)
            if kept is None or (kept.epoch, kept.seq) < (mark.epoch, mark.seq):
                await session.merge(MarkRow(**mark.model_dump(include=set(Mark.model_fields))))

    async def close(self) -> None:
        """Let go of all connections."""
        await self._engine.dispose()

    async def _lock(self, session: AsyncSession) -> Checkpoint:
        """The checkpoint, which nobody else can move until the transaction ends."""
        query = select(CheckpointRow).where(CheckpointRow.name == _NAME).with_for_update()
        row = (await session.exec(query)).first()
        return Checkpoint(row.seq, row.record) if row else START

    @asynccontextmanager
    async def _talking(self, what: str) -> AsyncGenerator[None, None]:
        async with self._renewing:
            self._busy += 1
        try:
            yield
        except self._faults as error:
            broken = is_broken(error)
            said = (str(error) or type(error).__name__).partition("\n")[0]
            raise Unavailable(
                BROKEN if broken else "approval.database",
                f"cannot {what} the projection: {said}",
                where="PARTSONG_DATABASE_URL",
                fix="check that the database runs, and that there is room on its disk",
                retryable=True,
            ) from error
        finally:
            self._busy -= 1
            self._free.set()


def _has(status: Status, damaged: Collection[str]) -> ColumnElement[bool]:
    """Whether a row has a status, of which `damaged` is not stored: it may pass."""
    if status not in {"pending", "damaged"}:
        return col(ApprovalRow.status) == status
    hit = col(ApprovalRow.run_id).in_(damaged)
    return and_(col(ApprovalRow.status) == "pending", hit if status == "damaged" else not_(hit))


class DatabaseMarks:
    """Marks of the log in the projection's database, which may be on another machine than the log."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self) -> tuple[Mark, ...]:
        """See `MarkStore.load`."""
        return await self._store.marks()

    async def save(self, mark: Mark) -> None:
        """See `MarkStore.save`."""
        await self._store.keep_mark(mark)
