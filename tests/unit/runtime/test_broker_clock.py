"""The broker's clock: measured, corrected, and refused when it is too far from ours."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from partsong.contracts.errors import Unavailable
from partsong.runtime import clock
from partsong.runtime.broker_clock import BrokerClock, Measured, measure
from partsong.runtime.connect import connect, disconnect
from partsong.testing.nats import Bus
from tests.unit.runtime.other_clock import another_clock

HOUR = 3600
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def unmoved() -> Iterator[None]:
    yield
    clock.set_offset(0.0)


def measured(offset: float, error: float = 0.001) -> Measured:
    return Measured(NOON, NOON + timedelta(seconds=offset), error)


def of(bus: Bus, ahead: float = 0.0) -> BrokerClock:
    """A broker's clock for a machine whose own is ahead."""

    def ours() -> datetime:
        return clock.machine_now() + timedelta(seconds=ahead)

    return BrokerClock(bus.nc, bus.subjects, bus.names.timers, "told", "told-1~1", ours=ours)


async def test_a_server_on_this_machine_has_its_clock(bus: Bus) -> None:
    found = await measure(bus.nc, bus.names.timers)
    assert not found.skewed
    assert abs(found.offset) <= 0.1 + found.error


async def test_where_the_server_says_something_else_its_own_words_are_said(bus: Bus) -> None:
    assert await bus.nc.jetstream().delete_stream(bus.names.timers)
    with pytest.raises(Unavailable, match=rf"its time: {bus.names.timers}: stream not found"):
        await measure(bus.nc, bus.names.timers)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 2, -2])
async def test_a_server_whose_clock_is_wrong_is_measured_and_refused_with_both_times(
    bus: Bus, ahead: int
) -> None:
    async with another_clock(bus.url, ahead) as other:
        nc = await connect(other.url, name="test")
        found = await measure(nc, bus.names.timers)
        wrong = BrokerClock(nc, bus.subjects, bus.names.timers, "told", "told-1~1")
        with pytest.raises(Unavailable) as refused:
            await wrong.start()
        await disconnect(nc)
    assert abs(found.offset - ahead) <= 0.1 + found.error
    problem = refused.value.problem
    assert (problem.code, problem.fault) == ("clock.skew", "platform")
    assert "ahead of" in problem.message if ahead > 0 else "behind" in problem.message
    assert problem.message.count("T") == 2, "both clocks are told"
    assert clock.offset() == 0.0


async def test_a_machine_whose_clock_is_a_little_wrong_goes_by_the_brokers(bus: Bus) -> None:
    broker = of(bus, ahead=0.4)
    await broker.start()
    await broker.stop()
    assert -0.5 < clock.offset() < -0.3
    assert clock.now() < clock.machine_now() - timedelta(seconds=0.3)
    assert datetime.fromisoformat(clock.now_text()) < clock.machine_now()


@pytest.mark.parametrize(
    ("offset", "error", "skewed"),
    [(0.5, 0.0, False), (0.51, 0.001, True), (-0.51, 0.001, True), (0.9, 0.5, False)],
)
def test_half_a_second_is_tolerated_and_a_slow_answer_proves_nothing(
    offset: float, error: float, skewed: bool
) -> None:
    assert measured(offset, error).skewed is skewed


async def test_a_measurement_that_refutes_nothing_changes_nothing(bus: Bus) -> None:
    broker = of(bus)
    broker.take(measured(0.2))
    broker.take(measured(0.3, error=0.15))
    assert clock.offset() == 0.2
    broker.take(measured(0.4, error=0.15))
    assert clock.offset() == 0.4


async def test_clocks_that_drift_apart_are_corrected_and_said_once(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "partsong.clock")
    broker = of(bus)
    for offset in (0.1, 5.0, 6.0, 7.0):
        broker.take(measured(offset))
    assert clock.offset() == 7.0
    broker.take(measured(0.2))
    said = [(record.levelname, record.message) for record in caplog.records]
    assert said == [("WARNING", "clock.skew"), ("INFO", "clock.skew")]


async def test_a_clock_that_jumps_is_measured_at_once(bus: Bus) -> None:
    jump = timedelta()
    jumped = asyncio.Event()

    def ours() -> datetime:
        if jump:
            jumped.set()
        return clock.machine_now() + jump

    broker = BrokerClock(bus.nc, bus.subjects, bus.names.timers, "told", "told-1~1", ours=ours)
    await broker.start()
    jump = timedelta(hours=1)
    async with asyncio.timeout(30):
        await jumped.wait()
        while clock.offset() == 0.0:
            await bus.nc.flush()
            jumped.clear()
            await jumped.wait()
    await broker.stop()
    assert abs(clock.offset() + HOUR) < 1


async def test_whoever_asks_is_told_the_offset(bus: Bus) -> None:
    broker = of(bus)
    await broker.start()
    broker.take(measured(3.0))
    reply = await bus.nc.request(bus.subjects.query("told", "clock"), b"", timeout=10)
    await broker.stop()
    assert json.loads(reply.data) == {"worker": "told-1~1", "offset": 3.0}
