"""What people do to a run: pause, resume, signal, retry, fork; and what a run undoes when it fails."""

from __future__ import annotations

import pytest

from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, InvalidInput, Problem
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.edits import edited
from partsong.contracts.state.serialization import dump_state, load_state
from partsong.engine.calls.calls import later
from partsong.engine.commands import runs
from partsong.engine.commands.options import check_options
from tests.support.scenario import NOW, Scenario, given
from tests.unit.engine.scheduling.test_flow import graph


def waiting(**fields: object) -> Graph:
    node = {"type": "wait", "signal": "go", **fields}
    nodes = {"w": node, "a": {"type": "function", "function": "m:a"}}
    edges = [{"from": "w", "to": "a"}]
    return parse_graph({"name": "t", "entry": "w", "nodes": nodes, "edges": edges})


# --- pause, resume ------------------------------------------------------------------------------------------------


def test_a_paused_run_begins_nothing_and_goes_on_where_it_was() -> None:
    run = given(graph("a>b"))
    run.when(*runs.pause(run.state, "lunch", "q2", NOW))
    assert run.state.phase == "paused"
    run.completes("a:1", {"x": 1}).then()
    run.when(*runs.resume(run.state, "q3", NOW))
    run.then("node.completed a:1", "node.scheduled b:1", "call.requested b:1")
    assert str(run.state.phase) == "running"


def test_a_paused_run_can_be_cancelled() -> None:
    run = given(graph("a>b"))
    run.when(*runs.pause(run.state, None, "q2", NOW))
    run.when(*runs.cancel(run.state, "enough", "q3", NOW)).then("run.cancelled")


# --- waits and signals --------------------------------------------------------------------------------------------


def test_a_wait_for_a_time_sets_a_durable_timer() -> None:
    run = given(
        parse_graph(
            {
                "name": "t",
                "entry": "w",
                "nodes": {"w": {"type": "wait", "seconds": "1h"}},
                "edges": [],
            }
        )
    )
    run.then("node.scheduled w:1", "timer.set w:1")
    assert run.state.phase == "waiting"
    assert "timer w:1" in str(run.state.waits_on)
    assert "until 2026-01-01T01:00:00.000Z" in str(run.state.waits_on)
    run.fires("w:1/w0").then("node.completed w:1", "run.completed")


def test_a_wait_until_a_moment_takes_it_from_the_state_and_refuses_what_is_none() -> None:
    node = {"type": "wait", "until": "{{at}}"}
    spec = parse_graph({"name": "t", "entry": "w", "nodes": {"w": node}, "edges": []})
    run = given(spec, {"at": "2026-02-01T00:00:00+01:00"})
    assert run.state.timers["w:1/w0"].at == "2026-02-01T00:00:00.000+01:00"
    error = given(spec, {"at": "tomorrow"}).state.error
    assert error is not None
    assert error.code == "wait.not_a_time"


def test_a_signal_wakes_the_node_and_its_payload_is_written() -> None:
    run = given(waiting(output="said")).then("node.scheduled w:1")
    assert "signal go" in str(run.state.waits_on)
    run.signals("go", {"n": 1})
    assert run.state.values == {"said": {"n": 1}}
    assert "a:1" in run.state.executions
    assert run.refolded == run.state


def test_a_signal_that_comes_early_is_kept_and_one_that_comes_twice_counts_once() -> None:
    nodes = {
        "a": {"type": "function", "function": "m:a"},
        "w": {"type": "wait", "signal": "go"},
        "v": {"type": "wait", "signal": "go"},
    }
    edges = [{"from": "a", "to": "w"}, {"from": "w", "to": "v"}]
    run = given(parse_graph({"name": "t", "entry": "a", "nodes": nodes, "edges": edges}))
    run.signals("go", 1, "s1").signals("go", 1, "s1")
    run.completes("a:1")
    assert run.state.values == {"w": 1}
    assert run.state.phase == "waiting", "v waits for another one"
    run.signals("go", 2, "s2")
    run.stands("completed")
    assert run.state.values == {"w": 1, "v": 2}


def test_signals_that_nobody_waits_for_or_that_do_not_fit_are_refused() -> None:
    run = given(waiting(signal_schema={"type": "object", "required": ["n"]}))
    with pytest.raises(
        InvalidInput, match=r"no node of t waits for 'gone' \(signals: go\)"
    ) as unknown:
        run.signals("gone")
    assert unknown.value.problem.fix == "did you mean go?"
    with pytest.raises(InvalidInput) as caught:
        run.signals("go", {"m": 1})
    assert caught.value.problem.code == "signal.invalid"
    run.signals("go", {"n": 1})
    run.completes("a:1")
    with pytest.raises(Conflict, match="nobody waits") as ended:
        run.signals("go", {"n": 1}, "s9")
    assert ended.value.problem.fix == "fork it"


def test_a_signal_that_is_refused_comes_with_what_to_do_instead() -> None:
    with pytest.raises(InvalidInput) as silent:
        given(graph("a>b")).signals("go")
    assert silent.value.problem.fix == "add a wait node for the signal to the graph"
    with pytest.raises(Conflict) as failed:
        given(waiting(deadline=60)).fires("w:1/w0").signals("go")
    assert failed.value.problem.fix == "retry it, then send the signal"


def test_a_signals_deadline_takes_the_timeout_edge_or_fails() -> None:
    run = given(waiting(deadline=60)).fires("w:1/w0")
    assert run.state.error is not None
    assert run.state.error.code == "wait.timeout"
    spec = waiting(deadline=60).spec()
    assert isinstance(spec["edges"], list)
    spec["edges"].append({"from": "w", "to": "END", "on": "timeout"})
    run = given(parse_graph(spec)).fires("w:1/w0")
    assert [event.label for event in run.new if event.type == "node.completed"] == ["timeout"]


# --- retry --------------------------------------------------------------------------------------------------------


def test_a_retry_runs_only_what_is_unfinished_with_the_same_idempotency_key() -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d")).completes("a:1").completes("b:1", {"b": 1})
    run.fails("c:1", retryable=False)
    run.stands("failed")
    run.retries().then("call.requested c:1")
    assert run.state.calls["c:1"].attempt == 2
    run.completes("c:1", {"c": 1}).completes("d:1")
    run.stands("completed")
    assert run.state.values == {"b": 1, "c": 1}
    assert run.refolded == run.state


def test_what_was_in_flight_when_the_run_failed_is_made_again_unless_it_came_late() -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d")).completes("a:1")
    run.fails("c:1", retryable=False)
    run.completes("b:1", {"b": "late but fine"})
    run.retries().then(
        "node.completed b:1",
        "call.requested c:1",
    )


def test_a_graph_can_be_mended_for_the_retry_and_nodes_runs_stand_at_must_stay() -> None:
    run = given(graph("a>b:yes")).completes("a:1", label="no")
    assert run.state.error is not None
    assert run.state.error.code == "node.unknown_route"
    with pytest.raises(Conflict, match="stands at a"):
        run.retries(graph("x>b:yes", entry="x"))
    run.retries(graph("a>b:yes", "a>b:no"))
    run.then("node.completed a:1", "node.scheduled b:1", "call.requested b:1")
    assert run.refolded == run.state


def test_without_a_mended_graph_a_node_whose_answer_was_refused_runs_again() -> None:
    run = given(graph("a>b:yes")).completes("a:1", label="no")
    run.retries().then("call.requested a:1")
    run.completes("a:1", label="yes")
    assert "b:1" in run.state.executions


def test_a_limit_can_be_raised_and_the_run_goes_on_where_it_was() -> None:
    run = Scenario(graph("a>b", "b>c"), options=e.RunOptions(max_steps=2))
    run.completes("a:1").completes("b:1")
    run.stands("limit_exceeded")
    run.retries(options=e.RunOptions(max_steps=5))
    run.then("node.scheduled c:1", "call.requested c:1")


def test_a_retry_keeps_a_deadline_that_is_still_ahead() -> None:
    ahead, past = "2026-01-02T00:00:00Z", "2025-12-31T00:00:00Z"
    for deadline, kept in ((ahead, ["deadline"]), (past, [])):
        run = Scenario(graph("a>b"), options=e.RunOptions(deadline=deadline))
        run.fails("a:1", retryable=False).retries()
        assert list(run.state.timers) == kept


def test_a_retry_that_is_delivered_twice_counts_once() -> None:
    run = given(graph("a>b")).fails("a:1", retryable=False)
    for _ in range(2):
        run.when(*runs.retry(run.state, None, None, None, "q7", NOW))
        assert (run.state.round, run.state.status) == (1, "running")
    with pytest.raises(Conflict, match="run r_1 is running"):
        runs.retry(run.state, None, None, None, "q8", NOW)
    assert run.refolded == run.state


def test_only_runs_that_ended_badly_can_be_retried() -> None:
    run = given(graph("a>END"))
    with pytest.raises(Conflict, match="run r_1 is running"):
        run.retries()
    run.completes("a:1")
    with pytest.raises(Conflict, match="run r_1 is completed"):
        run.retries()


def test_a_rejected_approval_is_asked_again_under_another_id() -> None:
    nodes = {"ok": {"type": "approval", "title": "ok?"}}
    run = given(parse_graph({"name": "t", "entry": "ok", "nodes": nodes, "edges": []}))
    run.decides("ok:1", "reject")
    run.stands("failed")
    run.retries().then("approval.requested ok:1/a1")
    run.decides("ok:1/a1", "approve")
    run.stands("completed")


def test_a_budget_ends_the_run() -> None:
    nodes = {"a": {"type": "agent", "agent": {"model": "scripted:x"}, "prompt": "hi"}}
    spec = parse_graph({"name": "t", "entry": "a", "nodes": nodes, "edges": []})
    run = Scenario(spec, options=e.RunOptions(max_cost=0.5))
    failed = e.AgentTurnFailed(
        id="x",
        call_id="a:1/t1",
        attempt=1,
        error=Problem(code="provider.overloaded", message="busy", retryable=True),
        usage=e.TurnUsage(cost=0.6),
    )
    run.when(failed)
    assert run.state.error is not None
    assert run.state.error.code == "run.max_cost"


# --- continue -----------------------------------------------------------------------------------------------------


def test_with_continue_the_other_branches_finish_before_the_run_fails() -> None:
    spec = graph("a>b", "a>c", "c>d").spec()
    run = given(parse_graph({**spec, "on_failure": "continue"})).completes("a:1")
    run.fails("b:1", retryable=False)
    run.stands("running")
    run.completes("c:1").completes("d:1")
    run.stands("failed")
    run.retries().then("call.requested b:1")


# --- saga ---------------------------------------------------------------------------------------------------------


def saga() -> Graph:
    return graph("a>b", "b>c", a={"compensate": "m:undo_a"}, b={"compensate": "m:undo_b"})


def test_a_failed_run_undoes_what_it_did_newest_first_with_what_each_saw() -> None:
    run = given(saga()).completes("a:1", {"a": 1}).completes("b:1", {"b": 2})
    run.fails("c:1", retryable=False)
    assert run.new[-1].type == "call.requested"
    assert run.work("b:1/undo").state["a"] == 1
    assert run.work("b:1/undo").function == "m:undo_b"
    run.stands("running")
    run.completes("b:1/undo").then("node.compensated b:1", "call.requested a:1/undo")
    assert "b" not in run.work("a:1/undo").state
    run.completes("a:1/undo").then("node.compensated a:1", "run.failed")
    assert run.refolded == run.state


def test_a_compensation_is_retried_and_what_cannot_be_undone_is_said() -> None:
    run = given(saga()).completes("a:1").completes("b:1")
    run.when(*runs.cancel(run.state, "stop", "q2", NOW))
    for attempt in range(1, 5):
        run.fails("b:1/undo").then("timer.set b:1/undo")
        run.fires(f"b:1/undo/r{attempt}").then("call.requested b:1/undo")
    run.fails("b:1/undo").then("node.compensated b:1", "call.requested a:1/undo")
    failed = [event for event in run.new if isinstance(event, e.NodeCompensated)]
    assert failed[0].error is not None
    run.completes("a:1/undo").then("node.compensated a:1", "run.cancelled")


def test_a_completed_run_undoes_nothing() -> None:
    run = given(saga()).completes("a:1").completes("b:1").completes("c:1")
    run.stands("completed")


# --- fork ---------------------------------------------------------------------------------------------------------


def test_a_fork_goes_on_from_any_moment_with_other_values_and_asks_people_again() -> None:
    nodes = {
        "a": {"type": "function", "function": "m:a"},
        "ok": {"type": "approval", "title": "{{x}}?"},
        "b": {"type": "function", "function": "m:b"},
    }
    edges = [{"from": "a", "to": "ok"}, {"from": "ok", "to": "b"}]
    run = given(parse_graph({"name": "t", "entry": "a", "nodes": nodes, "edges": edges}))
    run.completes("a:1", {"x": 1})
    fork = Scenario.forked(edited(run.state, {"x": 2}), 7, "r_2")
    assert fork.state.origin is not None
    assert (fork.state.origin.run_id, fork.state.origin.seq) == ("r_1", 7)
    asked = fork.new[-1]
    assert isinstance(asked, e.ApprovalRequested)
    assert (asked.call_id, asked.title) == ("ok:1/a1", "2?")
    fork.decides("ok:1/a1", "approve").completes("b:1")
    assert fork.state.values["x"] == 2
    assert run.state.values == {"x": 1}, "the origin is as it was"
    assert fork.refolded == fork.state


def test_a_fork_belongs_to_no_thread() -> None:
    run = Scenario(graph("a>b"), options=e.RunOptions(thread="talk", labels={"k": "v"}))
    fork = Scenario.forked(run.completes("a:1").state, 3, "r_2")
    assert fork.state.options == e.RunOptions(labels={"k": "v"})
    assert run.state.options.thread == "talk"


def test_a_state_survives_being_plain_json() -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d", reducers={"l": "append"}))
    run.completes("a:1", {"l": 1}).completes("b:1", {"l": [2]})
    assert load_state("r_1", dump_state(run.state)) == run.state


def test_a_state_that_is_damaged_is_refused() -> None:
    data = dump_state(given(graph("a>b")).state)
    data["scopes"] = {"": {"graph": 1}}
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_state("r_1", data)


@pytest.mark.parametrize(
    "moment",
    [
        "soon",
        "",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "9999-12-31T23:59:59-23:59",
        "2300-01-01T00:00:00Z",
    ],
)
def test_a_deadline_that_is_no_moment_is_refused_and_names_the_field(moment: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("r_1", e.RunOptions(deadline=moment))
    assert caught.value.problem.code == "run.bad_deadline"
    assert caught.value.problem.where == "options.deadline"
    check_options("r_1", e.RunOptions(deadline="2026-01-01T00:00:00+01:00"))


def test_steps_without_end_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"run\.too_many_steps") as caught:
        check_options("r_1", e.RunOptions(max_steps=10**18))
    assert caught.value.problem.where == "options.max_steps"
    check_options("r_1", e.RunOptions(max_steps=1_000_000))


@pytest.mark.parametrize("seconds", [1e10, 1e17, 1e300, float("inf")])
def test_what_is_to_come_in_a_million_years_is_set_for_the_latest_moment_there_is(
    seconds: float,
) -> None:
    """A timer beyond that fires at once, and beyond the calendar no run can be decided on."""
    assert later("2026-01-01T00:00:00.000Z", seconds) == "2262-01-01T00:00:00.000Z"
    assert later("9999-12-31T00:00:00.000Z", 0) == "2262-01-01T00:00:00.000Z"


def test_waits_before_retries_that_grow_beyond_all_numbers_are_the_longest_there_may_be() -> None:
    retry = {"attempts": 9, "initial": 1e308, "factor": 1e300, "max": 1e308, "jitter": 1}
    node = {"type": "function", "function": "m:a", "retry": retry}
    run = given(parse_graph({"name": "g", "nodes": {"a": node}}, stored=True))
    for _ in range(3):
        run.fails("a:1")
        (timer,) = run.state.timers.values()
        assert timer.at <= "2262-01-01T00:00:00.000Z"
        run.fires(timer.id)
    assert run.state.error is None


def test_a_duration_as_deadline_is_a_moment_from_where_the_run_begins() -> None:
    options = e.RunOptions(deadline="1h30m")
    check_options("r_1", options)
    started, timer = runs.start("r_1", waiting(), {}, options, "q1", "2026-01-01T00:00:00.000Z")
    assert isinstance(started, e.RunStarted)
    assert isinstance(timer, e.TimerSet)
    assert timer.at == started.options.deadline == "2026-01-01T01:30:00.000Z"
    assert started.deadline_after == 5400
