"""Plays runs on the decider at the log's own grain: the engine's commits and the workers' reports are messages.

Who answers first, and whether the engine decides at once or after some more reports, is up to a random generator. What
is called, and how often, is counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.events.envelope import Commit, Report
from partsong.contracts.graph import WaitNode
from partsong.contracts.state.fold import fold_all, fold_message
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.wire.work import FunctionWork
from partsong.engine.commands import runs, signals
from partsong.engine.decide import decide
from partsong.engine.work.hints import work_of
from tests.support.graphs_strategy import Example
from tests.support.scenario import NOW
from tests.support.world import act, comes

__all__ = ["Message", "Player", "answer"]

Message = Commit | Report


class Player:
    """A run under way: its log, the state it amounts to, and the calls made for it."""

    def __init__(self, state: RunState, log: Iterable[Message] = (), seed: int = 0) -> None:
        self.state, self.log = state, list(log)
        self.random = random.Random(seed)
        self.calls: list[str] = []
        """Calls made here, in order."""

    @classmethod
    def start(cls, example: Example, seed: int = 0, options: e.RunOptions | None = None) -> Player:
        player = cls(RunState("r_1"), seed=seed)
        begun = example.graph, example.input, options or e.RunOptions()
        player.decide(*runs.start("r_1", *begun, "q1", NOW))
        return player

    def append(self, message: Message) -> None:
        self.log.append(message)
        self.state = fold_message(self.state, message, len(self.log))

    def report(self, *events: e.Event) -> None:
        self.append(Report(self.state.run_id, events))

    def decide(self, *heard: e.Event) -> None:
        """What the engine does in one turn."""
        while True:
            decision = decide(fold_all(self.state, heard), NOW)
            if not decision.closings:
                break
            for closing in decision.closings:
                self.report(closing.event)
        events = (*heard, *decision.events)
        if events:
            n = self.state.commits + 1
            self.append(Commit(self.state.run_id, n, len(self.log), "", "", events))

    def play(self, most: int = 2_000) -> Player:
        """Go on to the run's end."""
        self.decide()
        for _ in range(most):
            if self.state.ended:
                return self
            moves = list(self._moves())
            assert moves, f"the run hangs: {self.state}"
            self.random.choice(moves)()
        raise AssertionError(f"no end after {most} moves")

    def _moves(self) -> Iterable[Callable[[], None]]:
        for call in self.state.calls.values():
            if call.open:
                yield partial(self._answer, call)
        for timer in self.state.timers.values():
            if timer.purpose != "signal_deadline" or not self._comes(timer.exec or ""):
                yield partial(self.fire, timer.id)
        for execution in self.state.executions.values():
            node = self.state.node(execution)
            if isinstance(node, WaitNode) and node.signal and self._comes(execution.id):
                yield partial(self.signal, node.signal)

    def _comes(self, exec_id: str) -> bool:
        execution = self.state.execution(exec_id)
        return execution is not None and comes(self.state.view(execution), execution.node)

    def fire(self, timer_id: str) -> None:
        """A timer's moment comes."""
        self.decide(*runs.fired(self.state, timer_id, NOW))

    def signal(self, name: str) -> None:
        """Somebody sends a signal; its payload is its name."""
        asked = f"s{len(self.log)}"
        self.decide(*signals.signal(self.state, name, name, asked, NOW))

    def _answer(self, call: Call) -> None:
        """A worker reports; more often than not the engine decides before the next one does."""
        self.calls.append(call.id)
        self.report(answer(self.state, call))
        if self.random.random() < 0.7 or not any(call.open for call in self.state.calls.values()):
            self.decide()

    def answer_late(self) -> None:
        """Some workers report, though the run has ended."""
        for call in list(self.state.calls.values()):
            if call.open and self.random.random() < 0.5:
                self.calls.append(call.id)
                self.report(answer(self.state, call))

    @property
    def events(self) -> list[e.Event]:
        return [event for message in self.log for event in message.events]

    @property
    def scheduled(self) -> set[str]:
        """All executions so far."""
        return {event.exec for event in self.events if isinstance(event, e.NodeScheduled)}

    @property
    def completed(self) -> set[str]:
        return {event.exec for event in self.events if isinstance(event, e.NodeCompleted)}


def answer(state: RunState, call: Call) -> e.Event:
    """What a tool-runner reports of a call."""
    work = work_of(state, call)
    assert isinstance(work, FunctionWork)
    id_ = f"{state.run_id}.{call.id}.{call.attempt}.closed"
    try:
        done = act(work.node, dict(work.state), call.attempt)
    except ValueError as error:
        problem = Problem(code="function.raised", message=str(error), retryable=True, fault="tool")
        return e.CallFailed(id=id_, time=NOW, call_id=call.id, attempt=call.attempt, error=problem)
    return e.CallCompleted(
        id=id_,
        time=NOW,
        call_id=call.id,
        attempt=call.attempt,
        update=done.update,
        label=done.label,
        goto=done.goto,
    )
