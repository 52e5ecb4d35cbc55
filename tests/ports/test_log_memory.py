"""The log in memory keeps the promises of the port."""

from __future__ import annotations

import asyncio

import pytest

from partsong.contracts.errors import Unavailable
from partsong.log.memory import MemoryLog
from partsong.log.port import Log
from partsong.testing.log_suite import LogSuite, take


class TestMemoryLog(LogSuite):
    @pytest.fixture
    def log(self) -> Log:
        return MemoryLog()


async def test_closing_ends_a_waiting_tail() -> None:
    log = MemoryLog()
    waiting = asyncio.create_task(take(log.tail(">"), 1))
    await asyncio.sleep(0)
    await log.close()
    with pytest.raises(Unavailable) as closed:
        await waiting
    assert closed.value.problem.code == "log.closed"
