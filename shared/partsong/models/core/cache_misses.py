"""Cache misses: why a turn read less out of the vendor's cache than the turn before had left there, from the log alone."""

from __future__ import annotations

from datetime import datetime

from partsong.contracts.events import AgentTurnCompleted, PromptDigest
from partsong.models.core.caching import LIVES, minimum

__all__ = ["why_missed"]

_ENOUGH = 0.85
"""The share of the turn before that is a hit."""
_CACHING = frozenset({"anthropic", "openai", "openai-chat", "google"})


def why_missed(
    turn: AgentTurnCompleted, before: AgentTurnCompleted | None, asked: str
) -> str | None:
    """Why it was a miss; None if it was none, or if the log does not say enough.

    `before` is the turn before of the same conversation, `asked` is when this one was asked for.
    """
    now = turn.prompt
    if now is None or turn.provider not in _CACHING or turn.usage.estimated:
        return None
    if now.cache == "off":
        return "caching is off for this agent"
    if before is None:
        return None if turn.usage.cache_read else "nothing was asked before it in this conversation"
    had = before.usage.input_total
    if turn.usage.cache_read >= _ENOUGH * had:
        return None
    if (changed := _changed(turn, now, before)) is not None:
        return changed
    least = minimum(turn.model)
    if had < least:
        return f"the turn before had {had} tokens, {turn.model} keeps nothing below {least}"
    life = LIVES[now.cache if turn.provider == "anthropic" else "auto"]
    if (gone := _seconds(before.time, asked)) > life:
        return f"{gone:.0f} s had passed since the turn before, a prompt is kept for {life:.0f} s"
    return "nothing of the prompt has changed: the vendor had not kept it, or another of its machines answered"


def _changed(turn: AgentTurnCompleted, now: PromptDigest, before: AgentTurnCompleted) -> str | None:
    """What of the prompt is not as it was, the first thing first: all behind it is read anew."""
    was = before.prompt
    if (turn.provider, turn.model) != (before.provider, before.model):
        return f"{turn.provider}:{turn.model} answered, and {before.provider}:{before.model} before"
    if was is None:
        return None
    if was.cache == "off":
        return "caching was off in the turn before"
    if now.tools != was.tools:
        return "the tools have changed since the turn before, or their order has"
    if now.system != was.system:
        return (
            "the instructions have changed since the turn before, or the schema or the effort has"
        )
    if now.before != was.said:
        return "the messages do not begin as those of the turn before: summed up, or changed by a plugin"
    return None


def _seconds(earlier: str, later: str) -> float:
    if not earlier or not later:
        return 0.0
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
