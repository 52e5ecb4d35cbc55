"""The command line against a platform that `partsong up` runs: what users type, and what they get."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsong.client import Client
from partsong.workflow import WorkflowGraph
from tests.system import loud

ROOT = Path(__file__).parents[2]
PARTSONG = Path(sys.executable).with_name("partsong")

GRAPH = """
name: refund
entry: amount
nodes:
  amount: {type: tool, tool: calculator, args: {expression: "{{price}} * 2"}, output: total}
  ok: {type: approval, title: "Refund {{total}}?", editable: total, edit_schema: {type: number}}
  thanks: {type: agent, agent: {model: "scripted:echo"}, prompt: "refunded {{total}}"}
edges:
  - {from: amount, to: ok}
  - {from: ok, to: thanks, on: approved}
"""


class Shell:
    """Runs `partsong` in the directory where a platform is up."""

    def __init__(self, folder: Path, ready: dict[str, object], up: subprocess.Popen[bytes]) -> None:
        self.folder, self.ready, self.up = folder, ready, up

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [PARTSONG, *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == code, (
            f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout if code == 0 else done.stderr

    def json(self, *words: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self(*words, "-o", "json"))
        return found


def _ended(process: subprocess.Popen[bytes]) -> int:
    """How it ended; if it does not, it is ended."""
    try:
        return process.wait(60)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "refund.yaml").write_text(GRAPH)
    ready = folder / "ready.json"
    command: list[str | Path] = [
        PARTSONG,
        "up",
        "--fast",
        "--http-port",
        "0",
        "--load",
        "tests.system.nodes",
        "--load",
        "tests.system.loud",
        "--ready-file",
        ready,
    ]
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert up.poll() is None, (folder / "up.log").read_text()
            assert time.monotonic() < deadline, (folder / "up.log").read_text()
            time.sleep(0.05)
        yield Shell(folder, json.loads(ready.read_text()), up)
    finally:
        up.send_signal(signal.SIGINT)
        assert _ended(up) == 0


def test_a_run_from_a_file_to_its_replay(shell: Shell) -> None:
    assert "valid, 3 nodes" in shell("graph", "validate", "refund.yaml")
    run_id = str(shell.json("run", "start", "refund.yaml", "-i", "price=21")["run_id"])
    follow: list[str | Path] = [PARTSONG, "run", "events", run_id, "--follow", "-o", "jsonl"]
    with subprocess.Popen(follow, cwd=shell.folder, stdout=subprocess.PIPE) as events:
        assert events.stdout is not None
        kinds = []
        for line in events.stdout:
            kinds.append(json.loads(line)["type"])
            if kinds[-1] == "approval.requested":
                break
        shown = shell.json("run", "show", run_id)
        assert shown["status"] == "waiting"
        assert "'on': 'approval', 'what': 'ok:1'" in str(shown["waits_on"])
        approval_id = f"{run_id}.ok:1"
        assert shell.json("approval", "show", approval_id)["title"] == "Refund 42?"
        approve = ("approval", "approve", approval_id, "--by", "ann", "--reason", "fair", "--edit")
        assert "input.malformed" in shell(*approve, "4o", code=2)
        assert "approval.bad_edit" in shell(*approve, '"much"', code=2)
        (shell.folder / "less.yaml").write_text("40")
        decided = shell.json(*approve, "@less.yaml")
        assert (decided["decision"], decided["edited"]) == ("approve", 40)
        assert "ann" in shell("approval", "reject", approval_id, "--reason", "late", code=1)
        kinds += [json.loads(line)["type"] for line in events.stdout]
        assert events.wait(30) == 0
    assert kinds[-1] == "run.completed"
    assert "40" in str(shell.json("run", "state", run_id)["thanks"])
    assert shell.json("run", "replay", run_id)["ok"] is True
    assert run_id in shell("run", "list")


def test_follow_shows_the_result_and_its_exit_code_says_how_the_run_ended(shell: Shell) -> None:
    good = shell.json("run", "start", "tests.system.graphs:triage", "--follow")
    assert good["status"] == "completed"
    bad = shell("run", "start", "tests.system.graphs:failing", "--follow", code=4)
    assert bad.startswith("r_")


def test_errors_say_what_where_and_what_to_do(shell: Shell) -> None:
    (shell.folder / "bad.yaml").write_text(GRAPH.replace("to: ok}", "to: okk}"))
    said = shell("graph", "validate", "bad.yaml", code=2)
    assert "graph.unknown_target" in said
    assert "did you mean ok?" in said
    assert "run.unknown" in shell("run", "show", "r_nobody", code=3)
    assert "input.malformed" in shell("run", "start", "refund.yaml", "-i", "nonsense", code=2)


def test_a_second_up_on_the_same_directory_says_it_is_already_running(shell: Shell) -> None:
    said = shell("up", "--http-port", "0", code=1)
    assert "up.already_running" in said
    assert f"pid {shell.up.pid}" in said
    assert str(shell.ready["nats_url"]) in said
    assert (shell.folder / "ready.json").exists(), "the first one's note must stay"


async def test_what_a_function_prints_is_in_the_log_of_its_service(shell: Shell) -> None:
    graph = WorkflowGraph("loud").add_node("shout", loud.shout)
    async with Client(str(shell.ready["nats_url"])) as client:
        run_id = await client.start(graph)
        assert (await client.result(run_id, timeout=60)).status == "completed"
    log = shell.folder / ".partsong" / "logs" / "tool-runner.log"
    async with asyncio.timeout(60):
        while longest(log) < loud.LENGTH:  # noqa: ASYNC110  # the log is another process's
            await asyncio.sleep(0.05)
    assert "a very long line " in log.read_text()
    assert "tool-runner ended" not in (shell.folder / "up.log").read_text()


def longest(file: Path) -> int:
    """The length of the longest line; the newest may still be growing."""
    return max(map(len, file.read_text().splitlines()), default=0)


def test_bus_status_and_doctor_see_all_workers(shell: Shell) -> None:
    status = json.dumps(shell.json("bus", "status"))
    for service in ("graph-engine", "agent-gateway", "tool-runner", "approval"):
        assert f"{service}~" in status
    assert "PARTSONG_LOG" in status
    said = shell("doctor")
    assert "false" not in said
    assert "4 workers agree with the broker's" in said
    assert "a request was answered in" in said


def test_cancel_ends_a_waiting_run(shell: Shell) -> None:
    run_id = str(shell.json("run", "start", "refund.yaml", "-i", "price=1")["run_id"])
    shell("run", "cancel", run_id, "--reason", "not needed")
    assert shell.json("run", "show", run_id)["status"] == "cancelled"
