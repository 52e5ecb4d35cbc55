"""Patience: it lasts while somebody works, and ends when nobody does."""

from __future__ import annotations

import os

from partsong.runtime.progress import Patience, state, used


class World:
    """Processor time and a clock, both set by hand."""

    def __init__(self) -> None:
        self.now = self.work = 0.0
        self.patience = Patience(15, lambda: [1], work=lambda _pid: self.work, now=lambda: self.now)

    def over_within(self, seconds: float, *, share: float = 0.0) -> bool:
        """Look once a second while a process uses a share of a processor."""
        for _ in range(int(seconds)):
            self.now, self.work = self.now + 1, self.work + share
            if self.patience.over:
                return True
        return False


def test_who_does_nothing_is_given_up_after_the_time() -> None:
    world = World()
    assert not world.over_within(14)
    assert world.over_within(2)


def test_who_works_is_waited_for_however_long_it_takes() -> None:
    world = World()
    assert not world.over_within(1000, share=0.2)
    assert world.over_within(16)


def test_one_of_many_on_an_overloaded_machine_is_waited_for() -> None:
    assert not World().over_within(1000, share=0.06)


def test_who_only_waits_makes_no_progress() -> None:
    assert World().over_within(16, share=0.02)


def test_time_in_which_whoever_looks_was_held_up_is_not_counted() -> None:
    world = World()
    for _ in range(14):
        world.now += 100
        assert not world.patience.over
    assert world.patience.idle == 14
    assert world.over_within(2)


def test_who_is_started_again_and_again_makes_no_progress() -> None:
    world = World()
    over = False
    for _ in range(8):
        for work in (0.5, 1.0, 0.0):
            world.now, world.work = world.now + 1, work
            over = over or world.patience.over
    assert over


def test_nobody_is_waited_for_longer_than_an_hour() -> None:
    assert World().over_within(3601, share=0.2)


def test_the_time_that_a_process_has_used_is_told() -> None:
    before = used(os.getpid())
    while used(os.getpid()) - before < 0.02:
        sum(range(100_000))
    assert used(2**22 + 1) == 0.0


def test_the_state_of_a_process_is_told() -> None:
    assert state(os.getpid()) in {"R", "S", ""}
    assert state(2**22 + 1) == ""
