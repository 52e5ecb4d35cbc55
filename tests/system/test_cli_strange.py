"""What an operator does with a log into which anybody has put anything: it is read, copied and put back whole."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from partsong.contracts.wire.subjects import Subjects, partition_of
from partsong.runtime.nats.server import EmbeddedNats
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus, a_bus
from tests.support.strange import HEADERS, PAYLOADS, TAILS, put
from tests.system.platform import a_platform

GATE = {"name": "gate", "entry": "w", "nodes": {"w": {"type": "wait", "signal": "go"}}}


@pytest.fixture
async def own(nats_server: EmbeddedNats, subjects: Subjects) -> AsyncIterator[Bus]:
    async with a_bus(nats_server.url, subjects) as bus:
        yield bus


async def partsong(bus: Bus, data: Path, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", *words, "-o", "json"),
        *("--nats", bus.url, "--prefix", bus.subjects.prefix, "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(200):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def filled(bus: Bus) -> None:
    """A strange record of every kind, none of them in the log of a run."""
    root = f"{bus.subjects.prefix}.log.".encode()
    for headers in HEADERS.values():
        await put(bus.url, root + b"%d.r_0.fact" % partition_of("r_0"), b"{}", headers)
    for tail in TAILS.values():
        await put(bus.url, root + tail, b"{}")
    for entity in (b"engine", b"fact", b"call.c", b"command.q"):
        for body in PAYLOADS.values():
            await put(bus.url, root + b"%d.r_9." % partition_of("r_9") + entity, body)


async def test_a_log_with_all_that_is_strange_in_it_is_verified_copied_and_put_back(
    own: Bus, tmp_path: Path
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    async with a_platform(own, Settings(data_dir=data)) as platform:
        await platform.client.start(GATE, run_id="r_1")
        await filled(own)
        await platform.client.signal("r_1", "go")
        assert (await platform.client.result("r_1", timeout=60)).status == "completed"
        runs = {run.run_id: run.status for run in await platform.client.runs()}
        assert runs["r_1"] == "completed"
    code, out, err = await partsong(own, data, "log", "verify")
    assert (code, json.loads(out)["damaged_runs"]) == (78, ["r_0", "r_9"]), err
    code, out, err = await partsong(own, data, "log", "backup", str(copy))
    assert code == 78, "bodies are missing"
    copied = json.loads(out)
    assert (copied["missing"], len(copied["blobs_missing"])) == ([], 4)
    assert max(map(len, copied["blobs_missing"])) <= 80
    code, out, err = await partsong(
        own, data, "log", "restore", "--from", str(copy), "--replace", "--accept-damage"
    )
    assert code == 0, (out, err)
    async with a_platform(own, Settings(data_dir=data)) as platform:
        assert (await platform.client.state("r_1")).status == "completed"
        await platform.client.start(GATE, run_id="r_2")
        await platform.client.signal("r_2", "go")
        assert (await platform.client.result("r_2", timeout=60)).status == "completed"
    code, out, err = await partsong(own, data, "log", "verify")
    assert (code, json.loads(out)["accepted_runs"]) == (0, ["r_0", "r_9"]), err
