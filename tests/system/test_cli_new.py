"""`partsong new`: what it makes runs as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from partsong.cli.graphs import load_graph
from partsong.cli.new import TEMPLATES
from partsong.cli.scaffold import project
from partsong.contracts.errors import InvalidInput
from tests.system.test_cli_offline import partsong

SAYS = {"workflow": "completed - shipped for 49.98\n", "agent": "How much is 6 times 7?\n"}

PLUGINS = (
    "--disable-plugin-autoload",
    *("-p", "pytest_asyncio.plugin", "-p", "partsong.testing.plugin", "-p", "no:cacheprovider"),
)
"""Those that a new project has."""


def python(folder: Path, *words: str) -> str:
    """What another interpreter says in a folder; it finds no Partsong settings there."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PARTSONG_", "COV_"))
    }
    done = subprocess.run(
        [sys.executable, *words],
        check=False,
        cwd=folder,
        env=env,
        text=True,
        capture_output=True,
        timeout=100,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_project_passes_its_test_and_runs_its_graph(tmp_path: Path, template: str) -> None:
    made = partsong(tmp_path, "new", "My-shop", "--template", template)
    assert "python -m my_shop" in made.stderr
    folder = tmp_path / "My-shop"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "my_shop/__init__.py",
        "my_shop/__main__.py",
        "my_shop/graph.py",
        "tests/test_graph.py",
    }
    assert {str(folder / name) for name in files} == {
        str(tmp_path / line) for line in made.stdout.splitlines()
    }
    assert " passed" in python(folder, "-m", "pytest", "-q", *PLUGINS)
    assert python(folder, "-m", "my_shop") == SAYS[template]


def test_a_new_project_is_tidy(tmp_path: Path) -> None:
    for template in TEMPLATES:
        partsong(tmp_path, "new", f"my-{template}", "--template", template)
        python(tmp_path / f"my-{template}", "-m", "ruff", "check", "--no-cache", ".")
    python(tmp_path, "-m", "ruff", "format", "--no-cache", "--check", "--line-length", "100", ".")


@pytest.mark.parametrize("template", TEMPLATES)
def test_its_graph_is_found_by_name_and_its_functions_by_tool_runners(
    tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"found-{template}"
    partsong(tmp_path, "new", name, "--template", template)
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.setattr(sys, "path", [*sys.path])
    graph = load_graph(f"found_{template}.graph:graph")
    assert not isinstance(graph, str)
    assert graph.name == name


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    assert partsong(tmp_path, "new", "shop", "-o", "json").stderr == ""
    (tmp_path / "shop" / "README.md").write_text("mine")
    assert "project.exists" in partsong(tmp_path, "new", "shop", code=1).stderr
    assert (tmp_path / "shop" / "README.md").read_text() == "mine"
    (tmp_path / "file").write_text("")
    assert "project.exists" in partsong(tmp_path, "new", "file", code=1).stderr


def test_a_project_may_be_made_elsewhere_and_where_one_is(tmp_path: Path) -> None:
    made = json.loads(partsong(tmp_path, "new", "deep/down/shop", "-o", "json").stdout)
    assert (tmp_path / "deep" / "down" / "shop" / "shop" / "graph.py").exists()
    assert made["folder"] == "deep/down/shop"
    here = tmp_path / "here"
    here.mkdir()
    partsong(here, "new", ".")
    assert (here / "here" / "graph.py").exists()


@pytest.mark.parametrize(
    "name",
    ["", "9lives", "my shop", "shop-", "class", "json", "tests", "partsong", "über", "a" * 64],
)
def test_a_name_that_cannot_be_a_package_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        project(name, "workflow", "0.1")
    assert caught.value.problem.code == "project.bad_name"


def test_a_refused_name_writes_nothing(tmp_path: Path) -> None:
    assert "project.bad_name" in partsong(tmp_path, "new", "json", code=2).stderr
    assert list(tmp_path.iterdir()) == []
