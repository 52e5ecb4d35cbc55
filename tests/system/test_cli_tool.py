"""`partsong tool`: lists, shows and calls, in this process and through the tool-runner's executor."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import click
import pytest

from partsong.cli.main import main
from partsong.cli.mcp import command as mcp_group
from partsong.cli.tool import command as tool_group
from tests.house.sources import ROOT
from tests.system.test_cli_offline import process

Said: TypeAlias = tuple[int, str, str]
Partsong: TypeAlias = Callable[..., Said]

MINE = """
import os
from typing import Annotated
from partsong.tools import NodeContext, tool

@tool(side_effect="destructive", approval="always")
def wipe(disk: str) -> str:
    "Wipe a disk."
    return f"wiped {disk}"

@tool(side_effect="read")
def count(upto: int, context: NodeContext, label: str = "n") -> dict[str, object]:
    "Count."
    for number in range(upto):
        context.emit(f"{label}{number}")
    return {"counted": upto, "label": label}

@tool(side_effect="read", redact=("key",))
def fails(key: str) -> None:
    "Fail."
    raise RuntimeError(f"no entry with {key}")

tools = [wipe, count, fails]
"""


@pytest.fixture
def partsong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Partsong:
    """Runs the command in an empty folder, where a package with the entry point `mine` is installed."""
    (tmp_path / "mine_tools.py").write_text(MINE)
    metadata = tmp_path / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[partsong.tools]\nmine = mine_tools:tools\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "mine_tools", raising=False)
    for name in ("PARTSONG_FILES_ROOT", "PARTSONG_TOOLS"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["partsong", *words])
        code = main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_list_names_every_tool_with_its_manners(partsong: Partsong) -> None:
    code, out, _ = partsong("tool", "list", "-o", "json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert {"calculator", "run_code", "query_database", "remember", "recall"} <= rows.keys()
    assert rows["remember"]["side_effect"] == "write"
    assert "wipe" not in rows


def test_entry_points_are_loaded_only_if_they_are_allowed(
    partsong: Partsong, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "wipe" in partsong("tool", "list", "--allow", "mine")[1]
    monkeypatch.setenv("PARTSONG_TOOLS", "mine")
    assert "wipe" in partsong("tool", "list")[1]
    code, _, err = partsong("tool", "list", "--allow", "yours")
    assert (code, "tool.no_entry_point" in err) == (3, True)


def test_show_prints_the_schema_a_model_sees(partsong: Partsong) -> None:
    _, out, _ = partsong("tool", "show", "count", "--allow", "mine", "-o", "json")
    shown = json.loads(out)
    assert shown["parameters"]["properties"].keys() == {"upto", "label"}
    assert shown["parameters"]["required"] == ["upto"]


def test_call_prints_the_result_and_live_text_apart(partsong: Partsong) -> None:
    code, out, err = partsong(
        "tool", "call", "count", "--allow", "mine", "-i", "upto=2", "--arg", "label=7"
    )
    assert (code, json.loads(out)) == (0, {"counted": 2, "label": "7"})
    assert err.splitlines() == ["70", "71"]


def test_arguments_may_come_from_a_file(partsong: Partsong) -> None:
    Path("args.json").write_text('{"upto": 1, "label": "x"}')
    code, out, _ = partsong(
        "tool", "call", "count", "--allow", "mine", "-i", "@args.json", "-i", "upto=0", "-o", "json"
    )
    assert code == 0
    assert json.loads(out) == {"tool": "count", "content": {"counted": 0, "label": "x"}}


def test_text_is_printed_as_it_is(partsong: Partsong) -> None:
    assert partsong("tool", "call", "calculator", "--arg", "expression=42")[:2] == (0, "42\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nope",), 3, "tool.unknown"),
        (("count", "-i", "upto=many"), 2, "args.upto"),
        (("count", "-i", "nonsense"), 2, "input.malformed"),
        (("read_file", "-i", "path=a.txt"), 1, "file.no_root"),
        (("wipe", "-i", "disk=sda"), 2, "tool.needs_approval"),
    ],
)
def test_a_call_that_is_refused_says_why(
    partsong: Partsong, words: tuple[str, ...], code: int, said: str
) -> None:
    found, out, err = partsong("tool", "call", *words, "--allow", "mine")
    assert (found, out) == (code, "")
    assert said in err


def test_a_person_approves_with_yes(partsong: Partsong) -> None:
    words = ("tool", "call", "wipe", "-i", "disk=sda", "--yes", "--allow", "mine")
    assert partsong(*words)[:2] == (0, "wiped sda\n")


def test_an_error_does_not_show_a_secret_argument(partsong: Partsong) -> None:
    code, _, err = partsong("tool", "call", "fails", "-i", "key=hunter2", "--allow", "mine")
    assert code == 1
    assert "hunter2" not in err
    assert "[redacted]" in err


@pytest.mark.parametrize(
    ("group", "name"),
    [(group, name) for group in (tool_group, mcp_group) for name in group.commands],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_every_command_takes_the_data_directory(group: click.Group, name: str) -> None:
    assert "--data" in {opt for one in group.commands[name].params for opt in one.opts}


def test_what_mcp_servers_said_is_kept_in_the_data_directory_that_is_named(tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    said.write_text(json.dumps({"look": "Look."}))
    program = [sys.executable, str(ROOT / "tests/support/mcp_shelf.py"), str(said)]
    place = ("--mcp", f"shelf={shlex.join(program)}", "--data", "there", "-o", "json")
    process(tmp_path, "mcp", "allow", "shelf", *place)
    assert "shelf" in json.loads((tmp_path / "there" / "mcp.json").read_text())
    said.write_text(json.dumps({"look": "Look elsewhere."}))
    (changed,) = [
        row["tool"]
        for row in json.loads(process(tmp_path, "mcp", "list", *place).stdout)
        if row["is"] == "changed"
    ]
    assert changed == "look"
    words = ("tool", "call", "shelf__look", "-i", "where=here")
    assert "mcp.changed" in process(tmp_path, *words, *place, code=1).stderr
    assert not (tmp_path / ".partsong").exists()


def test_what_is_remembered_is_kept_in_the_data_directory_that_is_named(tmp_path: Path) -> None:
    words = ("tool", "call", "remember", "-i", "text=We open at nine.", "--yes")
    process(tmp_path, *words, "--data", "there")
    assert list((tmp_path / "there").iterdir())
    assert not (tmp_path / ".partsong").exists()
