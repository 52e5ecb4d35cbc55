"""The peers: their own environment, their scripts, their figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.bars import BARS
from bench.row import PeerValue, Row

__all__ = ["PeerReport", "ask", "beside"]

_HERE = Path(__file__).parent
_VENV = _HERE / "peers" / ".venv"
_PYTHON = str(_VENV / "bin" / "python")
_REQUIREMENTS = _HERE / "peers.txt"
_STAMP = _VENV / ".installed"
_SCRIPTS = ("langgraph_sqlite.py", "dbos_sqlite.py")
_SECONDS = 300


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What one peer's script printed."""

    title: str
    figures: Mapping[str, PeerValue]
    problem: str = ""
    """Why figures are missing, if any are."""


def ask(groups: Iterable[str], *, quick: bool, folder: Path) -> list[PeerReport]:
    """Measure groups of figures with every peer, one script at a time."""
    wanted = sorted(set(groups))
    if not wanted:
        return []
    _install()
    return [_run(script, wanted, quick=quick, folder=folder) for script in _SCRIPTS]


def beside(row: Row, reports: Iterable[PeerReport]) -> Row:
    """The row with the peers' figures for the same work."""
    bar = BARS.get(row.name)
    if bar is None or bar.peer is None:
        return row
    name = bar.peer.name
    found = {report.title: report.figures[name] for report in reports if name in report.figures}
    return row.model_copy(update={"peers": found})


def _install() -> None:
    """Make the peers' environment, or bring it up to date with `peers.txt`."""
    if _STAMP.exists() and _STAMP.stat().st_mtime >= _REQUIREMENTS.stat().st_mtime:
        return
    uv = str(Path(sys.executable).parent / "uv")
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(_VENV)],
        [uv, "pip", "install", "--quiet", "--python", _PYTHON, "--requirement", str(_REQUIREMENTS)],
    ):
        subprocess.run(command, env=environment, check=True)
    _STAMP.touch()


def _run(script: str, groups: list[str], *, quick: bool, folder: Path) -> PeerReport:
    command = [_PYTHON, str(_HERE / "peers" / script), *(["--quick"] if quick else [])]
    for group in groups:
        command += ["--only", group]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "BENCH_DIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return PeerReport(script, {}, f"still running after {_SECONDS} s")
    return _read(script, done)


def _read(script: str, done: subprocess.CompletedProcess[str]) -> PeerReport:
    title, figures = script, dict[str, PeerValue]()
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if "peer" in said:
            title = f"{said['peer']} ({said['version']})"
        else:
            figures[said["name"]] = PeerValue.model_validate(said)
    problem = (
        f"exit code {done.returncode}: {done.stderr.strip()[-500:]}" if done.returncode else ""
    )
    return PeerReport(title, figures, problem)
