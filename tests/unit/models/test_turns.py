"""Which model serves a turn, when it is not asked, and where a stream is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from partsong.agent_gateway.app import Gateway
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import (
    AgentTurnCompleted,
    AgentTurnFailed,
    Allowance,
    Event,
)
from partsong.contracts.talk.chunks import Chunk, End, Start, Text, Usage
from partsong.contracts.talk.messages import AssistantMessage, TextPart, UserMessage
from partsong.contracts.talk.model_routing import Progress
from partsong.contracts.wire.work import TurnWork
from partsong.models.catalogue import MODELS_SETTING, Catalogue, Entry
from partsong.models.core.failure import failed
from partsong.models.guard import REQUESTS_SETTING, Guard, limiter_from
from partsong.models.limiter import RateLimiter
from partsong.models.port import TurnRequest
from partsong.models.registry import Providers, Settings
from partsong.models.turn import take_turn
from partsong.testing.fake_llm import FakeLLM
from partsong.testing.nats import Bus
from tests.support.hinted import PATIENCE, Hinted, running
from tests.support.told_providers import Player, served_by, turn, turns_by

MODELS = (
    Entry(model="scripted:small", tier="simple", input_price=1, output_price=1),
    Entry(model="scripted:big", tier="reasoning", input_price=20, output_price=20),
)
HARD = (
    "Design a fault tolerant distributed scheduler, prove its invariants, compare three consensus algorithms, then "
    "implement the best one in Rust with tests, measure it, and explain step by step why it cannot deadlock."
)


def auto(policy: str = "", text: str = "Say hello.", **fields: object) -> TurnWork:
    model = f"auto:{policy}" if policy else "auto"
    return turn(model=model).model_copy(update={"messages": (UserMessage(text=text),), **fields})


async def quick(request: TurnRequest) -> AsyncGenerator[Chunk, None]:
    yield Start(provider="scripted", model=request.model)
    yield Text(text="hello")
    yield End(stop="stop")


async def broken(request: TurnRequest) -> AsyncGenerator[Chunk, None]:
    yield Start(provider="scripted", model=request.model)
    yield failed("server", "it is down")


def show(_chunk: Chunk) -> None:
    """Nobody looks."""


# --- the router -------------------------------------------------------------------------------------------------------


async def test_a_simple_task_goes_to_the_small_model_and_a_hard_one_to_the_big() -> None:
    turns = turns_by(Player(quick), *MODELS)
    easy, hard = await turns.decide(auto()), await turns.decide(auto(text=HARD))
    assert easy is not None
    assert hard is not None
    assert (easy.model, hard.model) == ("scripted:small", "scripted:big")
    assert hard.score.value > easy.score.value
    assert [candidate.model for candidate in easy.decision.candidates] == [
        "scripted:small",
        "scripted:big",
    ]


async def test_an_agent_that_names_its_model_is_not_routed() -> None:
    assert await turns_by(Player(quick), *MODELS).decide(turn()) is None


async def test_the_same_turn_is_routed_the_same_way_however_often_it_is_asked() -> None:
    turns = turns_by(Player(quick), *MODELS)
    first, again = [await turns.decide(auto("bandit")) for _ in range(2)]
    assert first is not None
    assert again is not None
    assert first.decision == again.decision


async def test_what_went_wrong_in_the_run_lifts_the_task() -> None:
    turns = turns_by(Player(quick), *MODELS)
    troubled = auto(progress=Progress(repeats=4, rejections=6))
    decided = await turns.decide(troubled)
    assert decided is not None
    assert decided.model == "scripted:big"


async def test_a_conversation_stays_with_its_model_while_that_may_serve() -> None:
    decided = await turns_by(Player(quick), *MODELS).decide(
        auto(progress=Progress(previous="scripted:big"))
    )
    assert decided is not None
    assert decided.model == "scripted:big"
    assert "goes on with its conversation" in decided.decision.reason


async def test_a_policy_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="no routing policy 'clever'"):
        await turns_by(Player(quick), *MODELS).decide(auto("clever"))


async def test_the_choice_stands_in_the_log_with_the_claim_and_once(bus: Bus) -> None:
    engine, player = Hinted(bus, "agent-gateway"), Player(quick)
    await engine.listen()
    async with running(bus, Gateway(turns_by(player, *MODELS))):
        await engine.hint(auto(), auto())
        await engine.worked_off()
    assert await engine.so_far(auto()) == [
        "route.decided",
        "agent.turn.claimed",
        "agent.turn.completed",
    ]
    assert [request.model for request in player.asked] == ["small"]


async def test_if_nobody_can_serve_the_turn_fails_with_every_reason(bus: Bus) -> None:
    engine = Hinted(bus, "agent-gateway")
    await engine.listen()
    work = auto(allowance=Allowance(cost=0.01))
    unknown = Entry(model="openai:nobody-knows", tier="reasoning")
    async with running(bus, Gateway(turns_by(Player(quick), unknown))):
        await engine.hint(work)
        found: list[Event] = await engine.about(work, 2)
        await engine.worked_off()
    assert isinstance(found[-1], AgentTurnFailed)
    assert found[-1].error.code == "route.nobody"
    assert "openai:nobody-knows: out, price unknown" in found[-1].error.message


# --- the catalogue ----------------------------------------------------------------------------------------------------


async def test_the_catalogue_comes_from_a_file_with_prices_from_the_list(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(
        "policy: static\nmodels:\n"
        "  - {model: 'anthropic:claude-sonnet-5-5', tier: complex}\n"
        "  - {model: 'openai:mine', tier: simple, input_price: 1, output_price: 2, context_window: 9000}\n"
    )
    catalogue = Catalogue.read({MODELS_SETTING: str(path)}, Settings())
    listed, mine = await catalogue.candidates()
    assert catalogue.policy == "static"
    assert listed.input_price is not None
    assert listed.output_price is not None
    assert listed.output_price > listed.input_price > 0
    assert (mine.input_price, mine.output_price, mine.context_window) == (1, 2, 9000)


async def test_without_a_file_the_models_are_those_of_the_keys_that_are_there() -> None:
    only = Catalogue.read({}, Settings(anthropic_api_key="k"))
    assert {entry.model.partition(":")[0] for entry in only.entries} == {"anthropic"}
    none = Catalogue.read({}, Settings())
    assert [entry.model for entry in none.entries] == ["scripted:text"]


@pytest.mark.parametrize("given", ["openai:x=huge", "/not/there.yaml", "openai=simple,x:y=simple"])
async def test_a_catalogue_that_cannot_be_read_says_where(given: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Catalogue.read({MODELS_SETTING: given}, Settings())
    assert refused.value.problem.where == MODELS_SETTING


# --- the guard --------------------------------------------------------------------------------------------------------


async def test_a_provider_that_fails_again_and_again_is_left_alone_and_tried_again_later() -> None:
    now = [0.0]
    guard = Guard(RateLimiter(), lambda: now[0])
    turns = turns_by(Player(broken))
    turns._guard = guard
    codes = [(await taken(turns)).error.code for _ in range(7)]
    assert codes[0] == "provider.server"
    assert codes[-1] == "provider.breaker_open"
    refused = await taken(turns)
    assert refused.retry_after is not None
    now[0] += refused.retry_after + 1
    assert (await taken(turns)).error.code == "provider.server"


async def taken(turns: object) -> AgentTurnFailed:
    from partsong.models.turns import Turns

    assert isinstance(turns, Turns)
    event = await turns.take(turn(), None, (), show)
    assert isinstance(event, AgentTurnFailed)
    return event


async def test_a_router_passes_over_a_model_whose_breaker_is_open() -> None:
    turns = turns_by(
        Player(broken),
        Entry(model="scripted:small", tier="simple"),
        Entry(model="scripted:other", tier="simple"),
    )
    for _ in range(7):
        await turns.take(turn(model="scripted:small"), None, (), show)
    decided = await turns.decide(auto("static"))
    assert decided is not None
    assert decided.model == "scripted:other"
    assert "breaker open" in decided.decision.candidates[0].rejected[0]


async def test_a_model_that_lets_its_turns_down_loses_to_one_that_does_not() -> None:
    turns = turns_by(
        Player(quick),
        Entry(model="scripted:a", tier="medium"),
        Entry(model="scripted:b", tier="medium"),
    )
    first = await turns.decide(auto("cheapest-capable"))
    assert first is not None
    for _ in range(20):
        event = await take_turn(turn(), served_by(Player(broken)), (), show)
        turns._routing.learn(auto(), first, event)
    after = await turns.decide(auto("complexity"))
    assert after is not None
    assert after.model != first.model


async def test_a_rate_limit_that_is_no_number_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidInput, match=REQUESTS_SETTING):
        limiter_from({REQUESTS_SETTING: "many"})


# --- the meter --------------------------------------------------------------------------------------------------------


async def endless(request: TurnRequest) -> AsyncGenerator[Chunk, None]:
    yield Start(provider="scripted", model=request.model)
    yield Usage(input_total=7)
    while True:
        yield Text(text="word " * 10)
        await asyncio.sleep(0)


async def test_a_stream_that_goes_beyond_its_allowance_is_cut_off_and_accounted() -> None:
    work = turn().model_copy(update={"allowance": Allowance(tokens=100)})
    event = await take_turn(work, served_by(Player(endless)), (), show)
    assert isinstance(event, AgentTurnFailed)
    assert event.error.code == "agent.max_total_tokens"
    assert event.usage.estimated
    assert event.usage.input_total == 7
    assert 93 < event.usage.output_total < 120


async def test_an_answer_that_ends_beyond_its_allowance_is_not_thrown_away() -> None:
    async def once(request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Start(provider="scripted", model=request.model)
        yield Text(text="done")
        yield Usage(input_total=500, output_total=1)
        yield End(stop="stop")

    work = turn().model_copy(update={"allowance": Allowance(tokens=100)})
    event = await take_turn(work, served_by(Player(once)), (), show)
    assert isinstance(event, AgentTurnCompleted)


async def test_a_model_is_not_asked_when_the_question_alone_is_too_much() -> None:
    player = Player(endless)
    long = (UserMessage(text="x" * 4000), AssistantMessage(parts=(TextPart(text="y" * 4000),)))
    work = turn().model_copy(update={"allowance": Allowance(tokens=100), "messages": long})
    event = await take_turn(work, served_by(player), (), show)
    assert isinstance(event, AgentTurnFailed)
    assert event.error.code == "agent.max_total_tokens"
    assert player.asked == []


async def test_a_cost_limit_refuses_a_model_without_a_price() -> None:
    work = turn(model="openai:nobody-knows").model_copy(update={"allowance": Allowance(cost=1.0)})
    event = await take_turn(work, Providers(Settings(openai_api_key="k")), (), show)
    assert isinstance(event, AgentTurnFailed)
    assert event.error.code == "agent.cost_unknown"


async def test_cutting_off_closes_the_providers_socket(llm: FakeLLM) -> None:
    settings = Settings(openai_api_key="k", openai_base_url=llm.env()["OPENAI_BASE_URL"])
    work = turn(model="openai:flood:100000").model_copy(update={"allowance": Allowance(tokens=500)})
    providers = Providers(settings)
    event = await take_turn(work, providers, (), show)
    await providers.aclose()
    assert isinstance(event, AgentTurnFailed)
    assert event.error.code == "agent.max_total_tokens"
    async with asyncio.timeout(PATIENCE):
        await llm.calls[0].disconnected.wait()
