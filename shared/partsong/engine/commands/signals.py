"""Signals: what somebody tells the nodes of a run that wait for it, now or later."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, InvalidInput
from partsong.contracts.foreign.question import Evaluate, at_once
from partsong.contracts.graph import Graph, WaitNode, graphs_in
from partsong.contracts.graph.conform import check_value
from partsong.contracts.state.state import RunState

__all__ = ["check_signal", "signal"]


def signal(
    state: RunState,
    name: str,
    payload: JsonValue,
    request_id: str,
    now: str,
    evaluate: Evaluate = at_once,
    key: str | None = None,
) -> tuple[e.Event, ...]:
    """A signal for whoever waits for it, now or later.

    Raises:
        Conflict: `run.ended`.
        InvalidInput: `signal.unknown`, `signal.key`, `signal.invalid`, `schema.budget`.
    """
    id_ = f"{state.run_id}.signal.{request_id}"
    if id_ in state.signalled:
        return ()
    if state.ended:
        raise Conflict(
            "run.ended",
            f"run {state.run_id} is {state.status}: nobody waits",
            where="run_id",
            fix="fork it" if state.status == "completed" else "retry it, then send the signal",
        )
    check_signal(state.root.graph, name, key, payload, evaluate)
    received = e.SignalReceived(
        id=id_, time=now, cause=request_id, name=name, key=key, payload=payload
    )
    return (received,)


def check_signal(
    graph: Graph, name: str, key: str | None, payload: JsonValue, evaluate: Evaluate = at_once
) -> None:
    """Refuse a signal that no node of a graph could ever take.

    Raises:
        InvalidInput: `signal.unknown`, `signal.key`, `signal.invalid`, `schema.budget`.
    """
    waits = list(_waits(graph))
    named = [node for node in waits if node.signal == name]
    if not named:
        known = ", ".join(sorted({node.signal for node in waits if node.signal})) or "none"
        raise InvalidInput(
            "signal.unknown",
            f"no node of {graph.name} waits for {name!r} (signals: {known})",
            where="name",
            fix=_meant(name, waits),
        )
    fitting = [node for node in named if (node.key is None) == (key is None)]
    if not fitting:
        said = "a key" if key is None else "no key"
        raise InvalidInput(
            "signal.key",
            f"what waits for {name!r} in {graph.name} has {said}, and the signal has {'none' if key is None else repr(key)}",
            where="key",
            fix=f"send it with the key of the wait that is meant: {named[0].key}"
            if key is None
            else "leave the key out, or give the wait one",
        )
    for node in fitting:
        if node.signal_schema is not None:
            check_value(node.signal_schema, payload, "payload", "signal.invalid", evaluate)


def _meant(name: str, waits: list[WaitNode]) -> str:
    names = sorted({node.signal for node in waits if node.signal})
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return "send one of these" if names else "add a wait node for the signal to the graph"


def _waits(graph: Graph) -> Iterator[WaitNode]:
    for node in graph.nodes.values():
        if isinstance(node, WaitNode):
            yield node
        for inner in graphs_in(node).values():
            yield from _waits(inner)
