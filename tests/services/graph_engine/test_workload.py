"""The workload: how many runs may begin before the workers' queues are full."""

from __future__ import annotations

from partsong.graph_engine.workload import Reading, Workload


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_longer_queue_says_how_many_runs_may_begin() -> None:
    load = Workload(Clock())
    load.note([Reading("tool-runner", 6, 90), Reading("agent-gateway", 56, 7)])
    assert load.free == 200


def test_behind_full_queues_nobody_begins_until_work_is_taken() -> None:
    load = Workload(Clock())
    load.note([Reading("tool-runner", 3000, 90)])
    assert load.free == 0
    load.note([Reading("tool-runner", 200, 2890)])
    assert load.free == 56


def test_nobody_waits_for_a_queue_that_nobody_works_on() -> None:
    """The run says itself that it waits for a worker."""
    clock = Clock()
    load = Workload(clock)
    load.note([Reading("tool-runner", 3000, 90)])
    clock.now += 1.9
    load.note([Reading("tool-runner", 3000, 90)])
    assert load.free == 0
    clock.now += 0.2
    load.note([Reading("tool-runner", 3000, 90)])
    assert load.free == 256
    load.note([Reading("tool-runner", 2999, 91)])
    assert load.free == 0, "a worker has come"


def test_what_cannot_be_read_holds_nobody_up() -> None:
    load = Workload(Clock())
    load.note([Reading("tool-runner", 3000, 90)])
    load.note([])
    assert load.free == 256
