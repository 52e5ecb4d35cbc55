"""What the tests of both workers share: hints in, chunks and events out, over a real bus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nats.aio.msg import Msg
from pydantic import JsonValue

from partsong.contracts.events import Event
from partsong.contracts.events.envelope import decode, encode_report
from partsong.contracts.talk.chunks import CHUNK, TERMINAL, Chunk
from partsong.contracts.wire.work import WORK, Work
from partsong.runtime.serve import Running, ServiceApp, open_context
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus
from tests.support.given_up import broadcast, give_up

__all__ = ["PATIENCE", "Hinted", "running"]

PATIENCE = 30.0


@asynccontextmanager
async def running(bus: Bus, service: ServiceApp, *, drain: float = 10.0) -> AsyncIterator[Running]:
    """A service on the bus, drained at the end unless the test has stopped it."""
    with TemporaryDirectory() as folder:
        url, prefix = bus.url, bus.subjects.prefix
        settings = Settings(nats_url=url, prefix=prefix, drain=drain, data_dir=Path(folder))
        opened = await open_context(settings, service)
        try:
            yield opened
        finally:
            if not opened.context.nc.is_closed:
                await opened.stop()


class Hinted:
    """The engine's side of a worker: it hints, and reads what the worker says."""

    def __init__(self, bus: Bus, service: str) -> None:
        self.bus, self._service = bus, service
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue()

    async def listen(self) -> None:
        """Collect chunks from here on."""

        async def hear(msg: Msg) -> None:
            self._chunks.put_nowait(CHUNK.validate_json(msg.data))

        await self.bus.nc.subscribe(self.bus.subjects.chunks(), cb=hear)
        await self.bus.nc.flush()

    async def hint(self, *works: Work) -> None:
        """Without ids, so that one hint can be in the queue twice."""
        for work in works:
            subject = self.bus.subjects.work(self._service)
            await self.bus.nc.jetstream().publish(subject, WORK.dump_json(work))

    async def stop(self, run_id: str) -> None:
        """Say that the run is over, and tell the workers so."""
        await broadcast(self.bus, run_id, await give_up(self.bus, run_id))

    async def append(self, work: Work, event: Event) -> None:
        """Say something about a guarded call, as the engine does."""
        store = self.bus.log()
        subject = self.bus.subjects.call(work.run_id, work.call_id)
        last = await store.last(subject)
        body = encode_report(work.run_id, event)
        await store.append(subject, body, id=event.id, expect=last.seq if last else 0)
        await store.close()

    async def said(self, filter: str, until: Callable[[list[Event]], bool]) -> list[Event]:
        """The events on a subject, once they are enough."""
        store, found = self.bus.log(), list[Event]()
        try:
            async with asyncio.timeout(PATIENCE):
                async for record in store.tail(filter):
                    found += decode(record.body).events
                    if until(found):
                        break
        finally:
            await store.close()
        return found

    async def about(self, work: Work, count: int) -> list[Event]:
        """The first `count` events of a guarded call."""
        subject = self.bus.subjects.call(work.run_id, work.call_id)
        return await self.said(subject, lambda found: len(found) >= count)

    async def facts(self, work: Work, count: int) -> list[Event]:
        """The first `count` facts of a run."""
        return await self.said(
            self.bus.subjects.fact(work.run_id), lambda found: len(found) >= count
        )

    async def so_far(self, work: Work) -> list[str]:
        """The types of all events the run has by now."""
        store = self.bus.log()
        types: list[str] = [
            event.type
            async for record in store.read(self.bus.subjects.run(work.run_id))
            for event in decode(record.body).events
        ]
        await store.close()
        return types

    async def chunks(self) -> list[Chunk]:
        """The chunks up to the next terminal one."""
        found: list[Chunk] = []
        async with asyncio.timeout(PATIENCE):
            while not found or not isinstance(found[-1], TERMINAL):
                found.append(await self._chunks.get())
        return found

    async def until(self, true: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that gives no sign when it happens."""
        async with asyncio.timeout(PATIENCE):
            while not await true():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def left(self) -> int:
        """Hints still in the queue."""
        return (await self.bus.nc.jetstream().stream_info(self.bus.names.work)).state.messages

    async def worked_off(self) -> None:
        """Wait until the queue is empty."""

        async def empty() -> bool:
            return await self.left() == 0

        await self.until(empty)

    async def came_again(self) -> bool:
        """Whether the queue has delivered something again."""
        info = await self.bus.nc.jetstream().consumer_info(self.bus.names.work, self._service)
        return bool(info.num_redelivered)

    async def dead_letter(self) -> dict[str, JsonValue]:
        """The service's first dead letter."""
        js = self.bus.nc.jetstream()
        sub = await js.subscribe(self.bus.subjects.dead(self._service), ordered_consumer=True)
        letter: dict[str, JsonValue] = json.loads((await sub.next_msg(timeout=PATIENCE)).data)
        await sub.unsubscribe()
        return letter
