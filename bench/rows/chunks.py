"""Chunks: from a provider's socket through its real SDK and the gateway to a NATS subscriber."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from nats.aio.msg import Msg

from bench.across import players
from bench.row import Context, Row
from partsong.client import Client
from partsong.contracts.subjects import Subjects
from partsong.testing.fake_llm import FakeLLM
from partsong.testing.fake_llm.steps import Answer, Ask, Finish, Say, Step, Wait
from partsong.workflow import WorkflowGraph

__all__ = ["measure"]

_AGENTS = 20
_RATE = 50
"""Words per second of each agent."""
_BEFORE = 1
"""Pieces the provider writes before the first word: the one that names the role."""


async def measure(context: Context) -> list[Row]:
    """20 agents at once, each told 50 words a second by an OpenAI-compatible server."""
    words = context.size(500, 100)

    def script(_: Ask) -> Answer:
        steps: list[Step] = []
        for index in range(words):
            steps += [Say(f"<{index}>"), Wait(1 / _RATE)]
        return Answer((*steps, Finish()))

    async with FakeLLM(script) as llm:
        roles = ("graph-engine", "agent-gateway")
        async with players(context.folder / "up", roles=roles, env=llm.env()) as (_, client):
            heard = await _hear_all(client)
        took, seconds = _latencies(llm, heard, words)
    note = f"{len(took)} chunks, {len(took) / seconds:.0f} a second, {_AGENTS} agents"
    return [
        context.promised("chunk.p50", took[len(took) // 2], note=note),
        context.promised("chunk.p99", took[int(len(took) * 0.99)], note=note),
    ]


async def _hear_all(client: Client) -> dict[str, dict[int, float]]:
    """When each word of each model came; times are of this loop, as the fake provider's are."""
    heard: dict[str, dict[int, float]] = defaultdict(dict)
    clock = asyncio.get_running_loop().time

    async def take(msg: Msg) -> None:
        node = msg.subject.split(".")[-2]
        now, text = clock(), msg.data.decode()
        for piece in text.split("<")[1:]:
            number, closed, _ = piece.partition(">")
            if closed:
                heard[node][int(number)] = now

    sub = await client.nats.subscribe(Subjects().chunks(), cb=take)
    await client.nats.flush()
    ids = [await client.start(_agent(n)) for n in range(_AGENTS)]
    results = await asyncio.gather(*(client.result(run_id, timeout=120) for run_id in ids))
    await sub.unsubscribe()
    if failed := [result for result in results if result.status != "completed"]:
        raise RuntimeError(f"run {failed[0].run_id}: {failed[0].error}")
    return heard


def _agent(number: int) -> WorkflowGraph:
    graph = WorkflowGraph(f"agent{number}")
    return graph.add_agent(f"m{number}", f"openai-chat:m{number}", prompt="sing")


def _latencies(
    llm: FakeLLM, heard: dict[str, dict[int, float]], words: int
) -> tuple[list[float], float]:
    """Milliseconds of each word, sorted, and the seconds during which they were spoken."""
    took: list[float] = []
    for call in llm.calls:
        spoken = call.writes[_BEFORE : _BEFORE + words]
        took += [(heard[call.model][n] - at) * 1000 for n, at in enumerate(spoken)]
    first = min(call.writes[0] for call in llm.calls)
    last = max(call.writes[-1] for call in llm.calls)
    return sorted(took), last - first
