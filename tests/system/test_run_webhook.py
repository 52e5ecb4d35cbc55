"""The webhook of a run, over a real bus and a real HTTP server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

import pytest

from partsong.client.requests import ask
from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.wire.requests import RunRequest
from partsong.engine.commands import signals
from partsong.runtime import clock
from partsong.testing.nats import Bus
from tests.support.web import Web, answer, web
from tests.system.engines import dies_after, events_until, replace_engine, until
from tests.system.platform import Platform, a_platform

GATE = {
    "name": "gate",
    "entry": "wait",
    "nodes": {"wait": {"type": "wait", "signal": "go"}},
}
CHAIN = {
    "name": "chain",
    "entry": "a",
    "nodes": {"a": {"type": "function", "function": "tests.system.nodes:path_a"}},
}


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    async with web() as site:
        monkeypatch.setenv("PARTSONG_HTTP_ALLOW", site.here)
        site.routes["/hook"] = answer(status=204)
        yield site


async def start(platform: Platform, graph: Mapping[str, object], url: str) -> str:
    run_id, client = clock.new_run_id(), platform.client
    request = RunRequest.model_validate(
        {"id": f"q_{run_id}", "run_id": run_id, "graph": graph, "options": {"webhook": url}}
    )
    await ask(client.nats, client.subjects, "run", request.id, request, within=20)
    return run_id


async def test_a_run_that_has_ended_is_told_and_that_is_in_the_log(
    platform: Platform, site: Web
) -> None:
    run_id = await start(platform, CHAIN, site.url("/hook"))
    notified = (await events_until(platform, run_id, "run.notified"))[-1]
    assert isinstance(notified, e.RunNotified)
    assert (notified.attempts, notified.error) == (1, None)
    (asked,) = site.asked
    told = json.loads(asked.body)
    assert (told["type"], told["data"]["run_id"]) == ("run.completed", run_id)
    assert told["data"]["state"] == {"path": "A"}
    assert asked.headers["webhook-id"] == f"{run_id}/webhook"
    assert (await platform.client.replay(run_id)).ok
    assert (await platform.client.result(run_id, timeout=20)).status == "completed"


async def test_a_receiver_in_trouble_is_asked_again_at_a_durable_timer(
    bus: Bus, platform: Platform, site: Web
) -> None:
    site.routes["/hook"] = answer(status=503)
    run_id = await start(platform, CHAIN, site.url("/hook"))
    timer = (await events_until(platform, run_id, "timer.set"))[-1]
    assert isinstance(timer, e.TimerSet)
    await replace_engine(platform)
    site.routes["/hook"] = answer(status=204)
    await bus.nc.jetstream().publish(bus.subjects.fired(run_id, timer.timer_id), b"")
    notified = (await events_until(platform, run_id, "run.notified"))[-1]
    assert isinstance(notified, e.RunNotified)
    assert (notified.attempts, notified.error) == (2, None)
    first, second = site.asked
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_receiver_that_refuses_is_given_up_and_the_log_says_so(
    platform: Platform, site: Web
) -> None:
    site.routes["/hook"] = answer(status=410)
    run_id = await start(platform, CHAIN, site.url("/hook"))
    notified = (await events_until(platform, run_id, "run.notified"))[-1]
    assert isinstance(notified, e.RunNotified)
    assert notified.error is not None
    assert notified.error.code == "webhook.refused"
    state = await platform.client.state(run_id)
    assert (state.status, state.error) == ("completed", None)


async def test_an_end_that_died_with_its_engine_is_told_by_the_next_one(
    bus: Bus, platform: Platform, site: Web
) -> None:
    run_id = await start(platform, GATE, site.url("/hook"))
    await until(platform, run_id, "waiting")
    await platform.services["graph-engine"].stop()
    await dies_after(bus, run_id, lambda state, now: signals.signal(state, "go", None, "q", now))
    assert site.asked == []
    await replace_engine(platform)
    await events_until(platform, run_id, "run.notified")
    assert len(site.asked) == 1


async def test_a_webhook_without_the_form_of_a_url_is_refused_at_the_door(
    platform: Platform,
) -> None:
    with pytest.raises(InvalidInput, match="its scheme is ftp, not http or https") as caught:
        await start(platform, CHAIN, "ftp://example.com/hook")
    assert caught.value.problem.where == "options.webhook"
