"""Schedules over a real bus: the server's timers start runs, each moment one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from nats.js.errors import NotFoundError

from partsong.client.requests import ask
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import CommandSettled
from partsong.contracts.wire.headers import ASKED, LATE, SCHEDULE, SCHEDULE_TARGET, SET_FOR
from partsong.contracts.wire.requests import ScheduleRequest, UnscheduleRequest
from partsong.graph_engine import worker
from partsong.graph_engine.schedules import Firing, run_of
from partsong.runtime import clock
from partsong.testing.nats import Bus
from tests.system import graphs
from tests.system.engines import an_engine, replace_engine, signal, until
from tests.system.platform import Platform, a_platform

GATE = {
    "name": "gate",
    "entry": "wait",
    "nodes": {"wait": {"type": "wait", "signal": "go"}},
}
NEVER = "0 0 0 29 2 *"
"""Not while a test runs, but for one midnight in four years."""


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


async def schedule(platform: Platform, name: str = "tick", **fields: Any) -> None:
    request = ScheduleRequest.model_construct(
        id=f"q_{clock.new_id()}", name=name, **{"graph": GATE, **fields}
    )
    client = platform.client
    await ask(client.nats, client.subjects, "schedule", request.id, request, within=20)


async def unschedule(platform: Platform, name: str = "tick") -> None:
    client, request = platform.client, UnscheduleRequest(id=f"q_{clock.new_id()}", name=name)
    await ask(client.nats, client.subjects, "unschedule", request.id, request, within=20)


async def listed(bus: Bus) -> list[dict[str, Any]]:
    reply = await bus.nc.request(bus.subjects.query("graph-engine", "schedules"), b"{}", timeout=10)
    found: list[dict[str, Any]] = json.loads(reply.data)
    return found


async def begun(platform: Platform, count: int) -> list[str]:
    """The first runs that begin, in order."""
    found: list[str] = []
    client = platform.client
    async with asyncio.timeout(30), aclosing(client.log.tail(client.subjects.commits())) as records:
        async for record in records:
            run_id = client.subjects.parse_log(record.subject).run_id
            if run_id not in found:
                found.append(run_id)
            if len(found) == count:
                return found
    raise AssertionError("a tail does not end")


async def refused(platform: Platform, run_id: str) -> str | None:
    """Why a run did not begin."""
    async for placed in platform.client.events(run_id):
        if isinstance(placed.event, CommandSettled) and placed.event.error is not None:
            return placed.event.error.code
    return None


async def fire(bus: Bus, name: str = "tick", headers: dict[str, str] | None = None) -> None:
    """What the server does when a schedule's time has come; returns when an engine has dealt with it."""
    js = bus.nc.jetstream()
    newest = (await js.publish(bus.subjects.scheduled(name), b"", headers=headers)).seq
    async with asyncio.timeout(30):
        floor = None
        while floor is None or floor.stream_seq < newest:
            floor = (await js.consumer_info(bus.names.timers, "engine")).ack_floor


async def test_an_interval_starts_runs_named_after_their_moments(
    bus: Bus, platform: Platform
) -> None:
    await schedule(platform, every=1.0, graph=graphs.chain().spec().spec(), input={"x": 1})
    runs = await begun(platform, 2)
    await unschedule(platform)
    for run_id in runs:
        result = await platform.client.result(run_id, timeout=30)
        assert (result.status, result["x"], result["path"]) == ("completed", 1, "A")
        assert (await platform.client.state(run_id)).options.labels == {"schedule": "tick"}
        assert run_id.startswith("tick~2")
        commands = platform.client.log.read(bus.subjects.run(run_id))
        asked = [record.headers.get(ASKED) async for record in commands]
        assert asked[0], "a restore goes by when its moment came, not by when the log says so"


async def test_schedules_are_listed_as_they_were_asked_for_and_replaced_by_name(
    bus: Bus, platform: Platform
) -> None:
    await schedule(platform, cron="0 30 9 * * mon-fri", timezone="Europe/Berlin")
    await schedule(platform, name="other", every=3600.0)
    await schedule(platform, cron=NEVER, overlap="allow")
    other, tick = await listed(bus)
    assert (other["name"], other["every"]) == ("other", 3600.0)
    assert (tick["name"], tick["cron"], tick["overlap"]) == ("tick", NEVER, "allow")
    assert tick["graph"].startswith("sha256:")
    await unschedule(platform)
    assert [found["name"] for found in await listed(bus)] == ["other"]
    timers = await bus.nc.jetstream().stream_info(bus.names.timers, subjects_filter=">")
    assert bus.subjects.schedule("tick") not in (timers.state.subjects or {})


async def test_a_moment_is_skipped_while_the_run_before_is_open(
    bus: Bus, platform: Platform
) -> None:
    await schedule(platform, cron=NEVER)
    await fire(bus)
    (first,) = await begun(platform, 1)
    await fire(bus)
    _, skipped = await begun(platform, 2)
    assert await refused(platform, skipped) == "thread.busy"
    assert [run.run_id for run in await platform.client.runs()] == [first]
    await until(platform, first, "waiting")
    await signal(platform, first)
    await platform.client.result(first, timeout=30)
    await fire(bus)
    await begun(platform, 3)
    assert len(await platform.client.runs()) == 2


async def test_moments_queue_up_if_they_shall_and_outlive_the_engine(
    bus: Bus, platform: Platform
) -> None:
    await schedule(platform, cron=NEVER, overlap="enqueue")
    await fire(bus)
    await fire(bus)
    first, second = await begun(platform, 2)
    assert (await platform.client.state(second)).phase == "queued"
    await replace_engine(platform)
    for run_id in (first, second):
        await until(platform, run_id, "waiting")
        await signal(platform, run_id)
        assert (await platform.client.result(run_id, timeout=30)).status == "completed"


async def waiting(bus: Bus) -> set[str]:
    """The subjects of all timers that are set."""
    info = await bus.nc.jetstream().stream_info(bus.names.timers, subjects_filter=">")
    return set(info.state.subjects or {})


async def test_timers_that_were_lost_are_set_again_when_an_engine_starts(
    bus: Bus, platform: Platform
) -> None:
    """Those of schedules, and those of runs; a schedule that was dropped stays so."""
    for name in ("tick", "tock", "gone"):
        await schedule(platform, name, cron=NEVER)
    pause = {"name": "p", "nodes": {"w": {"type": "wait", "seconds": 3600}}}
    await platform.client.start(pause, run_id="r_p")
    await until(platform, "r_p", "waiting")
    await unschedule(platform, "gone")
    kept = {bus.subjects.schedule("tick"), bus.subjects.schedule("tock")}
    kept.add(bus.subjects.timer("r_p", "w:1/w0"))
    assert kept <= await waiting(bus)
    await bus.nc.jetstream().purge_stream(bus.names.timers)
    assert await waiting(bus) == set()
    await replace_engine(platform)
    async with asyncio.timeout(30):
        while await waiting(bus) != kept:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.05)
    await fire(bus)
    await begun(platform, 2)
    assert len(await platform.client.runs()) == 2


async def next_of(bus: Bus, name: str = "tick") -> dict[str, str]:
    """The headers of the timer that waits for a schedule's next moment."""
    async with asyncio.timeout(30):
        while True:
            with suppress(NotFoundError):
                js = bus.nc.jetstream()
                found = await js.get_last_msg(bus.names.timers, bus.subjects.schedule(name))
                return dict(found.headers or {})
            await asyncio.sleep(0.02)


async def test_moments_of_a_cron_expression_follow_each_other_through_the_changes_of_clocks(
    bus: Bus, platform: Platform
) -> None:
    """Each firing sets the next: at half past three when there is no half past two, then at the first of two."""
    await schedule(platform, cron="30 2 * * *", timezone="Europe/Berlin", overlap="enqueue")
    moments = []
    for day in ("2040-03-24T01:30", "2040-03-25T01:30", "2040-10-27T00:30", "2040-10-28T00:30"):
        await fire(bus, headers={SET_FOR: f"{day}:00.000Z"})
        following = await next_of(bus)
        assert following[SCHEDULE] == f"@at {following[SET_FOR]}"
        moments.append(following[SET_FOR])
    assert moments == [
        "2040-03-25T01:30:00.000Z", "2040-03-26T00:30:00.000Z",
        "2040-10-28T00:30:00.000Z", "2040-10-29T01:30:00.000Z",
    ]  # fmt: skip
    assert (await begun(platform, 1)) == ["tick~20400324T013000000Z"]


async def test_a_moment_that_is_delivered_twice_is_one_run_and_the_next_one_comes(
    bus: Bus, platform: Platform
) -> None:
    await schedule(platform, cron="0 0 0 1 1 *", overlap="allow")
    for _ in range(2):
        await fire(bus, headers={SET_FOR: "2040-01-01T00:00:00.000Z"})
    assert (await next_of(bus))[SET_FOR] == "2041-01-01T00:00:00.000Z"
    assert [run.run_id for run in await platform.client.runs()] == ["tick~20400101T000000000Z"]


async def test_a_cron_expression_runs_second_by_second_with_two_engines(
    bus: Bus, platform: Platform
) -> None:
    async with an_engine(platform.settings):
        await schedule(platform, cron="* * * * * *", overlap="allow")
        runs = await begun(platform, 4)
        await unschedule(platform)
    first = datetime.fromisoformat(runs[0].removeprefix("tick~").replace("000Z", "Z"))
    assert runs == [f"tick~{first + timedelta(seconds=n):%Y%m%dT%H%M%S}000Z" for n in range(4)]


async def test_what_was_due_while_no_engine_ran_is_made_up_for_and_an_outage_of_the_server_is_not(
    bus: Bus, platform: Platform
) -> None:
    """The server fires on time while there is no engine; after an outage it fires late."""
    await schedule(platform, cron="0 * * * *", overlap="allow")
    hour = (clock.now() - timedelta(hours=3)).replace(minute=0, second=0, microsecond=0)
    late = {SET_FOR: clock.to_text(hour), LATE: "1"}
    await fire(bus, headers=late)
    names = [f"tick~{hour + timedelta(hours=n):%Y%m%dT%H%M%S}000Z" for n in range(4)]
    assert await begun(platform, 4) == names
    await fire(bus, headers={SET_FOR: clock.to_text(hour - timedelta(hours=9))})
    following = await next_of(bus)
    assert clock.to_text(clock.now() - timedelta(seconds=5)) < following[SET_FOR]
    assert LATE not in following
    missed = f"tick~{hour - timedelta(hours=9):%Y%m%dT%H%M%S}000Z"
    assert await begun(platform, 5) == [*names, missed]


async def test_a_timer_of_an_earlier_version_makes_place_for_the_next_moment(
    bus: Bus, platform: Platform
) -> None:
    await schedule(platform, cron=NEVER)
    subject, target = bus.subjects.schedule("tick"), bus.subjects.scheduled("tick")
    of_before = {SCHEDULE: NEVER, SCHEDULE_TARGET: target}
    assert json.loads((await bus.nc.request(subject, b"", headers=of_before)).data)["seq"]
    assert SET_FOR not in await next_of(bus)
    await replace_engine(platform)
    async with asyncio.timeout(30):
        while SET_FOR not in await next_of(bus):  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.05)


async def test_an_interval_takes_its_place_again_from_a_cron_expression(
    bus: Bus, platform: Platform
) -> None:
    """A moment of the expression before may be in some engine's hands while the interval is set."""
    await schedule(platform, every=3600.0)
    await fire(bus, headers={SET_FOR: "2040-01-01T00:00:00.000Z"})
    assert (await next_of(bus))[SCHEDULE].startswith("@every")


async def test_a_schedule_that_waits_is_left_as_it_is_when_an_engine_starts(
    bus: Bus, platform: Platform
) -> None:
    """Setting an interval again would begin it anew."""
    await schedule(platform, every=3600.0)
    js, subject = bus.nc.jetstream(), bus.subjects.schedule("tick")
    before = (await js.get_last_msg(bus.names.timers, subject)).seq
    await schedule(platform, "lost", cron=NEVER)
    await js.purge_stream(bus.names.timers, subject=bus.subjects.schedule("lost"))
    await replace_engine(platform)
    async with asyncio.timeout(30):
        while bus.subjects.schedule("lost") not in await waiting(bus):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (await js.get_last_msg(bus.names.timers, subject)).seq == before


async def test_a_timer_that_is_lost_under_a_running_engine_is_set_again(
    bus: Bus, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LOOK", 0.05)  # half a minute is too long for a test
    await replace_engine(platform)
    await schedule(platform, "lost", cron=NEVER)
    await bus.nc.jetstream().purge_stream(bus.names.timers)
    async with asyncio.timeout(30):
        while bus.subjects.schedule("lost") not in await waiting(bus):  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.05)


async def test_a_schedule_that_cannot_be_read_keeps_no_other_from_anything(
    bus: Bus, platform: Platform
) -> None:
    bucket = await bus.nc.jetstream().key_value(bus.names.schedules)
    for name, value in (("a", b"not json"), ("b", b"[" * 5000), ("c", b'{"name": "c"}')):
        await bucket.put(name, value)
    await schedule(platform, "kept", cron=NEVER)
    assert [one["name"] for one in await listed(bus)] == ["kept"]
    assert [one.name for one in await platform.client.schedules()] == ["kept"]
    await bus.nc.jetstream().purge_stream(bus.names.timers)
    await replace_engine(platform)
    subject = bus.subjects.schedule("kept")
    async with asyncio.timeout(60):
        while subject not in await waiting(bus):  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.05)


async def test_a_moment_whose_schedule_is_gone_starts_nothing(bus: Bus, platform: Platform) -> None:
    await schedule(platform, cron=NEVER)
    await unschedule(platform)
    await fire(bus)
    assert await platform.client.runs() == []


def test_a_moment_delivered_twice_asks_for_the_same_run() -> None:
    plan = ScheduleRequest(id="q", name="tick", every=1.0, graph="g")
    run = run_of(plan, Firing(1_700_000_000_123_456_789).moment)
    assert run == run_of(plan, Firing(1_700_000_000_123_456_789).moment)
    assert run.run_id == "tick~20231114T221320123Z"
    assert (run.options.thread, run.options.on_busy) == ("schedule:tick", "reject")
    assert run_of(plan, Firing(1_700_000_000_124_456_789).moment).run_id != run.run_id


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        ({"cron": "61 * * * * *"}, "schedule.bad_cron", "cron"),
        ({"cron": "30 9 *"}, "schedule.bad_cron", "cron"),
        ({"cron": "0 0 31 2 *"}, "schedule.bad_cron", "cron"),
        ({"cron": "@every 1s"}, "schedule.bad_cron", "cron"),
        ({"cron": "* * * * * *\r\nX: y"}, "schedule.bad_cron", "cron"),
        ({"cron": NEVER, "timezone": "Mars/Base"}, "schedule.bad_timezone", "timezone"),
        ({"every": 60.0, "timezone": "Europe/Berlin"}, "schedule.bad_timezone", "timezone"),
        ({"every": 0.5}, "schedule.too_often", "every"),
        ({"every": -1.0}, "duration.invalid", "every"),
        ({"every": 60.0, "cron": NEVER}, "request.malformed", ""),
        ({"every": 60.0, "name": "a.b"}, "request.malformed", "name"),
        ({"every": 60.0, "graph": "nobody-knows"}, "graph.unknown", "graph"),
    ],
)
async def test_a_schedule_that_cannot_be_kept_is_refused_naming_the_field(
    bus: Bus, platform: Platform, fields: dict[str, Any], code: str, where: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await schedule(platform, **fields)
    assert (caught.value.problem.code, caught.value.problem.where or "") == (code, where)
    assert await listed(bus) == []


async def test_an_unknown_schedule_cannot_be_dropped(platform: Platform) -> None:
    with pytest.raises(InvalidInput, match="no schedule is called 'tick'"):
        await unschedule(platform)
