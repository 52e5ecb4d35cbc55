"""The soak's oracle: what must be true of the log, and of everything that was made of it, when the harm has stopped."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path

from partsong.client import Client
from partsong.client.approvals import Approvals
from partsong.contracts import events as e
from partsong.contracts.errors import PartsongError
from partsong.contracts.wire.subjects import OURS
from partsong.log.port import Record
from partsong.log.snapshots.folded import nearest
from partsong.log.snapshots.open import open_snapshots
from partsong.log.verify import verify
from partsong.runtime.streams import Names
from tests.faults.slow import written
from tests.sim.past import Past, flaws
from tests.soak.processes import Fleet

__all__ = ["judge"]

_REFUSED = re.compile(r"commit refused, another was first run=(\S+)")
_OFTEN = 50
"""Refused commits of one run: more than that is a run that is tried over and over."""


async def judge(fleet: Fleet, client: Client, file: Path, spoiled: set[str]) -> list[str]:
    """What should not be."""
    found = [f async for f in _log(client, spoiled)]
    logs = await _logs(client)
    pasts = {run: Past(run, records) for run, records in logs.items() if run not in spoiled}
    for run_id, past in pasts.items():
        found += [f"{run_id}: {flaw}" for flaw in flaws(past)]
        found += [f"{run_id}: {flaw}" async for flaw in _copies(client, past)]
    found += [f async for f in _list(client, pasts)]
    found += await _inbox(fleet, pasts)
    found += _effects(pasts, file)
    found += _logs_of_services(fleet)
    return found


async def _log(client: Client, spoiled: set[str]) -> AsyncIterator[str]:
    names = Names.of(client.subjects)
    head = await client.log.head()
    read = await verify(
        client.nats, client.subjects, stream=names.log, blobs=names.blobs, head=head
    )
    if read.holes:
        yield f"the log has holes: {read.holes}"
    for finding in read.findings:
        if not any(
            f".{run}." in str(finding.where) or run in str(finding.where) for run in spoiled
        ):
            yield f"the log: {finding.code} at {finding.where}: {finding.message}"


async def _logs(client: Client) -> dict[str, list[Record]]:
    logs: dict[str, list[Record]] = {}
    async with aclosing(client.log.read(client.subjects.log())) as records:
        async for record in records:
            where = client.subjects.parse_log(record.subject)
            if where.run_id != OURS:
                logs.setdefault(where.run_id, []).append(record)
    return logs


async def _copies(client: Client, past: Past) -> AsyncIterator[str]:
    """What a client is told, and every snapshot, is what the log says."""
    if past.replay.state.graph is None:
        return
    try:
        told = await client.state(past.run_id)
    except PartsongError as error:
        yield f"its state cannot be read: {error}"
        return
    if told.values != past.replay.state.values or told.phase != past.replay.state.phase:
        yield f"the client is told {told.phase}, the replay says {past.replay.state.phase}"
    names = Names.of(client.subjects)
    async with open_snapshots("kv:", nc=client.nats, name=names.snapshots) as snapshots:
        for seq in await snapshots.list(past.run_id):
            folded = await nearest(snapshots, past.run_id, seq)
            at = past.at(folded.seq)
            if folded.state != past.states[at] or folded.hash != past.hashes[at]:
                yield f"its snapshot at {folded.seq} differs from the replay"


async def _list(client: Client, pasts: Mapping[str, Past]) -> AsyncIterator[str]:
    listed = {run.run_id: run.status for run in await client.runs(limit=10**6)}
    for run_id, past in pasts.items():
        state = past.replay.state
        if state.graph is not None and listed.get(run_id) != state.status:
            yield f"{run_id}: listed as {listed.get(run_id)}, it is {state.status}"


async def _inbox(fleet: Fleet, pasts: Mapping[str, Past]) -> list[str]:
    """The approval service's projection, against the log."""
    meant = {}
    for run_id, past in pasts.items():
        for event in past.events:
            match event:
                case e.ApprovalRequested():
                    meant[_id(run_id, event.call_id)] = "pending"
                case e.ApprovalDecided(decision=decision):
                    done = "approved" if decision == "approve" else "rejected"
                    meant[_id(run_id, event.call_id)] = done
                case _:
                    pass
    api, found = Approvals(fleet.http_url), dict[str, str]()
    for _ in range(100):
        items, _more = await asyncio.to_thread(api.newest, limit=10**6)
        found = {str(item["id"]): str(item["status"]) for item in items}
        if all(found.get(id_) == status for id_, status in meant.items() if status != "pending"):
            break
        await asyncio.sleep(0.1)
    return [
        f"approval {id_}: the inbox says {found.get(id_)}, the log {status}"
        for id_, status in meant.items()
        if found.get(id_) != status and (status != "pending" or found.get(id_) != "cancelled")
    ]


def _id(run_id: str, call_id: str) -> str:
    """An approval's id in addresses: they hold no slash."""
    return f"{run_id}.{call_id}".replace("/", ",")


def _effects(pasts: Mapping[str, Past], file: Path) -> list[str]:
    """Guarded calls have their effect at most once for each claim; what completed had it."""
    seen, found = written(file), list[str]()
    for run_id, past in pasts.items():
        claims = Counter(x.call_id for x in past.events if isinstance(x, e.CallClaimed))
        paid = seen[f"pay {run_id}"]
        if paid > claims["pay:1"]:
            found.append(f"{run_id}: paid {paid} times with {claims['pay:1']} claims")
        done = {x.exec for x in past.events if isinstance(x, e.NodeCompleted)}
        if "pay:1" in done and not paid:
            found.append(f"{run_id}: pay:1 completed, and nothing was paid")
        found += _missing(run_id, done, seen)
    return found


def _missing(run_id: str, done: set[str], seen: Counter[str]) -> Iterator[str]:
    steps = {"begin", "left", "right", "join", "end", "before", "after", "again", "inner"}
    for execution in done:
        if execution.partition(":")[0] in steps and not seen[f"step {run_id}/{execution}"]:
            yield f"{run_id}: {execution} completed, and had no effect"


def _logs_of_services(fleet: Fleet) -> Iterator[str]:
    """What a service's log must never say."""
    for worker in fleet.workers:
        said = worker.log.read_text("utf-8", errors="replace")
        for never in ("turn broke", "never retrieved", "engine.contended"):
            if never in said:
                line = next(line for line in said.splitlines() if never in line)
                yield f"{worker.name} says: {line[:300]}"
        refused = Counter(_REFUSED.findall(said))
        yield from (
            f"{worker.name}: {count} commits of {run} were refused"
            for run, count in refused.items()
            if count > _OFTEN
        )
