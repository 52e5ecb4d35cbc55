"""`partsong approval` over a real platform: several decided at once, and watched as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PARTSONG = Path(sys.executable).with_name("partsong")
WITHIN = 120.0
ASK = """
name: ask
nodes:
  ok: {type: approval, title: "Really {{n}}?"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("approvals")
    (folder / "ask.yaml").write_text(ASK)
    partsong(folder, "up", "-d", "--fast", "--http-port", "0")
    try:
        yield folder
    finally:
        partsong(folder, "down", "--now")


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("PARTSONG_")}


def partsong(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [PARTSONG, *words], cwd=folder, capture_output=True, text=True, timeout=WITHIN, check=False, env=environment()
    )  # fmt: skip
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_new_ones_appear_and_decided_ones_are_marked(folder: Path) -> None:
    partsong(folder, "run", "start", "ask.yaml", "-i", "n=1", "--run-id", "w_1")
    watching = subprocess.Popen(
        [PARTSONG, "approval", "watch", "-o", "jsonl"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert watching.stdout is not None
    assert watching.stderr is not None
    seen, lines = list[tuple[str, str]](), watching.stdout

    def until(id_: str, status: str) -> None:
        while (id_, status) not in seen:
            one = json.loads(lines.readline())
            seen.append((one["id"], one["status"]))

    try:
        until("w_1.ok:1", "pending")
        partsong(folder, "run", "start", "ask.yaml", "-i", "n=2", "--run-id", "w_2")
        until("w_2.ok:1", "pending")
        partsong(folder, "approval", "approve", "w_1.ok:1", "--by", "ann")
        until("w_1.ok:1", "approved")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(WITHIN) == 130
        assert watching.stderr.read().strip() == "", "no word of Python's"
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()
        watching.stderr.close()


def test_several_are_decided_each_by_itself(folder: Path) -> None:
    ids = [f"s_{n}.ok:1" for n in range(3)]
    for n in range(3):
        partsong(folder, "run", "start", "ask.yaml", "-i", f"n={n}", "--run-id", f"s_{n}")
    for id_ in ids:  # the inbox is behind the log for a moment
        while subprocess.run([PARTSONG, "approval", "show", id_], cwd=folder, capture_output=True, check=False, env=environment()).returncode:  # fmt: skip
            pass
    done = partsong(
        folder, "approval", "approve", *ids[:2], "--by", "ann", "--reason", "fair", "-o", "json"
    )
    assert [(one["id"], one["status"], one["reason"]) for one in json.loads(done.stdout)] == [
        (id_, "approved", "fair") for id_ in ids[:2]
    ]
    mixed = partsong(folder, "approval", "reject", *ids[1:], "--reason", "late", code=1)
    assert "approval.closed" in mixed.stderr
    assert mixed.stdout.count("rejected") == 1
    partsong(folder, "approval", "approve", "no.a:1", "no.b:1", code=3)
    unknown = partsong(folder, "approval", "show", "no.a:1", code=3)
    assert "GET" not in unknown.stderr
    assert "partsong approval list" in unknown.stderr
    two = ("approval", "approve", *ids[:2], "--edit", "1")
    assert "one approval" in partsong(folder, *two, code=2).stderr
