"""Plugins at work, in one process and over a real bus; and the ones that come along."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import JsonValue

import partsong.graph_engine.app
from partsong.contracts import events as e
from partsong.contracts.errors import PartsongError
from partsong.contracts.state.results import RunResult
from partsong.contracts.talk.chunks import Chunk
from partsong.plugins import Hook, Plugin, Replace, RequireApproval, Veto
from partsong.plugins.audit import AuditWebhook
from partsong.plugins.budget import BudgetGuard
from partsong.plugins.plugin import PluginKind
from partsong.plugins.redaction import PiiRedaction, redacted
from partsong.plugins.shelf import Shelf
from partsong.runtime.serve import open_context
from partsong.runtime.settings import Settings
from partsong.testing import ScriptedModel, ToolCall, replay_run
from partsong.testing.nats import Bus
from partsong.workflow import AgentSpec, ToolNode, WorkflowGraph
from tests.system.platform import Platform, a_platform

HERE = "tests.system.test_plugins"


class First(Plugin):
    """Adds a word to every argument."""

    kind: ClassVar[PluginKind] = "guard"
    order: ClassVar[int] = 1

    def before_tool_call(self, hook: Hook) -> Replace:
        args = hook.data["args"]
        assert isinstance(args, dict)
        return Replace(value={key: f"{text} + 1" for key, text in args.items()})


class Second(Plugin):
    """Comes behind the first, and sees what that has left."""

    kind: ClassVar[PluginKind] = "guard"
    order: ClassVar[int] = 2

    async def before_tool_call(self, hook: Hook) -> Replace:
        args = hook.data["args"]
        assert isinstance(args, dict)
        return Replace(value={key: f"({text}) * 2" for key, text in args.items()})


class Late(Plugin):
    """A guard that does not answer in time."""

    kind: ClassVar[PluginKind] = "guard"
    timeout: ClassVar[float] = 0.05

    async def before_tool_call(self, _hook: Hook) -> None:
        await asyncio.Event().wait()


class Broken(Plugin):
    """An observer that always fails."""

    def before_tool_call(self, _hook: Hook) -> None:
        raise RuntimeError("oh no")


class Asks(Plugin):
    """A guard that wants a person to agree; comes between the first and the second."""

    kind: ClassVar[PluginKind] = "guard"
    order: ClassVar[int] = 1

    def before_tool_call(self, _hook: Hook) -> RequireApproval:
        return RequireApproval(reason="large")


class Bossy(Plugin):
    """An observer that would like to decide."""

    def before_tool_call(self, hook: Hook) -> Veto:
        args = hook.data["args"]
        assert isinstance(args, dict)
        args["expression"] = "0"
        return Veto(reason="because")


class Watcher(Plugin):
    """Sees chunks, and breaks at the second."""

    seen: ClassVar[list[str]] = []

    def on_chunk(self, _run_id: str, node: str, chunk: Chunk) -> None:
        self.seen.append(f"{node} {chunk.kind}")
        if len(self.seen) == 2:
            raise RuntimeError("that is enough")


Run = Callable[[WorkflowGraph, dict[str, JsonValue], list[type[Plugin]]], Awaitable[RunResult]]


@pytest.fixture(params=["local", "bus"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "local":

        async def here(
            graph: WorkflowGraph, input: dict[str, JsonValue], plugins: list[type[Plugin]]
        ) -> RunResult:
            graph._plugins = tuple(plugin() for plugin in plugins)
            return await graph.execute(input)

        return here
    bus: Bus = request.getfixturevalue("bus")

    async def there(
        graph: WorkflowGraph, input: dict[str, JsonValue], plugins: list[type[Plugin]]
    ) -> RunResult:
        names = tuple(f"{plugin.__module__}:{plugin.__qualname__}" for plugin in plugins)
        async with a_platform(bus, Settings(plugins=names)) as platform:
            return await finished(platform, graph, input)

    return there


async def finished(
    platform: Platform, graph: WorkflowGraph, input: dict[str, JsonValue]
) -> RunResult:
    run_id = await platform.client.start(graph, input)
    result = await platform.client.result(run_id, timeout=30)
    assert (await platform.client.replay(run_id)).ok
    return result


def sums() -> WorkflowGraph:
    return WorkflowGraph("sums").add_tool("sum", "calculator", args={"expression": "{{what}}"})


def decisions(result: RunResult) -> list[e.HookDecided]:
    return [event for event in result.events if isinstance(event, e.HookDecided)]


async def test_plugins_are_asked_in_their_order_each_with_what_the_one_before_left(
    run: Run,
) -> None:
    result = await run(sums(), {"what": "1"}, [Second, First])
    assert str(result.raise_for_status()["sum"]) == "4"
    (decided,) = decisions(result)
    assert [report.plugin.rpartition(":")[2] for report in decided.outcomes] == ["First", "Second"]


async def test_a_guard_that_is_late_vetoes(run: Run) -> None:
    result = await run(sums(), {"what": "1"}, [Late])
    assert result.error is not None
    assert result.error.code == "hook.vetoed"
    assert "no answer within 50ms" in result.error.message


async def test_a_person_is_asked_whatever_other_plugins_make_of_the_value() -> None:
    for plugins in ([First(), Asks()], [Asks(), Second()]):
        graph = WorkflowGraph("sums", plugins=plugins)
        graph.add_tool("sum", "calculator", args={"expression": "{{what}}"})
        waiting = await graph.execute({"what": "1"})
        assert waiting.status == "waiting"
        assert not any(isinstance(event, e.CallCompleted) for event in waiting.events)

        async def yes(_request: e.ApprovalRequested) -> bool:
            return True

        done = await graph.execute({"what": "1"}, approve=yes)
        assert str(done.raise_for_status()["sum"]) == "2"


async def test_an_observer_decides_nothing_and_changes_nothing(run: Run) -> None:
    result = await run(sums(), {"what": "1"}, [Bossy])
    assert str(result.raise_for_status()["sum"]) == "1"
    assert "an observer only watches" in decisions(result)[0].outcomes[0].reason


async def test_an_observer_that_fails_is_passed_over_and_the_log_says_so(run: Run) -> None:
    result = await run(sums(), {"what": "1"}, [Broken])
    result.raise_for_status()
    assert [report.outcome for report in decisions(result)[0].outcomes] == ["error"]
    assert "oh no" in decisions(result)[0].outcomes[0].reason


async def test_a_model_never_sees_what_is_redacted(run: Run) -> None:
    graph = WorkflowGraph("mail").add_agent("a", "test:mail", prompt="{{text}}")
    with ScriptedModel("fine", model="test:mail") as model:
        result = await run(graph, {"text": "Write to ann@example.org."}, [PiiRedaction])
    assert result.raise_for_status()["a"] == "fine"
    assert model.asked[0].messages[-1].text == "Write to [email]."


async def test_chunks_are_watched_and_a_watcher_that_breaks_stops_nothing(run: Run) -> None:
    Watcher.seen.clear()
    graph = WorkflowGraph("talk").add_agent("a", "test:talk", prompt="hi")
    with ScriptedModel("one two three", model="test:talk"):
        result = await run(graph, {}, [Watcher])
    assert result.raise_for_status()["a"] == "one two three"
    assert len(Watcher.seen) == 2
    assert Watcher.seen[0] == "a start"


async def test_a_guard_that_no_tool_runner_has_vetoes(bus: Bus) -> None:
    async with a_platform(bus) as platform:
        settings = replace(platform.settings, plugins=(f"{HERE}:Late",))
        await platform.services["graph-engine"].stop()
        engine = partsong.graph_engine.app.service(settings)
        platform.services["graph-engine"] = await open_context(settings, engine)
        run_id = await platform.client.start(sums(), {"what": "1"})
        result = await platform.client.result(run_id, timeout=30)
    assert result.error is not None
    assert "no tool-runner has it" in result.error.message


async def test_a_budget_ends_an_agent_that_has_taken_too_much() -> None:
    spec = AgentSpec(model="test:dear", tools=("calculator",))
    graph = WorkflowGraph("dear", plugins=[BudgetGuard(tokens=3)]).add_agent("a", spec, prompt="x")
    call = ToolCall("calculator", {"expression": "1 + 1"})
    with ScriptedModel(call, model="test:dear"):
        result = await graph.execute()
    assert result.error is not None
    assert "the budget is 3" in result.error.message


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mail a.b+c@x-y.co.uk now", "mail [email] now"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("not a card: 4111 1111 1111 1112", "not a card: 4111 1111 1111 1112"),
        ("4111 1111 1111 1111 12/28", "[card] 12/28"),
        ("4111-1111-1111-1111, 123", "[card], 123"),
        ("4111111111111111 123", "[card] 123"),
        ("call +49 30 1234567", "call [phone]"),
        ("call 415-555-1234 or (030) 1234567", "call [phone] or [phone]"),
        ("due 2026-11-23, 12:30", "due 2026-11-23, 12:30"),
        ("range 1000-2000 / 3000", "range 1000-2000 / 3000"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [iban]"),
        ("key sk-abcdefghijklmnopqrst", "key [key]"),
        ("order 12345678 of 2026", "order 12345678 of 2026"),
        ("pi is 3.14159265358979", "pi is 3.14159265358979"),
    ],
)
def test_what_looks_private_is_taken_out_and_nothing_else(text: str, clean: str) -> None:
    assert redacted({"a": [text]}) == {"a": [clean]}


def test_a_plugin_without_points_or_one_that_is_none_is_refused_by_name() -> None:
    for name in (f"{HERE}:sums", f"{HERE}:nothing", "nobody-has-this"):
        with pytest.raises(PartsongError) as refused:
            Shelf.load([name])
        assert name.rpartition(":")[2] in refused.value.problem.message


class Heard(BaseHTTPRequestHandler):
    """Keeps what it was sent."""

    got: ClassVar[list[dict[str, JsonValue]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append({**json.loads(body), "signed": "webhook-signature" in self.headers})
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Tests are quiet."""


async def test_another_system_is_told_of_the_run_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    Heard.got.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Heard) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("PARTSONG_HTTP_ALLOW", f"127.0.0.1:{server.server_port}")
        monkeypatch.setenv("PARTSONG_WEBHOOK_SECRET", f"whsec_{'QUFB' * 11}")
        audit = AuditWebhook(f"http://127.0.0.1:{server.server_port}/audit")
        graph = WorkflowGraph("sums", plugins=[audit])
        graph.add_tool("sum", "calculator", args={"expression": "1 + 1"})
        result = await graph.execute()
        server.shutdown()
        thread.join()
    result.raise_for_status()
    assert [told["type"] for told in Heard.got] == [
        "partsong.before_run",
        "partsong.after_tool_call",
        "partsong.after_run",
    ]
    assert all(told["signed"] for told in Heard.got)
    assert all(report.outcome == "continue" for one in decisions(result) for report in one.outcomes)


async def test_a_replay_of_agents_tools_and_plugins_calls_none_of_them(tmp_path: Path) -> None:
    log = str(tmp_path / "runs.jsonl")
    spec = AgentSpec(model="test:model", tools=("calculator",))
    graph = WorkflowGraph("whole", plugins=[PiiRedaction(), First()]).add_agent("a", spec)
    call = ToolCall("calculator", {"expression": "1"})
    with ScriptedModel(call, "two, says ann@example.org", model="test:model"):
        result = await graph.execute({"input": "mail ann@example.org"}, log=log)
    assert len(decisions(result)) == 4
    told = replay_run(log, result=result.raise_for_status())
    assert (told.calls, told.connections) == ({}, ())
    assert replay_run(log, state_hash=told.state_hash).events == len(result.events)


async def test_an_observer_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    graph = WorkflowGraph("broken", plugins=[Broken()])
    graph.add_map(
        "each",
        ToolNode(tool="calculator", args={"expression": "{{item}} + 1"}),
        over="numbers",
        into="found",
        max_concurrency=1,
    )
    result = await graph.execute({"numbers": [1, 2, 3, 4, 5, 6]})
    said = [one.outcomes[0].reason for one in decisions(result)]
    assert len(said) == 6
    assert [reason.startswith("RuntimeError") for reason in said] == [True] * 5 + [False]
    assert said[-1] == "left alone after 5 failures in a row"
