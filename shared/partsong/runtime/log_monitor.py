"""The log's monitor in a service: it looks before the first append, after each reconnect and every five seconds.

What it knows stands outside the log: marks (see `contracts.marks`). What it decides is `contracts.damage.assess`. From
the moment the log is found to be damaged this service does not write to it; what is to be done is in the error. Nobody's
answer is no alarm: then it asks again, and the service is not ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nats.aio.client import Client

from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.wire.damage import (
    Answer,
    Damaged,
    Gone,
    Sound,
    Unknown,
    View,
    accepted_note,
    assess,
    damage_error,
    merged,
)
from partsong.contracts.wire.differences import Difference
from partsong.contracts.wire.marks import Acked, Identity, Mark, digest_of, ripe
from partsong.contracts.wire.subjects import Subjects
from partsong.log.full import log_mute
from partsong.log.leader import Leader
from partsong.log.link import NO_ANSWER, Lost
from partsong.log.marks import BucketMarks, FileMarks, Finding, MarkStore
from partsong.runtime import clock

__all__ = ["LogMonitor"]

_log = logging.getLogger("partsong.log")

_TICK = 1.0
_TWICE = 2.0
"""Seconds between two answers that must agree before a replicated log is called damaged."""
_WINDOWS = 32
"""So many of the appends that may not be marked yet are remembered, evenly spaced."""


class LogMonitor:
    """Keeps the marks of one service, and judges the log by all marks it can see."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        stream: str,
        *,
        file: FileMarks,
        bucket: BucketMarks,
        more: Sequence[MarkStore] = (),
        differences: Callable[[Mapping[str, Any]], Sequence[Difference]] = lambda _config: (),
        service: str = "",
        sync_interval: float = 0.0,
        every: float = 5.0,
    ) -> None:
        """`differences` says how the stream's configuration, which it is given, differs from the table of streams."""
        self._nc, self._service = nc, service
        self._leader = Leader(nc, subjects, stream)
        self._file, self._bucket = file, bucket
        self._stores: tuple[MarkStore, ...] = (file, bucket, *more)
        self._differences, self._sync, self._every = differences, sync_interval, every
        self.identity: Identity | None = None
        """Which log this service works on."""
        self.damage: Damaged | None = None
        """What is wrong with it."""
        self._unknown: str | None = "not looked at yet"
        self._full: Problem | None = None
        self._mute: tuple[int, int] | None = None
        """On which connection, and at which head, a write was not answered."""
        self._head = 0
        self._marks: tuple[Mark, ...] = ()
        self._waiting: list[Acked] = []
        self._window, self._opened = max(_TICK, (2 + sync_interval) / _WINDOWS), float("-inf")
        self._marked: Mark | None = None
        self._failing: set[int] = set()
        self._connection = -1
        self._task: asyncio.Task[None] | None = None
        self._checking = asyncio.Lock()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """All marks it saw when it looked last."""
        return self._marks

    @property
    def note(self) -> str | None:
        """What is wrong with single runs of the log, while all others go on; None if nothing is."""
        found = self.damage.problem.message if self.damage and self.damage.contained else None
        since = accepted_note(self.identity)
        return "; ".join(filter(None, (found, since))) or None

    @property
    def problem(self) -> Problem | None:
        """Why the service is not ready as far as the log is concerned; None if it is."""
        if self.damage is not None and not self.damage.contained:
            return self.damage.problem
        if self._unknown is not None:
            return Problem(
                code="log.unknown",
                message=f"nobody can say how the log stands: {self._unknown}",
                where="log",
                fix="check that NATS runs and that the log's stream has a leader",
                retryable=True,
                fault="platform",
            )
        return self._full or (log_mute() if self._mute is not None else None)

    @property
    def read_only(self) -> bool:
        """Whether nothing is written to the log any more."""
        return self.damage is not None and not self.damage.contained

    @property
    def doubtful(self) -> bool:
        """See `Keeper.doubtful`."""
        return self.damage is not None

    async def begin(self) -> bool:
        """Look before anything is created; whether the log's stream may be, because nothing is known of any log.

        Raises:
            Unavailable: `log.damaged` or `log.another`: what marks know of is not there. Nothing was created.
        """
        while True:
            answer, view = await self.look()
            match answer:
                case Sound():
                    return not self._marks
                case Damaged() as damage if damage.passes:
                    return False  # provisioning names every field
                case Damaged(contained=True) as damage:
                    self._set(damage)  # the runs it names are set aside, all others go on
                    return False
                case Damaged() as damage:
                    if await self._confirmed(damage, view):
                        self._set(damage)
                        raise damage_error(damage)
                case Unknown(why=why):
                    _log.warning("log not looked at yet", extra={"why": why})
            await asyncio.sleep(_TICK)

    async def start(self) -> None:
        """Write the genesis of a new log, look at the log, go on looking.

        Raises:
            Unavailable: it is damaged.
        """
        while True:
            try:
                self.identity = await self.begun()
            except Unavailable as error:
                _log.warning("log not begun yet", extra={"why": error.problem.message})
            else:
                if not isinstance(await self.check(), Unknown):
                    break
            await asyncio.sleep(_TICK)
        if self.damage is not None and self.read_only:
            raise damage_error(self.damage)
        self._task = asyncio.get_running_loop().create_task(self._go(), name="log monitor")

    async def stop(self) -> None:
        """Look no more; the newest mark is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if not self.read_only and self._nc.is_connected:
            self._stores = (self._file, self._bucket)  # the service has let go of its own place
            await self._keep()
        await self._bucket.close()
        await self._leader.close()

    async def begun(self) -> Identity | None:
        """Begin the log if it holds nothing; which one it is."""
        await self._leader.begin()
        return await self._leader.identity()

    async def accept(self, identity: Identity) -> None:
        """Work on this log from now on, whatever was known of another one."""
        await self._file.adopt(identity.log_id)
        kept = await self._bucket.load()
        if any(mark.log_id != identity.log_id for mark in kept):
            await self._bucket.forget()

    async def check(self) -> Answer:
        """Look at the log now; what was found is remembered."""
        async with self._checking:
            connection = self._nc.stats["reconnects"]
            answer, view = await self.look()
            if isinstance(answer, Damaged) and not await self._confirmed(answer, view):
                answer = Unknown("two answers differ")
            match answer:
                case Sound():
                    await self._sound(connection, view)
                case Damaged() as damage:
                    self._set(damage)
                    self._unknown, self._connection = None, connection
                    if not self.read_only:
                        await self._seen(view)
                case Unknown(why=why):
                    self._unknown = why
            return answer

    async def report(self, damage: Damaged) -> bool:
        """Take note of a damage that was found by reading the log; all services are told. False if it was known."""
        known = self.damage
        self._set(damage)
        await self._tell(self.damage or damage)
        return self.damage is not known

    def admit(self, connection: int) -> None:
        """See `Keeper.admit`."""
        if self.damage is not None and not self.damage.contained:
            raise damage_error(self.damage)
        if connection != self._connection or not self._nc.is_connected:
            raise Lost("the log has not been looked at on this connection")

    def acked(self, seq: int, id: str, stored: bytes) -> None:
        """See `Keeper.acked`."""
        self._full = self._mute = None
        self._note(seq, id, stored)

    def full(self, problem: Problem) -> None:
        """See `Keeper.full`."""
        if self._full is None:
            _log.error("no room for the log", extra={"problem": problem.message})
        self._full = problem

    def unanswered(self) -> None:
        """See `Keeper.unanswered`; it is over when the log has grown, or the connection was replaced."""
        if self._mute is None and self._unknown is None:
            _log.error("log takes no appends", extra={"problem": log_mute().message})
        self._mute = self._connection, self._head

    def _note(self, seq: int, id: str, stored: bytes) -> None:
        """Remember the newest record of each window that is known to be acknowledged."""
        waiting, now = self._waiting, clock.monotonic()
        if seq <= max(self._marked.seq if self._marked else 0, waiting[-1].seq if waiting else 0):
            return
        if waiting and now - self._opened < self._window:
            waiting[-1] = Acked(now, seq, id, stored)
            return
        self._opened = now
        waiting.append(Acked(now, seq, id, stored))

    async def _go(self) -> None:
        looked = clock.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._keep()
                again = self._connection != self._nc.stats["reconnects"] or self._unknown
                if again or clock.monotonic() - looked >= self._every:
                    await self.check()
                    looked = clock.monotonic()
            except Unavailable as error:
                _log.warning("log not looked after", extra={"why": error.problem.message})
            except Exception:
                _log.exception("log not looked after")

    async def look(self) -> tuple[Answer, View | Gone | None]:
        """Ask the leader and judge, and remember nothing. The marks come first: what they say was true before that."""
        loaded = [mark for store in self._stores for mark in await self._loaded(store)]
        try:
            finding = await self._bucket.finding()
        except Unavailable as error:
            return Unknown(error.problem.message), None
        if adopted := await self._adopted():
            loaded = [mark for mark in loaded if mark.log_id == adopted]
        self._marks = tuple(loaded)
        view = await self._leader.view(self._marks, self._differences)
        mine = finding if isinstance(view, View) and finding and finding.of(view.identity) else None
        known = mine.damage.holes if mine is not None and mine.damage.contained else ()
        answer = assess(self._marks, view, known)
        if not isinstance(view, View):
            return answer, view if isinstance(view, Gone) else None
        if isinstance(answer, Sound) and self.identity is not None:
            answer = self._still(view)
        if isinstance(answer, Sound) and mine is not None:
            answer = mine.damage
        return answer, view

    async def _adopted(self) -> str:
        try:
            return await self._file.adopted()
        except Unavailable as error:
            self._failed(self._file, error)
            return ""

    async def _loaded(self, store: MarkStore) -> tuple[Mark, ...]:
        """The marks of one place; one that does not answer knows nothing, the others do."""
        try:
            return await store.load()
        except Unavailable as error:
            self._failed(store, error)
            return ()

    def _still(self, view: View) -> Answer:
        """Whether it still is the log that this service began with: what it holds in memory is of that one."""
        mine, now = self.identity, view.identity
        if mine is None or (now is not None and now == mine):
            return Sound()
        if now is not None and now.log_id == mine.log_id:
            why = f"the log was restored to epoch {now.epoch}, this service works in epoch {mine.epoch}"
            return Damaged(why, code="log.restored", fix="restart this service")
        return Damaged(f"the log is no longer {mine.log_id[:12]}, with which this service began")

    async def _confirmed(self, damage: Damaged, view: View | Gone | None) -> bool:
        """A replicated log, and one that seems to be gone, must say the same twice: leaders change."""
        if self.damage == damage or (isinstance(view, View) and view.replicas == 1):
            return True
        await asyncio.sleep(_TWICE)
        again, _ = await self.look()
        return again == damage

    async def _sound(self, connection: int, view: View | Gone | None) -> None:
        """All is well; what has passed is over, what was lost stays lost."""
        if self.damage is not None and self.damage.passes:
            _log.warning("log written to again", extra={"was": self.damage.why})
            self.damage = None
        self._unknown, self._connection = None, connection
        if not self.read_only:
            await self._seen(view)

    async def _seen(self, view: View | Gone | None) -> None:
        """Note how far a log reaches that is written to, and mark its newest record."""
        self._head = view.last_seq if isinstance(view, View) else 0
        if self._mute not in {None, (self._connection, self._head)}:
            self._mute = None
        if isinstance(view, View) and view.last_seq:
            with contextlib.suppress(Unavailable):
                newest = await self._leader.get({"seq": view.last_seq})
                if newest is not None:
                    self._note(newest.seq, newest.id, newest.body)
        if self._marked is not None and await self._save(self._bucket, self._marked):
            self._full = None  # it took a write, so there is room

    def _set(self, damage: Damaged) -> None:
        known = None if self.damage and self.damage.passes and not damage.passes else self.damage
        if known is not None and known.contained and damage.contained:
            damage = merged([known, damage])
        wider = known is not None and damage.covers(known) and not known.covers(damage)
        if known is None or wider or (known.contained and damage != known):
            said = "log damaged" if damage.contained else "log damaged, not written to any more"
            _log.error(said, extra={"problem": damage.problem.message, "fix": damage.problem.fix})
            self.damage = damage

    async def _tell(self, damage: Damaged) -> None:
        if self.identity is None or damage.passes:
            return
        mine = self.identity
        finding = Finding(mine.log_id, mine.epoch, damage, self._service, clock.now_text())
        with contextlib.suppress(Unavailable):
            await self._bucket.tell(finding)

    async def _keep(self) -> None:
        """Keep the newest mark that may be, in all places; a place that fails does not spare the others."""
        count = ripe(self._waiting, clock.monotonic(), self._sync)
        if count == 0 or self.identity is None or self.read_only:
            return
        newest = self._waiting[count - 1]
        mine, digest = self.identity, digest_of(newest.body, newest.id)
        self._marked = mark = Mark(
            log_id=mine.log_id, epoch=mine.epoch, seq=newest.seq, digest=digest, at=clock.now_text()
        )
        for store in self._stores:
            await self._save(store, mark)
        # Only now: whoever is stopped in the middle of it keeps it once more.
        self._waiting = [acked for acked in self._waiting if acked.seq > mark.seq]

    async def _save(self, store: MarkStore, mark: Mark) -> bool:
        try:
            await store.save(mark)
        except Unavailable as error:
            if error.problem.code == "log.full":
                self.full(error.problem)
            elif store is self._bucket and error.problem.code == NO_ANSWER:
                self.unanswered()
            else:
                self._failed(store, error)
            return False
        self._failing.discard(id(store))
        return True

    def _failed(self, store: MarkStore, error: Unavailable) -> None:
        """Say once that a place for marks is of no use, until it is again."""
        if id(store) not in self._failing:
            self._failing.add(id(store))
            _log.warning("a place for marks fails", extra={"why": error.problem.message})
