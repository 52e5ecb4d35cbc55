"""The failure of a user's function, from where it was raised to whoever looks for it: log, event, command line, exception."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from partsong.contracts import events as e
from partsong.contracts.errors import RunFailed
from partsong.testing.nats import Bus
from partsong.workflow import Task, TaskScheduler, WorkflowGraph
from tests.system import nodes
from tests.system.platform import Platform, a_platform
from tests.system.terminal import Terminal


def broken() -> WorkflowGraph:
    graph = WorkflowGraph("broken")
    graph.add_node("pay", nodes.broken)
    return graph


@pytest.fixture
async def platform(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    monkeypatch.setenv("PARTSONG_NATS_URL", bus.url)
    monkeypatch.setenv("PARTSONG_PREFIX", bus.subjects.prefix)
    async with a_platform(bus) as running:
        yield running


async def test_a_failure_on_the_bus_is_logged_once_recorded_and_shown(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    partsong = Terminal(platform, monkeypatch)
    with caplog.at_level(logging.WARNING, "partsong.tool_runner"):
        run_id = await platform.client.start(broken())
        result = await platform.client.result(run_id, timeout=30)
    failed = [record for record in caplog.records if record.getMessage() == "call failed"]
    (said,) = [vars(record) for record in failed]
    assert (said["run"], said["node"], said["call"]) == (run_id, "pay", "pay:1")
    assert said["code"] == "function.raised"
    assert 'raise ValueError("always")' in said["traceback"]

    (event,) = [event for event in result.events if isinstance(event, e.CallFailed)]
    assert event.error.traceback == said["traceback"]
    assert event.error.raised is not None
    assert event.error.raised[0] == "ValueError"
    with pytest.raises(RunFailed) as caught:
        result.raise_for_status()
    assert caught.value.__cause__ is None
    assert said["traceback"] in caught.value.__notes__[0]

    shown = await partsong("run", "show", run_id)
    assert '        raise ValueError("always")' in shown.splitlines()
    assert "\\n" not in shown
    events = await partsong("run", "events", run_id)
    assert events.count('raise ValueError("always")') == 1
    record = await partsong.record("run", "show", run_id)
    assert record["error"]["traceback"] == said["traceback"]


async def test_a_failure_in_this_process_is_chained() -> None:
    result = await broken().execute({})
    with pytest.raises(RunFailed) as caught:
        result.raise_for_status()
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert cause is result.cause
    assert not hasattr(caught.value, "__notes__")


async def test_a_failure_in_an_inner_graph_that_is_a_run_of_its_own_is_chained_too() -> None:
    outer = WorkflowGraph("outer")
    outer.add_subgraph("inner", broken(), detached=True)
    assert isinstance((await outer.execute({})).cause, ValueError)


async def test_a_failed_task_of_a_scheduler_is_chained() -> None:
    def fails(_inputs: dict[str, object]) -> None:
        raise LookupError("no such order")

    scheduler = TaskScheduler({"f": fails})
    result = await scheduler.execute_with_checkpointing([Task(id="t", agent="f")])
    with pytest.raises(RunFailed) as caught:
        result.raise_for_status()
    assert isinstance(caught.value.__cause__, LookupError)


async def test_what_goes_on_behind_a_failure_has_no_traceback_in_its_state() -> None:
    graph = broken()
    graph.add_node("tell", _told)
    graph.on_error("pay", "tell")
    result = await graph.execute({})
    assert result.status == "completed"
    assert result["told"] == ["code", "fault", "message", "node", "raised", "retryable", "where"]
    (failed,) = [event for event in result.events if isinstance(event, e.NodeFailed)]
    assert failed.error.traceback is None
    (call,) = [event for event in result.events if isinstance(event, e.CallFailed)]
    assert call.error.traceback is not None


def _told(state: dict[str, dict[str, object]]) -> dict[str, object]:
    return {"told": sorted(state["error"])}
