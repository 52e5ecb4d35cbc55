"""What the documents, examples and templates of 0.1 import can still be imported, wherever it has moved since.

`names_of_0_1.txt` was collected once, and gets no new lines: `module:name`, or a module alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.house.sources import ROOT

NAMES = [
    line
    for line in (ROOT / "tests" / "house" / "names_of_0_1.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
ALIASES = [
    ("partsong.contracts.chunks", "partsong.contracts.talk.chunks"),
    ("partsong.contracts.messages", "partsong.contracts.talk.messages"),
    ("partsong.agent_gateway.core.arguments", "partsong.models"),
    ("partsong.agent_gateway.core.failure", "partsong.models"),
    ("partsong.agent_gateway.providers.transport", "partsong.models"),
    ("partsong.agent_gateway.streaming", "partsong.models"),
    ("partsong.tools.calculator", "partsong.tools.builtin.calculator"),
    ("partsong.tools.code", "partsong.tools.builtin.code"),
    ("partsong.tools.fetch_page", "partsong.tools.builtin.fetch_page"),
    ("partsong.tools.memory", "partsong.tools.builtin.memory"),
    ("partsong.tools.read_file", "partsong.tools.builtin.read_file"),
    ("partsong.tools.sql", "partsong.tools.builtin.sql"),
]
"""Old and new place, each `module` or `module:name`: of whatever in the list above has moved."""

RENAMES = (ROOT / "docs" / "renames.md").read_text("utf-8")
CALLS = {
    "partsong.contracts.services.GRAPH_ENGINE": "partsong.contracts.services:GRAPH_ENGINE",
    "partsong.contracts.services.SERVICES": "partsong.contracts.services:SERVICES",
    "partsong.contracts.state.calls.SERVICE_OF": "partsong.contracts.state.calls:SERVICE_OF",
    "partsong.contracts.wire.headers.CommitSummary.of": "partsong.contracts.wire.headers:CommitSummary",
    "partsong.engine.summary.summary_of": "partsong.engine.summary:summary_of",
    "partsong.runtime.serve.ServiceApp": "partsong.runtime.serve:ServiceApp",
    "partsong.runtime.telemetry.setup.setup": "partsong.runtime.telemetry.setup:setup",
}
"""What the page names inside a module."""

IMPORT = """
import importlib, json, sys
missing = {}
for line in json.load(sys.stdin):
    module, _, name = line.partition(":")
    try:
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    except Exception as error:
        missing[line] = f"{type(error).__name__}: {error}"
json.dump(missing, sys.stdout)
"""

# Twice, and with every warning shown: what warns at each use would warn for ever.
WARN = """
import importlib, json, sys, warnings
module, _, name = sys.argv[1].partition(":")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        found = importlib.import_module(module)
        if name:
            getattr(found, name)
json.dump([str(one.message) for one in caught if one.category is DeprecationWarning], sys.stdout)
"""


def python(code: str, *arguments: str, said: str = "", path: Path | None = None) -> str:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, *arguments],
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def missing(names: list[str]) -> dict[str, str]:
    found: dict[str, str] = json.loads(python(IMPORT, said=json.dumps(names)))
    return found


def unannounced(old: str, new: str, path: Path | None = None) -> str:
    """What is wrong with how an old place says that it is one; empty if nothing."""
    said = [one for one in json.loads(python(WARN, old, path=path)) if new.replace(":", ".") in one]
    return "" if len(said) == 1 else f"{old} warns {len(said)} times that it is now {new}"


def test_every_name_of_0_1_can_be_imported() -> None:
    assert len(NAMES) > 50
    lost = [f"{name}: {error}" for name, error in missing(NAMES).items()]
    assert not lost, "give them an alias at the old place:\n" + "\n".join(lost)


def test_a_name_that_is_gone_is_named() -> None:
    gone = ["partsong.gone", "partsong.tools:gone", "partsong.tools:tool", "partsong:contracts"]
    assert sorted(missing(gone)) == ["partsong.gone", "partsong.tools:gone"]


def test_every_new_place_on_the_page_of_renames_is_there() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \|$", RENAMES, re.MULTILINE)
    new: list[str] = [
        name for _, right in rows for name in re.findall(r"`(partsong(?:\.\w+)+)", right)
    ]
    assert len(new) > 150
    assert missing([CALLS.get(name) or name for name in new]) == {}


def test_every_alias_says_once_where_the_new_place_is() -> None:
    wrong = [said for old, new in ALIASES if (said := unannounced(old, new))]
    assert not wrong, "\n".join(wrong)


def test_an_alias_exports_nothing_of_its_own() -> None:
    code = "import sys\nexec(f'from {sys.argv[1]} import *', names := {})\nprint('warn' in names)"
    assert [old for old, _ in ALIASES if python(code, old).strip() != "False"] == []


def test_every_alias_serves_a_name_of_0_1() -> None:
    modules = {name.partition(":")[0] for name in NAMES}
    assert [old for old, _ in ALIASES if old not in NAMES and old not in modules] == []


def test_an_alias_that_says_nothing_or_too_much_is_named(tmp_path: Path) -> None:
    warn = (
        "import warnings\nwarnings.warn('it is new.place now', DeprecationWarning, stacklevel=2)\n"
    )
    loud = f"def __getattr__(name):\n    if name != 'it': raise AttributeError(name)\n    {warn.replace(chr(10), '; ').rstrip('; ')}\n"
    for name, text in (("good", warn), ("silent", ""), ("loud", loud)):
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    assert unannounced("good", "new:place", tmp_path) == ""
    assert unannounced("silent", "new", tmp_path) == "silent warns 0 times that it is now new"
    assert unannounced("loud:it", "new", tmp_path) == "loud:it warns 2 times that it is now new"
    assert unannounced("good", "other", tmp_path) == "good warns 0 times that it is now other"
