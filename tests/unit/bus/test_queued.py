"""Requests that wait at the door, on a real server: where they stand, and how long one waits for an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from partsong.bus.queued import find_request
from partsong.client import Client, Queued
from partsong.client.requests import answered
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.testing.nats import Bus


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    async with Client(bus.url, prefix=bus.subjects.prefix, caller="billing", timeout=1.5) as ready:
        yield ready


async def asked(bus: Bus, subject: str, run_id: str) -> int:
    body = json.dumps({"id": f"q_{run_id}", "run_id": run_id, "graph": "g"}).encode()
    return (await bus.nc.jetstream().publish(subject, body)).seq


async def test_a_run_that_is_to_begin_stands_behind_those_of_its_caller_only(
    bus: Bus, client: Client
) -> None:
    for n in range(3):
        for caller in ("billing", "flood"):
            run_id = f"r_{caller}_{n}"
            await asked(bus, bus.subjects.beginning("run", caller, run_id), run_id)
    await asked(bus, bus.subjects.beginning("fork", "billing", "r_fork"), "r_fork")
    places = [await client.queued(f"r_billing_{n}") for n in range(3)]
    assert [(p.ahead, p.behind) for p in places if p] == [(0, 3), (1, 2), (2, 1)]
    forked = await client.queued("r_fork")
    assert forked is not None
    assert (forked.verb, forked.caller, forked.ahead, forked.behind) == ("fork", "billing", 3, 0)
    assert str(forked).endswith(": 4 of 4 in the lane of caller billing")


async def test_who_names_no_caller_shares_a_lane_with_all_who_do_not(
    bus: Bus, client: Client
) -> None:
    for n in range(3):
        await asked(bus, bus.subjects.request("run"), f"r_{n}")
    await bus.nc.jetstream().publish(bus.subjects.request("run"), b"no JSON")
    found = await client.queued("r_1")
    assert found is not None
    assert (found.caller, found.ahead, found.behind) == ("", 1, 2)
    assert "2 of 4 in the lane of callers without a name" in str(found)


async def test_what_has_been_taken_waits_no_more(bus: Bus, client: Client) -> None:
    seq = await asked(bus, bus.subjects.beginning("run", "billing", "r_1"), "r_1")
    assert isinstance(await find_request(bus.nc, bus.subjects, seq), Queued)
    await bus.nc.jetstream().delete_msg(bus.names.requests, seq)
    later = await asked(bus, bus.subjects.beginning("run", "billing", "r_2"), "r_2")
    assert later == seq + 1
    assert await find_request(bus.nc, bus.subjects, seq) is None
    assert await client.queued("r_1") is None


async def test_where_nobody_takes_requests_the_error_says_where_it_stands(
    bus: Bus, client: Client
) -> None:
    await asked(bus, bus.subjects.beginning("run", "billing", "r_before"), "r_before")
    with pytest.raises(Unavailable, match=r"request\.no_answer.*2 of 2 in the lane of caller bil"):
        await client.start("g", run_id="r_1")


def test_a_caller_that_cannot_stand_in_a_subject_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match=r"id\.invalid: caller 'a\.b'"):
        Client("nats://127.0.0.1:1", caller="a.b")


def test_a_caller_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSONG_CALLER", "no good")
    with pytest.raises(InvalidInput, match="caller 'no good'"):
        Client("nats://127.0.0.1:1")


def a_place(ahead: int) -> Queued:
    return Queued("run", "billing", "2026-01-01T00:00:00.000Z", ahead, 0)


async def test_an_answer_is_waited_for_as_long_as_the_line_moves() -> None:
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    places = [a_place(3), a_place(2), a_place(1), None]

    async def find() -> Queued | None:
        place = places.pop(0)
        if place is None:
            answer.set_result(b"accepted")
        return place

    assert await answered(answer, find, "q", 0.01) == b"accepted"
    assert places == []


AWAY = Unavailable("requests.unread", "the stream does not answer")


@pytest.mark.parametrize(
    "places",
    [
        [a_place(3), a_place(2), a_place(2)],
        [a_place(1), None, None],
        [None, None],
        [AWAY, AWAY],
        [None, a_place(2), AWAY],
    ],
)
async def test_it_is_not_waited_for_behind_a_line_that_stands_or_once_it_was_taken_and_lost(
    places: list[Queued | Unavailable | None],
) -> None:
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def find() -> Queued | None:
        place = places.pop(0)
        if isinstance(place, Unavailable):
            raise place
        return place

    with pytest.raises(Unavailable, match=r"request\.no_answer"):
        await answered(answer, find, "q", 0.01)
    assert places == []


@pytest.mark.parametrize("fails", [True, False])
async def test_an_answer_that_comes_during_the_last_look_counts(*, fails: bool) -> None:
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    looks = 0

    async def find() -> Queued | None:
        nonlocal looks
        looks += 1
        if looks == 2:
            answer.set_result(b"accepted")
            if fails:
                raise AWAY
        return a_place(2)

    assert await answered(answer, find, "q", 0.01) == b"accepted"


async def test_a_schedule_stands_behind_all_that_its_consumer_takes(
    bus: Bus, client: Client
) -> None:
    for n in range(3):
        await asked(bus, bus.subjects.request("run"), f"r_{n}")
    seq = await asked(bus, bus.subjects.request("schedule"), "s")
    found = await find_request(bus.nc, bus.subjects, seq)
    assert found is not None
    assert (found.verb, found.ahead, found.behind) == ("schedule", 3, 0)
    before = await client.queued("r_1")
    assert before is not None
    assert (before.ahead, before.behind) == (1, 2)
    cancel = await asked(bus, bus.subjects.request("cancel"), "r_1")
    found = await find_request(bus.nc, bus.subjects, cancel)
    assert found is not None
    assert str(found).endswith("1 of 1 among requests about runs")
