"""An agent's options reach the vendor's request, beside all that the turn says, and stand in the log."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from anthropic.types import message_create_params
from google.genai.types import GenerateContentConfig
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.provider_options import KNOWN_OPTIONS
from partsong.models.core.options import with_options
from partsong.testing.fake_llm import FakeLLM
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.support.agents import asking, saying

OPTIONS: dict[str, dict[str, JsonValue]] = {
    "anthropic": {"top_k": 7, "metadata": {"user_id": "u"}},
    "openai": {"service_tier": "flex", "text": {"verbosity": "low"}},
    "openai-chat": {"seed": 7, "extra_body": {"repetition_penalty": 1.1}},
    "google": {"top_k": 7, "seed": 9},
}


def names(params: type) -> set[str]:
    bases = (params, *getattr(params, "__orig_bases__", ()))
    return set().union(*(getattr(base, "__annotations__", {}) for base in bases))


@pytest.mark.parametrize(
    ("provider", "known"),
    [
        (
            "anthropic",
            names(message_create_params.MessageCreateParamsStreaming) | {"top_k", "top_p"},
        ),
        ("openai", names(response_create_params.ResponseCreateParamsStreaming)),
        (
            "openai-chat",
            names(completion_create_params.CompletionCreateParamsStreaming) | {"extra_body"},
        ),
        ("google", set(GenerateContentConfig.model_fields)),
    ],
)
def test_the_names_are_those_of_the_vendors_sdk(provider: str, known: set[str]) -> None:
    assert KNOWN_OPTIONS[provider] <= known


def found(body: Mapping[str, JsonValue], provider: str) -> bool:
    match provider:
        case "anthropic":
            return (body["top_k"], body["metadata"]) == (7, {"user_id": "u"})
        case "openai":
            text = body["text"]
            return body["service_tier"] == "flex" and isinstance(text, dict) and len(text) == 2
        case "openai-chat":
            return (body["seed"], body["repetition_penalty"]) == (7, 1.1)
        case _:
            config = body["generationConfig"]
            return isinstance(config, dict) and (config["topK"], config["seed"]) == (7, 9)


@pytest.mark.parametrize("provider", OPTIONS)
async def test_options_reach_the_request_and_the_turn_says_the_rest(provider: str) -> None:
    async with FakeLLM(saying("{}")) as llm:
        agent = asking(
            llm,
            f"{provider}:m",
            output={"type": "object"} if provider == "openai" else None,
            provider_options={provider: OPTIONS[provider]},
        )
        await agent.call("Hello")
    body = llm.calls[0].body
    assert isinstance(body, dict)
    assert found(body, provider)


async def test_options_of_a_node_reach_it_too_and_stand_in_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = AgentSpec(model="anthropic:m", provider_options={"anthropic": OPTIONS["anthropic"]})
    async with FakeLLM(saying("Hi.")) as llm:
        for name, value in llm.env().items():
            monkeypatch.setenv(name, value)
        result = await WorkflowGraph("g").add_agent("a", spec).execute({"input": "Hello"})
    (asked,) = [event for event in result.events if event.type == "agent.turn.requested"]
    assert asked.options == OPTIONS["anthropic"]
    body = llm.calls[0].body
    assert isinstance(body, dict)
    assert found(body, "anthropic")


def test_an_agent_with_an_option_that_there_is_not_is_refused() -> None:
    from partsong.agents import Agent

    with pytest.raises(InvalidInput, match="openai has no option 'sede'"):
        Agent("openai:m", api_key="sk-x", provider_options={"openai": {"sede": 1}})


def test_an_object_keeps_what_the_turn_says_in_it() -> None:
    fields = {"text": {"format": "schema"}, "seed": 1}
    assert with_options(fields, {"text": {"verbosity": "low"}, "seed": 2}) == {
        "text": {"format": "schema", "verbosity": "low"},
        "seed": 2,
    }
