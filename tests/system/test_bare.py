"""`pip install partsong` without an extra: what lacks a package says which extra brings it, before a run begins."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from partsong.contracts.services import SERVICES
from tests.support.bare import bare_environment

SCRIPT = Path(__file__).with_name("bare_features.py")
WORKS = {
    "functions",
    "agent",
    "tool_calculator",
    "tool_read_file",
    "a_fake_vendor",
}
NOT_FOR_WANT_OF_A_PACKAGE = {"agent_routed": "model.unknown_provider"}

BROKEN = """\
name: broken
nodes:
  a: {type: transform, set: {count: "size(state.totals"}}
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_environment(tmp_path_factory.mktemp("bare") / "env")


def run(python: Path, folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (python, *words)]
    env = {"PATH": str(folder), "HOME": str(folder)}  # no nats-server of this machine's
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=100)  # fmt: skip


def partsong(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(python, folder, "-m", "partsong.cli.main", *words)


@pytest.fixture(scope="module")
def ended(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, str]]]:  # fmt: skip
    folder = tmp_path_factory.mktemp("features")
    done = run(bare, folder, "-P", SCRIPT, folder)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return folder, {one["feature"]: one for one in said}


def test_every_feature_works_or_names_the_extra_that_it_lacks(
    ended: tuple[Path, dict[str, dict[str, str]]],
) -> None:
    _, features = ended
    assert {name for name, one in features.items() if not one["code"]} == WORKS
    for name, one in features.items():
        if name in NOT_FOR_WANT_OF_A_PACKAGE:
            assert one["code"] == NOT_FOR_WANT_OF_A_PACKAGE[name]
        elif one["code"]:
            assert "." in one["code"], one
            assert "pip install 'partsong[" in one["fix"], one


def test_a_run_that_could_not_go_on_does_not_begin(
    ended: tuple[Path, dict[str, dict[str, str]]],
) -> None:
    folder, features = ended
    begun = {path.stem for path in folder.glob("*.jsonl") if "run.started" in path.read_text()}
    assert begun == {"functions"}
    assert {"transform", "a_team", "scheduler", "approval_rule"} <= features.keys()


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        (BROKEN, "cel.not_installed", "nodes.a.set.count"),
        (BROKEN.replace("size(state.totals", "1"), "cel.not_installed", "nodes.a.set.count"),
        (
            "name: g\nnodes:\n  w: {type: wait, signal: s, signal_schema: {type: object}}\n",
            "jsonschema.not_installed",
            "nodes.w.signal_schema",
        ),
    ],
)
def test_a_graph_that_cannot_be_checked_is_not_called_valid(
    bare: Path, tmp_path: Path, text: str, code: str, where: str
) -> None:
    (tmp_path / "g.yaml").write_text(text, "utf-8")
    done = partsong(bare, tmp_path, "graph", "validate", "g.yaml")
    assert done.returncode == 1
    assert f"error: {code}" in done.stderr
    assert where in done.stderr
    assert "pip install 'partsong[engine]'" in done.stderr
    assert "valid" not in done.stdout


def test_a_graph_without_expressions_is_valid(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("name: g\nnodes:\n  a: {type: tool, tool: calculator}\n")
    done = partsong(bare, tmp_path, "graph", "validate", "g.yaml")
    assert done.returncode == 0, done.stderr
    assert "valid" in done.stdout


@pytest.mark.parametrize("role", SERVICES)
def test_a_service_does_not_start_without_its_extra(bare: Path, tmp_path: Path, role: str) -> None:
    done = partsong(bare, tmp_path, "worker", "start", role, "--nats", "nats://127.0.0.1:1")
    assert done.returncode == 1
    assert f"error: extra.missing: {role} needs what is not installed" in done.stderr
    assert "pip install 'partsong[" in done.stderr


def test_a_new_project_says_what_it_needs(bare: Path, tmp_path: Path) -> None:
    made = partsong(bare, tmp_path, "new", "shop")
    assert "pip install 'partsong[up]'" in made.stderr
    done = run(bare, tmp_path / "shop", "-m", "shop")
    assert done.returncode == 1
    assert "cel.not_installed" in done.stderr
    assert "pip install 'partsong[engine]'" in done.stderr


@pytest.mark.parametrize(
    "words",
    [("up",), ("doctor",), ("mcp", "serve"), ("tool", "call", "run_code", "-i", "code=1")],
)
def test_a_command_names_the_extra_that_it_lacks(
    bare: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = partsong(bare, tmp_path, *words)
    assert done.returncode == 1
    assert "pip install 'partsong[" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
