"""Asking again: by the provider's hints, then another model, and never behind the reader's back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from partsong.agents import (
    Agent,
    AgentFailed,
    AgentLimits,
    Conversation,
    LimitReached,
    RateLimiter,
)
from partsong.agents.asking import wait_before
from partsong.contracts.graph import Retry
from partsong.contracts.talk.chunks import Failed, Text
from partsong.models.limiter import Whom
from partsong.testing.fake_llm import Answer, Ask, Cut, Deny, FakeLLM, Finish, Reply, Say
from tests.support.agents import AT_ONCE, OVERLOADED, PATIENCE, asking, read, saying, steps

BUSY = Deny(429, "rate_limited", "slow down", {"retry-after-ms": "20"})
WHOLE = (Say("All of it."), Finish())
HALF = (Say("Half of "), Cut())


async def test_what_may_be_asked_again_is() -> None:
    async with FakeLLM(steps(OVERLOADED, BUSY, WHOLE)) as llm:
        result = await asking(llm).call("Hello")
    assert result.text == "All of it."
    assert (len(llm.calls), result.turns) == (3, 1)


async def test_attempts_have_an_end_and_are_all_reported() -> None:
    async with FakeLLM(steps(OVERLOADED)) as llm:
        with pytest.raises(AgentFailed) as failed:
            await asking(llm).call("Hello")
    assert failed.value.problem.code == "provider.overloaded"
    assert [event.attempt for event in failed.value.failures] == [1, 2, 3]
    assert len(llm.calls) == 3


async def test_what_cannot_succeed_is_not_asked_again() -> None:
    async with FakeLLM(steps(Deny(400, "invalid_request", "no such thing"))) as llm:
        with pytest.raises(AgentFailed, match="no such thing"):
            await asking(llm).call("Hello")
    assert len(llm.calls) == 1


async def test_a_hint_longer_than_our_patience_is_not_waited_for() -> None:
    later = Deny(429, "rate_limited", "come back tomorrow", {"retry-after": "86400"})
    async with FakeLLM(steps(later)) as llm, asyncio.timeout(PATIENCE):
        with pytest.raises(AgentFailed) as failed:
            await asking(llm).call("Hello")
    assert failed.value.failures[0].retry_after == 86400
    assert len(llm.calls) == 1


async def test_the_policy_may_say_what_is_worth_another_attempt() -> None:
    never = Retry(attempts=3, initial=0.001, retry_on=("provider.timeout",))
    async with FakeLLM(steps(OVERLOADED)) as llm:
        with pytest.raises(AgentFailed):
            await asking(llm, retry=never).call("Hello")
    assert len(llm.calls) == 1


def test_waits_grow_and_vary_by_the_seed_alone() -> None:
    policy = Retry(initial=1, factor=2, max=5, jitter=0.1)
    waits = [wait_before(policy, tried, "x") for tried in (1, 2, 3, 4)]
    assert waits == [wait_before(policy, tried, "x") for tried in (1, 2, 3, 4)]
    assert [round(wait / waits[0], 6) for wait in waits] == [1, 2, 4, 5]
    assert waits[0] == pytest.approx(1, abs=0.1)
    assert waits[0] != wait_before(policy, 1, "y")


def by_model(**scripts: Callable[[Ask], Reply]) -> Callable[[Ask], Reply]:
    return lambda ask: scripts[ask.model](ask)


async def test_another_model_stands_in_and_stays() -> None:
    broken, whole = steps(Deny(400, "invalid_request", "no such model")), saying("A.", "B.")
    async with FakeLLM(by_model(first=broken, second=whole)) as llm:
        agent = asking(llm, "openai-chat:first", fallbacks=("openai-chat:second",))
        result = await agent.call("Hello")
    assert result.text == "A."
    assert result.model == "openai-chat:second"
    assert [recorded.model for recorded in llm.calls] == ["first", "second"]


async def test_a_key_that_was_refused_is_not_shown_again_for_another_model() -> None:
    async with FakeLLM(steps(Deny(401, "auth", "no such key"))) as llm:
        with pytest.raises(AgentFailed) as failed:
            await asking(llm, fallbacks=("openai:other",)).call("Hello")
        assert failed.value.problem.code == "provider.auth"
        assert len(llm.calls) == 1
        result = await asking(llm, fallbacks=("openai:other", "scripted:echo")).call("Hello")
    assert (result.model, len(llm.calls)) == ("scripted:echo", 2)


@pytest.mark.parametrize("said", [(), (Say(" \n"),)])
async def test_an_answer_without_a_word_is_asked_for_again_and_not_kept(
    said: tuple[Say, ...],
) -> None:
    talk = Conversation()
    async with FakeLLM(steps((*said, Finish()), WHOLE)) as llm:
        result = await asking(llm).call("Hello", conversation=talk)
    assert (result.text, len(llm.calls), len(talk.messages)) == ("All of it.", 2, 2)


async def test_answers_without_a_word_fail_and_leave_a_conversation_as_it_was() -> None:
    talk = Conversation()
    async with FakeLLM(steps((Finish(),))) as llm:
        with pytest.raises(AgentFailed) as failed:
            await asking(llm).call("Hello", conversation=talk)
    assert (failed.value.problem.code, talk.messages) == ("agent.empty_answer", ())


async def test_a_fallback_may_be_another_provider_or_have_no_key_either() -> None:
    async with FakeLLM(steps(Deny(401, "auth", "wrong key"))) as llm:
        agent = asking(llm, "openai-chat:any", fallbacks=("anthropic:claude-x", "scripted:echo"))
        result = await agent.call("Hello")
    assert (result.text, result.model) == ("Hello", "scripted:echo")


async def test_a_call_that_breaks_off_is_made_again_because_nobody_saw_it() -> None:
    async with FakeLLM(steps(HALF, WHOLE)) as llm:
        result = await asking(llm).call("Hello")
    assert result.text == "All of it."
    assert result.usage.estimated  # of the half


async def test_text_that_was_shown_is_not_followed_by_another_attempt() -> None:
    async with FakeLLM(steps(HALF, WHOLE)) as llm:
        agent = asking(llm, fallbacks=("scripted:echo",))
        shown: list[str] = []
        with pytest.raises(AgentFailed) as failed:
            await read(agent.call_stream("Hello"), shown)
    assert "".join(shown) == "Half of "
    assert failed.value.problem.code == "provider.truncated"
    assert len(llm.calls) == 1


async def test_a_stream_that_has_shown_nothing_is_begun_again() -> None:
    async with FakeLLM(steps(OVERLOADED, WHOLE)) as llm:
        pieces = [piece async for piece in asking(llm).call_stream("Hello")]
    assert "".join(pieces) == "All of it."
    assert len(llm.calls) == 2


async def test_chunks_may_go_on_because_they_say_which_attempt_they_are_of() -> None:
    async with FakeLLM(steps(HALF, WHOLE)) as llm:
        stream = asking(llm).call_stream("Hello")
        chunks = [chunk async for chunk in stream.chunks()]
    said = {1: "", 2: ""}
    for chunk in chunks:
        if isinstance(chunk, Text):
            said[chunk.attempt] += chunk.text
    assert said == {1: "Half of ", 2: "All of it."}
    assert [c.attempt for c in chunks if isinstance(c, Failed)] == [1]
    assert stream.result.text == "All of it."


async def test_a_hint_holds_back_everybody_who_shares_the_limiter() -> None:
    """The second agent asks while the first waits out its hint; both get through, and nobody asks before that."""
    limiter = RateLimiter()
    refused: list[float] = []
    asked: list[float] = []

    def script(ask: Ask) -> Reply:
        now = asyncio.get_running_loop().time()
        if not refused:
            refused.append(now)
            return Deny(429, "rate_limited", "slow down", {"retry-after-ms": "200"})
        asked.append(now)
        return Answer(WHOLE)

    async with FakeLLM(script) as llm, asyncio.timeout(PATIENCE):
        first = asyncio.create_task(asking(llm, limiter=limiter).call("one"))
        await llm.wait_calls(1)
        await llm.calls[0].done.wait()
        await first
        await asking(llm, limiter=limiter).call("two")
    assert len(asked) == 2
    assert all(at - refused[0] >= 0.19 for at in asked)


async def test_requests_beyond_the_rate_wait_each_model_for_itself() -> None:
    limiter, now = RateLimiter(requests=2, per=0.2), asyncio.get_running_loop().time
    begun = now()
    for _ in range(2):
        await limiter.admit(Whom("a:1"))
    await limiter.admit(Whom("b:1"))
    await limiter.admit(Whom("a:1", "another key"))
    await limiter.admit(Whom("a:1"))
    assert now() - begun >= 0.09


async def test_tokens_that_were_spent_hold_back_what_follows() -> None:
    limiter, now = RateLimiter(tokens=1000, per=0.1), asyncio.get_running_loop().time
    whom, begun = Whom("a:1"), now()
    await limiter.admit(whom)
    limiter.spend(whom, 2000)
    await limiter.admit(whom)
    assert now() - begun >= 0.09


async def test_a_known_price_makes_a_cost_and_an_unknown_one_makes_none(llm: FakeLLM) -> None:
    dear = await asking(llm, "openai-chat:gpt-5.4").call("Hello")
    assert dear.usage.cost is not None
    assert dear.usage.cost > 0
    unknown = await asking(llm, "openai-chat:text:3").call("Hello")
    assert unknown.usage.cost is None


async def test_a_limit_of_cost_refuses_a_model_without_a_price(llm: FakeLLM) -> None:
    limits = AgentLimits(cost=1.0)
    with pytest.raises(LimitReached) as refused:
        await asking(llm, "openai-chat:text:3", limits=limits).call("Hello")
    assert refused.value.problem.code == "agent.cost_unknown"
    assert llm.calls == []
    assert (await Agent("scripted:echo", limits=limits).call("free")).text == "free"


async def test_a_limit_of_cost_that_the_question_alone_exceeds_asks_nobody() -> None:
    async with FakeLLM(saying("no JSON")) as llm:
        agent = asking(
            llm,
            "openai-chat:gpt-5.4",
            output={"type": "object"},
            limits=AgentLimits(cost=1e-9),
            retry=AT_ONCE,
        )
        with pytest.raises(LimitReached) as stopped:
            await agent.call("Hello")
    assert stopped.value.problem.code == "agent.max_cost"
    assert stopped.value.usage.cost is not None
    assert llm.calls == []
