"""The engine's side of a stop: a commit that gives work up, and the broadcast that names it."""

from __future__ import annotations

from partsong.contracts.events import Event, RunStopping
from partsong.contracts.events.envelope import START_HASH, encode_commit
from partsong.contracts.wire.stop import Stop
from partsong.testing.nats import Bus

__all__ = ["broadcast", "give_up"]


async def give_up(bus: Bus, run_id: str, *events: Event) -> int:
    """Commit that the run is to end, or what else is said; where the commit stands."""
    store = bus.log()
    subject = bus.subjects.engine(run_id)
    last = await store.last(subject)
    said = events or (RunStopping(id=f"{run_id}.stopping", outcome="cancelled"),)
    n = last.seq + 1 if last else 1
    commit, body = encode_commit(run_id, n, 0, START_HASH, said)
    done = await store.append(subject, body, id=commit.id, expect=last.seq if last else 0)
    await store.close()
    return done.seq


async def broadcast(bus: Bus, run_id: str, commit: int, owner: str | None = None) -> None:
    """Tell workers that a commit says so."""
    stop = Stop(commit=commit, owner=owner)
    await bus.nc.publish(bus.subjects.stop(run_id), stop.model_dump_json().encode())
