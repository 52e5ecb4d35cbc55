"""An event that is newer than its reader stops that run, visibly, and is never stepped over."""

from __future__ import annotations

import json

import pytest

from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, InvalidInput
from partsong.contracts.events.envelope import START_HASH, decode, decode_known, encode_commit
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.state import RunState
from partsong.contracts.state.timeline import checkpoints, state_at
from partsong.contracts.state.verify import replay
from partsong.engine.commands import runs
from partsong.engine.decide import decide

NOW = "2026-01-01T00:00:00.000Z"
GRAPH = parse_graph({"name": "t", "nodes": {"a": {"type": "function", "function": "m:f"}}})


def newer(kind: str = "call.progressed", v: int = 1) -> bytes:
    return json.dumps(
        {"run": "r_1", "events": [{"id": "x", "type": kind, "v": v, "time": NOW, "data": {}}]}
    ).encode()


def begun() -> bytes:
    started = runs.start("r_1", GRAPH, {}, e.RunOptions(), "q1", NOW)
    state = RunState("r_1")
    return encode_commit("r_1", 1, 0, START_HASH, (*started, *_decided(state, started)))[1]


def _decided(state: RunState, news: tuple[e.Event, ...]) -> tuple[e.Event, ...]:
    from partsong.contracts.state.fold import fold_all

    return decide(fold_all(state, news), NOW).events


COMPLETED = json.dumps(
    {
        "run": "r_1",
        "events": [
            {
                "id": "r_1.a:1.1.closed",
                "type": "call.completed",
                "time": NOW,
                "data": {"call_id": "a:1", "attempt": 1, "update": {"x": 1}},
            }
        ],
    }
).encode()


def folded(*bodies: bytes) -> RunState:
    state = RunState("r_1")
    for seq, body in enumerate(bodies, 1):
        state = fold_message(state, decode_known(body), seq)
    return state


@pytest.mark.parametrize("body", [newer(), newer("call.completed", 2)])
def test_a_run_whose_log_is_newer_waits_and_says_what_for(body: bytes) -> None:
    state = folded(begun(), body)
    waits = state.waits_on
    assert state.phase == "waiting"
    assert waits is not None
    assert waits.on == "worker"
    assert waits.reason.startswith("needs a newer engine: no event type")
    assert waits.reason.endswith("(seq 2)")


def test_nothing_behind_it_is_believed_and_nothing_is_decided() -> None:
    state = folded(begun(), newer(), COMPLETED)
    assert state.values == {}
    assert state.calls["a:1"].open
    assert decide(state, NOW).events == ()
    assert folded(begun(), COMPLETED).calls["a:1"].outcome is not None, "the test closes a call"


def test_what_stands_before_it_in_its_message_counts() -> None:
    whole = json.loads(COMPLETED)
    whole["events"] += json.loads(newer())["events"]
    state = folded(begun(), json.dumps(whole).encode())
    assert not state.calls["a:1"].open
    assert state.newer is not None


def test_what_is_asked_of_it_is_refused_with_what_to_do() -> None:
    state = folded(begun(), newer())
    with pytest.raises(Conflict) as refused:
        runs.known(state)
    assert refused.value.problem.code == "engine.too_old"
    assert "update the graph engines" in (refused.value.problem.fix or "")
    with pytest.raises(Conflict):
        runs.fork(state, 2, "r_2", (), "q", NOW)
    runs.known(folded(begun()))


def test_a_replay_names_it_and_goes_on_checking() -> None:
    found = replay("r_1", [(1, begun()), (2, newer()), (3, COMPLETED)])
    assert [(f.code, f.where) for f in found.findings] == [("log.newer", "seq 2")]
    assert found.records == 3
    assert found.state.newer is not None


def test_its_history_can_be_read_up_to_there() -> None:
    records = [(1, begun()), (2, newer())]
    assert [point.seq for point in checkpoints("r_1", records)] == [1]
    assert state_at("r_1", records, 1).newer is None


def test_who_needs_every_event_is_told_that_one_is_not_known() -> None:
    with pytest.raises(InvalidInput) as unknown:
        decode(newer())
    assert unknown.value.problem.code == "event.unknown"
