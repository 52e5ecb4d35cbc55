"""Replays: a recorded run is folded anew, nobody is called, and it is what it was."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from partsong.client import Client
from partsong.contracts.errors import NotFound
from partsong.log.journal import read
from partsong.testing import (
    NetworkClosed,
    ScriptedModel,
    ToolCall,
    closed_network,
    hash_state,
    replay_run,
)
from partsong.testing.platform import Platform
from partsong.testing.plugin import Replay
from partsong.testing.replaying import counted
from tests.sdk.testing import shop
from tests.sdk.testing.recording import again, play, script


async def test_a_finished_agent_run_replays_to_the_same_state_with_nobody_called(
    tmp_path: Path, replay: Replay
) -> None:
    shop.calls.clear()
    with script() as model:
        state = await play(tmp_path / "log")
        asked, called = len(model.asked), list(shop.calls)
        found = replay(tmp_path / "log", state_hash=hash_state(state))
        assert (asked, called) == (2, ["price_of tea", "shout"])
        assert (len(model.asked), shop.calls) == (asked, called)
    assert state.values["shouted"] == "IT COSTS 3.50."
    assert (found.state, found.state_hash) == (state, hash_state(state))
    assert (found.calls, found.connections) == ({}, ())
    assert found.records == len(list(read(tmp_path / "log"))) > 0


@pytest.mark.partsong(load=["tests.sdk.testing.shop"], tools=[shop.price_of])
async def test_a_finished_agent_run_of_the_platform_replays_to_the_same_state_with_nobody_called(
    partsong_bus: Platform, replay: Replay
) -> None:
    shop.calls.clear()
    client: Client = partsong_bus.client
    with script() as model:
        run_id = await client.start(shop.shop(), {"article": "tea"})
        result = await client.result(run_id, timeout=30)
        live = await client.state(run_id)
        records = await partsong_bus.records(run_id)
        called = list(shop.calls)
        found = replay(records, result=result, state_hash=hash_state(live))
        assert (len(model.asked), shop.calls) == (2, called)
    assert result.status == "completed"
    assert (found.calls, found.connections, found.state) == ({}, (), live)


async def test_calls_of_providers_tools_and_functions_are_counted() -> None:
    with script(), counted() as calls:
        await again(shop.shop())
    assert calls["partsong.models.turn.take_turn"] >= 2
    assert calls["partsong.execution.executor.Executor.run"] >= 2
    assert calls["partsong.testing.scripted.ScriptedModel.stream"] >= 2


async def test_what_differs_is_named(tmp_path: Path, replay: Replay) -> None:
    with script():
        await play(tmp_path / "log")
    with ScriptedModel(ToolCall("price_of", {"article": "tea"}), "It is free.", model=shop.MODEL):
        other = await again(shop.shop())
    with pytest.raises(AssertionError, match=r"the state differs: .*It is free"):
        replay(tmp_path / "log", "r_shop", result=other)
    with pytest.raises(AssertionError, match="the state's hash was sha256:0, is now sha256:"):
        replay(tmp_path / "log", state_hash="sha256:0")


async def test_a_damaged_log_is_no_replay(tmp_path: Path) -> None:
    with script():
        await play(tmp_path / "log")
    first, second, *rest = read(tmp_path / "log")
    with pytest.raises(AssertionError, match="the log is damaged: after commit 1 comes commit 3"):
        replay_run([first, *rest])
    changed = replace(second, body=second.body.replace(b"tea", b"gin"))
    with pytest.raises(AssertionError, match="the log is damaged: commit 2 says its content has"):
        replay_run([first, changed, *rest])


async def test_a_log_of_several_runs_asks_which(tmp_path: Path) -> None:
    for name in ("r_one", "r_two"):
        with script():
            await play(tmp_path / "log", name)
    with pytest.raises(AssertionError, match="the log holds r_one, r_two: say which"):
        replay_run(tmp_path / "log")
    assert replay_run(tmp_path / "log", "r_two").run_id == "r_two"
    with pytest.raises(NotFound, match="no run r_three; there are: r_one, r_two"):
        replay_run(tmp_path / "log", "r_three")


def test_a_closed_network_refuses_and_names_who_was_wanted_and_opens_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address: tuple[str, int] = server.getsockname()
        with closed_network() as tried:
            with socket.socket() as stream, pytest.raises(NetworkClosed, match=r"connect \('127"):
                stream.connect(address)
            with pytest.raises(ConnectionError, match=r"getaddrinfo example\.org"):
                socket.create_connection(("example.org", 80))
            with (
                socket.socket(type=socket.SOCK_DGRAM) as datagrams,
                pytest.raises(NetworkClosed, match="sendto"),
            ):
                datagrams.sendto(b"x", address)
        assert [door.partition(" ")[0] for door in tried] == ["connect", "getaddrinfo", "sendto"]
        socket.create_connection(address).close()
