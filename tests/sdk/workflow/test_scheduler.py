"""`TaskScheduler` in one process: what tasks see, in which order they run, and how runs are resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from pydantic import BaseModel, JsonValue

from partsong.contracts.errors import InvalidInput, NotFound, RunFailed
from partsong.contracts.events import ApprovalRequested, RunCompleted, RunStarted
from partsong.contracts.talk.chunks import Text
from partsong.log.memory import MemoryLog
from partsong.workflow import AgentSpec, Checkpoint, Retry, Task, TaskScheduler

Inputs = dict[str, JsonValue]
WITHIN = 30.0
"""Seconds a test waits for something that takes milliseconds."""

TASKS = [
    Task(id="draft", description="Say hello to {{who}}", agent="writer"),
    Task(id="loud", agent="shout", depends_on=["draft"], inputs={"mark": "!"}),
    Task(id="end", description="Send it", agent="writer", depends_on=["draft", "loud"]),
]


class Crew:
    """Agents that note what they are called with."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken = False

    def shout(self, inputs: Inputs) -> str:
        self.calls.append("shout")
        if self.broken:
            raise ValueError("hoarse")
        return f"{inputs['draft']}{inputs['mark']}".upper()

    def scheduler(self, log: str | Path | MemoryLog | None = None) -> TaskScheduler:
        writer = AgentSpec(model="scripted:echo")
        return TaskScheduler({"writer": writer, "shout": self.shout}, log=log)


async def yes(_request: ApprovalRequested) -> bool:
    return True


async def no(_request: ApprovalRequested) -> bool:
    return False


async def test_outputs_reach_those_who_depend_on_them() -> None:
    result = await Crew().scheduler().execute_with_checkpointing(TASKS, input={"who": "Ann"})
    assert result.raise_for_status() is result
    assert dict(result) == {
        "draft": "Say hello to Ann",
        "loud": "SAY HELLO TO ANN!",
        "end": 'Send it\n\n{"draft": "Say hello to Ann", "loud": "SAY HELLO TO ANN!"}',
    }
    assert [task.status for task in result.tasks.values()] == ["completed"] * 3


async def test_the_last_checkpoint_of_a_finished_run_gives_its_result_and_calls_nobody() -> None:
    crew = Crew()
    scheduler = crew.scheduler()
    result = await scheduler.execute_with_checkpointing(TASKS, input={"who": "Ann"})
    checkpoints = scheduler.list_checkpoints()
    assert tuple(checkpoints) == result.checkpoints
    again = await scheduler.resume_from_checkpoint(checkpoints[-1])
    assert again == result
    assert crew.calls == ["shout"]
    assert scheduler.list_checkpoints() == checkpoints


def after(checkpoints: list[Checkpoint], what: str) -> Checkpoint:
    return next(point for point in checkpoints if any(what in did for did in point.did))


async def test_a_checkpoint_in_between_begins_a_run_that_does_only_what_comes_after() -> None:
    crew = Crew()
    scheduler = crew.scheduler()
    first = await scheduler.execute_with_checkpointing(TASKS, input={"who": "Ann"})
    checkpoints = scheduler.list_checkpoints()
    early = after(checkpoints, "node.completed draft:1")
    late = after(checkpoints, "node.completed loud:1")
    again = await scheduler.resume_from_checkpoint(late)
    assert (dict(again), crew.calls) == (dict(first), ["shout"])
    assert again.run_id != first.run_id
    anew = await scheduler.resume_from_checkpoint(early)
    assert (dict(anew), crew.calls) == (dict(first), ["shout", "shout"])
    assert {point.run_id for point in scheduler.list_checkpoints()} == {
        first.run_id,
        again.run_id,
        anew.run_id,
    }


async def test_a_failed_run_is_resumed_with_what_is_unfinished() -> None:
    crew = Crew()
    crew.broken = True
    scheduler = crew.scheduler()
    failed = await scheduler.execute_with_checkpointing(TASKS, input={"who": "Ann"})
    statuses = {task.id: task.status for task in failed.tasks.values()}
    assert statuses == {"draft": "completed", "loud": "failed", "end": "pending"}
    assert failed.tasks["loud"].error == failed.error
    assert list(failed) == ["draft"]
    with pytest.raises(KeyError):
        failed["loud"]
    with pytest.raises(RunFailed, match="hoarse"):
        failed.raise_for_status()
    crew.broken = False
    done = await scheduler.resume_from_checkpoint(scheduler.list_checkpoints()[-1])
    assert (done.status, done.run_id, len(done)) == ("completed", failed.run_id, 3)


async def test_a_failed_attempt_is_made_again_as_the_task_says() -> None:
    attempts: list[int] = []

    def flaky() -> str:
        attempts.append(1)
        if len(attempts) < 2:
            raise ValueError("not yet")
        return "done"

    retry = Retry(attempts=2, initial=0, retry_on=("function.",))
    task = Task(id="a", agent=flaky, retry=retry)
    result = await TaskScheduler(max_concurrency=1).execute_with_checkpointing([task])
    assert (result["a"], len(attempts)) == ("done", 2)


async def test_tasks_beside_one_that_fails_are_given_up() -> None:
    begun = asyncio.Event()

    async def endless(_inputs: Inputs) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def fails(_inputs: Inputs) -> None:
        await begun.wait()
        raise ValueError("broken")

    tasks = [Task(id="endless", agent=endless), Task(id="fails", agent=fails)]
    result = await asyncio.wait_for(TaskScheduler().execute_with_checkpointing(tasks), WITHIN)
    assert {task.id: task.status for task in result.tasks.values()} == {
        "endless": "cancelled",
        "fails": "failed",
    }


async def test_without_anybody_to_ask_a_task_waits_and_can_be_resumed() -> None:
    crew = Crew()
    scheduler = crew.scheduler()
    task = Task(id="loud", agent="shout", inputs={"draft": "hi", "mark": "!"})
    waiting = await scheduler.execute_task_with_approval(task, "shout", require_approval=True)
    assert (waiting.status, waiting.tasks["loud"].status, crew.calls) == ("waiting", "waiting", [])
    last = scheduler.list_checkpoints()[-1]
    assert last.status == "waiting"
    still = await scheduler.resume_from_checkpoint(last)
    assert still.status == "waiting"
    done = await scheduler.resume_from_checkpoint(last, approve=yes)
    assert (done.status, done["loud"], done.run_id) == ("completed", "HI!", waiting.run_id)


async def test_a_person_who_says_no_ends_it_and_may_be_asked_again() -> None:
    crew = Crew()
    scheduler = TaskScheduler({"shout": crew.shout}, approve=no)
    task = Task(id="loud", inputs={"draft": "hi", "mark": "!"}, requires_approval=True)
    rejected = await scheduler.execute_task_with_approval(task, require_approval=False)
    assert (rejected.status, rejected.tasks["loud"].status) == ("rejected", "rejected")
    assert rejected.error is not None
    assert rejected.error.code == "approval.rejected"
    assert crew.calls == []
    done = await scheduler.resume_from_checkpoint(rejected.checkpoints[-1], approve=yes)
    assert (done.status, done["loud"]) == ("completed", "HI!")


async def test_whoever_is_asked_sees_what_the_task_is_to_do() -> None:
    asked: list[ApprovalRequested] = []

    async def approve(request: ApprovalRequested) -> bool:
        asked.append(request)
        return True

    scheduler = TaskScheduler({"writer": "scripted:echo"}, approve=approve)
    first = Task(id="first", description="One")
    second = Task(id="second", description="Two", depends_on=["first"], requires_approval=True)
    assert (await scheduler.execute_with_checkpointing([first, second])).status == "completed"
    assert [(a.title, a.detail, a.context) for a in asked] == [
        ("Run the task second?", "Two", {"inputs": {"first": "One"}})
    ]
    await scheduler.execute_task_with_approval("Three", "writer", require_approval=False)
    assert len(asked) == 1


async def test_a_stream_shows_events_and_the_agents_words() -> None:
    scheduler = Crew().scheduler()
    task = Task(id="say", description="Hello out there", agent="shout")
    seen = [event async for event in scheduler.execute_task_stream(task, "writer")]
    words = "".join(event.text for event in seen if isinstance(event, Text))
    assert isinstance(seen[0], RunStarted)
    assert isinstance(seen[-1], RunCompleted)
    assert words == "Hello out there"
    assert scheduler.list_checkpoints()[-1].status == "completed"


async def test_leaving_a_stream_early_cancels_its_call_and_leaves_a_run_to_resume(
    tmp_path: Path,
) -> None:
    begun, stopped, free = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        try:
            await free.wait()
        finally:
            stopped.set()
        return "done"

    scheduler = TaskScheduler({"work": work}, max_concurrency=1, log=tmp_path / "tasks.jsonl")
    async with aclosing(scheduler.execute_task_stream(Task(id="a"), "work")) as events:
        async for _event in events:
            await asyncio.wait_for(begun.wait(), WITHIN)
            break
    assert stopped.is_set()
    free.set()
    result = await scheduler.resume_from_checkpoint(scheduler.list_checkpoints()[-1])
    assert result["a"] == "done"


async def test_another_process_lists_and_resumes_what_a_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    first = await Crew().scheduler(path).execute_with_checkpointing(TASKS, input={"who": "Ann"})
    crew = Crew()
    later = crew.scheduler(str(path))
    assert tuple(later.list_checkpoints()) == first.checkpoints
    assert (await later.resume_from_checkpoint(later.list_checkpoints()[-1])) == first
    between = after(later.list_checkpoints(), "node.completed draft:1")
    assert dict(await later.resume_from_checkpoint(between)) == dict(first)
    assert crew.calls == ["shout"]


async def test_who_lacks_a_function_is_told_so_and_what_is_not_there_is_not_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tasks.jsonl"
    await Crew().scheduler(path).execute_with_checkpointing(TASKS, input={"who": "Ann"})
    stranger = TaskScheduler({"writer": "scripted:echo"}, log=path)
    with pytest.raises(NotFound, match="has no such function"):
        await stranger.resume_from_checkpoint(stranger.list_checkpoints()[0])
    lost = Checkpoint("r_nowhere", 1, 1, "", "running", ())
    with pytest.raises(NotFound, match="r_nowhere"):
        await stranger.resume_from_checkpoint(lost)


async def test_the_end_of_a_line_that_nobody_finished_writing_is_no_checkpoint(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tasks.jsonl"
    scheduler = Crew().scheduler(path)
    assert scheduler.list_checkpoints() == []
    await scheduler.execute_with_checkpointing(TASKS[:1], input={"who": "Ann"})
    whole = scheduler.list_checkpoints()
    with path.open("ab") as file:
        file.write(b'{"seq":99,"subject":"par')
    assert scheduler.list_checkpoints() == whole
    path.write_text("something else\n")
    with pytest.raises(InvalidInput, match="something else"):
        scheduler.list_checkpoints()


async def test_runs_of_one_file_go_on_side_by_side_and_other_runs_are_not_listed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tasks.jsonl"
    scheduler = Crew().scheduler(path)
    task = Task(id="say", description="Hello", agent="writer")
    results = await asyncio.gather(
        *(scheduler.execute_with_checkpointing([task]) for _ in range(4))
    )
    assert [result["say"] for result in results] == ["Hello"] * 4
    assert {c.run_id for c in scheduler.list_checkpoints()} == {r.run_id for r in results}
    other = TaskScheduler({"writer": "scripted:echo"}, log=path, name="other")
    assert other.list_checkpoints() == []


async def test_the_id_of_a_run_makes_a_second_start_the_same_run() -> None:
    crew = Crew()
    scheduler = crew.scheduler(MemoryLog())
    inputs: dict[str, JsonValue] = {"who": "Ann"}
    one = await scheduler.execute_with_checkpointing(TASKS, input=inputs, run_id="r_one")
    two = await scheduler.execute_with_checkpointing(TASKS, input=inputs, run_id="r_one")
    assert (one, crew.calls) == (two, ["shout"])


class Greeting(BaseModel):
    name: str
    prompt: str = ""


def greet(greeting: Greeting) -> dict[str, JsonValue]:
    return {"text": f"{greeting.prompt} {greeting.name}"}


async def test_a_function_may_be_named_by_the_task_itself_and_take_a_model(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    task = Task(id="greet", description="Hello", agent=greet, inputs={"name": "Ann"})
    first = await TaskScheduler(log=path).execute_with_checkpointing([task])
    assert first["greet"] == {"text": "Hello Ann"}
    later = TaskScheduler(log=path)
    again = await later.resume_from_checkpoint(later.list_checkpoints()[0])
    assert dict(again) == dict(first)


def noting(begun: list[str]) -> Callable[[Inputs], object]:
    async def work(inputs: Inputs) -> None:
        begun.append(str(inputs["prompt"]))
        await asyncio.sleep(0)

    return work


async def test_of_more_tasks_than_may_run_those_with_the_highest_priority_go_first() -> None:
    begun: list[str] = []
    scheduler = TaskScheduler({"work": noting(begun)}, max_concurrency=1)
    tasks = [
        Task(id="low", description="low", priority=-1),
        Task(id="plain", description="plain"),
        Task(id="high", description="high", priority=9),
        Task(id="behind", description="behind", priority=5, depends_on=["high"]),
    ]
    await scheduler.execute_with_checkpointing(tasks)
    assert begun == ["high", "behind", "plain", "low"]


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_tasks_than_allowed_work_at_once(most: int) -> None:
    working: set[str] = set()
    seen: list[int] = []
    full = asyncio.Event()

    async def work(inputs: Inputs) -> None:
        working.add(str(inputs["n"]))
        seen.append(len(working))
        if len(working) == most:
            full.set()
        await asyncio.wait_for(full.wait(), WITHIN)
        working.discard(str(inputs["n"]))

    tasks = [Task(id=f"t{n}", inputs={"n": n}) for n in range(7)]
    scheduler = TaskScheduler({"work": work}, max_concurrency=most)
    assert (await scheduler.execute_with_checkpointing(tasks)).status == "completed"
    assert (len(seen), max(seen)) == (7, most)


async def test_who_stands_in_line_is_given_up_when_a_task_fails() -> None:
    def fails() -> None:
        raise ValueError("broken")

    begun: list[str] = []
    tasks = [Task(id="a", agent=fails, priority=1), Task(id="b", agent=noting(begun))]
    running = TaskScheduler(max_concurrency=1).execute_with_checkpointing(tasks)
    result = await asyncio.wait_for(running, WITHIN)
    assert (result.status, result.tasks["b"].status, begun) == ("failed", "cancelled", [])


async def test_who_waits_for_a_person_keeps_nobody_waiting() -> None:
    begun: list[str] = []
    scheduler = TaskScheduler({"work": noting(begun)}, max_concurrency=1)
    asks = Task(id="asks", description="asks", priority=9, requires_approval=True)
    result = await scheduler.execute_with_checkpointing([asks, Task(id="b", description="b")])
    assert (result.status, begun) == ("waiting", ["b"])
    assert {task.id: task.status for task in result.tasks.values()} == {
        "asks": "waiting",
        "b": "completed",
    }
