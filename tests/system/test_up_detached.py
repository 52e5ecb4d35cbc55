"""`partsong up --detach`, `down` and `--reload` as processes: what is started is stopped, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PARTSONG = Path(sys.executable).with_name("partsong")
WITHIN = 120.0
GRAPH = """
name: ask
nodes:
  a: {type: function, function: "shop:price"}
"""


class Folder:
    """Runs `partsong` in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PARTSONG_")}
        done = subprocess.run(
            [PARTSONG, *words], cwd=self.path, capture_output=True, text=True, timeout=WITHIN, check=False, env=clean
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def note(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / ".partsong" / "up.json").read_text())
        return found

    def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + WITHIN
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.05)  # nothing tells when a file is written anew


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    try:
        yield folder
    finally:
        folder("down", "--now")


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_runs_in_the_background_is_stopped_by_its_directory(folder: Folder) -> None:
    assert "nothing runs on" in folder("down").stderr
    started = folder(
        "up", "-d", "--fast", "--http-port", "0", "--ready-file", "ready", "-o", "json"
    )
    told = json.loads(started.stdout)
    assert told["pid"] == folder.note["pid"]
    assert told["nats"].startswith("nats://")
    assert told["http"].startswith("http://")
    assert "partsong down" in started.stderr
    assert "graph-engine" in Path(told["log"]).read_text()
    assert Path(told["log"]).stat().st_mode & 0o077 == 0
    ready = json.loads((folder.path / "ready").read_text())
    assert ready["services"] == folder.note["services"]

    again = folder("up", "-d", code=1)
    assert "up.already_running" in again.stderr

    killed = ready["services"]["tool-runner"]
    os.kill(killed, signal.SIGKILL)

    def runner() -> object:
        return json.loads((folder.path / "ready").read_text())["services"]["tool-runner"]

    folder.until(lambda: runner() != killed)

    stopped = folder("down")
    assert f"process {told['pid']}" in stopped.stderr
    assert not any(map(is_there, (told["pid"], *ready["services"].values())))
    assert not (folder.path / "ready").exists()
    assert "nothing runs on" in folder("down").stderr


def test_a_note_that_was_left_behind_stops_nobody(folder: Folder) -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        data = folder.path / ".partsong"
        data.mkdir()
        note = {"pid": other.pid, "born": "1", "nats_url": "nats://127.0.0.1:1", "http_url": ""}
        (data / "up.json").write_text(json.dumps(note))
        (data / "up.json").chmod(0o600)
        assert "left behind" in folder("down").stderr
        assert not (data / "up.json").exists()
        assert other.poll() is None
        (data / "nats.lock").write_text(json.dumps({"owner": other.pid}))
        assert "nothing runs" in folder("down").stderr
        assert other.poll() is None
        other.kill()


def test_what_cannot_start_says_why_and_leaves_nothing(folder: Folder) -> None:
    done = folder("up", "-d", "--load", "no_such_module", "--http-port", "0", code=1)
    assert "no_such_module" in done.stderr
    assert "nothing runs on" in folder("down").stderr


def test_code_that_changes_is_loaded_again(folder: Folder) -> None:
    code, graph = folder.path / "shop.py", folder.path / "ask.yaml"
    code.write_text("def price(state):\n    return {'price': 1}\n")
    graph.write_text(GRAPH)
    folder("up", "-d", "--fast", "--http-port", "0", "--load", "shop", "--reload")
    runner = folder.note["services"]["tool-runner"]
    engine = folder.note["services"]["graph-engine"]

    def price() -> object:
        done = folder("run", "start", "ask.yaml", "--wait", "-o", "json")
        return json.loads(done.stdout)["state"]["price"]

    assert price() == 1

    code.write_text("def price(state):\n    return {'price': 22}\n")
    folder.until(lambda: folder.note["services"]["tool-runner"] != runner)
    assert price() == 22

    broken = folder.note["services"]["tool-runner"]
    code.write_text("def price(:\n")
    log = folder.path / ".partsong" / "logs" / "up.log"
    folder.until(lambda: "SyntaxError" in log.read_text() or "invalid syntax" in log.read_text())
    code.write_text("def price(state):\n    return {'price': 333}\n")
    folder.until(lambda: folder.note["services"]["tool-runner"] != broken)
    assert price() == 333
    assert folder.note["services"]["graph-engine"] == engine, "only the tool-runner"


def test_there_must_be_something_to_watch(folder: Folder) -> None:
    assert "up.nothing_to_watch" in folder("up", "--reload", code=2).stderr
