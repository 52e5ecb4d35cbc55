"""`Client`: everything a program does with runs on the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, cast

from nats.aio.client import Client as Nats
from pydantic import JsonValue, ValidationError

from partsong.client.live import chunks_of
from partsong.client.requests import ask
from partsong.client.where import find_nats, find_prefix
from partsong.contracts.chunks import Chunk
from partsong.contracts.envelope import decode
from partsong.contracts.errors import InvalidInput, NotFound, PartsongError, Unavailable
from partsong.contracts.events import Event, RunOptions, RunStarted
from partsong.contracts.fold import fold, fold_message
from partsong.contracts.graph import Graph
from partsong.contracts.requests import Accepted, CancelRequest, RunRequest
from partsong.contracts.results import RunResult
from partsong.contracts.state import ENDED, RunState
from partsong.contracts.subjects import Subjects, check_id
from partsong.contracts.validate import problem_of
from partsong.contracts.verify import Replay, replay
from partsong.log.jetstream import JetStreamLog
from partsong.log.port import Record
from partsong.log.summaries import summaries
from partsong.runtime import clock
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.streams import Names

__all__ = ["Client", "Placed", "Portable", "RunSummary"]

_STATUS = "Partsong-Status"
_AGAIN = "starting again with this run_id finds the run if it was started after all"
_LOST = 3.0
"""Seconds to look for a run whose start was not answered."""
_STALE = 0.25
"""Seconds for which a replica of the log may not have what its leader has."""


class Portable(Protocol):
    """What can say its graph as data, like a `WorkflowGraph`."""

    def spec(self) -> Graph:
        """The graph, with functions that can be found by name elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """An event and its position in the log."""

    seq: int
    index: int
    event: Event


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of a list of runs."""

    run_id: str
    status: str
    graph: str
    started: str
    error: str | None
    seq: int


class Client:
    """A connection to the bus; an async context manager. All methods may be used side by side."""

    def __init__(
        self, url: str | None = None, *, prefix: str | None = None, timeout: float = 30.0
    ) -> None:
        """`url` may be left out where `partsong up` runs, or PARTSONG_NATS_URL is set. `timeout` bounds requests.

        `prefix` is PARTSONG_PREFIX if that is set, else `partsong`.
        """
        self._url, self._timeout = url, timeout
        self._subjects = Subjects(find_prefix(prefix))
        self._names = Names.of(self._subjects)
        self._nc: Nats | None = None
        self._log: JetStreamLog | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            Unavailable: no server is known, or it does not answer.
        """
        self._nc = await connect(find_nats(self._url), name="partsong client")
        self._log = JetStreamLog(self._nc, stream=self._names.log, blobs=self._names.blobs)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect; runs go on."""
        if self._log is not None:
            await self._log.close()
        if self._nc is not None:
            await disconnect(self._nc)

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

    async def start(
        self,
        graph: str | Graph | Portable | Mapping[str, object],
        input: Mapping[str, object] | None = None,
        *,
        run_id: str | None = None,
        thread: str | None = None,
        labels: Mapping[str, str] | None = None,
        max_steps: int = 10_000,
        deadline: str | None = None,
    ) -> str:
        """Start a run, by a graph or by the name or hash of one known to the bus; returns its run id.

        With a `run_id` of yours it is safe to repeat: the same run is found, not a second one started.

        Raises:
            InvalidInput: the request was refused; the problem names the field.
            Unavailable: no engine answered in time.
        """
        try:
            request = RunRequest(
                id=f"q_{clock.new_id()}",
                run_id=run_id or clock.new_run_id(),
                graph=_spec(graph),
                input=cast("dict[str, JsonValue]", dict(input or {})),
                options=RunOptions(
                    thread=thread, labels=dict(labels or {}), max_steps=max_steps, deadline=deadline
                ),
            )
        except ValidationError as error:
            raise InvalidInput.of(problem_of(error, "request.malformed")) from error
        try:
            return (await self._ask("run", request)).run_id
        except Unavailable as error:
            unheard = error.problem.code == "request.no_answer"
            if unheard and await self._began(str(request.run_id), request.id):
                return str(request.run_id)  # only the answer was lost
            raise Unavailable.of(
                error.problem.model_copy(
                    update={
                        "where": f"run_id={request.run_id}",
                        "fix": f"{error.problem.fix}; {_AGAIN}",
                    }
                )
            ) from error

    async def cancel(self, run_id: str, reason: str | None = None) -> None:
        """End a run; does nothing if it has ended.

        Raises:
            InvalidInput: `run.unknown`.
        """
        await self._ask(
            "cancel", CancelRequest(id=f"q_{clock.new_id()}", run_id=run_id, reason=reason)
        )

    async def events(
        self, run_id: str, *, after: int = 0, follow: bool = False
    ) -> AsyncGenerator[Placed, None]:
        """The events of a run in log order, from behind sequence `after`.

        With `follow` it goes on as they come, and ends when the run ends.

        Raises:
            NotFound: the log holds nothing of such a run.
        """
        newest = await self._newest(run_id)
        over = newest.headers.get(_STATUS) in ENDED
        filter = self._subjects.run(run_id)
        if follow and not over:
            records = self.log.tail(filter, after=after)
        else:
            records = self.log.read(filter, after=after)
        async with aclosing(records):
            async for record in records:
                for index, event in enumerate(decode(record.body).events):
                    yield Placed(record.seq, index, event)
                if follow and not over and record.headers.get(_STATUS) in ENDED:
                    return

    async def state(self, run_id: str, *, at: int | None = None) -> RunState:
        """The run's state now, or as it was at sequence `at`: a fold of its log.

        Raises:
            NotFound: the log holds nothing of such a run.
        """
        state = RunState(run_id)
        async for record in self.log.read(self._subjects.run(check_id("run_id", run_id))):
            if at is not None and record.seq > at:
                break
            state = fold_message(state, decode(record.body), record.seq)
        if state.graph is None:
            raise _unknown(run_id, "" if at is None else f" at {at}")
        return state

    async def result(self, run_id: str, *, timeout: float | None = None) -> RunResult:  # noqa: ASYNC109  # the usual word
        """Wait for the run to end, and return its outcome with all its events.

        Raises:
            NotFound: the log holds nothing of such a run.
            TimeoutError: it has not ended within `timeout` seconds.
        """
        state, events = RunState(run_id), list[Event]()
        try:
            async with (
                asyncio.timeout(timeout),
                aclosing(self.events(run_id, follow=True)) as placed,
            ):
                async for found in placed:
                    state = fold(state, found.event, found.seq)
                    events.append(found.event)
        except TimeoutError as error:
            where = f", it waits for {state.waits_on}" if state.waits_on else ""
            said = f"run {run_id} is {state.phase}{where}; it has not ended within {timeout:g} s"
            raise TimeoutError(said) from error
        return RunResult(run_id, state.phase, state.values, state.error, tuple(events))

    async def stream(self, run_id: str) -> AsyncGenerator[Chunk, None]:
        """The run's chunks as they come, those of the last minutes first; ends when the run ends.

        Raises:
            NotFound: the log holds nothing of such a run.
        """
        await self._newest(run_id)
        kept = JetStreamLog(self.nats, stream=self._names.chunks, attempt=2.0, deadline=5.0)
        try:
            async with self._until_end(run_id) as ended:
                chunks = chunks_of(self.nats, kept, self._subjects.chunks(run_id), ended)
                async with aclosing(chunks):
                    async for chunk in chunks:
                        yield chunk
        finally:
            await kept.close()

    async def replay(self, run_id: str) -> Replay:
        """Fold the run's log again and check every commit in it. No model, tool or hook is called.

        Raises:
            NotFound: the log holds nothing of such a run.
        """
        filter = self._subjects.run(check_id("run_id", run_id))
        records = [(record.seq, record.body) async for record in self.log.read(filter)]
        if not records:
            raise _unknown(run_id)
        return replay(run_id, records)

    async def runs(
        self, *, status: str | None = None, graph: str | None = None, limit: int = 100
    ) -> list[RunSummary]:
        """Runs, the newest first, without reading what is in them; `status` and `graph` narrow the list."""
        found: list[RunSummary] = []
        async for summary in summaries(self.nats, self._names.log, self._subjects.commits()):
            headers = summary.headers
            if status in {None, headers.get(_STATUS)} and graph in {
                None,
                headers.get("Partsong-Graph"),
            }:
                found.append(
                    RunSummary(
                        self._subjects.parse_log(summary.subject).run_id,
                        headers.get(_STATUS, ""),
                        headers.get("Partsong-Graph", ""),
                        headers.get("Partsong-Started", ""),
                        headers.get("Partsong-Error"),
                        summary.seq,
                    )
                )
        return sorted(found, key=lambda run: run.started, reverse=True)[:limit]

    async def _newest(self, run_id: str) -> Record:
        """The run's newest commit; its headers say how the run stands."""
        subject = self._subjects.engine(check_id("run_id", run_id))
        deadline = clock.monotonic() + _STALE
        while (newest := await self.log.last(subject)) is None:
            if clock.monotonic() > deadline:
                raise _unknown(run_id)
            await asyncio.sleep(_STALE / 5)
        return newest

    async def _began(self, run_id: str, request_id: str) -> bool:
        """Whether this very request began the run."""
        try:
            async with asyncio.timeout(_LOST), aclosing(self.events(run_id)) as placed:
                first = await anext(placed)
        except (PartsongError, TimeoutError):
            return False
        return isinstance(first.event, RunStarted) and first.event.request_id == request_id

    async def _ask(self, verb: str, request: RunRequest | CancelRequest) -> Accepted:
        return await ask(self.nats, self._subjects, verb, request.id, request, within=self._timeout)

    @asynccontextmanager
    async def _until_end(self, run_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the run has ended."""
        ended = asyncio.Event()

        async def watch() -> None:
            try:
                async with aclosing(self.events(run_id, follow=True)) as placed:
                    async for _ in placed:
                        pass
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


def _unknown(run_id: str, when: str = "") -> NotFound:
    return NotFound("run.unknown", f"the log holds no run {run_id}{when}", where="run_id")


def _spec(graph: str | Graph | Portable | Mapping[str, object]) -> str | dict[str, JsonValue]:
    match graph:
        case str():
            return graph
        case Graph():
            return graph.spec()
        case Mapping():
            return cast("dict[str, JsonValue]", dict(graph))
        case _:
            return graph.spec().spec()
