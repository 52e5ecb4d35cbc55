"""The ids of detached runs: said in the log, the same for ever, and of one call only."""

from __future__ import annotations

from hypothesis import example
from hypothesis import given as forall
from hypothesis import strategies as st

from partsong.contracts import events as e
from partsong.contracts.events import Parent
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.ids import check_id
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.work import ChildWork, child_of
from partsong.engine.work.hints import work_of
from tests.support.scenario import Scenario, given
from tests.unit.engine.nodes.test_inner import around, chain, nested


def test_the_log_says_which_run_answers_a_detached_subgraph() -> None:
    run = given(around(nested(chain("x"), detached=True))).completes("before:1")
    asked = run.new[-1]
    assert isinstance(asked, e.CallRequested)
    assert asked.child == child_work(run, "n:1").child == "r_1--n-1"


def test_a_log_that_does_not_say_which_run_answers_means_the_id_it_had_then() -> None:
    nodes = {"send-it": nested(chain("x"), detached=True)}
    run = given(parse_graph({"name": "outer", "nodes": nodes}))
    assert child_work(run, "send-it:1").child == "r_1--send=it-1"
    silent = [
        event.model_copy(update={"child": None}) if isinstance(event, e.CallRequested) else event
        for event in run.log
    ]
    run.state = fold_all(RunState("r_1"), silent)
    assert child_work(run, "send-it:1").child == "r_1--send-it-1"


CALLS = st.lists(
    st.tuples(st.from_regex(r"[A-Za-z_][A-Za-z0-9_\-]{0,3}", fullmatch=True), st.integers(1, 12)),
    min_size=1,
    max_size=3,
).map(lambda parts: "/".join(f"{node}:{visit}" for node, visit in parts))
RUNS = st.from_regex(r"[A-Za-z0-9_\-:/~@+=]{1,4}", fullmatch=True)
PARENTS = st.builds(Parent, run_id=RUNS, call_id=CALLS, attempt=st.integers(1, 3))


@forall(PARENTS, PARENTS)
@example(Parent(run_id="r", call_id="a:1/b:1"), Parent(run_id="r", call_id="a-1-b:1"))
@example(Parent(run_id="r", call_id="a-b:1"), Parent(run_id="r", call_id="a:1/b:1"))
@example(Parent(run_id="r-", call_id="a:1"), Parent(run_id="r", call_id="a:1"))
def test_no_two_calls_are_answered_by_runs_of_the_same_id(one: Parent, other: Parent) -> None:
    assert check_id("run_id", child_of(one))
    assert (child_of(one) == child_of(other)) == (one == other)


def child_work(run: Scenario, call_id: str) -> ChildWork:
    """What is asked for on behalf of an open call of a detached subgraph."""
    work = work_of(run.state, run.state.calls[call_id])
    assert isinstance(work, ChildWork)
    return work
