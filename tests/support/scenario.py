"""`given(graph, input).when(event).then(...)`: the decider's behaviour through its messages, and nothing else.

A scenario keeps the log a run would have. `simulate` plays a whole run with pure functions for nodes, finishing open
calls in any order a test likes, and `refolded` proves that the log alone gives the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.foreign.question import Evaluate, at_once
from partsong.contracts.graph import Graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.wire.work import FunctionWork
from partsong.engine.commands import runs, signals
from partsong.engine.decide import decide
from partsong.engine.work.hints import work_of

__all__ = ["NOW", "Function", "Scenario", "describe", "given", "simulate"]

NOW = "2026-01-01T00:00:00.000Z"
"""The only time a scenario knows, unless a test says another."""

Function: TypeAlias = Callable[[dict[str, JsonValue]], tuple[dict[str, JsonValue], str | None]]
"""A node in a simulation: state in, (update, label) out. Raising makes the call fail."""


class Scenario:
    """A run under test."""

    evaluate: Evaluate = staticmethod(at_once)
    """Answers what the graph's author wrote."""

    def __init__(
        self,
        graph: Graph | None,
        input: Mapping[str, JsonValue] | None = None,
        run_id: str = "r_1",
        options: e.RunOptions | None = None,
    ) -> None:
        self.log: list[e.Event] = []
        self.state = RunState(run_id)
        self.now = NOW
        self.new: list[e.Event] = []
        """What the last step decided."""
        if graph is not None:
            started = dict(input or {}), options or e.RunOptions()
            self.when(*runs.start(run_id, graph, *started, "q1", NOW))

    @classmethod
    def forked(cls, source: RunState, seq: int, run_id: str) -> Scenario:
        """A run that begins where another one is."""
        run = cls(None, run_id=run_id)
        return run.when(*runs.fork(source, seq, run_id, (), "q1", NOW))

    def work(self, call_id: str) -> FunctionWork:
        """What a tool-runner is told of an open function call."""
        work = work_of(self.state, self.state.calls[call_id])
        assert isinstance(work, FunctionWork)
        return work

    def when(self, *heard: e.Event) -> Scenario:
        """These events are appended; the engine decides."""
        self.log += heard
        self.state = fold_all(self.state, heard)
        self.new = []
        more = True
        while more:
            decision = decide(self.state, self.now, evaluate=self.evaluate)
            decided = [closing.event for closing in decision.closings] or [*decision.events]
            more = bool(decision.closings) or decision.more
            self.log += decided
            self.new += decided
            self.state = fold_all(self.state, decided)
        return self

    def then(self, *expected: str) -> Scenario:
        """The last step decided exactly these, as `type subject` lines in order."""
        decided = [describe(event) for event in self.new]
        assert decided == list(expected), f"decided {decided}, expected {list(expected)}"
        return self

    def stands(self, status: str) -> Scenario:
        """The run has this status."""
        assert self.state.status == status, f"it is {self.state.status}: {self.state.error}"
        return self

    def completes(
        self,
        call_id: str,
        update: Mapping[str, JsonValue] | None = None,
        label: str | None = None,
        **fields: JsonValue,
    ) -> Scenario:
        """A function or tool call returns."""
        return self.when(self.completion(call_id, update, label, **fields))

    def completion(
        self,
        call_id: str,
        update: Mapping[str, JsonValue] | None = None,
        label: str | None = None,
        **fields: JsonValue,
    ) -> e.CallCompleted:
        """The event of a call that returned."""
        attempt = self.state.calls[call_id].attempt if call_id in self.state.calls else 1
        return e.CallCompleted(
            id=f"{self.state.run_id}.{call_id}.{attempt}.closed",
            time=self.now,
            call_id=call_id,
            attempt=attempt,
            update=dict(update or {}),
            label=label,
            content=fields.get("content"),
        )

    def fails(
        self, call_id: str, *, code: str = "function.raised", retryable: bool = True
    ) -> Scenario:
        """A function or tool call raises."""
        attempt = self.state.calls[call_id].attempt
        return self.when(
            e.CallFailed(
                id=f"{self.state.run_id}.{call_id}.{attempt}.closed",
                time=self.now,
                call_id=call_id,
                attempt=attempt,
                error=Problem(code=code, message="it broke", retryable=retryable, fault="tool"),
            )
        )

    def decides(
        self,
        call_id: str,
        decision: str,
        by: str = "ann",
        reason: str | None = None,
        edited: JsonValue = None,
    ) -> Scenario:
        """A person decides."""
        return self.when(
            e.ApprovalDecided(
                id=f"{self.state.run_id}.{call_id}.decided",
                time=self.now,
                call_id=call_id,
                decision="approve" if decision == "approve" else "reject",
                by=by,
                reason=reason,
                edited=edited,
            )
        )

    def fires(self, timer_id: str) -> Scenario:
        """A timer's moment comes."""
        return self.when(*runs.fired(self.state, timer_id, self.now))

    def retries(self, graph: Graph | None = None, options: e.RunOptions | None = None) -> Scenario:
        """Somebody retries the ended run."""
        asked = f"q{len(self.log)}"
        return self.when(*runs.retry(self.state, graph, options, None, asked, self.now))

    def signals(
        self,
        name: str,
        payload: JsonValue = None,
        request_id: str = "s1",
        key: str | None = None,
    ) -> Scenario:
        """Somebody sends a signal."""
        return self.when(
            *signals.signal(self.state, name, payload, request_id, self.now, self.evaluate, key=key)
        )

    @property
    def refolded(self) -> RunState:
        """The state that the log alone gives."""
        return fold_all(RunState(self.state.run_id), self.log)


def given(graph: Graph, input: Mapping[str, JsonValue] | None = None) -> Scenario:
    """A run of `graph` that has just started."""
    return Scenario(graph, input)


def describe(event: e.Event) -> str:
    """`type subject` of an event, for expectations that read well."""
    subject = (
        getattr(event, "call_id", None)
        or getattr(event, "exec", None)
        or getattr(event, "timer_id", None)
        or ""
    )
    return f"{event.type} {subject}".strip()


def simulate(
    graph: Graph,
    functions: Mapping[str, Function],
    input: Mapping[str, JsonValue] | None = None,
    pick: Callable[[int], int] = lambda _n: 0,
    most: int = 10_000,
) -> Scenario:
    """Play a run of function nodes to its end; `pick(n)` chooses which of n open calls finishes next."""
    run = Scenario(graph, input)
    for _ in range(most):
        if run.state.ended:
            return run
        ready = [call for call in run.state.calls.values() if call.open]
        if not ready:
            raise AssertionError(f"the run hangs: {run.state}")
        run.when(_play(run, ready[pick(len(ready))], functions))
    raise AssertionError(f"no end after {most} calls")


def _play(run: Scenario, call: Call, functions: Mapping[str, Function]) -> e.Event:
    work = run.work(call.id)
    try:
        update, label = functions[work.node](dict(work.state))
    except Exception as error:
        return e.CallFailed(
            id=f"{run.state.run_id}.{call.id}.{call.attempt}.closed",
            time=run.now,
            call_id=call.id,
            attempt=call.attempt,
            error=Problem(code="function.raised", message=str(error), fault="tool"),
        )
    return run.completion(call.id, update, label)
