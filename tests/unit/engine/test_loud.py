"""What goes wrong is said: each mishap has a typed outcome, loses nothing, and a way to go on."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Conflict
from partsong.contracts.foreign.question import Question, at_once
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.commands import runs
from partsong.engine.decide import decide
from partsong.engine.draft import Decision
from partsong.engine.ledger import Ledger
from partsong.engine.meter import EVENT, MOST
from partsong.log.memory import MemoryLog
from partsong.log.port import WrongSequence
from tests.support.scenario import NOW, Scenario, describe, given
from tests.unit.engine.scheduling.test_flow import graph

DIAMOND = ("a>b", "a>c", "b>d", "c>d")


def failed_with(run: Scenario, code: str) -> str:
    """The run has failed with this error; its message."""
    run.stands("failed")
    assert run.state.error is not None
    assert run.state.error.code == code
    assert run.refolded == run.state
    return run.state.error.message


# --- conflict -----------------------------------------------------------------------------------------------------


def test_a_conflict_names_both_nodes_and_the_key_and_is_over_once_the_key_has_a_reducer() -> None:
    run = given(graph(*DIAMOND)).completes("a:1")
    run.completes("b:1", {"k": 1}).completes("c:1", {"k": 2})
    message = failed_with(run, "state.conflict")
    assert all(word in message for word in ("b:1", "c:1", "'k'"))
    assert run.state.values == {"k": 1}
    run.retries(graph(*DIAMOND, reducers={"k": "add"})).completes("d:1").stands("completed")
    assert run.state.values == {"k": 3}
    assert run.refolded == run.state


# --- routes -------------------------------------------------------------------------------------------------------


def test_an_unknown_route_says_which_there_are_and_is_taken_once_the_graph_has_it() -> None:
    run = given(graph("a>b:yes")).completes("a:1", {"x": 1}, label="maybe")
    assert "'maybe'" in failed_with(run, "node.unknown_route")
    run.retries(graph("a>b:yes", "a>c:maybe"))
    run.then("node.completed a:1", "node.scheduled c:1", "call.requested c:1")
    run.completes("c:1").stands("completed")
    assert run.state.values == {"x": 1}


def test_a_graph_in_which_a_node_in_flight_was_renamed_is_refused_and_the_run_is_as_it_was() -> (
    None
):
    run = given(graph("a>b")).completes("a:1", {"x": 1}).fails("b:1", retryable=False)
    before = run.state
    with pytest.raises(Conflict) as refused:
        run.retries(graph("a>bee"))
    assert refused.value.problem.code == "graph.node_missing"
    assert "stands at b," in refused.value.problem.message
    assert run.state == before
    run.retries(graph("a>b", "b>more")).then("call.requested b:1")


# --- times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [9e15, 1e308])
def test_a_time_behind_the_end_of_the_calendar_is_the_latest_that_a_timer_waits_for(
    seconds: float,
) -> None:
    wait = {"type": "wait", "seconds": seconds}
    run = given(parse_graph({"name": "t", "nodes": {"w": wait}}, stored=True))
    (timer,) = run.state.timers.values()
    assert timer.at == "2262-01-01T00:00:00.000Z"
    assert run.refolded == run.state
    run.fires(timer.id).stands("completed")


# --- what goes on for long ----------------------------------------------------------------------------------------


def parts_of(
    nodes: dict[str, JsonValue], edges: list[JsonValue], steps: int, **others: JsonValue
) -> tuple[list[Decision], Scenario]:
    """The decisions by which a run goes as far as it may, and the same run as it is in the end."""
    made = parse_graph({"name": "spin", "entry": "s", "nodes": nodes, "edges": edges, **others})
    options = e.RunOptions(max_steps=steps)
    state = fold_all(RunState("r_1"), runs.start("r_1", made, {}, options, "q1", NOW))
    parts: list[Decision] = []
    while not parts or parts[-1].more:
        parts.append(decide(parts[-1].state if parts else state, NOW))
    whole = Scenario(made, {}, "r_1", options)
    assert whole.state == parts[-1].state == whole.refolded
    assert whole.state.status == "limit_exceeded"
    assert whole.state.steps == steps
    return parts, whole


SPIN: JsonValue = {"from": "s", "to": "s", "on": "success"}


def test_a_loop_of_transforms_is_decided_on_in_parts() -> None:
    """One decision holds up all other runs of an engine, and it is the run's author who says how many steps it has."""
    parts, _ = parts_of({"s": {"type": "transform", "set": {"x": "1"}}}, [SPIN], 5_000)
    sizes = [len(part.events) for part in parts[:-1]]
    assert all(1 <= size < MOST // EVENT + 10 for size in sizes)
    assert sum(sizes) + len(parts[-1].events) > 5_000
    assert len(parts) < 20


def test_the_more_a_step_of_a_loop_looks_at_the_fewer_steps_has_a_part() -> None:
    """Beside an open branch nothing settles: each step looks at all that the loop has written, and there is no end to it."""
    nodes: dict[str, JsonValue] = {
        "a": {"type": "transform", "set": {"y": "1"}},
        "s": {"type": "transform", "set": {"l": "'x'"}},
        "w": {"type": "wait", "signal": "go"},
    }
    edges: list[JsonValue] = [{"from": "a", "to": "s"}, SPIN, {"from": "a", "to": "w"}]
    parts, whole = parts_of(nodes, edges, 2_000, entry="a", reducers={"l": "append"})
    sizes = [len(part.events) for part in parts[:-1]]
    assert sizes[0] > 4 * sizes[-1]
    assert whole.state.values["l"] == ["x"] * 1_998


def test_a_question_that_had_to_be_waited_for_ends_the_part() -> None:
    """What is decided is decided anew when it is answered; and an answer may take as long as a part."""
    text = "[1, 2, 3].map(i, i * 2)"
    nodes: dict[str, JsonValue] = {"s": {"type": "transform", "set": {"x": text}}}
    asked: list[Question] = []

    def evaluate(question: Question) -> JsonValue:
        asked.append(question)
        return at_once(question)

    made = parse_graph({"name": "spin", "nodes": nodes, "edges": [SPIN]})
    options = e.RunOptions(max_steps=5)
    state = fold_all(RunState("r_1"), runs.start("r_1", made, {}, options, "q1", NOW))
    while (decision := decide(state, NOW, evaluate=evaluate)).more:
        assert len(asked) == 1
        asked.clear()
        state = decision.state
    assert decision.state.steps == 5


# --- answers ------------------------------------------------------------------------------------------------------


def test_an_answer_that_comes_twice_counts_once_and_another_one_is_recorded() -> None:
    run = given(graph(*DIAMOND)).completes("a:1")
    first = run.completion("b:1", {"b": 1})
    run.when(first)
    state = run.state
    run.when(first).then()
    assert run.state == state
    run.completes("c:1").completes("d:1").stands("completed")
    done, state = run.completion("d:1", {"d": 2}), run.state
    run.when(done).then()
    assert run.state == state, "nobody waits for it any more"


def test_an_attempt_that_answers_when_the_next_one_is_under_way_is_recorded_and_void() -> None:
    retry = {"retry": {"attempts": 2, "initial": 0}}
    run = given(graph("a>b", a=retry))
    late = run.completion("a:1", {"from": "the first attempt"}).model_copy(update={"id": "late"})
    run.fails("a:1").then("call.requested a:1")
    run.when(late).then()
    assert run.state.superseded == ("late",)
    run.completes("a:1", {"from": "the second"}).completes("b:1").stands("completed")
    assert run.state.values == {"from": "the second"}


def test_an_answer_to_a_run_that_has_failed_meanwhile_is_kept_for_the_retry() -> None:
    run = given(graph(*DIAMOND)).completes("a:1").fails("c:1", retryable=False)
    run.stands("failed").completes("b:1", {"b": 1}).then()
    run.stands("failed").retries().then("node.completed b:1", "call.requested c:1")


# --- two writers --------------------------------------------------------------------------------------------------


async def test_of_two_writers_one_is_told_so_reads_on_and_decides_again() -> None:
    log, subjects = MemoryLog(), Subjects()
    one, two = (Ledger(log, subjects, "r_1") for _ in range(2))
    begun = runs.start("r_1", graph(*DIAMOND), {}, e.RunOptions(), "q1", NOW)
    await decided(one, *begun)
    await two.refresh()
    assert two.state == one.state
    stale = two.state
    await decided(one, *runs.pause(one.state, "mine", "q2", NOW))
    with pytest.raises(WrongSequence) as told:
        await decided(two, *runs.pause(two.state, "no, mine", "q3", NOW))
    assert told.value.problem.retryable
    assert two.state == stale, "it has not taken its own word for it"
    await two.refresh()
    assert two.state == one.state
    assert runs.pause(two.state, "no, mine", "q3", NOW) == (), "there is nothing left to decide"
    await decided(two, *runs.resume(two.state, "q4", NOW))
    await one.refresh()
    assert one.state == two.state
    assert (one.state.paused, one.state.commits) == (False, 3)


async def decided(ledger: Ledger, *news: e.Event) -> None:
    decision = decide(fold_all(ledger.state, news), NOW)
    await ledger.commit((*news, *decision.events), decision.state)


# --- reducers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reducer", "old", "new"),
    [
        ("add", 1, "one"),
        ("min", "a", 1),
        ("merge", {}, [1]),
        ("append", 1, 2),
        ("union", {}, 2),
        ("messages", [], "hello"),
        ("messages", [], {"id": "nobody", "remove": True}),
        ("append", [], {"__overwrite__": 5}),
        ("merge", {}, {"__overwrite__": None}),
        ("max", 1, {"__overwrite__": True}),
    ],
)
def test_what_a_reducer_cannot_take_fails_the_node_and_no_failure_edge_hides_it(
    reducer: str, old: JsonValue, new: JsonValue
) -> None:
    routes = ("a>b", "a>c:failure")
    run = Scenario(graph(*routes, reducers={"k": reducer}), {"k": old})
    run.completes("a:1", {"k": new})
    assert "'k'" in failed_with(run, "state.reducer")
    assert run.state.values == {"k": old}
    run.retries(graph(*routes)).completes("b:1").stands("completed")


def test_two_branches_may_both_remove_a_message_that_both_saw() -> None:
    run = Scenario(graph(*DIAMOND, reducers={"k": "messages"}), {"k": [{"id": "m"}, {"id": "n"}]})
    run.completes("a:1")
    for call in ("b:1", "c:1"):
        run.completes(call, {"k": {"id": "m", "remove": True}})
    assert run.work("d:1").state == {"k": [{"id": "n"}]}
    assert run.completes("d:1").state.values == {"k": [{"id": "n"}]}


def test_a_subgraph_may_remove_a_message_that_came_from_outside() -> None:
    inner = graph("x>y", entry="x", reducers={"k": "messages"}).spec()
    nodes: dict[str, JsonValue] = {"s": {"type": "subgraph", "graph": inner}}
    spec = {"name": "t", "entry": "s", "nodes": nodes, "reducers": {"k": "messages"}}
    run = Scenario(Graph.model_validate(spec), {"k": [{"id": "m"}]})
    run.completes("s:1/x:1", {"k": {"id": "n"}})
    run.completes("s:1/y:1", {"k": {"id": "m", "remove": True}}).stands("completed")
    assert run.state.values == {"k": [{"id": "n"}]}


def test_a_graph_whose_reducers_cannot_read_what_was_written_is_refused() -> None:
    run = given(graph(*DIAMOND)).completes("a:1").completes("b:1", {"k": "text"})
    run.fails("c:1", retryable=False)
    with pytest.raises(Conflict) as refused:
        run.retries(graph(*DIAMOND, reducers={"k": "add"}))
    assert refused.value.problem.code == "graph.reducer_misfit"
    run.retries().completes("c:1").completes("d:1").stands("completed")


# --- limits -------------------------------------------------------------------------------------------------------


def looping(max_steps: int, rounds: int) -> Scenario:
    options = e.RunOptions(max_steps=max_steps)
    run = Scenario(graph("a>a:again", "a>END:done", reducers={"n": "add"}), options=options)
    for visit in range(1, rounds + 1):
        if run.state.ended:
            break
        run.completes(f"a:{visit}", {"n": 1}, label="again" if visit < rounds else "done")
    return run


def test_a_run_may_take_exactly_max_steps() -> None:
    run = looping(max_steps=5, rounds=5).stands("completed")
    assert run.state.steps == 5


def test_one_step_more_than_max_steps_is_a_limit_and_a_larger_one_lets_it_go_on() -> None:
    run = looping(max_steps=4, rounds=5).stands("limit_exceeded")
    run.then("node.completed a:4", "run.stopping", "run.limit_exceeded")
    assert run.state.error is not None
    assert run.state.error.code == "run.max_steps"
    assert run.state.values == {"n": 4}
    run.retries(options=e.RunOptions(max_steps=5)).then("node.scheduled a:5", "call.requested a:5")
    run.completes("a:5", {"n": 1}, label="done").stands("completed")
    assert run.state.values == {"n": 5}


def test_retried_with_the_same_limit_it_ends_there_again() -> None:
    run = looping(max_steps=4, rounds=5).retries()
    run.stands("limit_exceeded").then("run.stopping", "run.limit_exceeded")


# --- slow branches ------------------------------------------------------------------------------------------------


def test_a_slow_branch_never_delays_a_fast_branchs_successors() -> None:
    routes = ("a>slow", "a>f1", "f1>f2", "f2>f3", "f3>f1:again", "f3>f4:on", "f4>end", "slow>end")
    run = given(graph(*routes)).completes("a:1")
    for call, label in (
        ("f1:1", None), ("f2:1", None), ("f3:1", "again"), ("f1:2", None), ("f2:2", None),
        ("f3:2", "on"), ("f4:1", None),
    ):  # fmt: skip
        run.completes(call, label=label)
    run.completes("slow:1").completes("end:1").stands("completed")
    order = [describe(event) for event in run.log]
    fast = ["f1:1", "f2:1", "f3:1", "f1:2", "f2:2", "f3:2", "f4:1"]
    slow = order.index("node.completed slow:1")
    assert all(order.index(f"node.completed {exec_id}") < slow for exec_id in fast)
    assert order.index("node.scheduled end:1") > slow, "only the join waits"
