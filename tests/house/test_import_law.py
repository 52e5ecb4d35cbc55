"""The import law bites: a breach of each of its rules, planted in a copy of the code, is reported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.sources import LANGUAGE_AND_MEANS, PLAYERS, ROOT

ROOTS = (*LANGUAGE_AND_MEANS, *PLAYERS)

# Without `site`, so that the copy is not joined to the checkout that is installed here: both are parts of one namespace.
LINT = "import sys; from importlinter.cli import lint_imports_command as run; run(['--no-logo', '--no-cache'])"


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


def test_every_rule_has_a_breach() -> None:
    rules = (ROOT / "pyproject.toml").read_text("utf-8").partition("[tool.importlinter]")[2]
    named = {
        line.partition('"')[2].partition('"')[0]
        for line in rules.splitlines()
        if line.startswith("name = ")
    }
    assert named == {breach.rule for breach in BREACHES}
