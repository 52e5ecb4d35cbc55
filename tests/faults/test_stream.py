"""kill -9 of the gateway in the middle of an answer: another attempt, one answer in the log, both attempts accounted."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from partsong.cli.live import show_live
from partsong.cli.output import Output
from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.contracts import events as e
from partsong.contracts.talk.chunks import Chunk, End, Text
from partsong.testing.fake_llm import Answer, Ask, FakeLLM, Finish, Say, Stall
from partsong.workflow import WorkflowGraph
from tests.faults.test_kill import WITHIN, Heard, until

pytestmark = pytest.mark.timeout(
    180
)  # it kills one process of its own, and leaves the others their cores

ROLES = ("graph-engine", "agent-gateway")
HALF = "half of an answer "
WHOLE = "the whole answer"


def broken_once(ask: Ask) -> Answer:
    """Half an answer and silence, so that the kill comes in its midst; asked again, all of it."""
    return Answer((Say(HALF), Stall())) if ask.nth == 0 else Answer((Say(WHOLE), Finish()))


async def said(client: Client, run_id: str, words: str) -> None:
    """Wait until a subscriber has heard them."""
    async with asyncio.timeout(WITHIN):
        async for chunk in client.stream(run_id):
            if isinstance(chunk, Text) and words.strip() in chunk.text:
                return
    raise AssertionError(f"the run ended, and nobody said {words!r}")


async def all_chunks(client: Client, run_id: str) -> dict[int, list[Chunk]]:
    """What a subscriber gets who comes when all is over, by attempt."""
    heard: dict[int, list[Chunk]] = {}
    async with asyncio.timeout(WITHIN):
        async for chunk in client.stream(run_id):
            heard.setdefault(chunk.attempt, []).append(chunk)
    return heard


def words(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, Text))


async def test_a_gateway_killed_in_an_answer_costs_a_second_attempt_and_mixes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = Heard()
    graph = WorkflowGraph("torn").add_agent("a", "openai-chat:gpt-4o", prompt="Say it.")
    async with FakeLLM(broken_once) as llm:
        env = {**os.environ, **llm.env(), "PARTSONG_HTTP_PORT": "0"}
        platform = Platform(tmp_path / "data", env=env, fast=True, say=heard, roles=ROLES)
        try:
            await platform.start()
            async with Client(platform.nats_url, timeout=10) as client:
                run_id = await client.start(graph, {})
                await said(client, run_id, HALF)
                os.kill(platform.pids["agent-gateway"], signal.SIGKILL)
                result = await client.result(run_id, timeout=WITHIN)
                chunks = await all_chunks(client, run_id)
                await show_live(client, run_id, Output())
                state = await client.state(run_id)
                assert (await client.replay(run_id)).ok
                await until("the gateway is back", lambda: len(heard.ready("agent-gateway")) == 2)
        finally:
            await platform.stop()
        assert [call.ask.nth for call in llm.calls] == [0, 1]
    assert result.raise_for_status()["a"] == WHOLE
    (lapsed,) = [event for event in result.events if isinstance(event, e.CallLapsed)]
    (answered,) = [event for event in result.events if isinstance(event, e.AgentTurnCompleted)]
    assert (lapsed.attempt, answered.attempt) == (1, 2)
    assert lapsed.usage is not None
    assert lapsed.usage.estimated
    assert lapsed.usage.output_total == -(-len(HALF) // 4)
    assert state.usage == lapsed.usage.plus(answered.usage)
    assert state.usage.cost is not None
    assert {attempt: words(each) for attempt, each in chunks.items()} == {1: HALF, 2: WHOLE}
    assert capsys.readouterr().err == f"[a:1/t1] {HALF}\n[a:1/t1, attempt 2] {WHOLE}\n"
    assert isinstance(chunks[2][-1], End)
    assert all([c.seq for c in each] == list(range(len(each))) for each in chunks.values())
