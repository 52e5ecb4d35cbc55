"""Records of a log: those of an honest run, and those that somebody else has put among them."""

from __future__ import annotations

import json
from functools import lru_cache

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.events.envelope import START_HASH, chain, encode_commit, encode_report
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.wire.subjects import Subjects
from tests.fuzz.draw import Draw
from tests.support.scenario import Scenario

__all__ = ["RUN", "history", "odd_body", "odd_subject"]

RUN = "r_1"

_STEP: JsonValue = {"type": "function", "function": "tests.fuzz.work:step"}
_INNER: JsonValue = {"name": "inner", "nodes": {"a": _STEP}}
_GRAPH: JsonValue = {
    "name": "honest",
    "entry": "a",
    "nodes": {
        "a": _STEP,
        "each": {"type": "map", "graph": _INNER, "over": "l", "into": "done"},
        "ask": {"type": "approval", "title": "Go on?", "editable": "x"},
        "wait": {"type": "wait", "signal": "go"},
        "think": {"type": "agent", "agent": {"model": "scripted:echo"}, "prompt": "hello"},
    },
    "edges": [{"from": "a", "to": to} for to in ("each", "ask", "wait", "think")],
}


@lru_cache(maxsize=1)
def _bodies() -> tuple[bytes, ...]:
    """A run in which all is under way."""
    run, head, bodies = Scenario(parse_graph(_GRAPH), {"l": [1, 2]}, RUN), START_HASH, list[bytes]()

    def commit(what: tuple[e.Event, ...]) -> None:
        nonlocal head
        _, body = encode_commit(RUN, len(bodies) + 1, len(bodies), head, what)
        head = chain(head, body)
        bodies.append(body)

    commit(tuple(run.log))
    done = run.completion("a:1", {"n": 1})
    body = encode_report(RUN, done)
    head = chain(head, body)
    bodies.append(body)
    run.when(done)
    commit(tuple(run.new))
    return tuple(bodies)


def history(draw: Draw) -> tuple[bytes, ...]:
    """The run so far."""
    bodies = _bodies()
    return bodies[: draw.count(1, len(bodies))]


_CALLS = ("a:1", "each:1/0/a:1", "each:1/1/a:1", "ask:1", "think:1/t1", "wait:1", "nobody:1")


def _event(draw: Draw) -> JsonValue:
    """An event as a stranger writes it."""
    call_id = draw.one(_CALLS)
    made: dict[str, JsonValue] = {
        "id": f"{RUN}.{draw.one(('x', call_id))}.closed",
        "time": "2026-01-01T00:00:00.000Z",
        "type": draw.one(KINDS),
        "call_id": call_id,
    }
    made |= draw.one(
        (
            {"update": {draw.key(): draw.value(1)}, "attempt": draw.one((1, 2, 0, -1, 10**30))},
            {"error": {"code": draw.text(), "message": draw.text()}},
            {"decision": "approve", "by": draw.text(), "edited": draw.value(1)},
            {"name": "go", "payload": draw.value(1)},
            {"exec": call_id, "node": "a", "scope": draw.one(("", "each:1/0", draw.text()))},
            {"message": draw.value(1), "stop": "stop", "content": draw.value(1)},
            {"timer_id": draw.text(), "at": draw.text()},
            {},
        )
    )  # fmt: skip
    return made


KINDS = (
    "call.completed", "call.failed", "call.claimed", "call.lapsed", "call.cancelled", "call.suspended", "approval.decided",
    "approval.expired", "signal.received", "agent.turn.completed", "agent.turn.failed", "agent.turn.claimed", "timer.fired",
    "run.started", "run.completed", "run.failed", "run.cancelled", "run.paused", "node.completed", "node.scheduled", "child.ended",
    "hook.decided", "command.received", "owner.changed", "run.forked", "scope.closed", "of.tomorrow", "",
)  # fmt: skip
"""Types of events; the last two are nobody's."""


def odd_body(draw: Draw) -> bytes:
    """What a stranger appends: an honest record that was changed, an event out of place, or no record at all."""
    if draw.chance(0.4):
        honest = json.loads(draw.one(_bodies()))
        return draw.body(draw.changed(honest, draw.count(0, 3)))
    events: list[JsonValue] = [_event(draw) for _ in range(draw.one((0, 1, 1, 1, 2)))]
    made: JsonValue = {"run": draw.one((RUN, RUN, RUN, "r_2", draw.text())), "events": events}
    return draw.body(draw.changed(made) if draw.chance(0.4) else made)


def odd_subject(draw: Draw, subjects: Subjects, run_id: str = RUN) -> str:
    """Where it is appended."""
    stem = subjects.run(run_id).removesuffix(".>")
    return f"{stem}.{draw.one(('fact', 'fact', 'engine', 'call.a:1', 'call.ask:1', 'command.q', 'odd', 'call.x.y'))}"
