"""`Connection`: the bus, the log, and requests at the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from nats.aio.client import Client as Nats

from partsong.bus.queued import Queued, find_beginning
from partsong.client.requests import ask
from partsong.client.where import find_caller, find_data, find_nats, find_prefix, find_snapshots
from partsong.contracts.durations import Duration, parse_duration
from partsong.contracts.errors import NotFound, Unavailable
from partsong.contracts.ids import check_id
from partsong.contracts.wire.damage import Damaged, Hit, damage_error, lost_note
from partsong.contracts.wire.marks import Restored, read_restored
from partsong.contracts.wire.requests import Accepted, Request
from partsong.contracts.wire.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.log.link import NO_ANSWER
from partsong.log.port import Record
from partsong.log.snapshots.open import open_snapshots
from partsong.log.snapshots.port import Snapshots
from partsong.runtime import clock
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.log_standing import onlooker
from partsong.runtime.recent import Recent
from partsong.runtime.streams import Names

__all__ = ["Connection", "unknown"]

_STALE = 0.25
"""Seconds for which a replica of the log may not have what its leader has."""
_REMEMBERED = 200
_PATIENCE = 2.0
"""Seconds that snapshots have to answer; then the log is read from its beginning, which may take less."""

_UNKNOWN, _UNREADABLE = "run.unknown", "log.unreadable"
_NOTHING = frozenset({_UNKNOWN, _UNREADABLE, NO_ANSWER, "log.no_answer", "log.refused"})
"""Codes of what a reading says that has come to nothing; a damage to the log may be why."""


class Connection:
    """A connection to the bus; an async context manager. All methods may be used side by side."""

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str | None = None,
        timeout: Duration = 30.0,
        caller: str | None = None,
        data: Path | None = None,
    ) -> None:
        """`url` may be left out where `partsong up` runs, or PARTSONG_NATS_URL is set.

        `prefix` is PARTSONG_PREFIX if that is set, else `partsong`. An engine has `timeout` to carry out a request,
        counted from when the line moved last in which it waits.

        Callers begin runs by turns: `caller` says whose requests these are, by default PARTSONG_CALLER, else those of
        this client and nobody else. Programs that open many clients should name themselves.

        `data` is the services' data directory, where it is on this machine: what they know of the log there says why a
        reading comes to nothing. By default PARTSONG_DATA, or `.partsong`.

        Raises:
            InvalidInput: `id.invalid`: `caller` cannot stand in a subject; `duration.invalid`.
        """
        self._url, self._data = url, find_data(data)
        self._timeout = parse_duration(timeout, "timeout")
        self._caller = find_caller(caller)
        self._subjects = Subjects(find_prefix(prefix))
        self._names = Names.of(self._subjects)
        self._nc: Nats | None = None
        self._log: JetStreamLog | None = None
        self._kept: Snapshots | None = None
        self._stack = AsyncExitStack()
        self._looked: Recent[str, float] = Recent(_REMEMBERED)
        """By graph: when it was last seen whether workers have all that it calls."""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            Unavailable: no server is known, or it does not answer.
            InvalidInput: `settings.invalid`: PARTSONG_SNAPSHOTS names no store.
        """
        async with AsyncExitStack() as stack:
            nc = self._nc = await connect(find_nats(self._url), name="partsong client")
            stack.push_async_callback(disconnect, nc)
            self._log = JetStreamLog(nc, stream=self._names.log, blobs=self._names.blobs)
            stack.push_async_callback(self._log.close)
            snapshots = open_snapshots(
                find_snapshots(), nc=nc, name=self._names.snapshots, patience=_PATIENCE
            )
            self._kept = await stack.enter_async_context(snapshots)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect; runs go on."""
        await self._stack.aclose()

    @property
    def nats(self) -> Nats:
        """The connection underneath."""
        assert self._nc is not None, "use `async with Client() as client`"  # noqa: S101
        return self._nc

    @property
    def subjects(self) -> Subjects:
        """The subjects under this client's prefix."""
        return self._subjects

    @property
    def log(self) -> JetStreamLog:
        """The log itself."""
        assert self._log is not None, "use `async with Client() as client`"  # noqa: S101
        return self._log

    @property
    def _snapshots(self) -> Snapshots:
        assert self._kept is not None, "use `async with Client() as client`"  # noqa: S101
        return self._kept

    def _run(self, run_id: str) -> str:
        """Filter: everything the log holds of a run."""
        return self._subjects.run(check_id("run_id", run_id))

    async def _newest(self, run_id: str, *, behind: int = 0) -> Record:
        """The run's newest commit, which lies behind a sequence; its headers say how the run stands."""
        subject = self._subjects.engine(check_id("run_id", run_id))
        async with self._reading(run_id, now=True):
            deadline = clock.monotonic() + _STALE
            while (newest := await self.log.last(subject)) is None or newest.seq <= behind:
                if clock.monotonic() > deadline:
                    await self._whole(run_id)
                    raise unknown(run_id)
                await asyncio.sleep(_STALE / 5)
            return newest

    @asynccontextmanager
    async def _reading(self, run_id: str, *, now: bool = False) -> AsyncGenerator[None, None]:
        """Look how the log stands before a reading of a run says that there is nothing.

        A reading of how the run stands `now` is of no use if the run lacks records since a restore: it is refused at
        once. Others are only if they come to nothing.

        Raises:
            Unavailable: `log.damaged` or `log.another`, with the range; `log.unreadable`: the run lacks records since a
                restore.
            NotFound: there is nothing; what restores have not brought back is said with it.
        """
        try:
            if now:
                await self._brought_back(run_id)
            yield
        except (NotFound, Unavailable) as error:
            if error.problem.code in _NOTHING and self.nats.is_connected:
                await self._sound()
            if not now and error.problem.code in {_UNKNOWN, _UNREADABLE}:
                await self._brought_back(run_id)
            if error.problem.code == _UNKNOWN and (lost := lost_note(await self._all_restores())):
                said = f"{error.problem.message}; {lost}; the run may have been among them"
                raise NotFound.of(error.problem.model_copy(update={"message": said})) from error
            raise

    async def _sound(self) -> None:
        """Refuse a log that is damaged as a whole; one of which single runs are is read on.

        Raises:
            Unavailable: as above.
        """
        async with onlooker(self.nats, self._subjects, self._data) as monitor:
            answer, _ = await monitor.look()
        if isinstance(answer, Damaged) and not (answer.contained or answer.passes):
            raise damage_error(answer)

    async def _restores(self) -> tuple[Restored, ...]:
        """The newest restore of the log, which names all runs that lack records by it or one before; empty if there is none."""
        found = await self.log.last(self._subjects.restored())
        restored = None if found is None else read_restored(found.body)
        return () if restored is None else (restored,)

    async def _all_restores(self) -> list[Restored]:
        """All restores of the log, the oldest first."""
        async with aclosing(self.log.read(self._subjects.restored())) as found:
            told = [read_restored(record.body) async for record in found]
        return [restored for restored in told if restored is not None]

    async def _brought_back(self, run_id: str) -> None:
        """Refuse a run that lacks records since the log was restored.

        Raises:
            Unavailable: `log.unreadable`.
        """
        if problem := Hit(await self._restores()).why(run_id):
            raise Unavailable.of(problem)

    async def _whole(self, run_id: str) -> None:
        """Refuse a run whose newest records are not there: what lies before them is not how the run stands.

        Raises:
            Unavailable: `log.unreadable`.
        """
        subject = self._subjects.engine(run_id)
        if await self.log.last(subject) is not None:
            return
        async with aclosing(self.log.read(subject)) as earlier:
            async for _ in earlier:
                raise Unavailable(
                    _UNREADABLE,
                    f"the newest commit of run {run_id} cannot be read: its bytes went bad on the server's disk",
                    where=run_id,
                    fix="run `partsong log verify`; restore the log from a mirror or a backup",
                )

    async def queued(self, run_id: str) -> Queued | None:
        """Where the request stands by which a run is to begin; None once an engine has carried it out, or if there is none.

        Raises:
            Unavailable: the server did not answer.
        """
        check_id("run_id", run_id)
        return await find_beginning(self.nats, self._subjects, run_id)

    async def _ask(
        self, verb: str, request: Request, *, caller: str = "", run_id: str = ""
    ) -> Accepted:
        return await ask(
            self.nats,
            self._subjects,
            verb,
            request.id,
            request,
            within=self._timeout,
            caller=caller,
            run_id=run_id,
        )


def unknown(run_id: str, when: str = "") -> NotFound:
    """The log holds nothing of a run."""
    return NotFound(_UNKNOWN, f"the log holds no run {run_id}{when}", where="run_id")
