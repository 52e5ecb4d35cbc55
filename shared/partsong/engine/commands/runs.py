"""What comes from outside, as events: a request to start or cancel, a timer that fired."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, InvalidInput, Problem
from partsong.contracts.frozen import replace
from partsong.contracts.graph import Graph
from partsong.contracts.state.calls import lapse
from partsong.contracts.state.retry import missing_nodes, revived
from partsong.contracts.state.serialization import dump_state
from partsong.contracts.state.state import RunState
from partsong.contracts.talk.hooks import PluginRef
from partsong.engine.commands.options import resolved
from partsong.engine.draft import Closing

__all__ = [
    "TOO_OLD",
    "admit",
    "cancel",
    "child_ended",
    "fired",
    "fork",
    "known",
    "lapsed",
    "overdue",
    "pause",
    "rang",
    "resume",
    "retry",
    "start",
    "too_old",
]

TOO_OLD = "engine.too_old"
"""Code of the error of what is asked of a run whose log is newer than the engine."""


def start(
    run_id: str,
    graph: Graph,
    input: dict[str, JsonValue],
    options: e.RunOptions,
    request_id: str,
    now: str,
    *,
    queued: bool = False,
    remembered: dict[str, JsonValue] | None = None,
    plugins: tuple[PluginRef, ...] = (),
) -> tuple[e.Event, ...]:
    """A run begins, or waits for its thread; `remembered` is what the thread's last run has left for it."""
    options, after = resolved(options, now)
    started = e.RunStarted(
        id=f"{run_id}.started",
        time=now,
        cause=request_id,
        graph=graph,
        graph_hash=graph.hash,
        input=input,
        options=options,
        request_id=request_id,
        queued=queued,
        remembered=remembered or {},
        plugins=plugins,
        deadline_after=after,
    )
    return (started, *_deadline(options, started.id, now))


def _deadline(options: e.RunOptions, cause: str, now: str) -> tuple[e.TimerSet, ...]:
    if options.deadline is None:
        return ()
    timer = e.TimerSet(
        id=f"{cause}.deadline.set",
        time=now,
        cause=cause,
        timer_id="deadline",
        at=options.deadline,
        purpose="run_deadline",
    )
    return (timer,)


def admit(
    state: RunState, now: str, remembered: dict[str, JsonValue] | None = None
) -> tuple[e.Event, ...]:
    """A queued run's thread is free; `remembered` is what its last run has left."""
    if state.status != "queued" or state.graph is None or state.stopping is not None:
        return ()
    started = f"{state.run_id}.started"
    id_ = f"{state.run_id}.admitted"
    return (e.RunAdmitted(id=id_, time=now, cause=started, remembered=remembered or {}),)


def fork(
    source: RunState, seq: int, run_id: str, edited: tuple[str, ...], request_id: str, now: str
) -> tuple[e.Event, ...]:
    """A run begins where `source` stands; it is no part of its thread, so it neither waits there nor is waited for.

    Raises:
        Conflict: `engine.too_old`.
    """
    known(source)
    alone = source.options.model_copy(update={"thread": None})
    source = replace(source, options=alone)
    forked = e.RunForked(
        id=f"{run_id}.forked",
        time=now,
        cause=request_id,
        origin=source.run_id,
        origin_seq=seq,
        state=dump_state(source),
        edited=edited,
        request_id=request_id,
    )
    return (forked,)


def too_old(state: RunState) -> Problem:
    """Why nobody here decides on a run whose log is newer than this engine."""
    newer = state.newer.message if state.newer is not None else "nothing"
    where = state.newer.where if state.newer is not None else ""
    return Problem(
        code=TOO_OLD,
        message=f"run {state.run_id} needs a newer engine: {newer} ({where})",
        where="run_id",
        fix="update the graph engines; what was asked of the run is in its log, and is decided on then",
        fault="platform",
    )


def known(state: RunState) -> None:
    """Refuse to go on with a run whose log is newer than this engine.

    Raises:
        Conflict: `engine.too_old`.
    """
    if state.newer is not None:
        raise Conflict.of(too_old(state))


def retry(
    state: RunState,
    graph: Graph | None,
    options: e.RunOptions | None,
    reason: str | None,
    request_id: str,
    now: str,
) -> tuple[e.Event, ...]:
    """An ended run goes on; nothing if this very request was what it went on for.

    Raises:
        Conflict: `run.not_ended`, `run.completed`, `graph.node_missing`, `graph.reducer_misfit`.
    """
    if state.retried == request_id:
        return ()
    if not state.ended or state.status == "completed":
        code = "run.completed" if state.ended else "run.not_ended"
        raise Conflict(
            code,
            f"run {state.run_id} is {state.phase}; only one that failed, was cancelled or met a limit can be retried",
            where="run_id",
            fix="fork it to run it differently"
            if state.ended
            else "wait for its end, or cancel it",
        )
    if graph is not None and (missing := missing_nodes(state, graph)):
        raise Conflict(
            "graph.node_missing",
            f"run {state.run_id} stands at {', '.join(missing)}, and the new graph has no such node",
            where="graph.nodes",
            fix="keep the names and kinds of nodes that runs are at",
        )
    if graph is not None:
        _fits(revived(state, graph, now))
    if options is not None:
        options, _ = resolved(options, now)
    retried = e.RunRetried(
        id=f"{state.run_id}.retried.{request_id}",
        time=now,
        cause=request_id,
        graph=graph,
        graph_hash=graph.hash if graph is not None else None,
        options=options,
        reason=reason,
    )
    limits = options or state.options
    if options is None and limits.deadline is not None and not _ahead(limits.deadline, now):
        return (retried,)  # it has passed: whoever retries wants the run to go on
    return (retried, *_deadline(limits, retried.id, now))


def _ahead(moment: str, now: str) -> bool:
    return datetime.fromisoformat(moment) > datetime.fromisoformat(now)


def _fits(state: RunState) -> None:
    """Refuse other reducers if they cannot read what has been written."""
    try:
        for scope in state.scopes.values():
            scope.values  # noqa: B018  # reads it
    except InvalidInput as error:
        raise Conflict(
            "graph.reducer_misfit",
            f"what run {state.run_id} has written does not fit the new graph: {error.problem.message}",
            where="graph.reducers",
            fix="keep the reducers of keys that the run has written, or fork it with an edited state",
        ) from error


def child_ended(state: RunState, parent: e.Parent | None, now: str) -> e.ChildEnded:
    """What the run that waits for a detached subgraph is told."""
    assert parent is not None, f"{state.run_id} has no parent"  # noqa: S101
    stem = f"{parent.run_id}.{parent.call_id}.{parent.attempt}"
    return e.ChildEnded(
        id=f"{stem}.child_ended",
        time=now,
        cause=f"{stem}.requested",
        call_id=parent.call_id,
        attempt=parent.attempt,
        child=state.run_id,
        status=state.phase,
        state=state.values,
        error=state.error,
    )


def pause(state: RunState, reason: str | None, request_id: str, now: str) -> tuple[e.Event, ...]:
    """Nothing new begins; nothing happens if the run is paused or has ended."""
    if state.ended or state.paused:
        return ()
    id_ = f"{state.run_id}.paused.{request_id}"
    return (e.RunPaused(id=id_, time=now, cause=request_id, reason=reason),)


def resume(state: RunState, request_id: str, now: str) -> tuple[e.Event, ...]:
    """A paused run goes on."""
    if state.ended or not state.paused:
        return ()
    id_ = f"{state.run_id}.resumed.{request_id}"
    return (e.RunResumed(id=id_, time=now, cause=request_id),)


def cancel(state: RunState, reason: str | None, request_id: str, now: str) -> tuple[e.Event, ...]:
    """Somebody ends the run; nothing if it has ended or is ending."""
    if state.ended or state.stopping is not None:
        return ()
    return (
        e.RunStopping(
            id=_stopping(state),
            time=now,
            cause=request_id,
            outcome="cancelled",
            reason=reason,
        ),
    )


def _stopping(state: RunState) -> str:
    return f"{state.run_id}.stopping" + (f".r{state.round}" if state.round else "")


def fired(state: RunState, timer_id: str, now: str) -> tuple[e.Event, ...]:
    """A timer's moment has come; nothing if the run no longer waits for it."""
    timer = state.timers.get(timer_id)
    return () if timer is None else (rang(state.run_id, timer_id, timer.at, now),)


def rang(run_id: str, timer_id: str, at: str | None, now: str) -> e.TimerFired:
    """A timer that was set for the moment `at` fired, whether the run still waits for it or not."""
    id_ = f"{run_id}.{timer_id}.fired"
    return e.TimerFired(
        id=f"{id_}.{at}" if at else id_,
        time=now,
        cause=f"{run_id}.{timer_id}.set",
        timer_id=timer_id,
        at=at,
    )


def overdue(state: RunState, now: str) -> tuple[e.Event, ...]:
    """A run ends whose deadline has passed."""
    if state.overdue is None or state.stopping is not None or state.ended:
        return ()
    problem = Problem(
        code="run.deadline",
        message=f"the run was to end by {state.overdue}",
        where="options.deadline",
        fix="give the run a later deadline",
    )
    stopping = e.RunStopping(
        id=_stopping(state),
        time=now,
        cause=f"{state.run_id}.deadline.fired",
        outcome="limit_exceeded",
        error=problem,
    )
    return (stopping,)


def lapsed(
    state: RunState, silent: Callable[[str], bool], stopped: Callable[[str], bool], now: str
) -> tuple[Closing, ...]:
    """The ends of claims whose workers have fallen silent; `stopped` are those that were told to."""
    return tuple(
        Closing(
            call.id,
            lapse(state.run_id, call, now, stopped=stopped(call.worker)),
            call.claim,
        )
        for call in state.calls.values()
        if call.open and call.worker is not None and silent(call.worker)
    )
