"""A takeover is said when all runs that were open have been looked after, and none holds the others up for ever."""

from __future__ import annotations

from collections.abc import Coroutine

import pytest

from partsong.contracts.errors import Unavailable
from partsong.graph_engine.takeover import Takeover
from tests.services.graph_engine.clocks import Still


class Told:
    """Hears of a takeover; to be made in a test's own task, whose clock it sets."""

    def __init__(self) -> None:
        self.clock = Still()
        self.times, self.deaf = 0, False
        self.takeover = Takeover(self.tell, self.spawn)

    async def tell(self) -> None:
        if self.deaf:
            raise Unavailable("bucket.no_answer", "not now", retryable=True)
        self.times += 1

    @staticmethod
    def spawn(work: Coroutine[None, None, None]) -> None:
        with pytest.raises(StopIteration):
            work.send(None)  # it waits for nothing


async def test_it_is_said_at_once_where_no_run_is_open() -> None:
    told = Told()
    told.takeover.begin([])
    assert told.times == 1


async def test_it_is_said_when_the_last_run_has_been_looked_after() -> None:
    told = Told()
    told.takeover.look()
    told.takeover.begin(["r_1", "r_2"])
    for run_id in ("r_1", "r_other", "r_1"):
        told.takeover.done(run_id)
        told.takeover.look()
    assert told.times == 0
    told.takeover.done("r_2")
    told.takeover.look()
    assert told.times == 1


async def test_a_run_that_comes_to_nothing_is_waited_for_a_minute() -> None:
    told = Told()
    told.takeover.begin(["r_1"])
    told.clock.at += 59.0
    told.takeover.look()
    assert told.times == 0
    told.clock.at += 2.0
    told.takeover.look()
    assert told.times == 1


async def test_it_is_said_again_when_it_was_not_heard_and_now_and_then() -> None:
    told = Told()
    told.deaf = True
    told.takeover.begin([])
    told.deaf = False
    told.takeover.look()
    told.takeover.look()
    assert told.times == 1
    told.clock.at += 31.0
    told.takeover.look()
    assert told.times == 2


async def test_nothing_is_said_of_a_partition_that_was_given_back() -> None:
    told = Told()
    told.takeover.begin(["r_1"])
    told.takeover.drop()
    told.takeover.done("r_1")
    told.clock.at += 100.0
    told.takeover.look()
    assert told.times == 0
