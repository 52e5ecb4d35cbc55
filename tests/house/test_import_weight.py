"""What an import costs: building graphs and talking to a bus load no server, no vendor and no database."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "anthropic",
    "openai",
    "google.genai",
    "litestar",
    "faststream",
    "sqlmodel",
    "sqlalchemy",
    "opentelemetry.sdk",
)
LIGHT = (
    "partsong.agents",
    "partsong.contracts",
    "partsong.client",
    "partsong.models",
    "partsong.plugins",
    "partsong.teams",
    "partsong.workflow",
    "partsong.tools",
    "partsong.cli",
)

HELP = """
import sys
from partsong.cli.main import main
names, sys.argv = sys.argv[1:], ["partsong", "--help"]
main()
print(*sorted(name for name in names if name in sys.modules), file=sys.stderr)
"""

PROBE = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted(name for name in sys.argv[2:] if name in sys.modules))
"""


@pytest.mark.parametrize("package", LIGHT)
def test_a_light_package_loads_nothing_heavy(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, package, *HEAVY],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_help_loads_click_and_little_else() -> None:
    heavier = ("nats", "pydantic", "yaml", *HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", HELP, *heavier],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: partsong" in done.stdout
    assert done.stderr.split() == []
