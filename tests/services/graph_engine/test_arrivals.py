"""Arrivals: parked calls are offered to whoever comes, at once and when it has settled."""

from __future__ import annotations

from partsong.contracts.wire.heartbeat import Beat
from partsong.graph_engine.arrivals import Arrivals


def beat(name: str, service: str = "tool-runner", *, stopped: bool = False) -> Beat:
    return Beat(service=service, name=name, incarnation="1", started="", stopped=stopped)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_worker_that_comes_is_told_twice_and_then_no_more() -> None:
    beats, clock = dict[str, Beat](), Clock()
    arrived = Arrivals(beats, clock)
    assert not arrived()
    beats["a"] = beat("a")
    assert arrived()
    assert not arrived()
    clock.now += 8
    assert arrived(), "it beats before it has loaded what it has"
    clock.now += 800
    assert not arrived()


def test_a_worker_that_comes_back_has_come_again() -> None:
    beats, clock = {"a": beat("a")}, Clock()
    arrived = Arrivals(beats, clock)
    assert arrived()
    beats["a"] = beat("a", stopped=True)
    assert not arrived()
    beats["a"] = beat("a")
    assert arrived()


def test_only_tool_runners_have_what_calls_lack() -> None:
    assert not Arrivals({"g": beat("g", "agent-gateway")}, Clock())()
