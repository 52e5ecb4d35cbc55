"""Checkpoints in Redis: what one process began, another one lists and goes on with."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from partsong.contracts.errors import InvalidInput
from partsong.workflow import Task, TaskScheduler, WorkflowGraph

TASKS = [
    Task(id="draft", agent="writer", description="tea"),
    Task(id="sent", agent="sender", description="{{draft}}", depends_on=["draft"]),
]


class Crew:
    """Two workers, one of which may be out of order."""

    def __init__(self, url: str, *, works: bool) -> None:
        self.works, self.drafts = works, 0
        self.scheduler = TaskScheduler({"writer": self.write, "sender": self.send}, log=url)

    def write(self, inputs: dict[str, object]) -> str:
        self.drafts += 1
        return "a text"

    def send(self, inputs: dict[str, object]) -> str:
        if not self.works:
            raise RuntimeError("no line")
        return f"sent {inputs['draft']}"


async def test_a_later_scheduler_goes_on_where_an_earlier_one_failed(
    redis: Redis, redis_url: str
) -> None:
    earlier = Crew(redis_url, works=False)
    failed = await earlier.scheduler.execute_with_checkpointing(TASKS)
    assert (failed.status, failed["draft"]) == ("failed", "a text")
    later = Crew(redis_url, works=True)
    checkpoints = later.scheduler.list_checkpoints()
    assert [point.seq for point in checkpoints] == [p.seq for p in failed.checkpoints]
    result = await later.scheduler.resume_from_checkpoint(checkpoints[-1])
    assert (result.status, result["sent"], result.run_id) == (
        "completed",
        "sent a text",
        failed.run_id,
    )
    assert (earlier.drafts, later.drafts) == (1, 0)


async def test_runs_of_many_at_once_share_one_redis(redis: Redis, redis_url: str) -> None:
    graph = WorkflowGraph("pair").add_transform("a", {"a": "state.n * 2"})
    graph.add_transform("b", {"b": "state.a + 1"}).add_edge("a", "b")
    runs = [graph.execute({"n": n}, run_id=f"r_{n}", log=redis_url) for n in range(20)]
    assert [result["b"] for result in await asyncio.gather(*runs)] == [n * 2 + 1 for n in range(20)]
    assert (await graph.history("r_7", log=redis_url))[-1].status == "completed"


@pytest.mark.parametrize("url", ["postgres://h/x", "s3://bucket/x", "sqlite:///x.db", "NATS://h"])
async def test_another_url_is_refused_with_those_that_work(url: str) -> None:
    graph = WorkflowGraph().add_transform("a", {"a": "1"})
    with pytest.raises(InvalidInput) as refused:
        await graph.execute({}, log=url)
    assert refused.value.problem.code == "log.unknown_scheme"
    with pytest.raises(InvalidInput):
        TaskScheduler(log=url)
