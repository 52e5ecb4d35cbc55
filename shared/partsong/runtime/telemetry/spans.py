"""What the spans of a run are called and what they say.

run {graph}
└── node {name}
    ├── chat {model}            one turn of an agent, in the words of OpenTelemetry's GenAI conventions
    ├── execute_tool {name}     one tool call
    └── approval {title}        a person's decision
append                          one append to the log

The conventions are in development, and the packaged constants are deprecated, so the words stand here, as of version
0.1.0 of the conventions. What people and models say is in no span.
"""

from __future__ import annotations

from partsong.contracts.events import TurnUsage
from partsong.runtime.telemetry.telemetry import Attributes, What

__all__ = ["answered", "append", "approval", "chat", "function", "node", "run", "tool"]

_RUN = "partsong.run.id"
_CONVERSATION = "gen_ai.conversation.id"
_OPERATION = "gen_ai.operation.name"


def run(graph: str, run_id: str, *, status: str | None = None) -> What:
    """A whole run; `status` once it has ended."""
    return What(
        f"run {graph}", {_RUN: run_id, "partsong.graph": graph, "partsong.run.status": status}
    )


def node(name: str, run_id: str, exec_id: str, *, kind: str | None = None) -> What:
    """One execution of a node; `kind` is the node's type."""
    return What(
        f"node {name}",
        {_RUN: run_id, "partsong.node": name, "partsong.exec": exec_id, "partsong.node.type": kind},
    )


def chat(
    model: str,
    run_id: str,
    *,
    provider: str,
    agent: str,
    attempt: int,
    max_tokens: int | None = None,
) -> What:
    """One turn of an agent; `agent` is its node."""
    return What(
        f"chat {model}",
        {
            _OPERATION: "chat",
            _CONVERSATION: run_id,
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.request.max_tokens": max_tokens,
            "gen_ai.agent.name": agent,
            "partsong.attempt": attempt,
        },
        "client",
    )


def answered(
    *,
    model: str,
    stop: str,
    usage: TurnUsage,
    response_id: str | None = None,
    first_chunk: float | None = None,
) -> Attributes:
    """What a turn's span says once the model has answered; `first_chunk` in seconds."""
    return {
        "gen_ai.response.model": model,
        "gen_ai.response.id": response_id,
        "gen_ai.response.finish_reasons": (stop,),
        "gen_ai.response.time_to_first_chunk": first_chunk,
        "gen_ai.usage.input_tokens": usage.input_total,
        "gen_ai.usage.output_tokens": usage.output_total,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        "partsong.usage.cost": usage.cost,
    }


def tool(name: str, run_id: str, call_id: str, *, attempt: int) -> What:
    """One tool call."""
    return What(
        f"execute_tool {name}",
        {
            _OPERATION: "execute_tool",
            _CONVERSATION: run_id,
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": call_id,
            "partsong.attempt": attempt,
        },
    )


def function(name: str, run_id: str, call_id: str, *, attempt: int) -> What:
    """One call of a function node's function."""
    return What(
        f"call {name}", {_RUN: run_id, "partsong.call": call_id, "partsong.attempt": attempt}
    )


def approval(title: str, run_id: str, call_id: str, *, decision: str | None = None) -> What:
    """A person's decision, from the question to the answer."""
    return What(
        f"approval {title}",
        {_RUN: run_id, "partsong.call": call_id, "partsong.approval.decision": decision},
    )


def append(run_id: str, *, events: int) -> What:
    """One append to the log."""
    return What(
        "append",
        {_RUN: run_id, "messaging.system": "nats", "partsong.events": events},
        "client",
    )
