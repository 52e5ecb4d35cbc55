"""`partsong up` and its services that live and do not answer, or take long to start."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from partsong.cli import platform as platform_module
from partsong.cli.platform import Platform
from partsong.client import Client
from tests.system import graphs
from tests.system.test_up import up

pytestmark = pytest.mark.timeout(300)
WITHIN = 240.0
SLOW = """
import sys, time
if "worker" in sys.orig_argv and sys.orig_argv[-1] == "graph-engine":
    time.sleep(8)
"""


async def test_services_that_are_stopped_are_replaced_and_a_run_goes_on(tmp_path: Path) -> None:
    async with up(tmp_path, "--load", "tests.system.nodes") as running:
        before = running.ready["services"]
        stopped = ("graph-engine", "tool-runner")
        async with Client(running.ready["nats_url"], timeout=WITHIN) as client:
            await client.result(await client.start(graphs.chain(), {"x": 1}), timeout=WITHIN)
            os.kill(before["tool-runner"], signal.SIGSTOP)
            run_id = await client.start(graphs.chain(), {"x": 1})
            os.kill(before["graph-engine"], signal.SIGSTOP)
            for service in stopped:
                await running.until(service, partial(running.said_twice, service, "ready, pid"))
                assert running.said(service, "no heartbeat for ", "stopped by a signal") == 1
            assert (await client.result(run_id, timeout=WITHIN)).status == "completed"
        note = (tmp_path / "data" / "up.json").read_text()
        for service in ("agent-gateway", "approval"):
            assert running.said(service, "ready, pid") == 1, running.lines
            assert str(before[service]) in note


async def test_a_service_that_takes_long_to_start_is_waited_for_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    async with up(tmp_path) as running:
        assert running.said("up", "waiting for graph-engine (process ") >= 1, running.lines


async def test_a_service_that_does_nothing_at_all_while_it_starts_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform_module, "START", 3.0)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SLOW.replace("8", "3600"))
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    platform = Platform(tmp_path / "data", env=env, fast=True, roles=("graph-engine",))
    try:
        with pytest.raises(Exception, match=r"nothing was done for 3 s: graph-engine"):
            await platform.start()
    finally:
        await platform.stop()


async def test_a_server_that_lives_and_does_not_answer_is_started_again_and_nobody_else_is(
    tmp_path: Path,
) -> None:
    async with up(tmp_path, "--load", "tests.system.nodes") as running:
        before = running.ready["services"]
        os.kill(before["nats"], signal.SIGSTOP)
        await running.until("nats", partial(running.said_twice, "nats", "ready, pid"))
        assert running.said("nats", "no answer for ", "stopped by a signal; starting again") == 1
        async with Client(running.ready["nats_url"], timeout=WITHIN) as client:
            run_id = await client.start(graphs.chain(), {"x": 1})
            assert (await client.result(run_id, timeout=WITHIN)).status == "completed"
        assert running.said("no heartbeat") == 0, running.lines
