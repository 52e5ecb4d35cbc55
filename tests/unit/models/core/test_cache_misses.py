"""Why a turn missed: each reason by itself, and none where nothing was missed."""

from __future__ import annotations

import re

import pytest

from partsong.contracts.events import AgentTurnCompleted, PromptDigest, TurnUsage
from partsong.contracts.talk.messages import AssistantMessage
from partsong.models.core.cache_misses import why_missed

WAS = PromptDigest(tools="t", system="s", said="m1")
NOW = PromptDigest(tools="t", system="s", said="m2", before="m1")


def _turn(
    prompt: PromptDigest | None,
    *,
    given: int = 5000,
    read: int = 0,
    model: str = "claude-sonnet-5-5",
    provider: str = "anthropic",
    estimated: bool = False,
) -> AgentTurnCompleted:
    usage = TurnUsage(input_total=given, cache_read=read, estimated=estimated)
    return AgentTurnCompleted(
        id="i",
        time="2026-11-30T12:00:00Z",
        cause="",
        call_id="a:1/t1",
        attempt=1,
        message=AssistantMessage(),
        stop="stop",
        provider=provider,
        model=model,
        usage=usage,
        prompt=prompt,
    )


SOON, LATE = "2026-11-30T12:00:09Z", "2026-11-30T12:06:40Z"
BEFORE = _turn(WAS)


@pytest.mark.parametrize(
    ("turn", "before", "asked", "why"),
    [
        (_turn(NOW.model_copy(update={"cache": "off"})), BEFORE, SOON, "caching is off"),
        (_turn(NOW), None, SOON, "nothing was asked before"),
        (_turn(NOW, model="claude-opus-5"), BEFORE, SOON, "anthropic:claude-opus-5 answered"),
        (_turn(NOW.model_copy(update={"tools": "u"})), BEFORE, SOON, "the tools have changed"),
        (_turn(NOW.model_copy(update={"system": "r"})), BEFORE, SOON, "the instructions have"),
        (_turn(NOW.model_copy(update={"before": "x"})), BEFORE, SOON, "the messages do not begin"),
        (_turn(NOW.model_copy(update={"before": None})), BEFORE, SOON, "the messages do not begin"),
        (_turn(NOW), _turn(WAS, given=900), SOON, "had 900 tokens, .* nothing below 1024"),
        (_turn(NOW), BEFORE, LATE, "400 s had passed .* kept for 300 s"),
        (_turn(NOW), BEFORE, SOON, "nothing of the prompt has changed"),
    ],
)
def test_each_reason_is_said(
    turn: AgentTurnCompleted, before: AgentTurnCompleted | None, asked: str, why: str
) -> None:
    said = why_missed(turn, before, asked)
    assert said is not None
    assert re.search(why, said)


@pytest.mark.parametrize(
    ("turn", "before", "asked"),
    [
        (_turn(NOW, read=4900), BEFORE, SOON),
        (_turn(WAS, read=1200), None, SOON),
        (_turn(None), BEFORE, SOON),
        (_turn(NOW, estimated=True), BEFORE, SOON),
        (_turn(NOW, provider="scripted"), BEFORE, SOON),
    ],
)
def test_a_hit_has_no_reason_nor_has_what_nobody_recorded(
    turn: AgentTurnCompleted, before: AgentTurnCompleted | None, asked: str
) -> None:
    assert why_missed(turn, before, asked) is None


def test_an_hour_is_an_hour() -> None:
    kept = NOW.model_copy(update={"cache": "1h"})
    before = _turn(WAS.model_copy(update={"cache": "1h"}))
    said = why_missed(_turn(kept), before, LATE)
    assert said is not None
    assert said.startswith("nothing of the prompt has changed")


def test_a_turn_of_a_log_of_before_is_compared_as_far_as_that_goes() -> None:
    old = _turn(None)
    assert why_missed(_turn(NOW, model="claude-opus-5"), old, SOON) is not None
    assert "400 s" in (why_missed(_turn(NOW), old, LATE) or "")
