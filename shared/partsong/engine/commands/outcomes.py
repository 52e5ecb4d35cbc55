"""What commands mean for a run: events, or the reason why one is refused. Each has one outcome, in the log.

A decision must not read anything, so what a command needs beside the run's state is prepared before: its graph, its
place in a thread, the run it is forked from. A command that is not prepared yet holds up those behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, InvalidInput, NotFound, PartsongError, Problem
from partsong.contracts.foreign.question import Evaluate, at_once
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import problem_of
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.state import Pending, RunState
from partsong.contracts.talk.hooks import PluginRef
from partsong.contracts.wire.requests import (
    CancelRequest,
    ForkRequest,
    PauseRequest,
    ResumeRequest,
    RetryRequest,
    RunRequest,
    SignalRequest,
)
from partsong.engine.commands import runs, signals
from partsong.engine.meter import Meter

__all__ = ["PREPARED", "Prepared", "asked", "carry_out"]

T = TypeVar("T", bound=BaseModel)

PREPARED = frozenset({"run", "fork", "retry", "admit"})
"""Verbs that need to be prepared."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was read for a command."""

    graph: Graph | None = None
    queued: bool = False
    """The run's thread is taken."""
    ahead: tuple[str, ...] = ()
    """Who has the thread, or comes first."""
    remembered: Mapping[str, JsonValue] = field(default_factory=dict)
    plugins: tuple[PluginRef, ...] = ()
    source: RunState | None = None
    """Of a fork: the run that it comes from, as it was."""
    source_seq: int = 0
    rejoined: bool = False
    """Of a retry: the run has taken a place in its thread again."""
    free: bool = True
    """Of an admission: the thread is the run's."""
    refused: PartsongError | None = None
    """It cannot be carried out, whatever the run's state is."""


def asked(kind: type[T], command: Pending) -> T:
    """What a command asks for.

    Raises:
        InvalidInput: `request.malformed`: the door did not write it.
    """
    try:
        return kind.model_validate(dict(command.request))
    except ValidationError as error:
        raise InvalidInput.of(problem_of(error, "request.malformed")) from None


def carry_out(
    state: RunState, prepared: Mapping[str, Prepared], now: str, evaluate: Evaluate = at_once
) -> tuple[tuple[e.Event, ...], RunState]:
    """The events of pending commands in order, and the state they lead to.

    Up to the first that is not prepared, or as many as a turn can take.
    """
    meter, news = Meter.of(evaluate), list[e.Event]()
    for command in tuple(state.pending.values()):
        if meter.full(len(news)):
            break
        ready = prepared.get(command.request_id)
        if ready is None and command.verb in PREPARED:
            break
        events = _outcome(state, command, ready or Prepared(), now, meter)
        news += events
        state = fold_all(state, events)
    return tuple(news), state


def _outcome(
    state: RunState, command: Pending, prepared: Prepared, now: str, evaluate: Evaluate
) -> tuple[e.Event, ...]:
    problem: Problem | None = None
    events: tuple[e.Event, ...] = ()
    try:
        events = _meaning(state, command, prepared, now, evaluate)
    except PartsongError as error:
        problem = error.problem
    id_ = f"{state.run_id}.{command.request_id}.settled"
    settled = e.CommandSettled(
        id=id_, time=now, cause=command.request_id, request_id=command.request_id, error=problem
    )
    return (*events, settled)


def _meaning(
    state: RunState, command: Pending, prepared: Prepared, now: str, evaluate: Evaluate
) -> tuple[e.Event, ...]:
    """The events that a command means.

    Raises:
        PartsongError: it must be refused.
    """
    if command.verb == "run":
        return _start(state, command, asked(RunRequest, command), prepared, now)
    if command.verb == "fork":
        return _fork(state, command, asked(ForkRequest, command), prepared, now)
    if state.graph is None:
        raise NotFound("run.unknown", f"no run {state.run_id}", where="run_id")
    match command.verb:
        case "retry":
            if prepared.refused is not None:
                raise prepared.refused
            retry = asked(RetryRequest, command)
            return runs.retry(state, prepared.graph, retry.options, retry.reason, retry.id, now)
        case "cancel":
            cancel = asked(CancelRequest, command)
            return runs.cancel(state, cancel.reason, cancel.id, now)
        case "pause":
            pause = asked(PauseRequest, command)
            return runs.pause(state, pause.reason, pause.id, now)
        case "resume":
            return runs.resume(state, asked(ResumeRequest, command).id, now)
        case "signal":
            sent = asked(SignalRequest, command)
            return signals.signal(
                state, sent.name, sent.payload, sent.id, now, evaluate, key=sent.key
            )
        case "admit":
            return runs.admit(state, now, dict(prepared.remembered)) if prepared.free else ()


def _start(
    state: RunState, command: Pending, request: RunRequest, prepared: Prepared, now: str
) -> tuple[e.Event, ...]:
    if state.graph is not None:
        _same_run(state, command, request)
        return ()
    if prepared.refused is not None:
        raise prepared.refused
    assert prepared.graph is not None, "a start is prepared with its graph"  # noqa: S101
    return runs.start(
        state.run_id,
        prepared.graph,
        {},  # the command holds it
        request.options,
        command.request_id,
        now,
        queued=prepared.queued,
        remembered=dict(prepared.remembered),
        plugins=prepared.plugins,
    )


def _same_run(state: RunState, command: Pending, request: RunRequest) -> None:
    """Refuse a start whose run exists, unless it is this very one."""
    if state.digest in {"", command.digest} and request.graph == state.root.graph.hash:
        return
    other = request.graph != state.root.graph.hash
    what = f"graph than {str(request.graph)[:19]}…" if other else "input or other options"
    raise Conflict(
        "run.exists",
        f"run {state.run_id} exists with another {what}",
        where="run_id",
        fix="leave the id out to get a fresh one",
    )


def _fork(
    state: RunState, command: Pending, request: ForkRequest, prepared: Prepared, now: str
) -> tuple[e.Event, ...]:
    if state.graph is not None:
        origin = state.origin
        same = origin is not None and origin.run_id == request.run_id
        # A run of an old log, or of one process, does not say what its fork was asked to change.
        old = state.digest == "" and same and request.seq in {None, origin.seq}  # type: ignore[union-attr]  # mypy forgets `same`
        if same and (state.digest == command.digest or old):
            return ()
        raise Conflict(
            "run.exists",
            f"run {state.run_id} exists, and is not that fork of {request.run_id} at {request.seq}",
            where="run_id",
            fix="leave the id out to get a fresh one",
        )
    if prepared.refused is not None:
        raise prepared.refused
    assert prepared.source is not None, "a fork is prepared with its source"  # noqa: S101
    changed = (*request.values, *request.outputs)
    return runs.fork(
        prepared.source, prepared.source_seq, state.run_id, changed, command.request_id, now
    )
