"""What the tests of agents share: agents in front of a fake, and scripts for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from partsong.agents import Agent, AgentStream
from partsong.agents.options import AgentOptions
from partsong.agents.output import OutputType
from partsong.agents.toolset import Tools
from partsong.contracts.graph import Retry
from partsong.testing.fake_llm import Answer, Ask, Call, Deny, FakeLLM, Finish, Reply, Say, Step

WIRES = ("anthropic", "openai", "openai-chat", "google")
PATIENCE = 30.0
"""Seconds a test waits for something that takes milliseconds."""

AT_ONCE = Retry(attempts=3, initial=0.001, jitter=0)
"""Three attempts without a wait worth the name."""
OVERLOADED = Deny(503, "overloaded", "come back later")


def address(llm: FakeLLM, wire: str) -> str:
    """Where the fake speaks this wire format."""
    return f"{llm.url}/v1" if wire.startswith("openai") else llm.url


def asking(
    llm: FakeLLM,
    model: str = "openai-chat:any",
    *,
    tools: Tools = (),
    output: OutputType = None,
    instructions: str = "",
    **options: Unpack[AgentOptions],
) -> Agent:
    """An agent that asks the fake."""
    options.setdefault("retry", AT_ONCE)
    options.setdefault("api_key", "fake")
    options.setdefault("base_url", address(llm, model.partition(":")[0]))
    return Agent(model, tools=tools, output=output, instructions=instructions, **options)


def saying(*texts: str) -> Callable[[Ask], Reply]:
    """A script that says one text after the other, then the last one for ever."""
    return steps(*((Say(text), Finish()) for text in texts))


def steps(*answers: tuple[Step, ...] | Deny) -> Callable[[Ask], Reply]:
    """A script that plays one answer after the other, whoever asks, then the last one for ever."""
    played = iter(answers)
    last = answers[-1]

    def script(_ask: Ask) -> Reply:
        answer = next(played, last)
        return answer if isinstance(answer, Deny) else Answer(answer)

    return script


def call(name: str, args: str, id: str = "call_1") -> tuple[Step, ...]:
    """A turn that makes one tool call."""
    return (Call(name, args, id=id), Finish("tool_calls"))


async def read(stream: AgentStream, shown: list[str]) -> None:
    """Read a stream to its end, noting what is shown until then."""
    async for piece in stream:
        shown.append(piece)
