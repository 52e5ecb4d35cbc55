"""One turn: whatever a provider does, the chunks are numbered, one of them ends, and the event says how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events import AgentTurnCompleted, AgentTurnFailed, TurnUsage
from partsong.contracts.talk.chunks import TERMINAL, Chunk, End, Failed, Start, Text
from partsong.models.port import TurnRequest
from partsong.models.pricing import cost_of
from partsong.models.providers.scripted import ScriptedProvider
from partsong.models.registry import Providers, Settings
from partsong.models.turn import refuse_turn, take_turn
from tests.support.told_providers import Held, Player, served_by, turn

PATIENCE = 30.0

Play = Callable[[TurnRequest], AsyncGenerator[Chunk, None]]


def well_formed(chunks: list[Chunk]) -> bool:
    """Numbered without gaps, of this attempt, one terminal chunk at the end."""
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
    assert {(chunk.call_id, chunk.attempt) for chunk in chunks} == {("a:1/t1", 1)}
    assert [isinstance(chunk, TERMINAL) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    return True


async def played(play: Play) -> tuple[AgentTurnCompleted | AgentTurnFailed, list[Chunk]]:
    chunks: list[Chunk] = []
    async with asyncio.timeout(PATIENCE):
        event = await take_turn(turn(), served_by(Player(play)), (), chunks.append, worker="w")
    assert well_formed(chunks)
    return event, chunks


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, Text))


async def test_a_turn_that_ends_well_is_completed() -> None:
    async def play(request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Start(provider="scripted", model="m-1")
        for word in ("one ", "two ", "three"):
            yield Text(text=word)
        yield End(stop="stop")

    event, chunks = await played(play)
    assert isinstance(event, AgentTurnCompleted)
    assert event.message.text == text_of(chunks) == "one two three"
    assert (event.id, event.cause) == ("r_1.a:1/t1.1.closed", "r_1.a:1/t1.1.requested")
    assert (event.provider, event.model, event.stop, event.worker) == (
        "scripted",
        "m-1",
        "stop",
        "w",
    )
    assert event.usage.cost == 0.0


async def test_what_the_model_is_asked_is_what_the_work_says() -> None:
    held = Held()
    player = Player(held)
    work = turn(model="scripted:x:3")
    taking = asyncio.create_task(take_turn(work, served_by(player), (), lambda _: None))
    async with asyncio.timeout(PATIENCE):
        await held.begun.get()
    taking.cancel()
    await asyncio.wait([taking])
    (asked,) = player.asked
    assert (asked.model, asked.messages, asked.max_tokens) == ("x:3", turn().messages, 4096)
    assert asked.effort is None


async def test_a_model_is_asked_to_think_as_much_as_its_agent_is_to() -> None:
    player, work = Player(Held()), turn()
    work = work.model_copy(update={"agent": work.agent.model_copy(update={"effort": "high"})})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await take_turn(work, served_by(player), (), lambda _: None)
    assert [asked.effort for asked in player.asked] == ["high"]


async def test_a_burst_is_joined_and_nothing_of_it_is_lost() -> None:
    async def play(_: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Start(provider="scripted", model="m")
        for i in range(1000):
            yield Text(text=f"{i} ")
        yield End(stop="stop")

    event, chunks = await played(play)
    assert isinstance(event, AgentTurnCompleted)
    assert text_of(chunks) == event.message.text == "".join(f"{i} " for i in range(1000))
    assert len(chunks) < 100


async def test_what_is_held_back_is_shown_without_waiting_for_more() -> None:
    """The second delta after a burst began is held for ten milliseconds, not until the next one comes."""
    seen: asyncio.Queue[Chunk] = asyncio.Queue()
    go = asyncio.Event()

    async def play(_: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Text(text="a")
        yield Text(text="b")
        await go.wait()
        yield End(stop="stop")

    taking = asyncio.create_task(take_turn(turn(), served_by(Player(play)), (), seen.put_nowait))
    async with asyncio.timeout(PATIENCE):
        assert text_of([await seen.get(), await seen.get()]) == "ab"
        go.set()
        await taking


async def test_a_provider_that_raises_has_failed() -> None:
    async def play(_: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Text(text="Hel")
        raise ZeroDivisionError("by nought")

    event, chunks = await played(play)
    assert isinstance(event, AgentTurnFailed)
    assert (event.error.code, event.error.message) == (
        "provider.server",
        "ZeroDivisionError: by nought",
    )
    assert text_of(chunks) == "Hel"


async def test_a_stream_without_an_end_is_truncated() -> None:
    async def play(_: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Text(text="Hel")

    event, chunks = await played(play)
    assert isinstance(event, AgentTurnFailed)
    assert (event.error.code, event.error.retryable) == ("provider.truncated", True)
    assert isinstance(chunks[-1], Failed)


async def test_nothing_counts_after_the_end() -> None:
    async def play(_: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Text(text="done")
        yield End(stop="stop")
        yield Text(text="!")
        yield End(stop="length")
        raise ZeroDivisionError("too late to matter")

    event, _ = await played(play)
    assert isinstance(event, AgentTurnCompleted)
    assert (event.message.text, event.stop) == ("done", "stop")


async def test_a_refusal_of_ours_keeps_its_code_and_its_fix() -> None:
    chunks: list[Chunk] = []
    event = await take_turn(
        turn(model="anthropic:claude"), Providers(Settings()), (), chunks.append
    )
    assert well_formed(chunks)
    assert isinstance(event, AgentTurnFailed)
    assert event.error.code == "provider.no_key"
    assert event.error.fix is not None


async def test_an_error_of_ours_after_the_end_changes_nothing() -> None:
    async def play(_: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Text(text="done")
        yield End(stop="stop")
        raise InvalidInput("x", "too late to matter")

    event, _ = await played(play)
    assert isinstance(event, AgentTurnCompleted)


async def test_a_turn_has_the_time_its_work_gives_it() -> None:
    script = ScriptedProvider(delay=60.0)
    chunks: list[Chunk] = []
    async with asyncio.timeout(PATIENCE):
        event = await take_turn(turn(timeout=0.05), served_by(script), (), chunks.append)
    assert well_formed(chunks)
    assert isinstance(event, AgentTurnFailed)
    assert event.error.code == "provider.timeout"


@pytest.mark.parametrize("ended", [False, True])
async def test_a_cancelled_turn_has_one_terminal_chunk_too(ended: bool) -> None:
    chunks: list[Chunk] = []
    waiting, closed = asyncio.Event(), asyncio.Event()

    async def play(_: TurnRequest) -> AsyncGenerator[Chunk, None]:
        try:
            yield Text(text="Hel")
            if ended:
                yield End(stop="stop")
            waiting.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    taking = asyncio.create_task(take_turn(turn(), served_by(Player(play)), (), chunks.append))
    async with asyncio.timeout(PATIENCE):
        await waiting.wait()
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
    assert closed.is_set()
    assert well_formed(chunks)
    last = chunks[-1]
    assert isinstance(last, End) if ended else isinstance(last, Failed)
    if isinstance(last, Failed):
        assert last.error == "cancelled"


async def test_a_turn_that_cannot_begin_has_its_terminal_chunk() -> None:
    chunks: list[Chunk] = []
    problem = Problem(code="tool.unknown", message="no tool x", fault="caller")
    event = refuse_turn(turn(), problem, chunks.append, worker="w")
    assert well_formed(chunks)
    assert (event.error, event.id, event.worker) == (problem, "r_1.a:1/t1.1.closed", "w")


async def test_a_known_model_has_a_price() -> None:
    cost = await cost_of("anthropic", "claude-sonnet-4-5", TurnUsage(input_total=1_000_000))
    assert cost is not None
    assert 0.1 < cost < 100


async def test_what_asks_nobody_costs_nothing() -> None:
    assert await cost_of("scripted", "echo", TurnUsage(input_total=10)) == 0.0


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("anthropic", "no-such-model", TurnUsage(input_total=10)),
        ("parrot", "grey", TurnUsage(input_total=10)),
        ("anthropic", "claude-sonnet-4-5", TurnUsage(input_total=5, cache_read=10)),
    ],
)
async def test_what_is_not_known_is_not_free(provider: str, model: str, usage: TurnUsage) -> None:
    assert await cost_of(provider, model, usage) is None


async def test_a_priced_answer_that_broke_off_has_a_cost_so_that_budgets_see_it() -> None:
    async def play(_: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Start(provider="openai-chat", model="gpt-4o")
        yield Text(text="half of an answer")

    providers = served_by(Player(play))
    providers._made["openai-chat"] = Player(play)
    event = await take_turn(turn(model="openai-chat:gpt-4o"), providers, (), lambda _: None)
    assert isinstance(event, AgentTurnFailed)
    assert event.error.code == "provider.truncated"
    assert event.usage.cost is not None
    assert event.usage.cost > 0
