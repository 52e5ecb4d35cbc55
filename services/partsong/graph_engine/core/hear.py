"""What comes from outside, as events: a request to start or cancel, a timer that fired."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import Graph
from partsong.contracts.state import RunState
from partsong.graph_engine.core.draft import Closing

__all__ = ["cancel", "fired", "lapsed", "start", "takeover"]


def start(
    run_id: str,
    graph: Graph,
    input: dict[str, JsonValue],
    options: e.RunOptions,
    request_id: str,
    now: str,
) -> tuple[e.Event, ...]:
    """A run begins."""
    started = e.RunStarted(
        id=f"{run_id}.started",
        time=now,
        cause=request_id,
        graph=graph,
        graph_hash=graph.hash,
        input=input,
        options=options,
        request_id=request_id,
    )
    if options.deadline is None:
        return (started,)
    timer = e.TimerSet(
        id=f"{run_id}.deadline.set",
        time=now,
        cause=started.id,
        timer_id="deadline",
        at=options.deadline,
        purpose="run_deadline",
    )
    return (started, timer)


def cancel(state: RunState, reason: str | None, request_id: str, now: str) -> tuple[e.Event, ...]:
    """Somebody ends the run; nothing if it has ended or is ending."""
    if state.ended or state.stopping is not None:
        return ()
    return (
        e.RunStopping(
            id=f"{state.run_id}.stopping",
            time=now,
            cause=request_id,
            outcome="cancelled",
            reason=reason,
        ),
    )


def fired(state: RunState, timer_id: str, now: str) -> tuple[e.Event, ...]:
    """A timer's moment has come; nothing if the run no longer waits for it."""
    timer = state.timers.get(timer_id)
    if timer is None or state.ended:
        return ()
    rang = e.TimerFired(
        id=f"{state.run_id}.{timer_id}.fired",
        time=now,
        cause=f"{state.run_id}.{timer_id}.set",
        timer_id=timer_id,
    )
    if timer.purpose != "run_deadline" or state.stopping is not None:
        return (rang,)
    problem = Problem(
        code="run.deadline",
        message=f"the run was to end by {timer.at}",
        where="options.deadline",
        fix="give the run a later deadline",
    )
    stopping = e.RunStopping(
        id=f"{state.run_id}.stopping",
        time=now,
        cause=rang.id,
        outcome="limit_exceeded",
        error=problem,
    )
    return (rang, stopping)


def takeover(state: RunState, owner: str, now: str) -> tuple[e.Event, ...]:
    """Another engine takes over: whatever its predecessor still tries is refused from now on."""
    if state.ended or state.owner == owner:
        return ()
    id_ = f"{state.run_id}.owner.{state.commits + 1}.{owner}"
    return (e.OwnerChanged(id=id_, time=now, owner=owner),)


def lapsed(state: RunState, silent: Callable[[str], bool], now: str) -> tuple[Closing, ...]:
    """The ends of claims whose workers have fallen silent."""
    return tuple(
        Closing(
            call.id,
            e.CallLapsed(
                id=f"{state.run_id}.{call.id}.{call.attempt}.lapsed",
                time=now,
                cause=f"{state.run_id}.{call.id}.{call.attempt}.claimed",
                call_id=call.id,
                attempt=call.attempt,
                worker=call.worker,
            ),
            call.claim,
        )
        for call in state.calls.values()
        if call.open and call.worker is not None and silent(call.worker)
    )
