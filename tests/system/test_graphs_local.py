"""The graph suite in one process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.contracts.errors import Conflict
from partsong.contracts.events import ApprovalRequested
from partsong.contracts.state.results import RunResult
from partsong.workflow import WorkflowGraph
from tests.system import graphs
from tests.system.construct_suite import ConstructSuite
from tests.system.suite import GraphSuite, Runner


class LocalRunner:
    """Runs on a memory log, or on a file."""

    def __init__(self, log: str | None) -> None:
        self.log = log

    async def run(
        self,
        graph: WorkflowGraph,
        input: dict[str, JsonValue],
        *,
        approve: bool | None = None,
        signals: Mapping[str, JsonValue] | None = None,
    ) -> RunResult:
        async def decide(_request: ApprovalRequested) -> bool:
            return bool(approve)

        approver = None if approve is None else decide
        return await graph.execute(input, log=self.log, approve=approver, signals=signals)


class TestLocal(GraphSuite, ConstructSuite):
    @pytest.fixture(params=["memory", "file"])
    def runner(self, request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
        return LocalRunner(str(tmp_path / "runs.jsonl") if request.param == "file" else None)


async def test_without_an_approver_the_run_waits_and_goes_on_later(tmp_path: Path) -> None:
    log = str(tmp_path / "runs.jsonl")
    waiting = await graphs.approving().execute({"amount": 1}, run_id="r_a", log=log)
    assert waiting.status == "waiting"

    async def yes(_request: ApprovalRequested) -> bool:
        return True

    with pytest.raises(Conflict, match=r"was begun with other input\.amount"):
        await graphs.approving().execute({"amount": 999}, run_id="r_a", log=log, approve=yes)
    done = await graphs.approving().execute(run_id="r_a", log=log, approve=yes)
    assert done.status == "completed"
    assert done["amount"] == 1
    assert sum(e.type == "call.completed" for e in done.events if "start" in e.id) == 1


async def test_stream_yields_events_and_chunks_in_order() -> None:
    kinds = [
        getattr(item, "type", None) or getattr(item, "kind", "")
        async for item in graphs.single("speak").stream({})
    ]
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.completed"
    assert kinds.count("text") == 2
    assert kinds.index("text") < kinds.index("call.completed")
