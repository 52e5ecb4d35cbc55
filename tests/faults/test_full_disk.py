"""The disk of the embedded server is full: it shows, and everything goes on by itself when there is room again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.contracts.errors import PartsongError
from partsong.contracts.graph import AgentSpec
from partsong.workflow import WorkflowGraph
from tests.faults.test_kill import WITHIN, Heard
from tests.ports.damage import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=64m", "none", str(disk))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run(("umount", str(disk)), check=True)


def echo() -> WorkflowGraph:
    graph = WorkflowGraph("echo")
    return graph.add_agent("say", AgentSpec(model="scripted:echo"), prompt="{{text}}")


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            return


async def doctor(url: str) -> str:
    """What it says when something is wrong."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", "doctor", "--nats", url),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 1
    return said.decode()


async def test_a_full_disk_shows_and_is_got_over(small_disk: Path) -> None:
    env = {**os.environ, "PARTSONG_HTTP_PORT": "0"}
    platform = Platform(small_disk / "data", env=env, say=Heard())
    try:
        await platform.start()
        async with Client(platform.nats_url) as client, httpx2.AsyncClient() as http:
            begun = await client.start(echo(), {"text": "before"})
            assert (await client.result(begun, timeout=WITHIN)).status == "completed"
            fill(small_disk / "ballast")

            async def told() -> bool:
                answer = await http.get(f"{platform.http_url}/readyz")
                return answer.status_code == 503 and answer.json()["code"] == "log.mute"

            await until(told)
            assert "stores nothing" in (said := await doctor(platform.nats_url)), said
            with pytest.raises(PartsongError):
                await client.start(echo(), {"text": "meanwhile" * 20_000}, run_id="r_meanwhile")
            (small_disk / "ballast").unlink()

            async def ready() -> bool:
                try:
                    return (await http.get(f"{platform.http_url}/readyz")).status_code == 200
                except httpx2.HTTPError:
                    return False

            await until(ready)
            await client.start(echo(), {"text": "meanwhile" * 20_000}, run_id="r_meanwhile")
            result = await client.result("r_meanwhile", timeout=WITHIN)
            assert result.status == "completed"
            assert (await client.replay("r_meanwhile")).ok
    finally:
        await platform.stop()
