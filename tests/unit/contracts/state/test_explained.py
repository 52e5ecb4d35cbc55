"""One sentence for every way in which a run can sit still."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.frozen import replace
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.explained import explained
from partsong.contracts.state.fold import fold, fold_all
from partsong.contracts.state.state import RunState
from partsong.engine.commands import runs
from tests.support.scenario import Scenario, given

FUNCTION = {"type": "function", "function": "m:f"}


def of(node: Mapping[str, object]) -> Graph:
    return parse_graph({"name": "t", "entry": "a", "nodes": {"a": node}})


def saga() -> Scenario:
    nodes = {"a": {**FUNCTION, "compensate": "m:undo"}, "b": FUNCTION}
    edges = [{"from": "a", "to": "b"}]
    run = given(parse_graph({"name": "t", "entry": "a", "nodes": nodes, "edges": edges}))
    return run.completes("a:1").fails("b:1")


def failed(code: str) -> Callable[[], RunState]:
    return lambda: given(of({**FUNCTION, "retry": {"attempts": 3}})).fails("a:1", code=code).state


def mapped() -> RunState:
    inner = {"name": "i", "nodes": {"x": FUNCTION}}
    node = {"type": "map", "over": "items", "graph": inner, "into": "out", "max_concurrency": 2}
    return given(of(node), {"items": [1, 2, 3, 4, 5]}).state


def queued() -> RunState:
    options = e.RunOptions(thread="ann")
    started = runs.start("r_1", of(FUNCTION), {}, options, "q", "2026", queued=True)
    return fold_all(RunState("r_1"), started)


def paused() -> RunState:
    state = given(of(FUNCTION)).state
    return fold_all(state, runs.pause(state, "why", "q", "2026"))


def away() -> RunState:
    return replace(given(of(FUNCTION)).state, absent={"tool-runner": "no tool-runner is running"})


def parked() -> RunState:
    problem = Problem(code="engine.fault", message="it broke", fix="report it", fault="platform")
    return fold(given(of(FUNCTION)).state, e.RunParked(id="r_1.parked.2", error=problem))


def undoing() -> RunState:
    return saga().fails("a:1/undo").state


def not_undone() -> RunState:
    run = saga()
    while not run.state.ended:
        run.fails("a:1/undo")
        if timer := run.state.calls["a:1/undo"].waits if "a:1/undo" in run.state.calls else None:
            run.fires(timer)
    return run.state


CASES: list[tuple[Callable[[], RunState], tuple[str, ...]]] = [
    (lambda: given(of(FUNCTION)).state, ("at work: a:1 (function m:f", "without a timeout")),
    (failed("function.not_found"), ("a:1 waits for a worker", "waiting for function m:f")),
    (failed("function.raised"), ("a:1 is tried again since", "until", "function.raised")),
    (failed("provider.rate_limited"), ("a:1 waits for its provider's rate limit", "until")),
    (lambda: given(of({"type": "approval", "title": "?"})).state, ("a person to decide a:1",)),
    (lambda: given(of({"type": "wait", "signal": "go"})).state, ("waits for the signal go",)),
    (lambda: given(of({"type": "wait", "seconds": 9})).state, ("a:1 waits for its time", "until")),
    (mapped, ("at work", "3 items of a:1 wait for a place, max_concurrency is 2")),
    (queued, ("queued since", "thread ann")),
    (paused, ("paused", "a:1 (function m:f")),
    (away, ("a:1 waits for a worker", "no tool-runner is running")),
    (parked, ("parked", "no engine decides on it", "it broke", "report it")),
    (undoing, ("is ending as failed", "a:1 is being undone by m:undo", "tried again after")),
    (not_undone, ("not undone, so undo it by hand: a:1: function.raised",)),
]


@pytest.mark.parametrize(("state", "words"), CASES)
def test_a_run_that_sits_still_says_why(
    state: Callable[[], RunState], words: tuple[str, ...]
) -> None:
    said = explained(state())
    assert all(word in said for word in words), said
    assert "\n" not in said


def test_a_run_is_parked_until_an_engine_decides_on_it() -> None:
    state = parked()
    assert state.phase == "waiting"
    heard = fold(state, e.TimerFired(id="t", timer_id="t"))
    assert heard.parked is not None
    assert fold(heard, e.RunPaused(id="p")).parked is None


def test_a_run_that_has_ended_well_has_nothing_to_say() -> None:
    assert explained(given(of(FUNCTION)).completes("a:1").state) == ""


def test_a_function_with_a_timeout_is_not_said_to_have_none() -> None:
    assert "without" not in explained(given(of({**FUNCTION, "timeout": 5})).state)


def test_what_could_not_be_undone_is_in_the_state_and_what_could_is_not() -> None:
    assert list(not_undone().uncompensated) == ["a:1"]
    assert saga().completes("a:1/undo").state.uncompensated == {}
