"""The workload: how many runs may begin before the workers' queues are full."""

from __future__ import annotations

from partsong.graph_engine.workload import Reading, Workload


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def a_workload(*services: str, clock: Clock | None = None) -> Workload:
    return Workload(lambda service: service in services, clock or Clock())


BOTH = ("tool-runner", "agent-gateway")


def test_the_longer_queue_says_how_many_runs_may_begin() -> None:
    load = a_workload(*BOTH)
    load.note([Reading("tool-runner", 6), Reading("agent-gateway", 44)])
    assert load.free == 20
    load.took()
    assert load.free == 19


def test_behind_a_full_queue_nobody_begins_until_work_is_taken_however_long_a_call_takes() -> None:
    clock = Clock()
    load = a_workload(*BOTH, clock=clock)
    for _ in range(50):
        load.note([Reading("tool-runner", 3000)])
        assert load.free == 0
        clock.now += 10
    load.note([Reading("tool-runner", 40)])
    assert load.free == 24


def test_nobody_waits_for_a_queue_that_has_no_workers() -> None:
    """The run says itself that it waits for one."""
    load = a_workload("agent-gateway")
    load.note([Reading("tool-runner", 3000), Reading("agent-gateway", 60)])
    assert load.free == 4


def test_on_the_strength_of_an_old_reading_only_a_few_begin() -> None:
    clock = Clock()
    load = a_workload(*BOTH, clock=clock)
    load.note([Reading("tool-runner", 0)])
    assert load.free == 64
    clock.now += 600
    begun = 0
    while load.free > 0:
        load.took()
        begun += 1
    assert begun == 16


def test_what_cannot_be_read_holds_nobody_up() -> None:
    load = a_workload(*BOTH)
    load.note([Reading("tool-runner", 3000)])
    load.note([])
    assert load.free == 64
