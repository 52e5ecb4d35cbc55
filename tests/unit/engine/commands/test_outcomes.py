"""What commands mean: each has one outcome, in order, and what is refused changes nothing but that."""

from __future__ import annotations

import pytest

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events.command import Verb
from partsong.contracts.foreign.question import at_once
from partsong.contracts.frozen import replace
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold, fold_all
from partsong.contracts.state.serialization import dump_state, load_state
from partsong.contracts.state.state import Origin, RunState
from partsong.engine.commands.outcomes import Prepared, carry_out
from partsong.engine.meter import MOST, Meter

NOW = "2026-01-01T00:00:00.000Z"
GRAPH = parse_graph({"name": "g", "nodes": {"w": {"type": "wait", "signal": "go"}}})
READY = Prepared(graph=GRAPH)


def received(verb: Verb, id_: str, digest: str = "d", **request: object) -> e.CommandReceived:
    asked = {"id": id_, "run_id": "r_1", **request}
    return e.CommandReceived.model_validate(
        {"request_id": id_, "verb": verb, "digest": digest, "request": asked}
    )


def start(id_: str = "q", digest: str = "d", **input: object) -> e.CommandReceived:
    return received("run", id_, digest, graph=GRAPH.hash, input=input)


def begun(*more: e.CommandReceived) -> RunState:
    """A run that has begun, and what has come since."""
    _, state = carry_out(fold(RunState("r_1"), start(x=1)), {"q": READY}, NOW)
    return fold_all(state, more)


def outcomes(events: tuple[e.Event, ...]) -> dict[str, str | None]:
    return {
        event.request_id: event.error.code if event.error else None
        for event in events
        if isinstance(event, e.CommandSettled)
    }


def test_a_start_takes_its_input_from_its_command_and_does_not_repeat_it() -> None:
    events, state = carry_out(fold(RunState("r_1"), start(x=1)), {"q": READY}, NOW)
    started = events[0]
    assert isinstance(started, e.RunStarted)
    assert started.input == {}
    assert state.values == {"x": 1}
    assert state.digest == "d"
    assert not state.pending


def test_commands_are_carried_out_in_the_order_of_the_log() -> None:
    state = fold_all(
        RunState("r_1"), (start(), received("pause", "p"), received("cancel", "c", reason="no"))
    )
    events, after = carry_out(state, {"q": READY}, NOW)
    assert [event.type for event in events] == [
        "run.started", "command.settled", "run.paused", "command.settled", "run.stopping", "command.settled",
    ]  # fmt: skip
    assert after.stopping is not None
    assert outcomes(events) == {"q": None, "p": None, "c": None}


def test_a_command_that_is_not_prepared_holds_up_those_behind_it() -> None:
    state = fold_all(RunState("r_1"), (start(), received("cancel", "c")))
    events, after = carry_out(state, {}, NOW)
    assert events == ()
    assert list(after.pending) == ["q", "c"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (received("signal", "s", name="nobody"), "signal.unknown"),
        (received("retry", "t"), "run.not_ended"),
        (start("q2", digest="other", x=2), "run.exists"),
    ],
    ids=["signal", "retry", "start"],
)
def test_what_is_refused_has_its_reason_in_the_log_and_changes_nothing_else(
    asked: e.CommandReceived, code: str
) -> None:
    before = begun()
    events, after = carry_out(fold(before, asked), {asked.request_id: READY}, NOW)
    assert outcomes(events) == {asked.request_id: code}
    assert after == before


def test_what_cannot_be_prepared_is_refused() -> None:
    busy = Prepared(refused=InvalidInput("thread.busy", "taken"))
    events, state = carry_out(fold(RunState("r_1"), start()), {"q": busy}, NOW)
    assert outcomes(events) == {"q": "thread.busy"}
    assert state.graph is None


def test_a_start_refused_once_may_begin_the_run_later() -> None:
    busy = Prepared(refused=InvalidInput("thread.busy", "taken"))
    _, state = carry_out(fold(RunState("r_1"), start("q1")), {"q1": busy}, NOW)
    events, after = carry_out(fold(state, start("q2")), {"q2": READY}, NOW)
    assert outcomes(events) == {"q2": None}
    assert after.graph is not None


def test_the_very_same_start_is_no_second_run() -> None:
    before = begun()
    events, after = carry_out(fold(before, start("again", x=1)), {"again": READY}, NOW)
    assert outcomes(events) == {"again": None}
    assert after == before


@pytest.mark.parametrize(
    ("own", "asked", "code"),
    [("d", "d", None), ("d", "other", "run.exists"), ("", "other", None)],
    ids=["same", "other values", "of an old log"],
)
def test_a_fork_under_the_id_of_another_fork_is_refused(
    own: str, asked: str, code: str | None
) -> None:
    before = replace(begun(), origin=Origin("r_0", 5), digest=own)
    again = received("fork", "f", asked, run_id="r_0", values={"x": 2})
    events, after = carry_out(fold(before, again), {"f": READY}, NOW)
    assert outcomes(events) == {"f": code}
    assert after == before


def test_what_means_nothing_any_more_is_settled_all_the_same() -> None:
    events, _ = carry_out(begun(received("resume", "r")), {}, NOW)
    assert outcomes(events) == {"r": None}
    assert len(events) == 1


def test_a_command_for_a_run_that_never_began_is_refused() -> None:
    events, _ = carry_out(fold(RunState("r_1"), received("cancel", "c")), {}, NOW)
    assert outcomes(events) == {"c": "run.unknown"}


def test_as_many_commands_are_carried_out_as_a_turn_can_take() -> None:
    state = begun(*(received("signal", f"s{n}", name="go", payload=n) for n in range(5)))
    answers, at = 0, len(state.pending)
    while state.pending:
        meter = Meter(at_once, MOST - 1)
        events, state = carry_out(state, {}, NOW, meter)
        answers += len(outcomes(events))
        assert len(state.pending) == at - 1
        at -= 1
    assert answers == 5


def test_pending_commands_are_part_of_snapshots() -> None:
    state = begun(received("pause", "p", reason="lunch"))
    assert load_state("r_1", dump_state(state)) == state


def test_a_deadline_ends_the_run_whether_it_waits_or_is_paused() -> None:
    from partsong.engine.decide import decide

    timer = e.TimerSet(timer_id="deadline", at="2026-01-01T00:00:01.000Z", purpose="run_deadline")
    fired = e.TimerFired(timer_id="deadline", at="2026-01-01T00:00:01.000Z")
    for more in ((), (e.RunPaused(),)):
        state = fold_all(begun(), (timer, *more, fired))
        assert decide(state, NOW).state.status == "limit_exceeded"


def test_a_timer_set_anew_does_not_fire_for_the_one_before() -> None:
    timer = e.TimerSet(timer_id="deadline", at="2026-01-01T00:00:09.000Z", purpose="run_deadline")
    late = e.TimerFired(timer_id="deadline", at="2026-01-01T00:00:01.000Z")
    assert fold_all(begun(), (timer, late)).overdue is None
