"""Agents that a script calls without `await`."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from types import ModuleType

import pytest
from pydantic import BaseModel

from partsong.agents import Agent, Conversation
from partsong.contracts.errors import InvalidInput
from partsong.testing import FakeLLM, ScriptedModel


@contextmanager
def vendor() -> Iterator[str]:
    """The address of a vendor's server, in a thread of its own: this test stops its loop."""
    address: Queue[str] = Queue()

    async def serve() -> None:
        async with FakeLLM() as server:
            address.put(server.env()["OPENAI_BASE_URL"])
            await asyncio.to_thread(stop.wait)

    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield address.get(timeout=30)
    finally:
        stop.set()
        thread.join()


class Sum(BaseModel):
    total: int


def test_a_script_asks_and_goes_on_with_the_conversation() -> None:
    with ScriptedModel("hello", '{"total": 3}', model="test:m"):
        agent, conversation = Agent("test:m"), Conversation()
        assert agent.call_sync("hi", conversation=conversation).text == "hello"
        answer = agent.call_sync("1 + 2?", output=Sum, conversation=conversation)
    assert answer.output == Sum(total=3)
    assert len(conversation.messages) == 4


async def test_a_coroutine_is_told_to_await() -> None:
    with pytest.raises(InvalidInput, match=r"await agent\.call") as caught:
        Agent("scripted:summary").call_sync("hi")
    assert caught.value.problem.code == "sync.running_loop"


async def test_a_notebooks_blocking_call_keeps_off_the_connections_of_the_kernels_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = ModuleType("IPython")
    shell.get_ipython = object  # type: ignore[attr-defined]  # all that is asked of it
    monkeypatch.setitem(sys.modules, "IPython", shell)
    with vendor() as url:
        agent = Agent("openai-chat:m", api_key="sk-fake", base_url=url)
        async with agent:
            first = await agent.call("one")
            second = agent.call_sync("two")
            third = await agent.call("three")
    assert first.text
    assert second.text
    assert third.text
