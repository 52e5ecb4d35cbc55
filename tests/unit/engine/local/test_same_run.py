"""The id of a run that exists, in one process: the same request goes on with it, another one is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from partsong.contracts.errors import Conflict, InvalidInput
from partsong.workflow import WorkflowGraph


async def test_another_input_under_the_id_of_a_run_is_refused_and_the_same_goes_on(
    tmp_path: Path,
) -> None:
    log = str(tmp_path / "runs.log")
    graph = WorkflowGraph("g")
    graph.add_wait("w", signal="go")
    first = await graph.execute({"n": 21}, run_id="r_1", log=log, labels={"a": "b"})
    assert first.status == "waiting"
    with pytest.raises(Conflict, match=r"other input\.n, input\.m") as caught:
        await graph.execute({"n": 22, "m": 1}, run_id="r_1", log=log)
    assert caught.value.problem.code == "run.exists"
    with pytest.raises(Conflict, match=r"options\.labels"):
        await graph.execute({"n": 21}, run_id="r_1", log=log, labels={"a": "c"})
    again = await graph.execute({"n": 21}, run_id="r_1", log=log, labels={"a": "b"})
    assert again.status == "waiting"
    done = await graph.execute(run_id="r_1", log=log, signals={"go": 1})
    assert done.status == "completed"
    assert done["n"] == 21


async def test_a_duration_as_deadline_is_the_same_run_whenever_it_is_asked_for(
    tmp_path: Path,
) -> None:
    log = str(tmp_path / "runs.log")
    graph = WorkflowGraph("g")
    graph.add_wait("w", signal="go")
    await graph.execute(run_id="r_1", log=log, deadline="1h")
    for same in ("60m", 3600, timedelta(hours=1), None):
        again = await graph.execute(run_id="r_1", log=log, deadline=same)
        assert again.status == "waiting"
    for other in ("2h", "2030-01-31T12:00:00Z"):
        with pytest.raises(Conflict, match=r"options\.deadline"):
            await graph.execute(run_id="r_1", log=log, deadline=other)
    with pytest.raises(InvalidInput, match="nor is it a moment"):
        await graph.execute(run_id="r_2", log=log, deadline="soon")
