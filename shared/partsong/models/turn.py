"""One turn: ask the provider, show its chunks as they come, and say how the turn ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace

from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.events import AgentTurnCompleted, AgentTurnFailed, PromptDigest, TurnUsage
from partsong.contracts.talk.chunks import TERMINAL, Chunk, Failed
from partsong.contracts.talk.messages import ToolSpec
from partsong.contracts.wire.estimate import given
from partsong.contracts.wire.work import TurnWork
from partsong.models.core.assemble import Broken, Turn, assemble, hollow
from partsong.models.core.caching import digest_of
from partsong.models.core.call_ids import CallIds, renamed
from partsong.models.core.coalesce import Coalescer
from partsong.models.core.failure import failed
from partsong.models.core.final_answer import Asked, Lens, answered, asked, unwrapped
from partsong.models.core.in_words import in_words
from partsong.models.core.redaction import RedactedCalls, hidden_of, taken_out
from partsong.models.core.sendable import sendable
from partsong.models.meter import Meter
from partsong.models.port import TurnRequest
from partsong.models.pricing import cost_of
from partsong.models.registry import Providers
from partsong.runtime.event_head import event_head
from partsong.runtime.vault import MemoryVault, Vault, new_token

__all__ = ["refuse_turn", "take_turn"]

_IDLE_TIMEOUT = 60.0
_TIMEOUT = 600.0
"""Seconds a turn may take that has no limit of its own."""


class _Stage:
    """Numbers the chunks of one attempt, joins small ones, gives calls our ids; nothing after a terminal one."""

    def __init__(
        self,
        work: TurnWork,
        show: Callable[[Chunk], None],
        *lenses: Callable[[Chunk], Iterator[Chunk]],
    ) -> None:
        """What is shown passes through all `lenses`, in their order."""
        self._lenses, self._ids = lenses, CallIds(work.messages)
        self._stamp = {"call_id": work.call_id, "attempt": work.attempt}
        self._show, self._seq, self._joiner = show, 0, Coalescer()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.seen: list[Chunk] = []
        self.ended = False

    def take(self, chunk: Chunk) -> None:
        """One chunk from the provider."""
        if self.ended:
            return
        chunk = self._ids(chunk)
        self.ended = isinstance(chunk, TERMINAL)
        self.seen.append(chunk)
        for shown in self._seen_through(chunk):
            self._out(self._joiner.push(shown, self._loop.time()))
        self._wait()
        if self.ended and self._timer is not None:
            self._timer.cancel()

    def _seen_through(self, chunk: Chunk) -> Iterable[Chunk]:
        shown: Iterable[Chunk] = (chunk,)
        for lens in self._lenses:
            shown = [each for one in shown for each in lens(one)]
        return shown

    def _wait(self) -> None:
        """Have what is held back sent when it is due; one timer per stretch, for most deadlines change while it runs."""
        deadline = self._joiner.deadline
        if deadline is not None and self._timer is None:
            self._timer = self._loop.call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self._out(self._joiner.tick(self._loop.time()))
        self._wait()

    def _out(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            self._show(chunk.model_copy(update={**self._stamp, "seq": self._seq}))
            self._seq += 1


async def take_turn(
    work: TurnWork,
    providers: Providers,
    tools: tuple[ToolSpec, ...],
    show: Callable[[Chunk], None],
    *,
    vault: Vault | None = None,
    worker: str = "",
) -> AgentTurnCompleted | AgentTurnFailed:
    """Ask the model for one turn. Exactly one terminal chunk is shown, also if this task is cancelled.

    Values of redacted arguments go to `vault`; without one they are lost, and their calls are not made.
    Raises nothing but `CancelledError`: what goes wrong is in the event.
    """
    meter = await Meter.of(work)
    problem = meter.before() if isinstance(meter, Meter) else meter
    if problem is not None:
        return refuse_turn(work, problem, show, worker=worker)
    wanted = asked(work.agent, with_tools=bool(tools))
    request = _request(work, wanted, tools)
    read = given(request.instructions, request.messages, request.tools)
    hidden = hidden_of(tools)
    lenses = (
        *((RedactedCalls(hidden),) if hidden else ()),
        *((Lens(),) if wanted.tools else ()),
    )
    stage = _Stage(work, show, *lenses)
    try:
        async with aclosing(_chunks(work, providers, request)) as chunks:
            async for chunk in chunks:
                stage.take(chunk)
                if isinstance(meter, Meter) and (spent := meter.after(chunk)) is not None:
                    stage.take(failed("limit", spent.message))
                    return _failed(work, Broken(spent, meter.used), worker)
    except asyncio.CancelledError:
        stage.take(failed("cancelled", "nobody needs the answer any more"))
        raise
    except PartsongError as error:
        if not stage.ended:
            stage.take(_refusal(error.problem))
            lost = Broken(error.problem, assemble(stage.seen, read).usage)
            return _failed(work, await _priced(work, lost), worker)
    except Exception as error:
        stage.take(failed("server", f"{type(error).__name__}: {error}"))
    stage.take(failed("truncated", "the provider's stream stopped without an end"))
    outcome = assemble(stage.seen, read)
    if isinstance(outcome, Broken):
        return _failed(work, await _priced(work, outcome), worker)
    turn = answered(outcome) if wanted.tools else outcome
    if wanted.wrapped and not turn.message.tool_calls:
        turn = unwrapped(turn)
    if (empty := hollow(turn)) is not None:
        return _failed(work, await _priced(work, empty), worker)
    try:
        turn = await _kept_apart(turn, hidden, vault or MemoryVault())
    except PartsongError as error:
        return _failed(work, await _priced(work, Broken(error.problem, turn.usage)), worker)
    return await _completed(work, turn, digest_of(request), worker)


async def _kept_apart(turn: Turn, hidden: Mapping[str, frozenset[str]], vault: Vault) -> Turn:
    """The turn without the values of redacted arguments; they are in the vault."""
    if not hidden:
        return turn
    taken = taken_out(turn.message, hidden, new_token)
    for token, value in taken.values.items():
        await vault.put(token, json.dumps(value).encode())
    return replace(turn, message=taken.message)


def refuse_turn(
    work: TurnWork,
    problem: Problem,
    show: Callable[[Chunk], None],
    *,
    worker: str = "",
    retry_after: float | None = None,
) -> AgentTurnFailed:
    """The end of a turn that cannot even begin; its one chunk is shown."""
    stage = _Stage(work, show)
    stage.take(_refusal(problem))
    usage = assemble(stage.seen).usage
    return _failed(work, Broken(problem, usage, retry_after=retry_after), worker)


async def _chunks(
    work: TurnWork, providers: Providers, request: TurnRequest
) -> AsyncGenerator[Chunk, None]:
    """The provider's chunks, within the call's time."""
    await providers.load(work.agent.model)
    provider = providers.get(work.agent.model)
    async with aclosing(provider.stream(request)) as chunks:
        async for chunk in chunks:
            yield chunk


def _request(work: TurnWork, wanted: Asked, tools: tuple[ToolSpec, ...]) -> TurnRequest:
    return TurnRequest(
        model=work.agent.model.partition(":")[2],
        messages=renamed(in_words(sendable(work.messages))),
        instructions=wanted.instructions,
        tools=(*tools, *wanted.tools),
        max_tokens=work.agent.max_tokens,
        temperature=work.agent.temperature,
        output_schema=wanted.schema,
        effort=work.agent.effort,
        cache=work.agent.cache,
        options=work.agent.provider_options.get(work.agent.model.partition(":")[0], {}),
        timeout=work.timeout or _TIMEOUT,
        idle_timeout=work.idle_timeout or _IDLE_TIMEOUT,
    )


def _refusal(problem: Problem) -> Failed:
    said = failed("invalid_request" if problem.fault == "caller" else "server", problem.message)
    return said.model_copy(update={"retryable": problem.retryable})


def _failed(work: TurnWork, outcome: Broken, worker: str) -> AgentTurnFailed:
    return AgentTurnFailed(
        error=outcome.problem,
        retry_after=outcome.retry_after,
        usage=outcome.usage,
        **event_head(work, "closed", worker),
    )


async def _priced(work: TurnWork, outcome: Broken) -> Broken:
    """A turn that broke off, with what it cost; one that used nothing costs nothing, whatever the price."""
    if outcome.usage == TurnUsage():
        return outcome
    provider, _, model = work.agent.model.partition(":")
    cost = await cost_of(provider, model, outcome.usage)
    return replace(outcome, usage=outcome.usage.model_copy(update={"cost": cost}))


async def _completed(
    work: TurnWork, turn: Turn, prompt: PromptDigest, worker: str
) -> AgentTurnCompleted:
    cost = await cost_of(turn.provider, turn.model, turn.usage)
    return AgentTurnCompleted(
        message=turn.message,
        stop=turn.stop,
        provider=turn.provider,
        model=turn.model,
        usage=turn.usage.model_copy(update={"cost": cost}),
        prompt=prompt,
        **event_head(work, "closed", worker),
    )
