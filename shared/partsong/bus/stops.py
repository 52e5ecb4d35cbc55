"""`Stops`: hears which work a service may drop, and believes what the log says of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import ValidationError

from partsong.bus.run_reader import RunReader
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.events.envelope import decode
from partsong.contracts.wire.stop import Stop, stops_of
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import Work
from partsong.log.port import Log, Record
from partsong.runtime import clock
from partsong.runtime.backoff import backoff
from partsong.runtime.recent import Recent

__all__ = ["Stops", "confirmed"]

_log = logging.getLogger("partsong.bus")

_MOST = 256
"""Stops that are looked into at a time; of one that comes beside them the work is finished in vain."""
_FIRST, _LONGEST = 0.5, 30.0
_REMEMBERED, _KEPT = 10.0, 4096
"""Seconds for which a stop is remembered, and of how many runs: a hint may come behind the stop that ends it."""
_LAG = 0.5
"""Seconds until a commit that is not there is looked for again: a replica of the log may lag."""


class Stops:
    """The stops of one service.

    `concerns` says whether there is work that a stop would end, and `drop` ends it, once the log has been asked.
    """

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        store: Log,
        concerns: Callable[[str, Stop], bool],
        drop: Callable[[str, Stop], None],
    ) -> None:
        self._nc, self._subjects, self._log = nc, subjects, store
        self._concerns, self._drop = concerns, drop
        self._sub: Subscription | None = None
        self._looking: set[asyncio.Task[None]] = set()
        self._heard = Recent[str, float](_KEPT)
        self._said = RunReader(store, subjects.engine, _said)

    async def start(self) -> None:
        """Begin to listen."""
        self._sub = await self._nc.subscribe(self._subjects.stops(), cb=self._receive)

    def heard(self, run_id: str) -> bool:
        """Whether somebody has lately stopped something of a run; what and whether it is true, the log says."""
        return clock.monotonic() - self._heard.get(run_id, -_REMEMBERED) < _REMEMBERED

    async def ended(self, work: Work, seen: int) -> bool:
        """Whether a commit behind the record `seen`, the newest that whoever sent the hint knew, says that it may be dropped.

        Raises:
            Unavailable: the log did not answer.
        """
        return any(stop.ends(work) for stop in await self._said.behind(work.run_id, seen))

    async def stop(self) -> None:
        """Listen no more."""
        if self._sub is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._sub.unsubscribe()
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)

    async def _receive(self, msg: Msg) -> None:
        """Look into each by itself: one that the log has to be asked about for long holds no other up."""
        run_id = msg.subject.rpartition(".")[2]
        try:
            stop = Stop.model_validate_json(msg.data)
        except ValidationError:
            _log.info("stop passed over, it names no commit", extra={"run": run_id})
            return
        self._heard[run_id] = clock.monotonic()
        if not self._concerns(run_id, stop):
            return
        if len(self._looking) >= _MOST:
            _log.warning("stop passed over, too many at once", extra={"run": run_id})
            return
        task = asyncio.get_running_loop().create_task(self._look_into(run_id, stop), name="stop")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _look_into(self, run_id: str, stop: Stop) -> None:
        tries = 0
        while self._concerns(run_id, stop):
            try:
                true = await confirmed(self._log, self._subjects, run_id, stop)
            except Unavailable:
                tries += 1
                await asyncio.sleep(backoff(tries, first=_FIRST, longest=_LONGEST))
                continue
            if true:
                self._drop(run_id, stop)
            else:
                told = {"run": run_id, "commit": stop.commit, "owner": stop.owner or ""}
                _log.info("stop passed over, the log does not say so", extra=told)
            return


def _said(record: Record) -> Iterator[tuple[str, Stop]]:
    """The stops that follow from a commit; one that cannot be read is its engine's matter."""
    with contextlib.suppress(InvalidInput):
        for stop in stops_of(decode(record.body).events, record.seq):
            yield "", stop


async def confirmed(store: Log, subjects: Subjects, run_id: str, stop: Stop) -> bool:
    """Whether the commit that a stop names is one of its run, and says so.

    Raises:
        Unavailable: the log did not answer.
    """
    for pause in (_LAG, 0.0):
        commits = store.read(subjects.engine(run_id), after=stop.commit - 1, upto=stop.commit)
        async with contextlib.aclosing(commits) as records:
            async for record in records:
                with contextlib.suppress(InvalidInput):
                    said = stops_of(decode(record.body).events, record.seq)
                    return any(found.owner in {None, stop.owner} for found in said)
                return False
        await asyncio.sleep(pause)
    return False
