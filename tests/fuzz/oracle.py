"""What must be true of a platform when all cases have been played: nobody died, nobody was forgotten, nothing has piled up."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events.envelope import decode_known
from partsong.runtime import clock
from partsong.runtime.streams import Names
from tests.fuzz.judge import STEERING
from tests.fuzz.live import Field

__all__ = ["judge", "memory_of"]

_SLOWER = 12.0
"""An honest run beside cases takes at most so many times what it takes beside ordinary requests, the median of each."""
_CLAIMS = 6
"""So often may a call be claimed: three attempts, and each may have lapsed once."""
_GROWTH = 250 * 1024
"""KiB by which a service may grow."""
_KEPT = 20
"""Bytes that streams may keep for each byte that was sent."""
_ROOM = 16 * 1024**2
_PATIENCE = 60.0
_STILL = 400
"""Redeliveries of one consumer beyond which something is delivered over and over."""


def memory_of(pid: int) -> int:
    """KiB that a process holds; 0 if there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


async def judge(field: Field, before: dict[str, int]) -> list[str]:
    """What should not be; `before` is the memory of each service when all began."""
    found = [*field.found, *_processes(field, before), *_answers(field), *_honest(field)]
    found += [flaw async for flaw in _streams(field)]
    found += [flaw async for flaw in _calls(field)]
    found += [*_logs(field)]
    found += [flaw async for flaw in _said(field)]
    return found


def _processes(field: Field, before: dict[str, int]) -> Iterator[str]:
    for worker in field.fleet.workers:
        process = worker.process
        if process is None or not worker.alive or process.pid != field.pids[worker.name]:
            yield f"{worker.name} has died"
            continue
        grown = memory_of(process.pid) - before[worker.name]
        if grown > _GROWTH:
            yield f"{worker.name} has grown by {grown // 1024} MiB"


def _answers(field: Field) -> Iterator[str]:
    for id_, due in field.due.items():
        if (given := field.answers[id_]) != due:
            yield f"request {id_} was sent {due} times and answered {given} times"


def _honest(field: Field) -> Iterator[str]:
    if (slower := field.slower()) > _SLOWER:
        counts = {what: len(times) for what, times in field.times.items()}
        yield f"beside cases an honest run takes {slower:.1f} times as long ({counts})"


async def _streams(field: Field) -> AsyncIterator[str]:
    js, names = field.client.nats.jetstream(), Names.of(field.client.subjects)
    end = clock.monotonic() + _PATIENCE
    while left := (await js.stream_info(names.requests)).state.messages:
        if clock.monotonic() > end:
            yield f"{left} requests are left at the door"
            break
        await asyncio.sleep(0.1)
    kept = sum(stream.state.bytes for stream in await js.streams_info())
    if kept > _ROOM + _KEPT * field.bytes_sent:
        yield f"the streams keep {kept:,} bytes for {field.bytes_sent:,} that were sent"
    for stream in (names.requests, names.work, names.log):
        for consumer in await js.consumers_info(stream):
            if (consumer.num_redelivered or 0) > _STILL:
                yield f"{consumer.name} of {stream} delivers {consumer.num_redelivered} messages again"


async def _calls(field: Field) -> AsyncIterator[str]:
    """No call is made more often than it may be; strangers write what they like into runs of their own."""
    claims: Counter[str] = Counter()
    async with aclosing(field.client.log.read(field.client.subjects.log())) as records:
        async for record in records:
            try:
                where = field.client.subjects.parse_log(record.subject)
                message = decode_known(record.body)
            except InvalidInput:
                continue
            if not where.run_id.startswith("stranger"):
                claims.update(
                    f"{where.run_id} {event.call_id}"
                    for event in message.events
                    if isinstance(event, e.CallClaimed | e.AgentTurnClaimed)
                )
    for call, count in claims.items():
        if count > _CLAIMS:
            yield f"call {call} was claimed {count} times"


def _logs(field: Field) -> Iterator[str]:
    for worker in field.fleet.workers:
        said = worker.log.read_text("utf-8", errors="replace")
        for line in said.splitlines():
            if steering := STEERING.search(line):
                yield f"{worker.name} logs {steering[0]!r}: {line[:200]!r}"
                break
        for never in ("never retrieved", "turn broke", "never awaited"):
            if never in said:
                line = next(line for line in said.splitlines() if never in line)
                yield f"{worker.name} says: {line[:300]}"


async def _said(field: Field) -> AsyncIterator[str]:
    """What people are shown."""
    if (status := await asyncio.to_thread(_ready, f"{field.fleet.http_url}/readyz")) != 200:
        yield f"the approval service is not ready: {status}"
    for words in (("run", "list"), ("approval", "list"), ("bus", "dead")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "partsong.cli.main", *words),
            env={**field.fleet.workers[0].env, "PARTSONG_URL": field.fleet.http_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if steering := STEERING.search(said.decode(errors="surrogateescape")):
            yield f"partsong {' '.join(words)} prints {steering[0]!r}"
        if b"Traceback" in said:
            yield f"partsong {' '.join(words)}: {said[-300:]!r}"


def _ready(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as ready:
            return int(ready.status)
    except urllib.error.HTTPError as error:
        return error.code
