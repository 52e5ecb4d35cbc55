"""After a restore every guarded call that was open may have been made: a person is asked, once."""

from __future__ import annotations

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.wire.marks import Restored
from partsong.engine.calls.doubt import in_doubt
from tests.support.scenario import NOW, Scenario, given

LATER = "2026-01-01T00:10:00.000Z"
RESTORED = Restored(
    log_id="a", epoch=2, kept=100, lost=(101, 140), since=NOW, at=LATER, by="ann", source="backup"
)  # fmt: skip


def graph(kind: str) -> Scenario:
    nodes: dict[str, object] = {
        "tool": {"type": "tool", "tool": "charge"},
        "function": {"type": "function", "function": "m:f"},
        "approval": {"type": "approval", "title": "May I?"},
    }
    return given(parse_graph({"name": "g", "nodes": {"n": nodes[kind]}}), {})


def calls(scenario: Scenario, restored: Restored = RESTORED) -> list[str]:
    return [event.call_id for event, _ in in_doubt(scenario.state, restored, LATER)]


def test_a_guarded_call_that_was_open_is_in_doubt_whether_it_was_claimed_or_not() -> None:
    run = graph("tool")
    (call,) = run.state.calls
    assert calls(run) == [call]
    claimed = e.CallClaimed(id="c", time=NOW, cause="x", call_id=call, attempt=1, worker="w~1")
    run.when(claimed)
    ((event, expect),) = in_doubt(run.state, RESTORED, LATER)
    assert event.worker == "w~1"
    assert expect == run.state.calls[call].claim


def test_what_has_no_effect_of_its_own_or_may_be_made_twice_is_not_in_doubt() -> None:
    assert calls(graph("function")) == []
    assert calls(graph("approval")) == []


def test_a_call_asked_for_after_the_restore_is_not_in_doubt() -> None:
    run = graph("tool")
    assert calls(run, RESTORED.model_copy(update={"at": "2025-12-31T00:00:00.000Z"})) == []


def test_a_call_that_was_claimed_after_the_restore_is_not_in_doubt() -> None:
    assert calls(graph("tool"), RESTORED.model_copy(update={"kept": -1})) == []


def test_an_ended_run_leaves_nothing_in_doubt() -> None:
    run = graph("tool")
    (call,) = run.state.calls
    run.when(
        e.CallFailed(
            id="f", time=NOW, cause="x", call_id=call, attempt=1, error=Problem(code="tool.failed", message="no")
        )
    )  # fmt: skip
    assert run.state.ended
    assert calls(run) == []


def test_the_event_closes_the_call_and_a_person_is_asked_whether_to_make_it_again() -> None:
    run = graph("tool")
    ((event, _),) = in_doubt(run.state, RESTORED, LATER)
    assert fold_all(run.state, (event,)).calls[event.call_id].lapsed
    run.when(event)
    asked = [new for new in run.new if isinstance(new, e.ApprovalRequested)]
    assert [one.title for one in asked] == ["Outcome unknown: call the tool charge again?"]
    assert calls(run) == [], "it is in doubt once"
