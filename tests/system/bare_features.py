"""What a user does, once each, in an environment without extras; prints for each feature how that ended, as JSON lines.

`python -P tests/system/bare_features.py FOLDER`, by `test_bare.py`. A graph writes its log into FOLDER: a run that could not
go on in the middle has left something there.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from partsong.agents import Agent
from partsong.contracts.errors import PartsongError
from partsong.teams import team
from partsong.testing import ScriptedModel
from partsong.tools import tool
from partsong.tools.mcp import McpServers
from partsong.workflow import AgentSpec, Task, TaskScheduler, WorkflowGraph

FEATURES: dict[str, Callable[[str], Awaitable[object]]] = {}
OBJECT: dict[str, JsonValue] = {"type": "object", "properties": {"a": {"type": "integer"}}}


def feature(function: Callable[[str], Awaitable[object]]) -> None:
    FEATURES[function.__name__] = function


def step(state: dict[str, Any]) -> dict[str, Any]:
    return {"n": 1}


def one() -> WorkflowGraph:
    return WorkflowGraph("one").add_node("a", step)


@tool(approval="args.amount > 1")
def pay(amount: int) -> int:
    """Pay."""
    return amount


async def ran(graph: WorkflowGraph, log: str, **options: Any) -> object:
    result = await graph.execute({"n": 1, "items": [1]}, log=log, **options)
    if result.error is not None:
        raise PartsongError.of(result.error)
    return result.status


def deep() -> WorkflowGraph:
    return WorkflowGraph("deep").add_transform("x", {"y": "state.n + 1"})


@feature
async def functions(log: str) -> object:
    return await ran(one().add_node("b", step).add_edge("a", "b"), log)


@feature
async def transform(log: str) -> object:
    return await ran(WorkflowGraph("g").add_transform("a", {"x": "state.n * 2"}), log)


@feature
async def condition(log: str) -> object:
    graph = one().add_node("b", step).add_condition("a", [("state.n > 1", "b")], otherwise="END")
    return await ran(graph, log)


@feature
async def loop(log: str) -> object:
    return await ran(one().add_loop("a", while_="state.n < 3"), log)


@feature
async def expression_in_a_subgraph(log: str) -> object:
    return await ran(one().add_subgraph("s", deep()).add_edge("a", "s"), log)


@feature
async def expression_in_a_map(log: str) -> object:
    return await ran(one().add_map("m", deep(), over="items", into="all").add_edge("a", "m"), log)


@feature
async def state_schema(log: str) -> object:
    return await ran(WorkflowGraph("g", state_model=OBJECT).add_node("a", step), log)


@feature
async def signal_schema(log: str) -> object:
    graph = WorkflowGraph("g").add_wait("w", signal="s", schema=OBJECT)
    return await ran(graph, log, signals={"s": {}})


@feature
async def edit_schema(log: str) -> object:
    schema = {"type": "string"}
    graph = one().add_approval("ok", title="?", editable="text", edit_schema=schema)
    return await ran(graph.add_edge("a", "ok"), log)


@feature
async def answers_in_a_graph(log: str) -> object:
    agent = AgentSpec(model="test:m", output_schema=OBJECT)
    with ScriptedModel('{"a": 1}', model="test:m"):
        return await ran(one().add_agent("b", agent).add_edge("a", "b"), log)


@feature
async def approval_rule(log: str) -> object:
    graph = WorkflowGraph("g", tools=[pay]).add_node("a", step)
    return await ran(graph.add_tool("p", "pay", args={"amount": 5}).add_edge("a", "p"), log)


@feature
async def runs_in_redis(_log: str) -> object:
    return await ran(one(), "redis://127.0.0.1:1/0")


@feature
async def scheduler(log: str) -> object:
    agent = AgentSpec(model="test:m", output_schema=OBJECT)
    with ScriptedModel('{"a": 1}', model="test:m"):
        tasks = TaskScheduler({"who": agent}, log=log)
        return await tasks.execute_with_checkpointing([Task(id="t", description="do it")])


@feature
async def a_team(log: str) -> object:
    return await ran(team("software"), log)


@feature
async def agent(_log: str) -> object:
    with ScriptedModel("hello", model="openai:gpt-6-luna"):
        return (await Agent("openai:gpt-6-luna").call("hi")).text


@feature
async def agent_answers(_log: str) -> object:
    return await Agent("scripted:summary", output=OBJECT).call("x")


@feature
async def agent_rule(_log: str) -> object:
    return await Agent("scripted:summary", tools=[pay]).call("x")


@feature
async def agent_routed(_log: str) -> object:
    return (await Agent("auto:complexity").call("hi")).text


def vendor(name: str, key: str) -> None:
    async def asked(_log: str) -> object:
        os.environ[key] = "sk-not-a-key"
        try:
            return await Agent(f"{name}:some-model").call("hi")
        finally:
            del os.environ[key]

    asked.__name__ = f"model_{name}"
    feature(asked)


vendor("anthropic", "ANTHROPIC_API_KEY")
vendor("openai", "OPENAI_API_KEY")
vendor("openai-chat", "OPENAI_API_KEY")
vendor("google", "GOOGLE_API_KEY")


def built_in(name: str, **args: Any) -> None:
    async def called(log: str) -> object:
        return await ran(WorkflowGraph("g").add_tool("t", name, args=args), f"{log}.said-when-called")  # fmt: skip

    called.__name__ = f"tool_{name}"
    feature(called)


built_in("calculator", expression="6 * 7")
built_in("read_file", path="note.txt")
built_in("fetch_page", url="https://example.com/")
built_in("web_search", query="x")
built_in("query_database", sql="select 1")
built_in("run_code", code="1 + 1")
built_in("remember", text="a note")
built_in("recall", query="a note")


@feature
async def mcp_servers(_log: str) -> object:
    async with McpServers(["shop=https://127.0.0.1:1/"]) as servers:
        return len(servers.tools)


@feature
async def spans(_log: str) -> object:
    from partsong.runtime.telemetry.setup import setup

    return setup("test", "http://127.0.0.1:1")


@feature
async def a_platform(_log: str) -> object:
    return importlib.import_module("partsong.testing").a_platform


@feature
async def a_fake_vendor(_log: str) -> object:
    async with importlib.import_module("partsong.testing").FakeLLM():
        return "started"


async def said(name: str, folder: Path) -> dict[str, object]:
    try:
        value = await FEATURES[name](str(folder / f"{name}.jsonl"))
    except PartsongError as error:
        return {"feature": name, **error.problem.model_dump(include={"code", "fix"})}
    except Exception as error:  # the very thing that must not be
        return {"feature": name, "code": type(error).__name__, "fix": str(error)}
    return {"feature": name, "code": "", "fix": "", "value": str(value)[:60]}


async def main(folder: Path) -> None:
    os.environ["PARTSONG_QUERY_DATABASE_URL"] = "sqlite:///shop.db"
    os.environ["PARTSONG_SEARCH_URL"] = "http://127.0.0.1:1"
    os.environ["PARTSONG_FILES_ROOT"] = str(folder)
    for name in FEATURES:
        sys.stdout.write(json.dumps(await said(name, folder)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    Path("note.txt").write_text("hello", "utf-8")
    asyncio.run(main(Path(sys.argv[1])))
