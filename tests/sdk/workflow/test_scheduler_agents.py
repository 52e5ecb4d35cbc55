"""Agents as objects do tasks with their own keys and tools, and keep their slot from turn to turn."""

from __future__ import annotations

from partsong.agents import Agent
from partsong.contracts.events import ApprovalRequested
from partsong.testing.fake_llm import Answer, Ask, Call, FakeLLM, Finish, Say
from partsong.tools import tool
from partsong.workflow import Task, TaskScheduler
from tests.support.agents import asking


@tool
def length(text: str) -> int:
    """The number of characters."""
    return len(text)


@tool(side_effect="destructive", approval="always")
def erase(path: str) -> str:
    """Erase a file."""
    raise AssertionError(f"nobody agreed to erase {path}")


def using(name: str, args: str) -> FakeLLM:
    """A fake that has a tool called, then says what came of it."""

    def script(ask: Ask) -> Answer:
        if ask.results:
            return Answer((Say(ask.results[-1].text), Finish()))
        return Answer((Call(name, args), Finish("tool_calls")))

    return FakeLLM(script)


async def test_an_agent_has_its_own_address_and_tools_and_ends_a_task_before_the_next_begins() -> (
    None
):
    async with using("length", '{"text": "abc"}') as llm:
        scheduler = TaskScheduler({"clerk": asking(llm, tools=[length])}, max_concurrency=1)
        tasks = [Task(id="a", description="A"), Task(id="b", description="B", priority=1)]
        result = await scheduler.execute_with_checkpointing(tasks)
        prompts = [recorded.ask.prompt for recorded in llm.calls]
    assert dict(result) == {"a": "3", "b": "3"}
    assert prompts == ["B", "B", "A", "A"]


async def test_a_tool_that_needs_approval_waits_until_somebody_can_be_asked() -> None:
    async def refuse(asked: ApprovalRequested) -> bool:
        assert asked.context == {"path": "x"}
        return False

    async with using("erase", '{"path": "x"}') as llm:
        scheduler = TaskScheduler({"clerk": asking(llm, tools=[erase])})
        left = await scheduler.execute_task_with_approval("Erase x", require_approval=False)
        assert (left.status, left.tasks["task"].status) == ("waiting", "waiting")
        result = await scheduler.resume_from_checkpoint(left.checkpoints[-1], approve=refuse)
    assert "approval.rejected" in str(result["task"])


async def test_a_function_may_have_the_name_of_an_agent() -> None:
    def clerk() -> str:
        return "by hand"

    scheduler = TaskScheduler({"clerk": Agent("scripted:echo")})
    tasks = [Task(id="a", agent=clerk), Task(id="b", description="Hi", agent="clerk")]
    assert dict(await scheduler.execute_with_checkpointing(tasks)) == {"a": "by hand", "b": "Hi"}
