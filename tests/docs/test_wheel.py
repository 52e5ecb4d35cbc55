"""The README, and that of a new project, played in an empty directory by somebody who has nothing but the wheel."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.docs.blocks import read
from tests.docs.installed import installed
from tests.docs.platform import running_platform
from tests.docs.stage import Stage, reader
from tests.house.sources import ROOT

PARTS = "contracts client workflow engine.local agents models tools log cli graph_engine tool_runner approval"
WITHIN = 60.0


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of an environment with the wheel."""
    return installed(tmp_path_factory.mktemp("wheel"))


def typed(
    folder: Path, environment: dict[str, str], command: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def outside(tmp_path: Path, commands: Path) -> dict[str, str]:
    """A reader's environment: nothing in it leads to this checkout."""
    found = {
        k: v for k, v in os.environ.items() if not k.startswith(("PARTSONG_", "PYTHON", "COV_"))
    }
    return {**found, **reader(tmp_path, commands)}


def test_only_the_wheel_is_imported(tmp_path: Path, commands: Path) -> None:
    program = f"""
import importlib, json, partsong
from importlib.metadata import distribution
parts = [importlib.import_module(f"partsong.{{name}}") for name in {PARTS.split()!r}]
print(json.dumps([*partsong.__path__, str(distribution("partsong")._path), *(part.__file__ for part in parts)]))
"""
    done = typed(
        tmp_path, outside(tmp_path, commands), f"python -c '{program.replace(chr(39), chr(34))}'"
    )
    assert done.returncode == 0, done.stderr
    places = json.loads(done.stdout)
    assert len(places) > 10
    assert all(place.startswith(str(commands.parent)) for place in places), places


@pytest.mark.timeout(300)
def test_the_readme_does_what_it_says(tmp_path: Path, commands: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with Stage(folder, outside(tmp_path, commands)).entered() as stage:
        for block in read(ROOT / "README.md").blocks:
            stage.run(block)


@pytest.mark.timeout(300)
def test_a_new_project_does_what_its_readme_says(tmp_path: Path, commands: Path) -> None:
    environment = outside(tmp_path, commands)
    assert typed(tmp_path, environment, "partsong new shop").returncode == 0
    shop = tmp_path / "shop"
    install, here, up, there, look = (b.text for b in read(shop / "README.md").blocks)
    assert "[up]" in install
    assert not typed(shop, environment, f"set -e; {here}").returncode
    words, *options = up.split()[1:]
    assert words == "up"
    with running_platform(shop, *options, environment=environment):
        deadline = time.monotonic() + WITHIN
        for command in (
            f"{there}{look}".splitlines()
        ):  # a person types more slowly than a run comes to its approval
            while (done := typed(shop, environment, command)).returncode:
                assert time.monotonic() < deadline, f"{command}\n{done.stdout}{done.stderr}"
        assert "completed" in typed(shop, environment, "partsong run show r_first").stdout
