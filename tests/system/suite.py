"""One suite of graph behaviour. It runs in one process and on the bus: what a graph means does not depend on where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue

from partsong.contracts.state.results import RunResult
from partsong.workflow import WorkflowGraph
from tests.system import graphs


class Runner(Protocol):
    """Runs a graph to its end, deciding approvals and sending signals as told."""

    async def run(
        self,
        graph: WorkflowGraph,
        input: dict[str, JsonValue],
        *,
        approve: bool | None = None,
        signals: Mapping[str, JsonValue] | None = None,
    ) -> RunResult: ...


class GraphSuite:
    """What every runner must do."""

    async def test_a_chain_completes_with_its_state(self, runner: Runner) -> None:
        result = await runner.run(graphs.chain(), {"x": 1})
        assert result.status == "completed"
        assert dict(result) == {"x": 1, "started": True, "path": "A"}
        assert result["path"] == "A"

    async def test_parallel_branches_meet_in_one_join(self, runner: Runner) -> None:
        result = await runner.run(graphs.diamond(), {})
        assert result["sum"] == 3
        assert result["log"] == ["left", "right"]
        assert [e.exec for e in result.events if e.type == "node.scheduled"].count("join:1") == 1

    async def test_a_route_takes_its_labels_edge(self, runner: Runner) -> None:
        assert (await runner.run(graphs.triage(), {"good": True}))["path"] == "A"
        assert (await runner.run(graphs.triage(), {"good": False}))["path"] == "B"

    async def test_a_loop_runs_until_it_is_left(self, runner: Runner) -> None:
        result = await runner.run(graphs.loop(), {"until": 5})
        assert result["n"] == 5
        assert sum(e.type == "node.completed" for e in result.events) == 6

    async def test_max_visits_is_a_typed_limit_with_the_last_state(self, runner: Runner) -> None:
        result = await runner.run(graphs.loop(max_visits=2), {"until": 9})
        assert result.status == "limit_exceeded"
        assert result.error is not None
        assert result.error.code == "run.max_visits"
        assert result["n"] == 2

    async def test_a_flaky_node_is_retried_by_a_durable_timer(self, runner: Runner) -> None:
        result = await runner.run(graphs.retrying(), {})
        assert result.status == "completed"
        assert result["attempt"] == 3
        assert sum(e.type == "timer.fired" for e in result.events) == 2

    async def test_an_error_fails_the_run_and_says_where(self, runner: Runner) -> None:
        result = await runner.run(graphs.failing(), {"x": 1})
        assert result.status == "failed"
        assert result.error is not None
        assert result.error.code == "function.raised"
        assert "ValueError: always" in result.error.message
        assert "nodes.broken" in (result.error.where or "")
        assert dict(result) == {"x": 1}

    async def test_a_failure_edge_goes_on(self, runner: Runner) -> None:
        result = await runner.run(graphs.rescued(), {})
        assert result.status == "completed"
        assert result["repaired"] is True

    async def test_a_bad_return_and_an_unknown_route_fail_loudly(self, runner: Runner) -> None:
        bad = await runner.run(graphs.single("bad_return"), {})
        assert bad.error is not None
        assert bad.error.code == "function.bad_return"
        lost = await runner.run(graphs.single("unroutable"), {})
        assert lost.error is not None
        assert lost.error.code == "node.unknown_route"

    async def test_a_timeout_ends_a_call_even_if_a_sync_function_blocks(
        self, runner: Runner
    ) -> None:
        for name in ("sleepy", "blocking"):
            result = await runner.run(graphs.single(name, timeout=0.2), {})
            assert result.error is not None
            assert result.error.code == "function.timeout"

    async def test_concurrent_different_writes_conflict(self, runner: Runner) -> None:
        result = await runner.run(graphs.conflicting(), {})
        assert result.error is not None
        assert result.error.code == "state.conflict"

    async def test_a_change_of_the_state_given_to_a_node_does_not_leak(
        self, runner: Runner
    ) -> None:
        assert dict(await runner.run(graphs.single("mutate"), {})) == {"kept": True}

    async def test_a_node_knows_its_run_and_key(self, runner: Runner) -> None:
        result = await runner.run(graphs.single("speak"), {})
        assert result["run"] == result.run_id
        assert result["key"] == f"{result.run_id}/speak:1"

    async def test_a_tool_node_calls_the_calculator(self, runner: Runner) -> None:
        assert (await runner.run(graphs.calculating(), {"amount": 14}))["total"] in (42, "42")

    async def test_an_agent_answers(self, runner: Runner) -> None:
        result = await runner.run(graphs.asking(), {"word": "hello"})
        assert result.status == "completed"
        assert "hello" in str(result["answer"])

    async def test_an_approval_takes_the_decisions_edge(self, runner: Runner) -> None:
        yes = await runner.run(graphs.approving(), {"amount": 5}, approve=True)
        assert yes["path"] == "A"
        no = await runner.run(graphs.approving(), {"amount": 5}, approve=False)
        assert no["path"] == "B"

    async def test_large_values_travel(self, runner: Runner) -> None:
        assert (await runner.run(graphs.heavy(), {}))["length"] == 400_000
