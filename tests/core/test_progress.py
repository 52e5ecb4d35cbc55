"""Patience: it lasts while somebody works, and ends when nobody does."""

from __future__ import annotations

import os

from partsong.runtime.progress import Patience, used


class World:
    """Processor time and a clock, both set by hand."""

    now, work = 0.0, 0.0

    def patience(self) -> Patience:
        return Patience(15, lambda: [1], work=lambda _pid: self.work, now=lambda: self.now)


def test_who_does_nothing_is_given_up_after_the_time() -> None:
    world = World()
    patience = world.patience()
    world.now = 14
    assert not patience.over
    world.now = 16
    assert patience.over


def test_who_works_is_waited_for_however_long_it_takes() -> None:
    world = World()
    patience = world.patience()
    for _ in range(100):
        world.now, world.work = world.now + 10, world.work + 2
        assert not patience.over
    world.now += 16
    assert patience.over


def test_who_only_waits_makes_no_progress() -> None:
    world = World()
    patience = world.patience()
    over = False
    for _ in range(3):
        world.now, world.work = world.now + 6, world.work + 0.1
        over = patience.over
    assert over


def test_who_is_started_again_and_again_makes_no_progress() -> None:
    world = World()
    patience = world.patience()
    over = False
    for _ in range(5):
        for work in (0.5, 1.0, 0.0):
            world.now, world.work = world.now + 2, work
            over = patience.over
    assert over


def test_nobody_is_waited_for_longer_than_an_hour() -> None:
    world = World()
    patience = world.patience()
    over = False
    for _ in range(361):
        world.now, world.work = world.now + 10, world.work + 2
        over = patience.over
    assert over


def test_the_time_that_a_process_has_used_is_told() -> None:
    before = used(os.getpid())
    while used(os.getpid()) - before < 0.02:
        sum(range(100_000))
    assert used(2**22 + 1) == 0.0
