"""`partsong bus`: streams, queues and workers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from partsong.cli.output import Output, output_option, run_async

if TYPE_CHECKING:
    from partsong.client import Client

__all__ = ["command"]

_LISTEN = 1.5
"""Seconds to hear heartbeats: workers beat once a second."""


@click.group()
def command() -> None:
    """Streams, queues and workers."""


@command.command()
@click.option("--nats", "nats_url", help="NATS server.  [env: PARTSONG_NATS_URL]")
@output_option
def status(nats_url: str | None, out: Output) -> None:
    """Streams, what waits in their queues, and who is alive."""

    async def work() -> None:
        from partsong.client import Client

        async with Client(nats_url) as client:
            queues = await _queues(client)
            workers = await _workers(client)
        if out.form == "table":
            out.rows(
                [vars(queue) for queue in queues],
                ("stream", "messages", "bytes", "consumer", "waiting", "unanswered"),
            )
            click.echo()
            out.rows(workers, ("worker", "service", "in_flight", "started", "url"))
        else:
            out.record({"streams": [vars(queue) for queue in queues], "workers": workers})

    run_async(work())


@dataclass(frozen=True)
class _Queue:
    stream: str
    messages: int
    bytes: int
    consumer: str
    waiting: int
    unanswered: int


async def _queues(client: Client) -> list[_Queue]:
    """One line per stream and durable; the engine's consumers, one per partition, are added up."""
    from partsong.runtime.streams import table

    js = client.nats.jetstream()
    wanted = table(client.subjects)
    found: list[_Queue] = []
    for stream in wanted.streams:
        state = (await js.stream_info(stream.name)).state
        waiting: dict[str, list[int]] = {}
        for spec in (spec for spec in wanted.consumers if spec.stream == stream.name):
            info = await js.consumer_info(stream.name, spec.name)
            name = "engine-*" if spec.name.startswith("engine-") else spec.name
            total = waiting.setdefault(name, [0, 0])
            total[0] += info.num_pending or 0
            total[1] += info.num_ack_pending or 0
        for name, (pending, unanswered) in (waiting or {"": [0, 0]}).items():
            found.append(
                _Queue(stream.name, state.messages, state.bytes, name, pending, unanswered)
            )
    return found


async def _workers(client: Client) -> list[dict[str, object]]:
    from partsong.runtime.alive import Watch

    watch = Watch(client.nats, client.subjects)
    await watch.start()
    await asyncio.sleep(_LISTEN)
    await watch.stop()
    return [
        {
            "worker": beat.worker,
            "service": beat.service,
            "in_flight": beat.in_flight,
            "started": beat.started,
            "url": beat.url,
        }
        for beat in sorted(watch.beats.values(), key=lambda b: (b.service, b.name))
    ]
