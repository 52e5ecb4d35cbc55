"""The pytest plugin in a project of somebody else's: found by itself, with warnings as errors, at no cost when unused."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

UNUSED = """
import sys

def test_nothing_is_loaded():
    ours = sorted(name for name in sys.modules if name.startswith("partsong"))
    assert ours == ["partsong", "partsong.testing", "partsong.testing.plugin"]
    assert not {"pydantic", "nats", "anthropic", "openai"} & set(sys.modules)
"""

USED = """
import pytest
from partsong.agents import Agent
from partsong.tools import tool
from partsong.workflow import AgentSpec, WorkflowGraph

@tool
def price_of(article: str) -> float:
    '''The price of an article.'''
    return 3.5

def shout(state):
    return {"shouted": state["ask"].upper()}

def shop():
    agent = AgentSpec(model="openai:gpt-5.4", tools=("price_of",))
    graph = WorkflowGraph("shop").add_agent("ask", agent, prompt="What does tea cost?")
    return graph.add_node("shout", shout).add_edge("ask", "shout")

@pytest.mark.asyncio
@pytest.mark.partsong(tools=[price_of])
async def test_on_the_platform(partsong_bus, scripted_model, replay):
    from partsong.testing import ToolCall

    scripted_model(ToolCall("price_of", {"article": "tea"}), "3.50", model="openai:gpt-5.4")
    run_id = await partsong_bus.client.start(shop())
    result = await partsong_bus.client.result(run_id, timeout=30)
    assert result.raise_for_status()["shouted"] == "3.50"
    replay(await partsong_bus.records(run_id), result=result)

@pytest.mark.asyncio
async def test_with_a_fake_vendor(fake_llm):
    assert (await Agent("openai:text:3").call("Hello")).text == "the quick brown"
    assert len(fake_llm.calls) == 1

@pytest.mark.asyncio
async def test_a_decision(partsong_bus):
    graph = WorkflowGraph("ask").add_approval("sure")
    run_id = await partsong_bus.client.start(graph)
    await partsong_bus.decide(run_id, "approve", by="anna", reason="yes")
    result = await partsong_bus.client.result(run_id, timeout=30)
    assert result["sure"] == {"decision": "approve", "by": "anna", "reason": "yes"}
    with pytest.raises(AssertionError, match="ended without an approval"):
        await partsong_bus.decide(run_id)
"""

FAILING = """
import asyncio
from partsong.agents import Agent

def test_one_answer_is_left(scripted_model):
    model = scripted_model("one", "two")
    assert asyncio.run(Agent(model.model).call("?")).text == "one"
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty project, run as strictly as can be."""
    pytester.makeini(
        "[pytest]\naddopts = --strict-markers --strict-config -p no:cacheprovider\nfilterwarnings = error\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    monkeypatch.setenv("OPENAI_API_KEY", "")
    return pytester


@pytest.fixture
def bare(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project in which pytest does not look for plugins."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    return suite


def test_unused_it_loads_nothing(suite: pytest.Pytester) -> None:
    suite.makepyfile(UNUSED)
    suite.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


@pytest.mark.parametrize("name", ["partsong", "partsong.testing.plugin"])
def test_it_can_be_named_where_plugins_are_not_looked_for(bare: pytest.Pytester, name: str) -> None:
    bare.makepyfile(UNUSED)
    bare.runpytest_subprocess("-p", name, "-W", "error").assert_outcomes(passed=1)


def test_it_can_be_left_out(suite: pytest.Pytester) -> None:
    suite.makepyfile(FAILING)
    result = suite.runpytest_inprocess("-p", "no:partsong")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'scripted_model' not found*"])


def test_its_fixtures_serve_a_project_in_the_strict_mode(
    bare: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, nats_url: str
) -> None:
    monkeypatch.setenv("PARTSONG_TEST_NATS", "external")
    monkeypatch.setenv("PARTSONG_TEST_NATS_URL", nats_url)
    bare.makepyfile(USED)
    scope = "asyncio_default_fixture_loop_scope=function"
    bare.runpytest_subprocess(
        "-p", "asyncio", "-p", "partsong", "-W", "error", "-o", scope
    ).assert_outcomes(passed=3)


def test_a_script_that_is_not_played_to_its_end_fails_the_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(FAILING)
    result = suite.runpytest_inprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*was asked 1 times, its script has 1 answers more*"])
