"""Presence: what the services that a run needs say of themselves, so that a run that sits still can say why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

import nats.errors
from nats.aio.client import Client

from partsong.contracts.frozen import replace
from partsong.contracts.services import APPROVAL, GRAPH_ENGINE
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.answers import answers

__all__ = ["seen", "untaken"]

_WITHIN = 1.0
_OTHERS = 0.15
"""Seconds without a further answer after which all workers of a service have answered."""
_YOUNG = 2.0
"""Seconds in which nobody wonders where a call is."""
_CALLED = {APPROVAL: "approval service"}

_Said = dict[str, Any]


async def seen(
    nc: Client, subjects: Subjects, state: RunState, *, within: float = _WITHIN
) -> RunState:
    """The state with what its services say: which of them are away, and which calls nobody has taken."""
    if state.ended or state.status == "queued" or (state.paused and state.stopping is None):
        return state
    owing = {call.service for call in state.calls.values() if call.open}
    services = sorted({GRAPH_ENGINE} | owing)
    old = {service: _old(state, service) for service in services}
    answers = await asyncio.gather(
        *(_asked(nc, subjects, name, within, everybody=bool(old[name])) for name in services)
    )
    absent: dict[str, str] = {}
    lying: dict[str, str] = {}
    for service, answer in zip(services, answers, strict=True):
        if isinstance(answer, str):
            absent[service] = answer
        else:
            lying |= untaken(state.run_id, service, old[service], answer)
    return replace(state, absent=absent, untaken=lying) if absent or lying else state


def untaken(
    run_id: str, service: str, calls: Iterable[Call], workers: list[_Said]
) -> Mapping[str, str]:
    """The calls that no worker has in its hands, and how much those have; none if a worker does not list what it has."""
    listed = all("held" in said or not said.get("in_flight") for said in workers)
    if not workers or not listed or any(said.get("held_more") for said in workers):
        return {}
    held = {
        (one.get("run_id"), one.get("call_id"), one.get("attempt"))
        for said in workers
        for one in said.get("held", ())
    }
    busy = sum(int(said.get("in_flight", 0)) for said in workers)
    reason = f"no {service} has taken it yet; {len(workers)} of them have {busy} calls in hand"
    reason += "".join(f"; {said}" for said in map(_blocked, workers) if said)
    return {call.id: reason for call in calls if (run_id, call.id, call.attempt) not in held}


def _blocked(said: _Said) -> str:
    """What keeps a worker from everything else, if anything does."""
    blocked = said.get("blocked")
    if not isinstance(blocked, dict):
        return ""
    functions = blocked.get("functions")
    named = " or ".join(map(str, functions)) if isinstance(functions, list) and functions else ""
    return (
        f"in {said.get('name')} {named or 'something'} lets nothing else run since {blocked.get('since')}, "
        "`partsong bus status` says for which run"
    )


def _old(state: RunState, service: str) -> list[Call]:
    """Calls that nobody has claimed, and that somebody should have taken by now."""
    now = clock.now()
    return [
        call
        for call in state.calls.values()
        if call.open
        and call.worker is None
        and call.service == service
        and call.kind not in {"approval", "run"}
        and (now - datetime.fromisoformat(call.since)).total_seconds() > _YOUNG
    ]


async def _asked(
    nc: Client, subjects: Subjects, service: str, within: float, *, everybody: bool
) -> list[_Said] | str:
    """What the workers of a service answer, one of them or `everybody`; or why they are taken for away."""
    who, bodies = _CALLED.get(service, service), list[bytes]()
    ping = subjects.query(service, "ping")
    try:
        async with aclosing(answers(nc, ping, within=within, quiet=_OTHERS)) as said:
            async for body in said:
                bodies.append(body)
                if not everybody:
                    break
    except nats.errors.NoRespondersError:
        return f"no {who} is running"
    except nats.errors.Error:
        return []
    if not bodies:
        return f"no {who} has answered within {within:g} s"
    return [one for body in bodies if isinstance(one := _read(body), dict)]


def _read(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None
