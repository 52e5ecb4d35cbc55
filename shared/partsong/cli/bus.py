"""`partsong bus`: streams, queues and workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from partsong.cli import dead
from partsong.cli.group import Group
from partsong.cli.options import Address, address_options
from partsong.cli.output import Output, output_option, run_async
from partsong.cli.owners import silent_owners, told_of
from partsong.cli.repairs import carried
from partsong.contracts.counts import number_of, verb_of
from partsong.contracts.errors import Unavailable
from partsong.contracts.services import GRAPH_ENGINE
from partsong.contracts.wire.subjects import LANES

if TYPE_CHECKING:
    from partsong.client import Client
    from partsong.contracts.wire.heartbeat import Beat, Blocked
    from partsong.runtime.log_standing import Standing

__all__ = ["command"]

T = TypeVar("T")

_NAMED = 3
"""So many of many things are named."""
_LISTEN = 1.5
"""Seconds to hear heartbeats: workers beat once a second."""


@click.group(cls=Group)
def command() -> None:
    """Streams, queues, workers and dead letters."""


command.add_command(dead.command, "dead")


@command.command(epilog="Example: partsong bus status -o json")
@address_options
@output_option
def status(address: Address, out: Output) -> None:
    """Streams, what waits in their queues, and who is alive. Exit code 1 if a stream or a queue is missing."""

    async def work() -> None:
        from partsong.runtime.streams import MADE_ANEW

        async with address.client() as client:
            (queues, missing), beats, log = await asyncio.gather(
                _queues(client), hear(client), _log(client, address.data)
            )
            alive = {beat.worker for beat in beats if beat.service == GRAPH_ENGINE}
            silent = [] if missing else await silent_owners(client, alive)
        workers = [_worker(beat) for beat in beats]
        if out.plain:
            queues = _folded(queues)
            columns = ("stream", "messages", "bytes", "consumer", "waiting", "unanswered")
            out.rows([asdict(queue) for queue in queues], columns)
            click.echo()
            shown = ["worker", "service", "in_flight", "started", "url"]
            shown[2:2] = ["last_sign"] if silent else []
            out.rows([*workers, *(one.row for one in silent)], shown)
        else:
            streams = [asdict(queue) for queue in queues]
            dead = [asdict(one) for one in silent]
            out.record({"log": asdict(log), "streams": streams, "workers": workers, "silent": dead})
        if log.log != "sound":
            out.say(f"log {log.log}: {carried(log.says, address.given)}")
        idle = _idle(queues, {beat.service for beat in beats})
        for said in (*told_of(silent, alive), *idle, *blocked_workers(beats)):
            out.say(said)
        if missing:  # last, for damage to the log may be why
            raise Unavailable(
                "bus.incomplete",
                f"the streams of prefix {client.subjects.prefix} are not as they should be: {_listed(missing)}",
                fix=f"{MADE_ANEW}; if none has run here yet, check the prefix",
            )

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


async def _queues(client: Client) -> tuple[list[_Queue], list[str]]:
    """One line per stream and durable consumer, and what of them is missing or was not answered for."""
    from partsong.runtime.streams import table

    wanted = table(client.subjects)
    js, missing = client.nats.jetstream(), list[str]()
    streams = await asyncio.gather(
        *(_info(spec.name, js.stream_info(spec.name), missing) for spec in wanted.streams)
    )
    there = {info.config.name for info in streams if info is not None}
    consumers = await asyncio.gather(
        *(
            _info(f"{spec.stream}/{spec.name}", js.consumer_info(spec.stream, spec.name), missing)
            for spec in wanted.consumers
            if spec.stream in there
        )
    )
    queues = []
    for info in filter(None, streams):
        stream, size = info.config.name or "", (info.state.messages, info.state.bytes)
        own = [one for one in consumers if one is not None and one.stream_name == stream]
        queues += [
            _Queue(stream, *size, one.name, one.num_pending or 0, one.num_ack_pending or 0)
            for one in own
        ] or [_Queue(stream, *size, "", 0, 0)]
    return queues, missing


async def _info(name: str, asked: Awaitable[T], missing: list[str]) -> T | None:
    """What the server says of a stream or consumer; one that it says nothing of is added to `missing`, with the reason."""
    import nats.errors
    from nats.js.errors import APIError, NotFoundError

    try:
        return await asked
    except NotFoundError:
        missing.append(f"{name} is not there")
    except (nats.errors.Error, APIError, TimeoutError) as error:
        missing.append(f"{name}: {error!r}")
    return None


def _listed(missing: list[str]) -> str:
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"{', '.join(missing[:_NAMED])}{more}"


def _folded(queues: Iterable[_Queue]) -> list[_Queue]:
    """Lanes in which nothing waits, in one row for people."""
    lanes = _lanes()
    found: list[_Queue] = []
    empty: list[int] = []
    for queue in queues:
        if queue.consumer in lanes and not (queue.waiting or queue.unanswered):
            empty.append(len(found))
        found.append(queue)
    if len(empty) < 2:  # one row is no fewer
        return found
    first = found[empty[0]]
    found[empty[0]] = replace(first, consumer=f"{len(empty)} empty lanes")
    return [queue for n, queue in enumerate(found) if n not in empty[1:]]


def _lanes() -> frozenset[str]:
    """The consumers of the lanes in which callers' runs wait to begin."""
    from partsong.runtime.stream_table import lane_of

    return frozenset(map(lane_of, range(LANES)))


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


def blocked_workers(beats: Iterable[Beat]) -> list[str]:
    """Workers in which a function lets nothing else run, with the runs and calls that it is, or may be, working for."""
    said = []
    for beat in beats:
        if (blocked := beat.blocked) is not None:
            one_of = [
                f"{function}{_calls(beat, blocked, function)}" for function in blocked.functions
            ]
            what = "the whole process" if blocked.process else "its event loop"
            said.append(
                f"{beat.worker}: {' or '.join(one_of) or 'something'} has blocked {what} since {blocked.since}"
            )
    return said


def _calls(beat: Beat, blocked: Blocked, function: str) -> str:
    """The call that blocks; of a process that does not answer, the calls of the function that it holds."""
    calls = [(blocked.run_id, blocked.call_id)] if blocked.call_id else []
    calls = calls or [
        (one.run_id, one.call_id)
        for one in beat.held
        if one.function == function and not one.asking
    ]
    return (
        f" ({_listed([f'run {run_id}, call {call_id}' for run_id, call_id in dict.fromkeys(calls)])})"
        if calls
        else ""
    )


def _idle(queues: list[_Queue], services: set[str]) -> list[str]:
    """Queues in which something waits while nobody who could take it is alive."""
    takers = dict.fromkeys(("engine", "control", "starts", *_lanes()), GRAPH_ENGINE)
    waiting = [(queue, takers.get(queue.consumer, queue.consumer)) for queue in queues]
    return [
        f"{queue.stream}: {number_of(queue.waiting, 'message')} {verb_of(queue.waiting, 'waits', 'wait')} for {service}, and none is alive"
        for queue, service in waiting
        if queue.waiting and service not in services
    ]
