"""A real Redis: `redis_url` and `redis`, for each conftest.py whose tests need one."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import pytest
from redis.asyncio import Redis

__all__ = ["redis", "redis_url"]


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server for the session, if Redis is installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no Redis here: install redis-server")
    with ExitStack() as stack:
        for _ in range(5):  # somebody else may take the free port first
            if port := _started(program, stack):
                yield f"redis://127.0.0.1:{port}/0"
                return
        pytest.fail("Redis did not start on five ports")


def _started(program: str, stack: ExitStack) -> int | None:
    """The port on which it is ready; None if it ended instead."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    command.append(stack.enter_context(TemporaryDirectory()))
    server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(server.terminate)
    assert server.stdout is not None
    return port if any("Ready to accept connections" in line for line in server.stdout) else None


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty Redis."""
    client: Redis = Redis.from_url(redis_url)
    await client.flushall()
    yield client
    await client.aclose()
