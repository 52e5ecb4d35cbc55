"""`partsong up` as a process: what it says, what it leaves behind, and what it does when something dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from partsong.client import Client
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.nats.server import start_embedded
from tests.system import graphs

ROOT = Path(__file__).parents[2]
WITHIN = 120.0
SERVICES = {"graph-engine", "agent-gateway", "tool-runner", "approval", "nats"}


@dataclass
class Up:
    """A running `partsong up`, and what it has said."""

    process: asyncio.subprocess.Process
    folder: Path
    lines: list[str]
    printed: list[str]

    @property
    def ready(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "ready.json").read_text())
        return found

    async def until(self, what: str, true: Callable[[], object]) -> None:
        """Wait for something that gives no sign when it happens."""
        async with asyncio.timeout(WITHIN):
            while not true():
                assert self.process.returncode is None, "\n".join(self.lines)
                await asyncio.sleep(0.02)

    def said(self, *words: str) -> int:
        return sum(all(word in line for word in words) for line in self.lines)

    def said_twice(self, *words: str) -> bool:
        return self.said(*words) == 2


def command(folder: Path, *words: str | Path) -> list[str]:
    ready = folder / "ready.json"
    fixed = ("--fast", "--http-port", "0", "--data", folder / "data", "--ready-file", ready)
    return [sys.executable, "-m", "partsong.cli.main", "up", *map(str, (*fixed, *words))]


@asynccontextmanager
async def up(folder: Path, *words: str) -> AsyncIterator[Up]:
    process = await asyncio.create_subprocess_exec(
        *command(folder, *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Up(process, folder, [], [])

    async def read(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        async for line in stream:
            lines.append(line.decode().rstrip())

    reading = [
        asyncio.create_task(read(process.stderr, running.lines)),
        asyncio.create_task(read(process.stdout, running.printed)),
    ]
    try:
        await running.until("ready", (folder / "ready.json").exists)
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(WITHIN):
            await process.wait()
        for one in reading:
            one.cancel()


async def once(folder: Path, *words: str) -> tuple[int, str]:
    """An `up` that is expected to end by itself."""
    process = await asyncio.create_subprocess_exec(
        *command(folder, *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def remembered(folder: Path) -> None:
    """A platform that had a log, and marks of it: what is not synced to the disk for certain is not marked yet."""
    async with up(folder) as running, Client(running.ready["nats_url"]) as client:
        await client.start(graphs.chain(), {"x": 1})
        await running.until("marks", (folder / "data" / "marks.json").exists)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pids: list[int]) -> None:
    async with asyncio.timeout(WITHIN):
        while any(map(alive, pids)):  # noqa: ASYNC110  # other people's processes set no event
            await asyncio.sleep(0.05)


async def test_it_runs_a_graph_and_leaves_nothing_behind_when_it_is_told_to_stop(
    tmp_path: Path,
) -> None:
    async with up(tmp_path, "--load", "tests.system.nodes") as running:
        ready = running.ready
        await running.until(
            "loaded", partial(running.said, "loaded", "tests.system.nodes: functions")
        )
        assert set(ready["services"]) == SERVICES
        assert ready["pid"] == running.process.pid
        assert ready["http_url"].startswith("http://127.0.0.1:")
        assert json.loads((tmp_path / "data" / "up.json").read_text())["pid"] == ready["pid"]
        for file in (tmp_path / "data" / "up.json", tmp_path / "ready.json"):
            assert file.stat().st_mode & 0o777 == 0o600
        assert readable_by_others(tmp_path / "data") == []
        for service in SERVICES:  # the pipe may lag behind the file that says "ready"
            await running.until(service, partial(running.said, service, "ready"))
            assert running.said(service, "ready") == 1, running.lines
        async with Client(ready["nats_url"]) as client:
            run_id = await client.start(graphs.chain(), {"x": 1})
            assert (await client.result(run_id, timeout=30))["path"] == "A"
    assert running.process.returncode == 0
    await gone(list(ready["services"].values()))
    assert not (tmp_path / "ready.json").exists()
    assert not (tmp_path / "data" / "up.json").exists()


async def test_what_is_killed_is_started_again_and_said(tmp_path: Path) -> None:
    async with up(tmp_path, "--load", "tests.system.nodes") as running:
        before = running.ready
        for service in ("tool-runner", "nats"):
            os.kill(before["services"][service], signal.SIGKILL)
        for service in ("tool-runner", "nats"):
            await running.until(service, partial(running.said_twice, service, "ready"))
        assert running.said("tool-runner", "ended with SIGKILL") == 1
        after = json.loads((tmp_path / "data" / "up.json").read_text())
        assert after["nats_url"] == before["nats_url"]
        async with Client(after["nats_url"]) as client:
            run_id = await client.start(graphs.chain(), {"x": 1})
            assert (await client.result(run_id, timeout=30)).status == "completed"


async def test_the_password_of_a_server_is_nowhere_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = 'authorization { user: "u", password: "s3cret" }'
    async with start_embedded(tmp_path / "nats", fast=True, config=who) as server:
        url = server.url.replace("nats://", "nats://u:s3cret@")
        async with up(tmp_path, "--nats", url) as running:
            assert running.ready["nats_url"] == server.url
            for file in ((tmp_path / "ready.json"), *(tmp_path / "data").rglob("*")):
                assert file.is_dir() or b"s3cret" not in file.read_bytes(), file
            _, said = await once(tmp_path, "--nats", url)
            assert "s3cret" not in said
            assert f"url {server.url})" in said
            code, said = await partsong("run", "list", "--data", str(tmp_path / "data"))
            assert code == 1
            assert "nats.no_password" in said
            assert "s3cret" not in command_line(running.process.pid)
            monkeypatch.setenv("PARTSONG_NATS_URL", url)
            code, said = await partsong("run", "list", "--data", str(tmp_path / "data"))
            assert code == 0, said
            pids = {*running.ready["services"].values()}
            pids |= {child for pid in pids for child in children(pid)}
            assert len(pids) >= 2 * len(SERVICES - {"nats"}), "each has one that beats for it"
            for pid in pids:
                assert "s3cret" not in command_line(pid)
            for words in (("bus", "status"), ("doctor",), ("log", "verify"), ("run", "list")):
                _, said = await partsong(*words, "--nats", url)
                assert "s3cret" not in said, words
        assert any(server.url.removeprefix("nats://") in line for line in running.printed)
        for line in (*running.lines, *running.printed):
            assert "s3cret" not in line
        logs = list((tmp_path / "data" / "logs").iterdir())
        assert len(logs) == len(SERVICES - {"nats"})
        for log_file in logs:
            assert "s3cret" not in log_file.read_text("utf-8")


async def test_it_starts_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / 'José\'s "#1" $HOME ${x} %41?q=1;\n\\u'
    folder.mkdir()
    async with up(folder) as running, Client(running.ready["nats_url"]) as client:
        run_id = await client.start(graphs.calculating(), {"amount": 2})
        assert (await client.result(run_id, timeout=30)).status == "completed"
    assert running.process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
async def test_kill_9_leaves_no_orphan_and_the_next_one_starts(tmp_path: Path) -> None:
    async with up(tmp_path) as running:
        pids = list(running.ready["services"].values())
        running.process.kill()
        await running.process.wait()
    await gone(pids)
    (tmp_path / "ready.json").unlink()
    async with up(tmp_path) as again:
        assert again.ready["pid"] != running.process.pid


async def test_it_ends_on_a_damaged_log_as_its_services_do(tmp_path: Path) -> None:
    await remembered(tmp_path)
    shutil.rmtree(tmp_path / "data" / "nats")
    (tmp_path / "ready.json").unlink(missing_ok=True)
    code, said = await once(tmp_path)
    assert code == 78
    assert said.count("error: up.unfit: ") == 1
    assert said.count("log.damaged") == 1
    assert said.count("  fix  ") == 1
    place = f"--data {tmp_path / 'data'} --offline"
    assert f"  fix  run `partsong log restore {place} --from FOLDER --replace`" in said
    (problem,) = [line for line in said.splitlines() if "up.unfit" in line]
    assert "cannot start: log.damaged: " in problem, "no lines of its log"


def readable_by_others(folder: Path) -> list[str]:
    found = []
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(
            FileNotFoundError
        ):  # the server removes what it wrote for a moment
            if path.stat().st_mode & 0o077:
                found.append(f"{path}: {path.stat().st_mode & 0o777:o}")
    return found


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def children(pid: int) -> list[int]:
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.exists() and path.read_text().rpartition(") ")[2].split()[1] == str(pid)
    ]


async def partsong(*words: str) -> tuple[int | None, str]:
    """All that a command says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(WITHIN):
        out, _ = await process.communicate()
    return process.returncode, out.decode()


async def log(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """What a `partsong log` says of a data directory to which only that points."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", "log", *words),
        *("--data", str(folder / "data"), "-o", "json"),
        env={k: v for k, v in os.environ.items() if not k.startswith("PARTSONG_")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN):
        out, error = await process.communicate()
    assert process.returncode is not None
    said: dict[str, Any] = json.loads(out or error)
    return process.returncode, said


async def test_what_a_command_of_the_log_advises_beside_it_and_behind_it_leads_on(
    tmp_path: Path,
) -> None:
    accept, rest = ("restore", "--as-is"), "the same command with --offline"
    async with up(tmp_path) as running:
        pid = running.ready["pid"]
        code, said = await log(tmp_path, *accept)
        assert (code, said["code"]) == (1, "services.running")
        assert f"stop `partsong up` (process {pid}), then give {rest}" in said["fix"]
        code, said = await log(tmp_path, *accept, "--offline")
        assert (code, said["code"]) == (1, "nats.already_running")
        assert f"stop `partsong up` (process {pid}), then do it again" in said["fix"]
        code, said = await log(tmp_path, "verify", "--offline")
        assert (code, said["code"]) == (1, "nats.already_running")
        assert said["fix"] == "leave out --offline"
        assert (await log(tmp_path, "verify"))[0] == 0
    for words in (accept, ("verify",)):
        code, said = await log(tmp_path, *words)
        assert (code, said["code"]) == (1, "nats.unknown")
        assert rest in said["fix"]
    assert (await log(tmp_path, *accept, "--offline"))[0] == 0
    code, said = await log(tmp_path / "elsewhere", *accept)
    assert said["code"] == "nats.unknown"
    assert "--offline" not in said["fix"], "no server has run there"


async def test_it_ends_on_the_server_data_of_another_project(tmp_path: Path) -> None:
    for name in ("here", "there"):
        await remembered(tmp_path / name)
    here, there = (tmp_path / name / "data" / "nats" for name in ("here", "there"))
    shutil.rmtree(here)
    shutil.copytree(there, here)
    (tmp_path / "here" / "ready.json").unlink(missing_ok=True)
    code, said = await once(tmp_path / "here")
    assert code == 78
    assert "log.another" in said


async def test_a_module_that_cannot_be_loaded_ends_it_at_once_with_the_reason(
    tmp_path: Path,
) -> None:
    code, said = await once(tmp_path, "--load", "no_such_module")
    assert code == 1
    assert "up.refused" in said
    assert "tool-runner cannot start" in said
    assert "no_such_module" in said
    assert not (tmp_path / "ready.json").exists()


@asynccontextmanager
async def a_worker(
    cwd: Path, role: str, *words: str, **env: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A `partsong worker start` that is told nothing about the server."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PARTSONG_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", "worker", "start", role, *words),
        cwd=cwd,
        env={**clean, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(WITHIN):
            await process.communicate()


async def test_a_worker_that_is_started_beside_it_finds_its_server(tmp_path: Path) -> None:
    async with up(tmp_path, "--load", "tests.system.nodes") as running:
        data, link = tmp_path / "data", tmp_path / ".partsong"
        link.symlink_to(data)  # what `up` without --data would have used
        ways: list[tuple[tuple[str, ...], dict[str, str]]] = [
            (("--data", str(data)), {}),
            ((), {"PARTSONG_DATA": str(data)}),
            ((), {}),
        ]
        for n, (words, env) in enumerate(ways):
            named = ("--name", f"second-{n}", *words)
            async with a_worker(tmp_path, "graph-engine", *named, **env) as worker:
                assert worker.stdout is not None
                async with asyncio.timeout(WITHIN):
                    ready = (await worker.stdout.readline()).decode()
                assert ready.startswith(f"ready graph-engine second-{n}~"), ready
        async with Client(running.ready["nats_url"]) as client:
            run_id = await client.start(graphs.chain(), {"x": 1})
            assert (await client.result(run_id, timeout=60)).status == "completed"


HOSTILE = """
from pathlib import Path
Path(__file__).with_name("imported").open("a").write(__name__)
raise ImportError(__name__)
"""
LAZY = (
    "jsonschema_rs",
    "cel_expr_python",
    "anthropic",
    "openai",
    "litestar",
    "sqlmodel",
    "mcp",
    "redis",
)


@pytest.mark.parametrize("role", sorted(SERVICES - {"nats"}))
async def test_a_service_imports_nothing_of_the_directory_that_it_is_started_in(
    tmp_path: Path, role: str, nats_url: str, subjects: Subjects
) -> None:
    for name in LAZY:
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PARTSONG_")}
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("partsong"), "worker", "start", role),
        *("--nats", nats_url, "--data", tmp_path / "data"),
        cwd=tmp_path,
        env={**clean, "PARTSONG_PREFIX": subjects.prefix, "PARTSONG_HTTP_PORT": "0"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN):
            assert (await process.stdout.readline()).startswith(b"ready ")
    finally:
        process.terminate()
        await process.communicate()
    assert not (tmp_path / "imported").exists()


async def test_a_worker_that_finds_no_server_says_what_to_give_it(tmp_path: Path) -> None:
    async with a_worker(tmp_path, "graph-engine") as worker:
        async with asyncio.timeout(WITHIN):
            _, said = await worker.communicate()
        assert worker.returncode == 1
    for word in ("nats.unknown", str(tmp_path / ".partsong"), "--data", "PARTSONG_NATS_URL"):
        assert word in said.decode()
