"""Compaction: a conversation that has grown too long is summed up by its own model before the next turn."""

from __future__ import annotations

from partsong.contracts import events as e
from partsong.contracts.graph import AgentNode, AgentSpec
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call
from partsong.contracts.talk.messages import AssistantMessage, Message, ToolMessage, UserMessage
from partsong.engine.calls.calls import AGENT_RETRY, retried
from partsong.engine.draft import Draft
from partsong.engine.nodes.asking import ask, ask_again

__all__ = ["compacted", "summing_up", "transcript"]

_TOKENS = 2048
_RESULT = 2000
"""Characters of a tool's result that whoever sums up is shown."""
_ORDER = (
    "You sum up a conversation between a user and an assistant that works with tools, so that the assistant can go on "
    "with nothing but your summary. Keep every fact, number, name, identifier, decision, result and open question that "
    "later work may need; leave out what was only on the way there. Write plain text, no preamble."
)


def compacted(draft: Draft, execution: Execution, node: AgentNode, turn: Call) -> bool:
    """Whether the conversation is short enough, or has been made so, for the next turn; asks for a summary if not."""
    limit, answer = node.agent.compact_at, turn.outcome
    if limit is None or not isinstance(answer, e.AgentTurnCompleted):
        return True
    if execution.talk.compacted == execution.turn or len(execution.messages) < 2:
        return True
    call = draft.state.calls.get(f"{execution.id}/k{execution.turn}")
    if call is None:
        if answer.usage.input_total <= limit:
            return True
        call_id = f"{execution.id}/k{execution.turn}"
        ask(draft, execution, node, call_id, turn.name, turn.closed_by or "", compaction=True)
        return False
    if call.open or call.given_up:
        return False
    summary: str | None = None
    if isinstance(call.outcome, e.AgentTurnCompleted):
        summary = call.outcome.message.text or None
    else:
        match retried(draft, call, node.retry or AGENT_RETRY):
            case "now":
                ask_again(draft, execution, node, call)
                return False
            case "later":
                return False
            case "never":
                pass  # the next turn is asked with the conversation as it is
    draft.add(
        e.ConversationCompacted(
            id=draft.id(call.id, "compacted"),
            time=draft.now,
            cause=call.closed_by or "",
            exec=execution.id,
            summary=summary,
        )
    )
    return True


def summing_up(model: str) -> AgentSpec:
    """The agent that sums up."""
    return AgentSpec(model=model, instructions=_ORDER, max_tokens=_TOKENS, cache="off")


def transcript(messages: tuple[Message, ...]) -> str:
    """A conversation as text."""
    return "\n\n".join(_line(message) for message in messages)


def _line(message: Message) -> str:
    match message:
        case UserMessage(text=text):
            return f"User: {text}"
        case AssistantMessage():
            calls = [f"(calls {call.name} with {call.args})" for call in message.tool_calls]
            return "Assistant: " + " ".join(part for part in (message.text, *calls) if part)
        case ToolMessage():
            return f"Result of {message.name}: {message.text[:_RESULT]}"
