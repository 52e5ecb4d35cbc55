"""Agents that speak at once, and how long each word takes from the provider's socket to a NATS subscriber."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from dataclasses import dataclass

from nats.aio.msg import Msg

from bench.across import players
from bench.row import Context
from partsong.client import Client
from partsong.contracts.wire.subjects import Subjects
from partsong.testing.fake_llm import FakeLLM
from partsong.testing.fake_llm.steps import Answer, Ask, Finish, Say, Step, Wait
from partsong.workflow import WorkflowGraph

__all__ = ["Heard", "speak"]

_BEFORE = 1
"""Pieces the provider writes before the first word: the one that names the role."""
_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class Heard:
    """Every word's milliseconds, in ascending order, and how it was spoken."""

    took: list[float]
    agents: int
    seconds: float
    load: float
    """One-minute load average of the machine when the agents began."""

    def at(self, part: float) -> float:
        """The milliseconds within which so great a part of the words came."""
        return self.took[min(len(self.took) - 1, int(len(self.took) * part))]

    def __str__(self) -> str:
        count = len(self.took)
        rate = count / self.seconds
        return f"{count} chunks, {rate:.0f} a second, {self.agents} agents, load {self.load:.1f}"


async def speak(context: Context, *, agents: int, rate: float, words: int) -> Heard:
    """So many agents at once, each told `rate` words a second by an OpenAI-compatible server, not in step."""

    def script(ask: Ask) -> Answer:
        steps: list[Step] = [Wait(int(ask.model[1:]) / agents / rate)]
        for index in range(words):
            steps += [Say(f"<{index}>"), Wait(1 / rate)]
        return Answer((*steps, Finish()))

    async with FakeLLM(script) as llm:
        roles = ("graph-engine", "agent-gateway")
        env = {**llm.env(), "PARTSONG_CONCURRENCY": str(agents)}
        async with players(context.folder / "up", roles=roles, env=env) as (_, client):
            load = os.getloadavg()[0]
            heard = await _hear_all(client, agents)
        took, seconds = _latencies(llm, heard, words)
    return Heard(took, agents, seconds, load)


async def _hear_all(client: Client, agents: int) -> dict[str, dict[int, float]]:
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
    ids = [await client.start(_agent(n)) for n in range(agents)]
    results = await asyncio.gather(*(client.result(run_id, timeout=_WITHIN) for run_id in ids))
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
