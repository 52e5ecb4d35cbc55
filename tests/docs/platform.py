"""A running platform for the documents that say `<!-- needs: platform -->`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from partsong.runtime.clock import monotonic

__all__ = ["BIN", "running_platform"]

BIN = Path(sys.executable).parent
READY_SECONDS = 180
STOP_SECONDS = 20


@contextlib.contextmanager
def running_platform(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Mapping[str, str]]:
    """Start `partsong up` in the folder, as `environment` finds it; yields what leads clients to it from elsewhere."""
    environment = environment or {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    partsong = shutil.which("partsong", path=environment["PATH"])
    assert partsong is not None
    ready, output = folder / ".ready.json", folder / ".up.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [partsong, "up", *options, "--data", folder / ".partsong", "--ready-file", ready],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, ready, output)
        addresses = json.loads(ready.read_text("utf-8"))
        yield {
            "PARTSONG_NATS_URL": addresses["nats_url"],
            "PARTSONG_URL": addresses["http_url"],
        }
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Path, output: Path) -> None:
    deadline = monotonic() + READY_SECONDS
    while not ready.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
        if process.returncode is not None or monotonic() > deadline:
            said = output.read_text("utf-8", errors="replace")
            state = "ended" if process.returncode is not None else "is not ready"
            raise AssertionError(f"partsong up {state} (exit {process.returncode}):\n{said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(
            f"partsong up did not stop within {STOP_SECONDS} s of Ctrl-C"
        ) from None
