"""The import law bites: a breach of each of its rules, planted in a copy of the code, is reported."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.house.sources import LANGUAGE_AND_MEANS, PLAYERS, ROOT, modules, parse

ROOTS = (*LANGUAGE_AND_MEANS, *PLAYERS)

# Without `site`, so that the copy is not joined to the checkout that is installed here: both are parts of one namespace.
LINT = "import sys; from importlinter.cli import lint_imports_command as run; run(['--no-logo', '--no-cache'])"

PURE = {
    "__future__", "ast", "base64", "bisect", "builtins", "collections", "copy", "dataclasses", "datetime", "difflib", "email", "enum",
    "decimal", "fnmatch", "functools", "hashlib", "heapq", "importlib", "inspect", "itertools", "json", "math", "pathlib", "re",
    "textwrap", "tomllib", "traceback", "types", "typing", "unicodedata", "urllib", "warnings", "zlib",
    "cel_expr_python", "jsonschema", "jsonschema_rs", "pydantic", "pydantic_core", "referencing",
}  # fmt: skip
"""What pure rooms import from outside. The law forbids what is known to be impure; this list stops what it has not heard of."""

VALUES = {
    ("partsong.execution.core.refused", "partsong.tools.tool"),
    ("partsong.models.core.caching", "partsong.models.port"),
    ("partsong.models.core.scripted_replies", "partsong.models.port"),
    ("partsong.models.routing.complexity", "partsong.models.port"),
}
"""Pure modules, and what they import from other rooms: classes of values, and a protocol."""


@dataclass(frozen=True)
class Breach:
    """A line that no module may have, and what the report must hold of it."""

    rule: str
    module: str
    line: str
    reported: str

    @property
    def path(self) -> Path:
        """The module's file, under the root that its package stands in; one that is nowhere yet becomes a service."""
        parts = Path(*self.module.split("."))
        inside = (root for root in ROOTS if (ROOT / root / "partsong" / parts.parts[1]).exists())
        place = Path(next(inside, "services")) / parts
        return place / "__init__.py" if (ROOT / place).is_dir() else place.with_suffix(".py")


def arrow(rule: str, module: str, imported: str, symbol: str = "") -> Breach:
    """The breach of a rule by one import."""
    line = f"from {imported} import {symbol}" if symbol else f"import {imported}"
    seen = imported if imported.startswith("partsong") else imported.partition(".")[0]
    return Breach(rule, module, line, f"{module} -> {seen} (l.")


BREACHES = (
    arrow("layers", "partsong.contracts.events.upcast", "partsong.log.port", "Log"),
    arrow("layers", "partsong.log.port", "partsong.client.client", "Client"),
    arrow("layers", "partsong.plugins.audit", "partsong.agents.agent", "Agent"),
    arrow("layers", "partsong.agents.limits", "partsong.teams.plan", "Plan"),
    arrow("layers", "partsong.teams.plan", "partsong.cli.output", "Output"),
    arrow("layers", "partsong.console.app", "partsong.approval.desk", "Desk"),
    arrow("layers", "partsong.approval.batches", "partsong.graph_engine.graphs", "Graphs"),
    arrow("floors", "partsong.contracts.errors", "partsong.contracts.graph", "Graph"),
    arrow("floors", "partsong.contracts.graph.plan", "partsong.contracts.wire.work", "Work"),
    arrow("floors", "partsong.contracts.events.upcast", "partsong.contracts.state.fold", "fold"),
    Breach(
        "circles",
        "partsong.log.port",
        "from partsong.log.jetstream import JetStreamLog",
        "No cycles are allowed in partsong.log.",
    ),
    arrow("services", "partsong.agents.limits", "partsong.graph_engine.graphs", "Graphs"),
    arrow("services", "partsong.cli.run", "partsong.approval.desk", "Desk"),
    arrow("services", "partsong.testing.speech", "partsong.tool_runner.worker", "Worker"),
    arrow("pure", "partsong.contracts.events.upcast", "os"),
    arrow("pure", "partsong.contracts.events.upcast", "threading"),
    arrow("pure", "partsong.engine.scheduling.flow", "partsong.runtime.clock", "now"),
    arrow("pure", "partsong.engine.scheduling.flow", "partsong.log.jetstream", "JetStreamLog"),
    arrow("pure", "partsong.approval.core.inbox", "random"),
    arrow("pure", "partsong.console.core.rows", "time"),
    arrow("pure", "partsong.models.routing.router", "asyncio"),
    arrow("pure", "partsong.engine", "uuid"),
    arrow("pure", "partsong.contracts.ids", "tempfile"),
    arrow("pure", "partsong.contracts.plain", "multiprocessing"),
    arrow("pure", "partsong.contracts.ranges", "concurrent.futures"),
    arrow("pure", "partsong.contracts.counts", "redis"),
    arrow("pure", "partsong.engine.draft", "http.client"),
    arrow("pure", "partsong.engine.meter", "partsong.web.server", "serve"),
    arrow("pure", "partsong.approval.core.decision", "partsong.client.client", "Client"),
    arrow("the engine", "partsong.engine", "partsong.models", "Provider"),
    arrow("the engine", "partsong.engine.decide", "partsong.execution.executor", "Executor"),
    arrow("the engine", "partsong.engine.ledger", "partsong.tools.tool", "Tool"),
    arrow("vendor SDKs", "partsong.models.turn", "anthropic"),
    arrow("vendor SDKs", "partsong.console.app", "google", "genai"),
    arrow("vendor SDKs", "partsong.cli.version", "openai"),
    arrow("web servers and databases", "partsong.plugins.audit", "litestar", "Litestar"),
    arrow("web servers and databases", "partsong.models.turns", "sqlmodel"),
    arrow("faststream", "partsong.agents.worker", "faststream"),
    arrow("pure", "partsong.models.deeper.core.rows", "time"),
    arrow("faststream", "partsong.plugins.redaction", "faststream.nats", "NatsBroker"),
    arrow("faststream", "partsong.execution.executor", "faststream"),
)


def lint(folder: Path) -> str:
    """What the linter says of the code in a folder."""
    places = [*(str(folder / root) for root in ROOTS), sysconfig.get_path("purelib")]
    done = subprocess.run(
        [sys.executable, "-S", "-c", LINT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code and its law, to be broken."""
    for root in ROOTS:
        shutil.copytree(
            ROOT / root / "partsong",
            tmp_path / root / "partsong",
            ignore=lambda _, names: [n for n in names if "." in n and not n.endswith(".py")],
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(folder: Path, breach: Breach) -> None:
    path = folder / breach.path
    path.parent.mkdir(parents=True, exist_ok=True)
    for package in path.relative_to(folder).parents:
        if len(package.parts) > 2:
            (folder / package / "__init__.py").touch()
    with path.open("a", encoding="utf-8") as module:
        module.write(f"\n{breach.line}\n")


def under(rule: str, said: str) -> str:
    """What a report says under the heading of a rule."""
    heading = f"\n{rule}\n{'-' * len(rule)}\n"
    return said.partition(heading)[2].partition("---")[0]


def test_a_copy_keeps_the_law(copy: Path) -> None:
    assert ", 0 broken." in lint(copy)


def test_one_breach_of_each_rule_is_reported(copy: Path) -> None:
    for breach in BREACHES:
        plant(copy, breach)
    said = lint(copy)
    missed = [b for b in BREACHES if b.reported not in under(b.rule, said)]
    assert not missed, said


def test_a_package_in_no_layer_is_reported(copy: Path) -> None:
    plant(copy, Breach("layers", "partsong.stray.notes", "NOTES = 1", ""))
    said = lint(copy)
    assert "layers BROKEN" in said
    assert "stray" in said


def pure(path: Path) -> bool:
    """Whether a module stands in a room where nothing is done, only worked out."""
    rooms = path.relative_to(ROOT).parts[2:]
    decides = rooms[0] == "engine" and rooms[1] not in {"local", "ledger.py"}
    return (
        rooms[0] == "contracts" or decides or rooms[:2] == ("models", "routing") or "core" in rooms
    )


def outside(tree: ast.Module) -> set[str]:
    """The packages outside Partsong from which a module imports."""
    named = (
        [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return {name.partition(".")[0] for names in named for name in names} - {"partsong"}


def test_pure_rooms_import_nothing_that_is_not_known_to_be_pure() -> None:
    rooms = [path for path in modules(*ROOTS) if pure(path)]
    assert len(rooms) > 100
    assert set().union(*(outside(parse(path)) for path in rooms)) == PURE


def test_an_import_that_nobody_has_heard_of_is_found() -> None:
    assert outside(ast.parse("def f():\n    import cffi.api\n    from ftplib import FTP")) == {
        "cffi",
        "ftplib",
    }


def inside(path: Path, known: AbstractSet[str]) -> set[str]:
    """The modules of Partsong from which a module imports; of a package's names, the package."""
    named = [
        f"{node.module}.{one.name}" if f"{node.module}.{one.name}" in known else str(node.module)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    ]
    return {name for name in named if name.startswith("partsong")}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts[1:]).removesuffix(".__init__")


def test_pure_rooms_import_pure_rooms_only() -> None:
    """Otherwise one would do for another what it may not do itself."""
    known = {module_name(path): path for path in modules(*ROOTS)}
    rooms = {name: path for name, path in known.items() if pure(path)}
    found = {
        (name, to)
        for name, path in rooms.items()
        for to in inside(path, known.keys())
        if to not in rooms
    }
    assert found == VALUES


def law() -> dict[str, dict[str, Any]]:
    """The rules of the law by name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    return {rule["name"]: rule for rule in settings["contracts"]}


def test_every_service_is_protected() -> None:
    rule = law()["services"]
    there = {path.name for path in (ROOT / "services" / "partsong").iterdir() if path.is_dir()}
    assert {f"partsong.{name}" for name in there - {"__pycache__"}} == {*rule["protected_modules"]}


def test_every_rule_has_a_breach() -> None:
    assert law().keys() == {breach.rule for breach in BREACHES}
