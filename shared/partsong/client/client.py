"""`Client`: everything a program does with runs on the bus."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice

from partsong.client.catalogue import Catalogue
from partsong.client.comparison import begun_by, labels_of
from partsong.client.connection import unknown
from partsong.client.control import Control, OnBusy
from partsong.client.dead import DeadLetters
from partsong.client.graphs import GraphLike, Portable
from partsong.client.live import chunks_of
from partsong.client.schedules import Overlap, Scheduling
from partsong.contracts.durations import Duration, format_duration, parse_optional
from partsong.contracts.errors import InvalidInput, NotFound, Unavailable
from partsong.contracts.events import Event
from partsong.contracts.events.envelope import Commit, Report
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.state import ENDED, Origin, RunState
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.wire.damage import Hit
from partsong.contracts.wire.headers import STATUS, CommitSummary
from partsong.contracts.wire.subjects import partition_of
from partsong.log.jetstream import JetStreamLog
from partsong.log.leader import Leader
from partsong.log.marks import BucketMarks
from partsong.log.port import Record
from partsong.log.reading import read_message
from partsong.log.summaries import Summary, summaries

__all__ = ["Client", "GraphLike", "OnBusy", "Overlap", "Placed", "Portable", "RunSummary"]


@dataclass(frozen=True, slots=True)
class Placed:
    """An event and its position in the log."""

    seq: int
    index: int
    event: Event


_UNREADABLE = "log.unreadable"
_AT_ONCE = 8
"""Runs whose beginnings are read at the same time."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of a list of runs."""

    run_id: str
    status: str
    graph: str
    started: str
    error: str | None
    seq: int
    origin: Origin | None = None
    """Where it was forked from."""
    uncompensated: tuple[str, ...] = ()
    """Executions that could not be undone, the first ten of them."""


class Client(Control, Scheduling, Catalogue):
    """A connection to the bus; an async context manager. All methods may be used side by side."""

    @property
    def dead(self) -> DeadLetters:
        """What services could not work off: to look at, to send again, to give up."""
        return DeadLetters(lambda: self.nats, self._subjects)

    async def events(
        self, run_id: str, *, after: int = 0, follow: bool = False
    ) -> AsyncGenerator[Placed, None]:
        """The events of a run in log order, from behind sequence `after`.

        With `follow` it goes on as they come, and ends when the run ends.

        Raises:
            NotFound: the log holds nothing of such a run.
            InvalidInput, Unavailable: a record of it cannot be read; the error names it.
        """
        async with aclosing(self._records_of(run_id, after, follow=follow)) as records:
            async for record in records:
                for index, event in enumerate(self._message(record).events):
                    yield Placed(record.seq, index, event)

    async def result(self, run_id: str, *, timeout: Duration | None = None) -> RunResult:  # noqa: ASYNC109  # the usual word
        """Wait for the run to end, and return its outcome with all its events.

        Raises:
            NotFound: the log holds nothing of such a run.
            TimeoutError: it has not ended within `timeout`.
            InvalidInput, Unavailable: a record of it cannot be read; the error names it.
        """
        state, events = RunState(run_id), list[Event]()
        within = parse_optional(timeout, "timeout", zero=True)
        try:
            async with (
                asyncio.timeout(within),
                aclosing(self._records_of(run_id, 0, follow=True)) as records,
            ):
                async for record in records:
                    message = self._message(record)
                    state = fold_message(state, message, record.seq)
                    events += message.events
        except TimeoutError as error:
            where = f", it waits for {state.waits_on}" if state.waits_on else ""
            said = f"run {run_id} is {state.phase}{where}; it has not ended within {format_duration(within or 0)}"
            raise TimeoutError(said) from error
        lost = state.uncompensated
        return RunResult(run_id, state.phase, state.values, state.error, tuple(events), lost)

    async def stream(
        self, run_id: str, *, after: Mapping[tuple[str, int], int] | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """The run's chunks as they come, those of the last minutes first; ends when the run ends.

        `after` goes on where another stream was left: the number of the last chunk that was read, `chunk.seq`, by
        `(chunk.call_id, chunk.attempt)`.

        Raises:
            NotFound: the log holds nothing of such a run.
            InvalidInput, Unavailable: a record of it cannot be read, so it never ends; the error names it.
        """
        newest = await self._newest(run_id)
        kept = JetStreamLog(
            self.nats, stream=self._names.chunks, attempt=2.0, deadline=5.0, forgets=True
        )
        try:
            async with self._until_end(run_id, newest) as ended:
                chunks = chunks_of(self.nats, kept, self._subjects.chunks(run_id), ended, after)
                async with aclosing(chunks):
                    async for chunk in chunks:
                        yield chunk
        finally:
            await kept.close()

    async def runs(
        self,
        *,
        status: str | None = None,
        graph: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[RunSummary]:
        """Runs, the newest first, without reading what is in them; `status` and `graph` narrow the list.

        `after` is the id of the last run of a page: the list goes on behind it, whatever has become of it meanwhile.

        A run that is known to lack records has the status `damaged`: its newest commit cannot be read, a service or
        `partsong log verify` has found that others cannot, or they did not come back with a restore.

        Raises:
            NotFound: `run.unknown`: the log holds no run `after`.
            Unavailable: `log.damaged`: there are none, and the log has lost what may have been of some.
        """
        found: list[RunSummary] = []
        listed, damaged = await self._summaries(), await self._damaged()
        for summary in listed:
            try:
                where = self._subjects.parse_log(summary.subject)
            except InvalidInput:
                continue  # nobody of ours has written there
            if partition_of(where.run_id) != where.partition:
                continue
            run = _summary(where.run_id, summary)
            if where.run_id in damaged:
                run = replace(run, status="damaged", error=_UNREADABLE)
            if run.status == "refused":  # it was asked for, and never began
                continue
            found.append(run)
        found.sort(key=lambda run: (run.started, run.run_id), reverse=True)
        fits = (
            run
            for run in _behind(found, after)
            if status in {None, run.status} and graph in {None, run.graph}
        )
        return list(islice(fits, limit))

    async def labels(self, run_ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """The labels that runs were started with, by run id; a run whose beginning cannot be read has none here."""
        busy = asyncio.Semaphore(_AT_ONCE)

        async def of(run_id: str) -> dict[str, str]:
            async with busy:
                try:
                    return labels_of(begun_by(await self._first(run_id)))
                except (NotFound, Unavailable, InvalidInput):
                    return {}

        wanted = list(run_ids)
        return dict(zip(wanted, await asyncio.gather(*map(of, wanted)), strict=True))

    async def _summaries(self) -> list[Summary]:
        """The newest commits of all runs."""
        async with self._reading(""):
            listed = summaries(self.nats, self._names.log, self._subjects.commits())
            found = [summary async for summary in listed]
        if not found:
            await self._sound()
        return found

    async def _damaged(self) -> frozenset[str]:
        """Runs that are known to lack records."""
        bucket = BucketMarks(self.nats, self._names.marks, "client")
        leader = Leader(self.nats, self._subjects, self._names.log)
        try:
            finding = await bucket.finding()
            damage = finding.damage if finding and finding.of(await leader.identity()) else None
        finally:
            await bucket.close()
            await leader.close()
        return Hit(await self._restores(), damage).runs

    async def forks(self, run_id: str) -> list[RunSummary]:
        """The runs that were forked from this one, the oldest first."""
        runs = await self.runs(limit=sys.maxsize)
        return [run for run in reversed(runs) if run.origin and run.origin.run_id == run_id]

    def _message(self, record: Record) -> Commit | Report:
        """What a record says, all of it.

        Raises:
            Unavailable, InvalidInput: it cannot be read, or needs a newer reader; it says where the record stands.
        """
        message = read_message(self._subjects, record)
        if message.newer is not None:
            where = f"{record.subject} at {record.seq}"
            raise InvalidInput.of(message.newer.model_copy(update={"where": where}))
        return message

    async def _records_of(
        self, run_id: str, after: int, *, follow: bool
    ) -> AsyncGenerator[Record, None]:
        """The run's records behind `after`; with `follow` up to its end.

        A run that was retried has ended before: only its newest commit of now, or a later one, can be the end.
        """
        newest = await self._newest(run_id)
        filter = self._run(run_id)
        if not follow or newest.headers.get(STATUS) in ENDED:
            records = self.log.read(filter, after=after)
        else:
            records = self.log.tail(filter, after=after)
        async with aclosing(records):
            async for record in records:
                yield record
                if follow and record.seq >= newest.seq and record.headers.get(STATUS) in ENDED:
                    return

    @asynccontextmanager
    async def _until_end(self, run_id: str, newest: Record) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the run has ended, or nobody decides on it any more, which is raised at the end."""
        ended, engine = asyncio.Event(), self._subjects.engine(run_id)

        async def watch() -> None:
            try:
                records = self.log.tail(self._run(run_id), after=newest.seq - 1)
                async with aclosing(records):
                    async for record in records:
                        read_message(self._subjects, record)
                        if record.subject == engine and record.headers.get(STATUS) in ENDED:
                            return
            finally:
                ended.set()

        watching = asyncio.get_running_loop().create_task(watch())
        try:
            yield ended
            if ended.is_set():
                await watching  # what went wrong with it, went wrong with us
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def _behind(runs: list[RunSummary], after: str | None) -> list[RunSummary]:
    """Those that come after a run in a list."""
    if after is None:
        return runs
    ids = [run.run_id for run in runs]
    if after not in ids:
        raise unknown(after)
    return runs[ids.index(after) + 1 :]


def _summary(run_id: str, summary: Summary) -> RunSummary:
    said = CommitSummary.of(summary.headers)
    if summary.broken or said is None:  # each commit of ours says how the run stands
        return RunSummary(run_id, "damaged", "", "", _UNREADABLE, summary.seq)
    origin = Origin(*said.origin) if said.origin is not None else None
    return RunSummary(
        run_id,
        said.status,
        said.graph,
        said.started,
        said.error,
        summary.seq,
        origin,
        said.uncompensated,
    )
