"""The command line without a platform: help, forms of output, errors, and exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from partsong.cli.drawing import drawing
from partsong.cli.main import main, root
from partsong.cli.mermaid import mermaid
from partsong.cli.options import Address, address_options
from partsong.cli.repairs import carried
from partsong.contracts.graph.validate import parse_graph
from tests.support.old_server import a_server_of

PARTSONG = Path(sys.executable).with_name("partsong")
NOWHERE = "nats://127.0.0.1:1"
GRAPH = """
name: two
nodes:
  end: {type: function, function: "m:f"}
  ask: {type: approval, title: "Really?"}
edges:
  - {from: end, to: ask, on: 'say "yes" | no'}
  - {from: ask, to: END, on: approved}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "two.yaml").write_text(GRAPH)
    return tmp_path


def partsong(
    folder: Path, *words: str, code: int = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    """What the command says in this process: starting one would cost more than the command."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("PARTSONG_")]:
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["partsong", *words])
        try:
            ended = main()
        except SystemExit as left:
            ended = left.code if isinstance(left.code, int) else 1
    return checked(subprocess.CompletedProcess(words, ended, out.getvalue(), err.getvalue()), code)


def process(
    folder: Path, *words: str, code: int = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    """What the command says as users run it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PARTSONG_")}
    done = subprocess.run(
        [PARTSONG, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False, env={**clean, **env}
    )  # fmt: skip
    return checked(done, code)


def checked(done: subprocess.CompletedProcess[str], code: int) -> subprocess.CompletedProcess[str]:
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def commands(group: click.Command = root, path: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
    """Every command's words, groups included."""
    yield tuple(path)
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    command: click.Command = root
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    with click.Context(command) as context:
        text = command.get_help(context)
    assert command.help, "a command says what it does"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts[0]} says what it is for"
    assert "Usage:" in text
    if not isinstance(command, click.Group):
        _check_example(command, words)


def _check_example(command: click.Command, words: Sequence[str]) -> None:
    """Each help ends with an example that the command takes as it stands."""
    typed = shlex.split((command.epilog or "").partition("Example: ")[2])
    assert typed[: len(words) + 1] == ["partsong", *words], f"{command.epilog} is no example of it"
    with pytest.MonkeyPatch.context() as patch:
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                patch.setattr(parameter.type, "exists", False)  # its folders are not here
        command.make_context(words[-1], typed[len(words) + 1 :])


def test_the_list_of_commands_says_what_each_command_says_of_itself(folder: Path) -> None:
    listed = partsong(folder, "--help").stdout.partition("Commands:")[2].strip().splitlines()
    assert len(listed) == len(root.list_commands(click.Context(root)))
    for line in listed:
        name, text = line.split(maxsplit=1)
        command = root.get_command(click.Context(root), name)
        assert command is not None
        assert (command.help or "").startswith(text.rstrip("."))


def test_what_is_typed_wrong_is_a_usage_error(folder: Path) -> None:
    for words in (
        ["nonsense"],
        ["run", "nonsense"],
        ["run", "start"],
        ["run", "list", "--limit", "0"],
        ["run", "list", "--status", "odd"],
        ["version", "-o", "xml"],
    ):
        done = partsong(folder, *words, code=2)
        assert "Usage:" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("where", ["before", "after"])
def test_data_comes_in_the_form_asked_for_wherever_it_is_asked(folder: Path, where: str) -> None:
    def out(form: str) -> str:
        words = ["-o", form, "version"] if where == "before" else ["version", "-o", form]
        return partsong(folder, *words).stdout

    version = json.loads(out("json"))
    assert version.keys() == {"partsong", "python", "nats_server"}
    assert json.loads(out("jsonl")) == version
    assert out("jsonl").count("\n") == 1
    assert yaml.safe_load(out("yaml")) == version
    assert version["partsong"] in out("table")


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_the_versions_come_in_one_line(folder: Path, word: str) -> None:
    said = partsong(folder, word).stdout
    assert re.fullmatch(
        r"partsong \d\S+ \(Python 3\.\d+\.\d+\S*, nats-server 2\.\d+\.\d+\)\n", said
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(folder: Path, shell: str) -> None:
    script = process(folder, "completion", shell).stdout
    assert "_PARTSONG_COMPLETE" in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [("ru", {"run"}), ("run star", {"start"}), ("completion z", {"zsh"}), ("up --fa", {"--fast"})],
)
def test_commands_and_options_are_completed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, offered: set[str]
) -> None:
    monkeypatch.setenv("_PARTSONG_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"partsong {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    lines = process(folder).stdout.splitlines()
    assert {line.rpartition(",")[2] for line in lines} == offered


def test_rows_come_as_a_list_as_lines_and_as_a_table(folder: Path) -> None:
    rows = json.loads(partsong(folder, "schema", "list", "-o", "json").stdout)
    lines = partsong(folder, "schema", "list", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows
    table = partsong(folder, "schema", "list").stdout.splitlines()
    assert table[0].split() == ["KIND", "VERSION", "FAMILY", "ABOUT"]
    assert len(table) == len(rows) + 1


def test_no_bus_is_an_error_with_what_to_do_about_it(folder: Path) -> None:
    said = process(folder, "run", "list", code=1).stderr
    assert "nats.unknown" in said
    assert "fix  start `partsong up`; if one runs elsewhere" in said


def test_an_error_is_json_where_the_output_is(folder: Path) -> None:
    done = partsong(folder, "graph", "validate", "no.yaml", "-o", "json", code=2)
    assert done.stdout == ""
    problem = json.loads(done.stderr)
    assert problem["code"] == "file.unreadable"
    assert problem["where"] == "no.yaml"


def test_no_color_reaches_a_pipe_and_quiet_keeps_only_the_data(folder: Path) -> None:
    assert "\x1b" not in process(folder, "graph", "show", "two.yaml").stdout
    loud = partsong(folder, "schema", "check", "--against", "nothing", code=3)
    assert "schema.no_ref" in loud.stderr
    (folder / "s").mkdir()
    partsong(folder, "schema", "export")
    said = partsong(folder, "schema", "check", "--against", "contracts/schemas").stderr
    assert "no incompatible changes" in said
    quiet = partsong(folder, "-q", "schema", "check", "--against", "contracts/schemas")
    assert quiet.stderr == quiet.stdout == ""


def test_what_is_not_found_has_its_own_exit_code(folder: Path) -> None:
    assert "graph.not_found" in partsong(folder, "graph", "show", "nowhere", code=3).stderr


def test_a_graph_that_is_not_valid_names_file_line_and_fix(folder: Path) -> None:
    (folder / "two.yaml").write_text(GRAPH.replace("to: ask", "to: asc"))
    said = partsong(folder, "graph", "validate", "two.yaml", code=2).stderr
    assert "graph.unknown_target" in said
    assert "two.yaml:7 (edges[0].to)" in said
    assert "did you mean ask?" in said


def test_all_mistakes_of_a_graph_are_named_each_with_its_line(folder: Path) -> None:
    (folder / "outer.yaml").write_text(
        "name: outer\nnodes:\n  s: {type: subgraph, graph: two.yaml}\n  lost: {type: tool, tool: x}\n"
    )
    (folder / "two.yaml").write_text(GRAPH.replace("to: ask", "to: asc"))
    said = partsong(folder, "graph", "validate", "outer.yaml", code=2).stderr
    assert "outer.yaml:4 (nodes.lost)" in said
    assert "two.yaml:7 (nodes.s.graph.edges[0].to)" in said
    told = partsong(folder, "graph", "validate", "outer.yaml", "-o", "json", code=2).stderr
    codes = [json.loads(line)["code"] for line in told.splitlines()]
    assert codes == ["graph.unreachable", "graph.unknown_target"]


def test_a_graph_is_shown_as_a_table_as_data_and_as_a_picture(folder: Path) -> None:
    table = partsong(folder, "graph", "show", "two.yaml").stdout
    assert "END on approved" in table
    data = json.loads(partsong(folder, "graph", "show", "two.yaml", "-o", "json").stdout)
    assert parse_graph({k: v for k, v in data.items() if k != "hash"}).hash == data["hash"]
    picture = partsong(folder, "graph", "show", "--mermaid", "two.yaml").stdout
    assert '  n0["end"]' in picture, "a node may be called what Mermaid reserves"
    assert '  n1{{"ask"}}' in picture
    assert '  n0 -->|"say #quot;yes#quot; #124; no"| n1' in picture
    assert '  n1 -->|"approved"| stop' in picture


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_graph_is_written_as_a_file_that_is_the_same_graph(folder: Path, form: str) -> None:
    (folder / "outer.yaml").write_text(
        "name: outer\nnodes:\n  s: {type: subgraph, graph: two.yaml}\n"
        "  m: {type: map, graph: two.yaml, over: '1e3', into: no}\n"
        "edges: [{from: s, to: m}]\n"
    )
    (folder / f"whole.{form}").write_text(
        partsong(folder, "graph", "show", "outer.yaml", f"--{form}").stdout
    )
    first, second = (
        json.loads(partsong(folder, "graph", "validate", name, "-o", "json").stdout)["hash"]
        for name in ("outer.yaml", f"whole.{form}")
    )
    assert first == second


def test_a_graph_is_shown_with_what_is_inside_it(folder: Path) -> None:
    (folder / "outer.yaml").write_text("name: o\nnodes:\n  s: {type: subgraph, graph: two.yaml}\n")
    table = partsong(folder, "graph", "show", "outer.yaml", "--expand").stdout
    assert [line.split()[0] for line in table.splitlines()] == ["NODE", "s", "s/end", "s/ask"]
    closed = partsong(folder, "graph", "show", "outer.yaml", "--mermaid").stdout
    assert ('n0[/"s"/]' in closed, "ask" in closed) == (True, False)
    opened = partsong(folder, "graph", "show", "outer.yaml", "--mermaid", "--expand").stdout
    assert ('subgraph n0["s"]' in opened, "ask" in opened) == (True, True)
    clustered = partsong(folder, "graph", "show", "outer.yaml", "--dot", "--expand").stdout
    assert "subgraph cluster_n0 {" in clustered
    assert partsong(folder, "graph", "show", "outer.yaml", "--dot").stdout.startswith(
        'digraph "o" {'
    )


def test_showing_needs_a_graph_or_a_run(folder: Path) -> None:
    assert "give a GRAPH" in partsong(folder, "graph", "show", code=2).stderr


def test_every_type_of_node_has_its_shape() -> None:
    spec = {
        "name": "all",
        "nodes": {
            "f": {"type": "function", "function": "m:f"},
            "a": {"type": "agent", "agent": {"model": "scripted:echo"}},
            "t": {"type": "tool", "tool": "calculator"},
        },
        "edges": [{"from": "f", "to": "a"}, {"from": "a", "to": "t"}],
    }
    assert mermaid(drawing(parse_graph(spec))).splitlines() == [
        "flowchart TD",
        "  start((start))",
        '  n0["f"]',
        '  n1(["a"])',
        '  n2[["t"]]',
        "  start --> n0",
        "  n0 --> n1",
        "  n1 --> n2",
    ]


def test_a_graph_of_the_current_directory_can_be_named_by_its_module(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from partsong.workflow import WorkflowGraph\n"
        "def f(state): return {}\n"
        "def graph(): return WorkflowGraph('mine').add_node('f', f)\n"
    )
    assert "mine: valid, 1 nodes" in process(folder, "graph", "validate", "mine:graph").stdout


def test_an_input_that_is_neither_a_pair_nor_a_file_is_refused_before_anything_is_sent(
    folder: Path,
) -> None:
    (folder / "list.json").write_text("[1]")
    for given in ("nonsense", "=1", "@list.json", "@nowhere.json"):
        done = partsong(folder, "run", "start", "two.yaml", "-i", given, "--nats", NOWHERE, code=2)
        assert "input.malformed" in done.stderr or "file.unreadable" in done.stderr


def test_a_service_that_is_told_something_wrong_says_so_and_ends_with_2(folder: Path) -> None:
    done = process(
        folder, "worker", "start", "tool-runner", "--load", "no_such_module", "--nats", NOWHERE, code=2,
    )  # fmt: skip
    assert "no_such_module" in done.stderr
    wrong = process(folder, "worker", "start", "graph-engine", code=2, PARTSONG_CONCURRENCY="many")
    assert "settings.invalid" in wrong.stderr
    assert "PARTSONG_CONCURRENCY" in wrong.stderr
    assert "Invalid value" in process(folder, "worker", "start", "conductor", code=2).stderr


def test_doctor_says_what_is_missing_and_what_to_do(folder: Path) -> None:
    done = process(folder, "doctor", "-o", "json", code=1)
    checks = {row["check"]: row for row in json.loads(done.stdout)}
    assert checks["python"]["ok"] is True
    assert checks["nats-server"]["ok"] is True
    assert checks["bus"]["ok"] is False
    assert "partsong up" in checks["bus"]["says"]


def test_doctor_says_which_service_up_cannot_keep_alive(folder: Path) -> None:
    why = "it was replaced 3 times within 600 s and fell silent again"
    note = {"nats_url": "", "http_url": "", "pid": os.getpid(), "troubles": {"tool-runner": why}}
    (folder / ".partsong").mkdir()
    (folder / ".partsong" / "up.json").write_text(json.dumps(note))
    for troubled in (True, False):
        done = process(folder, "doctor", "-o", "json", code=1)
        (row,) = (row for row in json.loads(done.stdout) if row["check"] == "services")
        assert row["ok"] is not troubled
        assert (f"tool-runner: {why}" in row["says"]) is troubled
        (folder / ".partsong" / "up.json").unlink(missing_ok=True)


async def test_doctor_says_that_the_server_is_too_old(folder: Path) -> None:
    async with a_server_of("2.12.1") as url:
        done = await asyncio.to_thread(
            process, folder, "doctor", "--nats", url, "-o", "json", code=1
        )
    (bus,) = (row for row in json.loads(done.stdout) if row["check"] == "bus")
    assert bus["ok"] is False
    assert "is nats-server 2.12.1, 2.14 or newer is needed" in bus["says"]


# A server that greets, and never answers the client's first PING. (To a client that is interrupted in the very moment
# in which it is accepted, Python 3.11's `wait_for` does not pass the interrupt on.)
MUTE = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
client, _ = server.accept()
client.sendall(b'INFO {"server_id": "mute", "version": "2.12.0", "max_payload": 1048576}\\r\\n')
said = b""
while b"PING" not in said:
    said += client.recv(4096)
print("in", flush=True)
sys.stdin.read()
"""


def test_an_interrupt_ends_with_130(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MUTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as silent:
        assert silent.stdout is not None
        port = silent.stdout.readline().strip()
        waiting = subprocess.Popen(
            [PARTSONG, "run", "list", "--nats", f"nats://127.0.0.1:{port}"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert silent.stdout.readline() == "in\n", "the command is connected, and waits"
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=60)
        assert waiting.returncode == 130
        assert "Traceback" not in said
        assert silent.stdin is not None
        silent.stdin.close()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("nats://u:s3cret@127.0.0.1:1", 1),
        ("http://u:s3cret@127.0.0.1:1", 2),
        ("nats://u:s3cr/s3cret@127.0.0.1:1", 2),
        ("nats://u:s3cret@127.0.0.1:notaport", 2),
        ("nats://u:s3cret@[::1", 2),
        ("nats://u:s3cret,s3cret@127.0.0.1:1", 2),
        ("nats://s3cret@127.0.0.1:1,nats://u:s3cret@127.0.0.1:2", 1),
    ],
)
def test_no_error_shows_the_password_of_a_server(folder: Path, url: str, code: int) -> None:
    done = partsong(folder, "run", "list", "--nats", url, code=code, PARTSONG_DEBUG="1")
    assert "127.0.0.1" in done.stderr or "::1" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_advice_for_a_log_leaves_the_password_to_the_reader() -> None:
    @click.command()
    @address_options
    def told(address: Address) -> None:
        click.echo(carried("run `partsong log verify`", address.given))

    said = CliRunner().invoke(told, ["--nats", "nats://u:s3cret@host", "--prefix", "p"])
    assert said.output == "run `partsong log verify --nats nats://USER:PASSWORD@host --prefix p`\n"
