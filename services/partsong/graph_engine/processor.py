"""The stream processor of a partition: its owner follows the feed, keeps a checkpoint, and seals what has gone by.

An owner begins at the partition's checkpoint and announces itself in the partition's own log. Until the feed delivers
that announcement, what comes is history: only which runs are open is noted. From then on every record is folded into
the run it concerns (see `held_runs`). So there is one source of order.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial

from partsong.bus.bucket import Overtaken
from partsong.bus.feed import Feed
from partsong.contracts import events as e
from partsong.contracts.errors import PartsongError, Unavailable
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.wire.subjects import OURS, LogSubject, Subjects
from partsong.graph_engine.checkpoints import Checkpoint, Checkpoints
from partsong.graph_engine.held_runs import HeldRuns
from partsong.graph_engine.open_runs import OpenRuns
from partsong.graph_engine.sealing import Sealing
from partsong.graph_engine.turn import Answer, Turns
from partsong.log.port import Log, Record, WrongSequence
from partsong.runtime import clock

__all__ = ["Processor"]

_log = logging.getLogger("partsong.graph_engine")


class Processor:
    """One partition, as long as this engine owns it."""

    def __init__(
        self,
        partition: int,
        feed: Feed,
        turns: Turns,
        checkpoints: Checkpoints,
        store: Log,
        subjects: Subjects,
        owner: str,
        answer: Answer,
    ) -> None:
        self.partition = partition
        self._feed, self._checkpoints = feed, checkpoints
        self._log, self._subjects, self._owner = store, subjects, owner
        self.runs = HeldRuns(
            turns, store, subjects, answer, self._begin_anew, partial(turns.taken_up, partition)
        )
        self._sealing = Sealing(partition, subjects)
        self.owned = False
        self.lost = False
        """Another engine has taken the partition over; it is to be given back."""
        self._pos = 0
        self._announced = ""
        """Id of the record that announced this owner; empty once it was delivered."""
        self.checkpoint = Checkpoint()
        """The newest one kept."""
        self._keeping = asyncio.Lock()

    async def take(self, *, epoch: int = 1) -> bool:
        """Own the partition from now on; False if another engine was first. `epoch` is the log's, for its seals.

        Raises:
            Unavailable: the server did not answer.
        """
        found = await self._checkpoints.load(self.partition, self._log.head)
        mine = replace(found, epoch=found.epoch + 1)
        try:
            revision = await self._checkpoints.keep(self.partition, mine)
            self._announced = await self._announce(mine.epoch)
        except (Overtaken, WrongSequence):
            return False
        self.checkpoint = replace(mine, revision=revision)
        self.runs.begin(OpenRuns(found.open), found.seq)
        self._sealing.begin(found.sealed, epoch)
        self._pos, self.lost = found.seq, False
        await self._feed.start(found.seq, self.receive)
        self.owned = self.runs.active = True
        self.runs.wake_all()
        return True

    async def release(self) -> None:
        """Give the partition back: finish the turns that are being taken, seal, and keep a checkpoint."""
        mine = self.owned and not self.lost
        self.owned = self.lost = self.runs.active = False
        await self.runs.stop()
        try:
            if mine:
                await self.seal(drain=True)
        except PartsongError as error:
            told = {"partition": self.partition, "problem": error.problem.code}
            _log.info("not sealed at the end", extra=told)
        await self._feed.stop()
        try:
            await self.keep_checkpoint()
        except (Overtaken, PartsongError):
            _log.info("checkpoint not kept", extra={"partition": self.partition})
        self.runs.clear()

    async def keep_checkpoint(self) -> None:
        """Write down how far this partition has been processed, if that is further than last time.

        Raises:
            Overtaken: another engine owns the partition now.
            Unavailable: the bucket did not answer.
        """
        async with self._keeping:
            if self._pos == self.checkpoint.seq:
                return
            now = replace(
                self.checkpoint,
                seq=self._pos,
                open=self.runs.open.newest,
                sealed=self._sealing.sealed,
            )
            revision = await self._checkpoints.keep(self.partition, now)
            self.checkpoint = replace(now, revision=revision)

    async def seal(self, *, drain: bool = False) -> None:
        """Append a seal, if one is due; with `drain` if anything is not covered by one.

        Raises:
            Unavailable: the log did not answer.
        """
        due = None if self._announced else self._sealing.due(drain=drain)
        if due is None:
            return
        try:
            await self._log.append(due.subject, due.body, id=due.id, expect=due.expect)
        except WrongSequence:
            _log.info("sealed by another engine", extra={"partition": self.partition})
        except Unavailable as error:
            self._sealing.refused(error.problem)
            raise

    def receive(self, record: Record, stored: bytes) -> None:
        """Take the partition's next record."""
        self._pos = record.seq
        where = self._sealing.take(record, stored)
        if where is None:
            return
        if where.own:
            self._own_record(record, where)
        else:
            self.runs.take(record, where, history=bool(self._announced))

    def _own_record(self, record: Record, where: LogSubject) -> None:
        if where.entity != "owner":
            return
        if record.id == self._announced:
            self._announced = ""
            self.runs.look_after()
        elif not self._announced:
            self.lost, self.runs.active = True, False

    async def _begin_anew(self) -> None:
        """The feed owes a record that is in the log: let it begin again behind what it has delivered."""
        _log.warning("feed begins anew", extra={"partition": self.partition, "after": self._pos})
        if self.owned:
            await self._feed.start(self._pos, self.receive)

    async def _announce(self, epoch: int) -> str:
        """Append the owner's record; its id."""
        id_ = f"{OURS}.owner.{self.partition}.{epoch}.{self._owner}"
        event = e.OwnerChanged(id=id_, time=clock.now_text(), owner=self._owner)
        subject = self._subjects.owner(self.partition)
        last = await self._log.last(subject)
        body = encode_report(OURS, event)
        await self._log.append(subject, body, id=id_, expect=last.seq if last is not None else 0)
        return id_
