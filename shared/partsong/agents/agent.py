"""`Agent`: a model with instructions and tools, called from Python, without any server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, overload

from pydantic import JsonValue

from partsong.agents.asking import Telling
from partsong.agents.choice import Choice, choose
from partsong.agents.conversation import Conversation
from partsong.agents.definition import Definition
from partsong.agents.exchange import Exchange
from partsong.agents.limits import AgentLimits
from partsong.agents.means import Pool
from partsong.agents.output import OutputType, output_of
from partsong.agents.performance import Performance
from partsong.agents.result import AgentResult
from partsong.agents.stream import AgentStream
from partsong.agents.toolset import Approve, Tools, Toolset
from partsong.contracts.durations import Duration, parse_duration, parse_optional
from partsong.contracts.graph import AgentSpec, CacheMode, Effort, OutputMode, Retry
from partsong.contracts.talk.chunks import Chunk
from partsong.engine.calls.calls import AGENT_RETRY
from partsong.models.limiter import RateLimiter
from partsong.runtime.blocking import blocking
from partsong.tools.tool import AnyTool

__all__ = ["Agent"]

M = TypeVar("M")


class Agent:
    """Calls take the very path that agent nodes take: the gateway's providers, the tool-runner's executor.

    An agent holds nothing between calls. Inside `async with agent:` its calls share connections; without it, each call
    opens and closes its own. Calls may go on side by side.
    """

    provider: ClassVar[str] = ""
    """Whose models it asks; empty: whichever the model's name says."""
    scripted: ClassVar[str] = "summary"
    """What the scripted provider plays if there is neither a model nor a key."""

    def __init__(
        self,
        model: str = "",
        *,
        api_key: str = "",
        base_url: str = "",
        name: str = "agent",
        instructions: str = "",
        tools: Tools = (),
        output: OutputType = None,
        mode: OutputMode | None = None,
        max_tokens: int = 4096,
        temperature: float | None = None,
        effort: Effort | None = None,
        cache: CacheMode = "auto",
        timeout: Duration | None = None,
        limits: AgentLimits | None = None,
        limiter: RateLimiter | None = None,
        fallbacks: tuple[str, ...] = (),
        retry: Retry = AGENT_RETRY,
        patience: Duration = 120.0,
        repairs: int = 2,
        approve: Approve | None = None,
        approval_deadline: Duration | None = None,
        provider_options: Mapping[str, Mapping[str, JsonValue]] | None = None,
    ) -> None:
        """Check everything, connect to nothing.

        `model` is `provider:model`; without it the key's form decides, then the keys in the environment, then the scripted
        provider answers. `output`, a type or a JSON Schema, makes answers structured; `mode` says how they come. `timeout` is for one turn.
        `approve` is asked about tool calls that need a person, and has until `approval_deadline` if it is `async`.

        Raises:
            InvalidInput: one of them cannot be accepted; NotFound: `tool.unknown`.
        """
        choice = self._choose(model, api_key, base_url, fallbacks)
        toolset = Toolset.of(tools)
        self._definition = Definition(
            name=name,
            choice=choice,
            toolset=toolset,
            instructions=instructions,
            output=output_of(output),
            output_mode=mode,
            max_tokens=max_tokens,
            temperature=temperature,
            effort=effort,
            cache=cache,
            timeout=parse_optional(timeout, "timeout"),
            limits=limits or AgentLimits(),
            limiter=limiter or RateLimiter(),
            retry=retry,
            patience=parse_duration(patience, "patience", zero=True),
            repairs=repairs,
            approve=approve,
            approval_deadline=parse_optional(approval_deadline, "approval_deadline"),
            provider_options=provider_options or {},
        )
        self._pool = Pool(choice, toolset)

    def _choose(
        self, model: str, api_key: str, base_url: str, fallbacks: tuple[str, ...]
    ) -> Choice:
        return choose(
            model,
            os.environ,
            provider=self.provider,
            api_key=api_key,
            base_url=base_url,
            fallbacks=fallbacks,
            scripted=self.scripted,
        )

    @property
    def name(self) -> str:
        """What it is called."""
        return self._definition.name

    @property
    def model(self) -> str:
        """`provider:model` that is asked first."""
        return self._definition.choice.models[0]

    def spec(self) -> AgentSpec:
        """The agent as data, as a graph's node has it.

        Keys and addresses are not part of it, for the gateway has its own; nor are the manners of a call from Python
        (retries, repairs, approval, limits other than turns), for in a graph the engine has those.
        """
        return self._definition.spec()

    def own_tools(self) -> tuple[AnyTool, ...]:
        """The tools that it brings, the built-in ones left out."""
        return self._definition.toolset.own

    @asynccontextmanager
    async def performing(self) -> AsyncIterator[Performance]:
        """What makes the calls of a node that is this agent, in this process, with its own keys, addresses and tools."""
        async with self._pool.means() as means:
            definition = self._definition
            deadline = definition.approval_deadline
            yield Performance(means, definition.toolset, definition.approve, deadline)

    @overload
    async def call(
        self, prompt: str, *, output: type[M], conversation: Conversation | None = None
    ) -> AgentResult[M]: ...
    @overload
    async def call(
        self,
        prompt: str,
        *,
        output: OutputType = None,
        conversation: Conversation | None = None,
    ) -> AgentResult[object]: ...
    async def call(
        self,
        prompt: str,
        *,
        output: OutputType = None,
        conversation: Conversation | None = None,
    ) -> AgentResult[object]:
        """Ask, let tools run, and give the answer. Cancelling it closes the provider's connection.

        `output` is for this call only and stands in for the agent's own.

        Raises:
            AgentFailed: there is no answer; or `BadOutput`, `LimitReached`, `LoopDetected`.
            InvalidInput: `output.bad_schema`.
        """
        definition = self._definition
        if output is not None:
            definition = replace(definition, output=output_of(output))
        return await self._run(definition, prompt, conversation, _nobody, "by_attempt")

    @overload
    def call_sync(
        self, prompt: str, *, output: type[M], conversation: Conversation | None = None
    ) -> AgentResult[M]: ...
    @overload
    def call_sync(
        self,
        prompt: str,
        *,
        output: OutputType = None,
        conversation: Conversation | None = None,
    ) -> AgentResult[object]: ...
    def call_sync(
        self,
        prompt: str,
        *,
        output: OutputType = None,
        conversation: Conversation | None = None,
    ) -> AgentResult[object]:
        """Ask as `call` does and wait for the answer, in a script or a notebook; each call connects anew.

        Raises:
            InvalidInput: `sync.running_loop`, this is inside a coroutine: `await agent.call(…)` there.
        """
        asked: Callable[..., Coroutine[Any, Any, AgentResult[object]]] = self.call
        return blocking(
            lambda: asked(prompt, output=output, conversation=conversation),
            name="agent.call_sync",
            instead="agent.call(…)",
        )

    def call_stream(self, prompt: str, *, conversation: Conversation | None = None) -> AgentStream:
        """Ask, and iterate over the answer's text while it comes. Nothing happens before the first iteration."""

        async def call(show: Callable[[Chunk], None], telling: Telling) -> AgentResult[object]:
            return await self._run(self._definition, prompt, conversation, show, telling)

        return AgentStream(call)

    async def __aenter__(self) -> Self:
        """Keep connections between calls, until the last one who entered leaves."""
        self._pool.hold()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._pool.release()

    async def _run(
        self,
        definition: Definition,
        prompt: str,
        conversation: Conversation | None,
        show: Callable[[Chunk], None],
        telling: Telling,
    ) -> AgentResult[object]:
        turn = conversation.held() if conversation is not None else nullcontext()
        async with turn, self._pool.means() as means:
            history = conversation.messages if conversation is not None else ()
            exchange = Exchange(definition, means, history, prompt, show, telling)
            result = await exchange.run()
            if conversation is not None:
                conversation.extend(result.messages)
        return result


def _nobody(_chunk: Chunk) -> None:
    """Nobody watches."""
