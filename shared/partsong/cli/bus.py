"""`partsong bus`: streams, queues and workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from partsong.cli.options import Address, address_options
from partsong.cli.output import Output, output_option, run_async

if TYPE_CHECKING:
    from partsong.client import Client
    from partsong.runtime.heartbeat.beat import Beat
    from partsong.runtime.log_standing import Standing

__all__ = ["command"]

_LISTEN = 1.5
"""Seconds to hear heartbeats: workers beat once a second."""


@click.group()
def command() -> None:
    """Streams, queues and workers."""


@command.command()
@address_options
@output_option
def status(address: Address, out: Output) -> None:
    """Streams, what waits in their queues, and who is alive."""

    async def work() -> None:
        async with address.client() as client:
            queues, beats, log = await asyncio.gather(
                _queues(client), hear(client), _log(client, address.data)
            )
        workers = [_worker(beat) for beat in beats]
        if out.form == "table":
            columns = ("stream", "messages", "bytes", "consumer", "waiting", "unanswered")
            out.rows([asdict(queue) for queue in queues], columns)
            click.echo()
            out.rows(workers, ("worker", "service", "in_flight", "started", "url"))
        else:
            streams = [asdict(queue) for queue in queues]
            out.record({"log": asdict(log), "streams": streams, "workers": workers})
        if log.log != "sound":
            out.say(f"log {log.log}: {log.says}")
        for said in (*_idle(queues, {beat.service for beat in beats}), *_blocked(beats)):
            out.say(said)

    run_async(work())


@dataclass(frozen=True, slots=True)
class _Queue:
    stream: str
    messages: int
    bytes: int
    consumer: str
    waiting: int
    """Not delivered yet."""
    unanswered: int
    """Delivered, not acknowledged."""


async def _log(client: Client, data: Path) -> Standing:
    from partsong.runtime.log_standing import log_standing

    return await log_standing(client.nats, client.subjects, data)


async def _queues(client: Client) -> list[_Queue]:
    """One line per stream and durable; the engine's consumers, one per partition, are added up.

    Raises:
        Unavailable: a stream or consumer is not there, or JetStream does not answer.
    """
    import nats.errors
    from nats.js.errors import APIError

    from partsong.contracts.errors import Unavailable
    from partsong.runtime.streams import table

    wanted = table(client.subjects)
    js = client.nats.jetstream()
    try:
        streams = await asyncio.gather(*(js.stream_info(spec.name) for spec in wanted.streams))
        consumers = await asyncio.gather(
            *(js.consumer_info(spec.stream, spec.name) for spec in wanted.consumers)
        )
    except (nats.errors.Error, APIError, TimeoutError) as error:
        raise Unavailable(
            "bus.incomplete",
            f"the streams of prefix {client.subjects.prefix} are not as they should be: {error}",
            fix="start the platform, or check the prefix; `partsong doctor` says more",
        ) from error
    lags: dict[tuple[str, str], list[int]] = {}
    for found in consumers:
        name = "engine-*" if found.name.startswith("engine-") else found.name
        lag = lags.setdefault((found.stream_name, name), [0, 0])
        lag[0] += found.num_pending or 0
        lag[1] += found.num_ack_pending or 0
    return [
        _Queue(stream, info.state.messages, info.state.bytes, consumer, *lag)
        for info in streams
        for stream in [info.config.name or ""]
        for consumer, lag in [(c, v) for (s, c), v in lags.items() if s == stream] or [("", [0, 0])]
    ]


async def hear(client: Client) -> list[Beat]:
    """The workers that beat within a second and a half."""
    from partsong.runtime.heartbeat.monitor import LivenessMonitor

    watch = LivenessMonitor(client.nats, client.subjects)
    await watch.start()
    try:
        await asyncio.sleep(_LISTEN)
    finally:
        await watch.stop()
    alive = (beat for beat in watch.beats.values() if not beat.stopped)
    return sorted(alive, key=lambda beat: (beat.service, beat.name))


def _worker(beat: Beat) -> dict[str, object]:
    fields = ("service", "in_flight", "started", "url")
    blocked = beat.blocked.model_dump(mode="json") if beat.blocked is not None else None
    return {
        "worker": beat.worker,
        **{name: getattr(beat, name) for name in fields},
        "blocked": blocked,
    }


def _blocked(beats: Iterable[Beat]) -> list[str]:
    """Workers in which a function lets nothing else run."""
    return [
        f"{beat.worker}: {' or '.join(beat.blocked.functions) or 'something'} has blocked "
        f"{'the whole process' if beat.blocked.process else 'its event loop'} since {beat.blocked.since}"
        for beat in beats
        if beat.blocked is not None
    ]


def _idle(queues: list[_Queue], services: set[str]) -> list[str]:
    """Queues in which something waits while nobody who could take it is alive."""
    takers = {"engine": "graph-engine", "engine-*": "graph-engine"}
    waiting = [(queue, takers.get(queue.consumer, queue.consumer)) for queue in queues]
    return [
        f"{queue.stream}: {queue.waiting} messages wait for {service}, and none is alive"
        for queue, service in waiting
        if queue.waiting and service not in services
    ]
