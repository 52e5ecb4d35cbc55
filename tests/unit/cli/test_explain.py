"""`run explain` says what each turn read out of the vendor's cache, and why one missed."""

from __future__ import annotations

import pytest

from partsong.cli.explain import told, turns_of
from partsong.contracts.graph import CacheMode
from partsong.testing import FakeLLM
from partsong.testing.fake_llm import Answer, Ask, Call, Finish, PromptCache, Reply, Say
from partsong.tools import tool
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.support.vendors import no_vendor_settings

__all__ = ["no_vendor_settings"]


@tool(side_effect="read")
def look(page: int) -> str:
    """Looks up a page."""
    return f"page {page}"


def _two_pages(ask: Ask) -> Reply:
    if ask.nth < 2:
        return Answer((Call("look", f'{{"page": {ask.nth}}}'), Finish("tool_calls")))
    return Answer((Say("done"), Finish()))


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ("auto", ["nothing was asked before it", None, None]),
        ("off", ["caching is off"] * 3),
    ],
)
async def test_each_turn_says_why_it_missed(
    monkeypatch: pytest.MonkeyPatch, cache: CacheMode, said: list[str | None]
) -> None:
    wordy = "You know the whole city. " * 400
    spec = AgentSpec(
        model="anthropic:claude-sonnet-5-5", instructions=wordy, tools=("look",), cache=cache
    )
    async with FakeLLM(_two_pages, cache=PromptCache()) as llm:
        for name, value in llm.env().items():
            monkeypatch.setenv(name, value)
        run = await WorkflowGraph("g", tools=[look]).add_agent("a", spec).execute({"input": "?"})
    turns = turns_of(run.events)
    assert len(turns) == 3
    for turn, why in zip(turns, said, strict=True):
        assert turn.record()["cache_missed"] == turn.missed
        text = "\n".join(told(turn))
        assert (why in text) if why else ("missed" not in text)
        assert ("tokens read" in text) is (cache == "auto")
