"""`RunResult` reads like the state, and tells a run that ended well from one that did not."""

from __future__ import annotations

import pytest

from partsong.contracts.errors import Problem, RunFailed
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.state import Status


def test_a_result_reads_like_the_state() -> None:
    result = RunResult("r_1", "completed", {"answer": 42, "notes": []})
    assert result["answer"] == 42
    assert "notes" in result
    assert "other" not in result
    assert list(result) == ["answer", "notes"]
    assert len(result) == 2
    assert dict(result) == result.state
    assert result.get("other") is None


def test_a_key_the_state_has_not_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="other"):
        RunResult("r_1", "completed", {})["other"]


def test_a_completed_run_raises_nothing_and_gives_itself() -> None:
    result = RunResult("r_1", "completed", {"x": 1})
    assert result.raise_for_status() is result


def test_a_failed_run_raises_its_own_error() -> None:
    problem = Problem(
        code="function.raised", message="ValueError: no", where="nodes.a", fault="tool"
    )
    with pytest.raises(RunFailed) as raised:
        RunResult("r_1", "failed", {}, problem).raise_for_status()
    assert raised.value.problem == problem


@pytest.mark.parametrize("status", ["cancelled", "waiting", "running", "limit_exceeded"])
def test_a_run_that_did_not_complete_raises_and_says_how_it_stands(status: Status) -> None:
    with pytest.raises(RunFailed, match=f"run r_1 is {status}"):
        RunResult("r_1", status, {"x": 1}).raise_for_status()
