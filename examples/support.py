"""Triage of a customer's message: a model reads it, small refunds are paid at once, larger ones wait for a person.

    python -m examples.support "The pot came broken, I want my 80 euros back."

What the person is shown is the model's reading; a refund that is refused is answered, too.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from pydantic import JsonValue

from examples.voices import agree, models
from partsong.agents import Agent
from partsong.contracts.events import ApprovalRequested
from partsong.workflow import RunResult, WorkflowGraph

MESSAGE = "The pot came broken, I want my 80 euros back."
LARGE = 50
READING: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["refund", "question"]},
        "amount": {"type": "number", "description": "Euros to be given back; 0 if none."},
        "reason": {"type": "string"},
    },
    "required": ["kind", "amount", "reason"],
}

Json = dict[str, Any]


def pay(state: Json) -> Json:
    """Here a payment would be made; its idempotency key is the run's own."""
    return {"done": f"{state['read']['amount']} euros are on their way."}


def refuse(_state: Json) -> Json:
    """Nothing is paid."""
    return {"done": "Nothing is paid back."}


def note(_state: Json) -> Json:
    """A question needs no money."""
    return {"done": "It is a question."}


def triage(reader: str, writer: str) -> WorkflowGraph:
    """read → refund or question; from 50 euros on a person is asked → reply."""
    graph = WorkflowGraph("support")
    graph.add_agent("read", Agent(reader, instructions="Read the customer's message.", output=READING), prompt="{{message}}")  # fmt: skip
    graph.add_approval("ask", title="Give back {{read.amount}} euros? {{read.reason}}", show=("message",), deadline="3d", otherwise="reject")  # fmt: skip
    for name, function in (("pay", pay), ("refuse", refuse), ("note", note)):
        graph.add_node(name, function)
    graph.add_agent("reply", Agent(writer, instructions="Answer the customer in two sentences."), prompt="{{message}}\n\nDecided: {{done}}")  # fmt: skip
    graph.add_condition(
        "read",
        [
            ("state.read.kind == 'question'", "note"),
            (f"state.read.amount >= {LARGE:.1f}", "ask"),
        ],
        otherwise="pay",
    )
    graph.add_conditional_edge("ask", {"approved": "pay", "rejected": "refuse"})
    for name in ("pay", "refuse", "note"):
        graph.add_edge(name, "reply")
    return graph


async def decide(request: ApprovalRequested) -> bool:
    """Ask whoever sits at the terminal."""
    print(f"The customer wrote: {request.context['message']}")
    return await asyncio.to_thread(agree, request.title)


async def work(message: str) -> RunResult:
    """Run the graph in this process; on the bus the same graph has an inbox for approvals."""
    reading: dict[str, JsonValue] = {
        "kind": "refund",
        "amount": 80.0,
        "reason": "The pot came broken.",
    }
    with models(reader=[reading], writer=["We are sorry about the pot. See above for your money."]) as model:  # fmt: skip
        graph = triage(model["reader"], model["writer"])
        return (await graph.execute({"message": message}, approve=decide)).raise_for_status()


def main() -> None:
    """Print what was read, decided and answered."""
    parser = argparse.ArgumentParser(prog="python -m examples.support", description=__doc__)
    parser.add_argument("message", nargs="?", default=MESSAGE)
    result = asyncio.run(work(parser.parse_args().message))
    print(f"read   {result['read']}\ndone   {result['done']}\nreply  {result['reply']}")


if __name__ == "__main__":
    main()
