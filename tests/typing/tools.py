"""What type checkers see of the tools' public names; read by mypy and pyright, not run."""

from __future__ import annotations

from typing import assert_type

from partsong.contracts.talk.messages import ToolSpec
from partsong.tools import NodeContext, Tool, ToolRegistry, tool


@tool
def plain(text: str, times: int = 2) -> str:
    return text * times


@tool(side_effect="read", timeout=5, retries=2)
async def fetch(url: str, context: NodeContext) -> bytes:
    context.emit(f"reading {url}")
    return b""


async def a_tool_keeps_the_signature_of_its_function(context: NodeContext) -> None:
    assert_type(plain("a", times=3), str)
    assert_type(await fetch("http://example.org", context), bytes)


def any_tool_can_be_registered() -> None:
    registry = ToolRegistry([plain, fetch], allow=["acme"])
    registry.register(plain)
    assert_type(registry.get("plain"), Tool[..., object])
    assert_type(registry.specs(["plain"]), list[ToolSpec])


def wrong_calls_are_refused() -> None:
    plain(3)  # type: ignore[arg-type]
    plain("a", often=3)  # type: ignore[call-arg]
    tool(side_effect="much")  # type: ignore[call-overload]
