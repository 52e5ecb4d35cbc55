"""Which model an agent asks, and with whose key."""

from __future__ import annotations

import pytest

from partsong.agents.choice import DEFAULT_MODELS, choose
from partsong.contracts.errors import InvalidInput

CLAUDE = f"anthropic:{DEFAULT_MODELS['anthropic']}"
GPT = DEFAULT_MODELS["openai"]
GEMINI = f"google:{DEFAULT_MODELS['google']}"


@pytest.mark.parametrize(
    ("env", "model"),
    [
        ({}, "scripted:summary"),
        ({"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "b"}, CLAUDE),
        ({"OPENAI_API_KEY": "b", "GOOGLE_API_KEY": "c"}, f"openai:{GPT}"),
        ({"GEMINI_API_KEY": "c"}, GEMINI),
    ],
)
def test_without_a_model_the_first_key_in_the_environment_decides(
    env: dict[str, str], model: str
) -> None:
    assert choose("", env).models == (model,)


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("sk-ant-x", CLAUDE),
        ("sk-proj-x", f"openai:{GPT}"),
        ("AIzaX", GEMINI),
        ("anything", CLAUDE),
    ],
)
def test_without_a_model_the_form_of_the_key_says_whose_it_is(key: str, model: str) -> None:
    choice = choose("", {"OPENAI_API_KEY": "other"}, api_key=key)
    assert choice.models == (model,)
    held = choice.settings
    assert key in {held.anthropic_api_key, held.openai_api_key, held.google_api_key}


@pytest.mark.parametrize(
    ("model", "url", "asked"),
    [
        ("", "", f"openai:{GPT}"),
        ("gpt-x", "", "openai:gpt-x"),
        ("llama3:8b", "http://here/v1", "openai-chat:llama3:8b"),
        ("openai:gpt-x", "http://here/v1", "openai:gpt-x"),
        ("openai-chat:gpt-x", "", "openai-chat:gpt-x"),
    ],
)
def test_a_vendors_agent_takes_bare_names(model: str, url: str, asked: str) -> None:
    assert choose(model, {}, provider="openai", base_url=url).models == (asked,)


def test_an_address_gets_no_key_it_was_not_given() -> None:
    env = {"OPENAI_API_KEY": "secret", "ANTHROPIC_API_KEY": "other"}
    choice = choose("openai-chat:llama3", env, base_url="http://here/v1")
    assert (choice.settings.openai_api_key, choice.settings.openai_base_url) == (
        "",
        "http://here/v1",
    )
    assert choice.settings.anthropic_api_key == "other"


def test_a_key_goes_to_the_address_in_the_environment() -> None:
    env = {"ANTHROPIC_BASE_URL": "http://proxy", "ANTHROPIC_API_KEY": "other"}
    settings = choose("", env, provider="anthropic", api_key="mine").settings
    assert (settings.anthropic_api_key, settings.anthropic_base_url) == ("mine", "http://proxy")


def test_keys_are_told_apart_without_being_shown() -> None:
    one, two = (choose("", {}, provider="openai", api_key=key) for key in ("key-1", "key-2"))
    assert one.account(one.models[0]) != two.account(two.models[0])
    assert "key" not in one.account(one.models[0])
    assert "key-1" not in repr(one)


@pytest.mark.parametrize(
    ("model", "provider", "key", "url", "fallbacks", "code"),
    [
        ("gpt-x", "", "", "", (), "model.unknown_provider"),
        ("", "", "", "http://here", (), "model.missing"),
        ("openai:gpt-x", "anthropic", "", "", (), "model.wrong_provider"),
        ("scripted:echo", "", "k", "", (), "model.no_key_needed"),
        ("", "", "sk-ant-x\n", "", (), "model.bad_key"),
        ("", "", "…", "", (), "model.bad_key"),
        ("scripted:echo", "", "", "", ("gpt-x",), "model.unknown_provider"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    model: str, provider: str, key: str, url: str, fallbacks: tuple[str, ...], code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        choose(model, {}, provider=provider, api_key=key, base_url=url, fallbacks=fallbacks)
    assert refused.value.problem.code == code
    assert refused.value.problem.fix
