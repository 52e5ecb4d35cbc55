"""The fake LLM server itself: what other tests rely on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import httpx2
import pytest

from partsong.testing.fake_llm import Answer, Ask, Deny, FakeLLM, Finish, Reply, Say
from tests.support.providers import PATIENCE, asked, broken, connected, turned


async def test_it_records_every_request_in_order() -> None:
    async with FakeLLM() as llm, connected(llm, "anthropic") as provider:
        await turned(provider, asked("text:1"))
        await turned(provider, asked("text:2"))
        assert [(call.number, call.wire, call.model) for call in llm.calls] == [
            (0, "anthropic", "text:1"),
            (1, "anthropic", "text:2"),
        ]
        assert all(
            call.first_write is not None and call.first_write >= call.received for call in llm.calls
        )
        async with asyncio.timeout(PATIENCE):
            assert await llm.wait_calls(2) == llm.calls


async def test_a_script_answers_as_a_function_of_the_request() -> None:
    def script(ask: Ask) -> Reply:
        if ask.nth == 0:
            return Deny(500, "server", "not yet")
        return Answer((Say(f"{ask.prompt}?"), Finish()))

    async with FakeLLM(script) as llm, connected(llm, "openai") as provider:
        assert (await broken(provider, asked("m"))).problem.message == "not yet"
        assert (await turned(provider, asked("m"))).message.text == "hello there?"


async def test_a_flaky_model_recovers() -> None:
    async with FakeLLM() as llm, connected(llm, "google") as provider:
        for _ in range(2):
            assert (await broken(provider, asked("flaky:2"))).problem.code == "provider.overloaded"
        assert (await turned(provider, asked("flaky:2"))).message.text


async def test_a_mistake_in_a_script_is_not_swallowed() -> None:
    def script(_ask: Ask) -> Reply:
        raise ZeroDivisionError("in the script")

    with pytest.raises(ZeroDivisionError, match="in the script"):
        async with FakeLLM(script) as llm, connected(llm, "openai-chat") as provider:
            await broken(provider, asked("m"))


async def test_it_says_what_it_knows_to_who_asks_for_something_else() -> None:
    async with FakeLLM() as llm, httpx2.AsyncClient() as client:
        answer = await client.get(f"{llm.url}/v1/models")
        assert answer.status_code == 404
        assert "/messages" in answer.text


async def test_it_runs_as_a_program_and_prints_where_it_listens() -> None:
    program = [sys.executable, "-m", "partsong.testing.fake_llm", "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):  # a new interpreter on a busy machine
            url = (await process.stdout.readline()).decode().strip()
            async with httpx2.AsyncClient(timeout=60) as client:
                body = {"model": "text:2", "messages": [{"role": "user", "content": "hi"}]}
                answer = await client.post(f"{url}/v1/messages", json=body)
            assert "message_stop" in answer.text
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
