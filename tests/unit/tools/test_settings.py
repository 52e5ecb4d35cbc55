"""The list of the tools' settings: complete, and silent about secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import partsong.tools
from partsong.contracts.errors import InvalidInput
from partsong.tools import ToolRegistry
from partsong.tools.settings import PACKAGES, SETTINGS

NAMED = re.compile(r'"(PARTSONG_[A-Z_]+|[A-Z]+_API_KEY)"')


def test_every_setting_that_a_tool_reads_is_listed() -> None:
    sources = Path(partsong.tools.__file__).parent.rglob("*.py")
    read = {name for source in sources for name in NAMED.findall(source.read_text("utf-8"))}
    assert read == {setting.name for setting in SETTINGS}


def test_the_tools_that_are_named_are_there() -> None:
    registry = ToolRegistry()
    for setting in SETTINGS:
        assert [registry.get(name).name for name in setting.tools] == list(setting.tools)
    for package in PACKAGES:
        name = package.tools[0].split()[0]
        assert registry.get(name).name == name


def test_a_setting_says_what_happens_without_it() -> None:
    for one in SETTINGS:
        assert one.says({}) == one.says({one.name: ""}) == f"not set: {one.unset}"


def test_what_may_hold_a_secret_is_not_shown() -> None:
    hidden = {setting.name for setting in SETTINGS if setting.secret}
    assert hidden == {
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "OPENAI_API_KEY",
        "PARTSONG_MCP",
        "PARTSONG_QUERY_DATABASE_URL",
        "PARTSONG_SEARCH_URL",
        "PARTSONG_WEBHOOK_SECRET",
        "TAVILY_API_KEY",
    }
    for setting in SETTINGS:
        shown = setting.says({setting.name: (setting.choices or ("hunter2",))[0]})
        assert ("hunter2" in shown) == (not setting.secret and not setting.choices)


def test_a_value_that_is_none_of_the_choices_is_refused() -> None:
    (tier,) = [setting for setting in SETTINGS if setting.name == "PARTSONG_CODE_TIER"]
    assert tier.says({tier.name: "python"}) == "python"
    with pytest.raises(
        InvalidInput, match="PARTSONG_CODE_TIER is 'docker', not one of monty, python"
    ):
        tier.says({tier.name: "docker"})
