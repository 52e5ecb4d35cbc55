"""A run's past: its checkpoints, its state at any of them, what lies between two, and where it comes from."""

from __future__ import annotations

from contextlib import aclosing

from partsong.client.comparison import Comparison, Stretch, begun_by, compared, origin_of
from partsong.client.connection import Connection, unknown
from partsong.client.presence import seen
from partsong.contracts.errors import InvalidInput, NotFound, PartsongError, Problem, Unavailable
from partsong.contracts.ids import check_id
from partsong.contracts.state.state import Origin, RunState
from partsong.contracts.state.timeline import Change, Checkpoint, beyond, checkpoints, diff
from partsong.contracts.state.verify import Replay, replay, sound_part
from partsong.contracts.wire.damage import DAMAGED, Hit
from partsong.contracts.wire.subjects import Subjects
from partsong.log.blobs import BAD_BODY, LOST
from partsong.log.port import Record
from partsong.log.reading import Unreadable, body_of, message_of
from partsong.log.snapshots.folded import fold_to

__all__ = ["Past"]

_LOST = DAMAGED | LOST
"""Codes of what is wrong with a log that goes on being read: no other one says where something ends."""


class Past(Connection):
    """Reading. Nobody is called, and nothing changes."""

    async def state(self, run_id: str, *, at: int | None = None) -> RunState:
        """The run's state now, or as it was at sequence `at`: a fold of its log, from the nearest snapshot on.

        A state of now also knows which services that the run waits for are away (`absent`), and which calls nobody has
        taken (`untaken`), and says so where it waits.

        Raises:
            NotFound: the log holds nothing of such a run.
            InvalidInput: `position.beyond`: the log does not reach as far as `at`.
            Unavailable: `log.unreadable`: records of the run went bad on disk, or did not come back with a restore, which
                is named; `log.damaged`: the log has lost what may have been of this run.
        """
        run_id = check_id("run_id", run_id)
        if at is not None:
            await self._reached(run_id, at)
            await self._readable_at(run_id, at)
        async with self._reading(run_id, now=at is None):
            state = (await fold_to(self.log, self._subjects, run_id, self._snapshots, at)).state
            if state.graph is None and state.newer is None and state.parked is None:
                raise unknown(run_id, "" if at is None else f" at {at}")
        if at is not None:
            return state
        await self._whole(run_id)
        return await seen(self.nats, self._subjects, state)

    async def readable_state(self, run_id: str) -> tuple[RunState, PartsongError | None]:
        """The run's state as far as its log can be read, and why no further; the second is None if that is how it stands.

        Raises:
            NotFound: the log holds nothing of such a run.
            Unavailable: as `state`, if records of it are gone; nothing of it can be read; or the server did not answer.
            InvalidInput: nothing of it can be read.
        """
        try:
            return await self.state(run_id), None
        except (InvalidInput, Unavailable) as error:
            if isinstance(error, Unavailable) and error.problem.code not in BAD_BODY:
                raise
            found, problem = await self.readable_history(run_id)
            return await self.state(run_id, at=found[-1].seq), problem or error

    async def history(self, run_id: str) -> list[Checkpoint]:
        """The run's checkpoints, oldest first: the moments that can be read, compared and forked from.

        Raises:
            NotFound: the log holds nothing of such a run.
            Unavailable: `log.unreadable` or `log.damaged`: not all of them can be read; see `readable_history`.
        """
        found, problem = await self.readable_history(run_id)
        if problem is not None:
            raise problem
        return found

    async def readable_history(self, run_id: str) -> tuple[list[Checkpoint], PartsongError | None]:
        """Those of the run's checkpoints that can be read, oldest first, and why there are no more.

        The second is None if these are all. What lies behind a record that is lost is left out: nobody can say how the
        run stood there.

        Raises:
            NotFound: the log holds nothing of such a run.
            Unavailable: nothing of it can be read, be it that its first record is lost; or the server did not answer.
            InvalidInput: nothing of it can be read.
        """
        records = _Records(self._subjects)
        try:
            async with self._reading(run_id):
                async for record in self.log.read(self._run(run_id)):
                    records.take(record)
                if not records.found:
                    raise unknown(run_id)
                await self._whole(run_id)
            # Records that a restore could not bring back are not missed by the server: only the restore knows of them.
            await self._brought_back(run_id)
            records.check()
        except (Unavailable, InvalidInput) as error:
            lost = isinstance(error, Unavailable) and error.problem.code not in _LOST
            if not records.found or lost:
                raise
            found = list(checkpoints(run_id, sound_part(run_id, records.found, records.bad)))
            if not found:
                raise
            said = f"the history of {run_id} can be read up to {found[-1].seq}: {error.problem.message}"
            return found, type(error).of(error.problem.model_copy(update={"message": said}))
        return list(checkpoints(run_id, records.found)), None

    async def _reached(self, run_id: str, at: int) -> None:
        """Refuse a moment that has not come.

        Raises:
            NotFound: the log holds nothing of such a run.
            InvalidInput: `position.beyond`.
            Unavailable: `log.damaged`: the log has lost what may have been there.
        """
        if at > (head := await self.log.head()):
            await self._sound()
            raise beyond(at, head, last=(await self._newest(run_id)).seq)

    async def _readable_at(self, run_id: str, at: int) -> None:
        """Refuse a moment of a run behind the first record that a restore did not bring back.

        Raises:
            Unavailable: `log.unreadable`.
        """
        if Hit(await self._restores()).why(run_id) is None:
            return
        found, problem = await self.readable_history(run_id)
        if problem is not None and at > found[-1].seq:
            raise problem

    async def diff(self, run_id: str, before: int, after: int) -> list[Change]:
        """Where the state at sequence `after` differs from the state at `before`.

        Raises:
            NotFound: the log holds nothing of such a run at one of them.
            InvalidInput: `position.beyond`: the log does not reach as far as one of them.
        """
        await self._reached(run_id, max(before, after))
        old, new = [(await self.state(run_id, at=seq)).values for seq in (before, after)]
        return list(diff(dict(old), dict(new)))

    async def compare(self, run_a: str, run_b: str) -> Comparison:
        """How two runs differ: in what became of their executions, and in their states now.

        Raises:
            NotFound: the log holds nothing of one of them.
            Unavailable: `log.unreadable`: one of them lacks records.
        """
        return compared(await self._stretches(run_a), await self._stretches(run_b))

    async def lineage(self, run_id: str) -> list[Origin]:
        """Where the run was forked from, and where that one was, up to the root; empty for a run of its own.

        Raises:
            NotFound: the log holds nothing of such a run.
        """
        origins: list[Origin] = []
        origin = origin_of([(0, await self._first(run_id))])
        while origin is not None:
            origins.append(origin)
            try:
                origin = origin_of([(0, await self._first(origin.run_id))])
            except NotFound:  # its log is kept no longer
                break
        return origins

    async def replay(self, run_id: str) -> Replay:
        """Fold the run's log again and check every commit in it. No model, tool or hook is called.

        Raises:
            NotFound: the log holds nothing of such a run.
        """
        records = await self._read(run_id, now=True)
        await self._whole(run_id)
        return replay(run_id, records.found, records.bad)

    async def _records(self, run_id: str, *, now: bool = False) -> list[tuple[int, bytes]]:
        """All records of the run, as (sequence, body), none of which is bad; `now` as in `_reading`."""
        records = await self._read(run_id, now=now)
        records.check()
        return records.found

    async def _read(self, run_id: str, *, now: bool) -> _Records:
        records = _Records(self._subjects)
        async with self._reading(run_id, now=now):
            async for record in self.log.read(self._run(run_id)):
                records.take(record)
            if not records.found:
                raise unknown(run_id)
        return records

    async def _stretches(self, run_id: str) -> list[Stretch]:
        """The run's records and those of the runs it comes from, up to where each was forked; the oldest first."""
        found = [Stretch(run_id, None, await self._records(run_id, now=True))]
        while (origin := origin_of(found[0].records)) is not None:
            try:
                records = await self._records(origin.run_id)
            except NotFound:  # its log is kept no longer
                break
            until = [(seq, body) for seq, body in records if seq <= origin.seq]
            found.insert(0, Stretch(origin.run_id, origin.seq, until))
        return found

    async def _first(self, run_id: str) -> bytes:
        """The record that began the run."""
        commits = self.log.read(self._subjects.engine(run_id))
        async with self._reading(run_id), aclosing(commits) as records:
            async for record in records:
                if begun_by(body_of(record)) is not None:
                    return record.body
            raise unknown(run_id)


class _Records:
    """A run's records as they come, and which of them cannot be read."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self.found: list[tuple[int, bytes]] = []
        """As (sequence, body)."""
        self.bad: dict[int, Problem] = {}
        """Why some of them cannot be read."""
        self._first: Unreadable | None = None

    def take(self, record: Record) -> None:
        """Take the next one."""
        self.found.append((record.seq, record.body))
        message = message_of(self._subjects, record)
        if isinstance(message, Unreadable):
            self.bad[record.seq] = message.problem
            self._first = self._first or message

    def check(self) -> None:
        """Refuse a run of which not all can be read.

        Raises:
            Unavailable, InvalidInput: the first record that cannot be.
        """
        if self._first is not None:
            raise self._first.error
