"""Options of a vendor's own request: known names alone, and none that an agent says itself."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import pytest
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.provider_options import (
    KNOWN_OPTIONS,
    RESERVED_OPTIONS,
    option_findings,
)
from partsong.workflow import AgentSpec, WorkflowGraph


def said(options: Mapping[str, Mapping[str, JsonValue]], *models: str) -> list[str]:
    return [f"{p.where}: {p.message}; {p.fix}" for p in option_findings(options, models, "options")]


def test_what_the_vendor_knows_is_accepted() -> None:
    options: dict[str, dict[str, JsonValue]] = {
        "openai": {"service_tier": "flex", "text": {"verbosity": "low"}},
        "anthropic": {"metadata": {"user_id": "u"}},
    }
    assert said(options, "openai:a", "anthropic:b") == []
    assert said({"parrot": {"loud": True}}, "parrot:grey") == []
    assert said({"google": {"seed": 1}}, "auto:cost") == []


@pytest.mark.parametrize(
    ("options", "where", "known"),
    [
        ({"openai": {"service_teir": "flex"}}, "options.openai.service_teir", "service_tier"),
        ({"openai": {"model": "other"}}, "options.openai.model", "field of its own"),
        ({"openai": {"stream": False}}, "options.openai.stream", "field of its own"),
        ({"openai": {"text": {"format": {}}}}, "options.openai.text.format", "field of its own"),
        ({"opneai": {"seed": 1}}, "options.opneai", "openai:a"),
        ({"parrot": {"messages": []}}, "options.parrot", "openai:a"),
    ],
)
def test_what_it_does_not_know_is_refused_with_what_it_does(
    options: dict[str, dict[str, JsonValue]], where: str, known: str
) -> None:
    (problem,) = said(options, "openai:a")
    assert problem.startswith(f"{where}: ")
    assert known in problem


def test_what_is_reserved_is_so_for_every_provider_and_inside_an_extra_body() -> None:
    assert len(said({"parrot": {"tools": []}}, "parrot:grey")) == 1
    assert len(said({"openai-chat": {"extra_body": {"messages": []}}}, "openai-chat:x")) == 1
    assert not RESERVED_OPTIONS & set(chain(*KNOWN_OPTIONS.values()))


def test_a_graph_with_an_option_that_there_is_not_is_refused() -> None:
    spec = AgentSpec(model="anthropic:m", provider_options={"anthropic": {"top_x": 1}})
    with pytest.raises(InvalidInput, match="anthropic has no option 'top_x'") as refused:
        WorkflowGraph("g").add_agent("a", spec).compile()
    assert refused.value.problem.code == "agent.unknown_option"
    assert refused.value.problem.where == "nodes.a.agent.provider_options.anthropic.top_x"
