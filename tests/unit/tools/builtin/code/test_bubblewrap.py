"""The second tier runs all of Python, and whatever that does stays in its container."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from partsong.contracts.errors import PartsongError, Problem, Unavailable
from partsong.tools.builtin.code import Limits, code_tool
from partsong.tools.builtin.code.bubblewrap import unable
from partsong.tools.builtin.code.seccomp import program

SHORT = Limits(seconds=0.2)


@pytest.fixture(scope="module")
def container() -> None:
    """Skips where no container can be made."""
    if why := unable():
        pytest.skip(why)


def refusal(code: str, limits: Limits | None = None) -> Problem:
    with pytest.raises(PartsongError) as refused:
        code_tool("python", limits=limits)(code)
    return refused.value.problem


@pytest.mark.usefixtures("container")
def test_all_of_python_is_there() -> None:
    code = "import statistics\nclass Mine(Exception): pass\nprint('hello')\nstatistics.median([1, 5, 9])"
    assert code_tool("python")(code) == {"value": 5, "printed": "hello\n"}


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("open('/etc/passwd')", "No such file"),
        ("open('/proc/self/environ')", "No such file"),
        ("open('/evil', 'w')", "Read-only file system"),
        ("open('/usr/evil', 'w')", "Read-only file system"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 22), 1)", "unreachable|refused"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80), 1)", "unreachable"),
        ("import os\nos.environ['HOME']", "KeyError"),
        ("import os\nos.fork()", "not permitted"),
        ("import subprocess\nsubprocess.run(['/usr/bin/id'])", "not permitted"),
        ("import os\nos.setuid(0)", "not permitted|Invalid argument"),
        ("1 / 0", "ZeroDivisionError"),
        ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "not allowed"),
    ],
)
def test_there_is_nothing_to_reach(code: str, says: str) -> None:
    problem = refusal(code)
    assert problem.code == "code.raised"
    assert any(word in problem.message for word in says.split("|")), problem.message


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time\ntime.sleep(60)",
        "x = bytearray(10**10)",
        "x = []\nwhile True: x.append('a' * 1000000)",
        "def f(): return f()\nf()",
        "while True: print('x' * 1000)",
        "print('x' * 50_000_000)",
        "'x' * 50_000_000",
        "x = []\nfor i in range(40): x = [x, x]\nx",
    ],
)
def test_bombs_are_stopped_and_the_process_does_not_grow(code: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(code, SHORT).code == "code.limit"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


@pytest.mark.usefixtures("container")
def test_files_are_gone_with_the_call_and_their_room_is_small() -> None:
    tool = code_tool("python")
    assert tool("open('/tmp/mine', 'w').write('x')")["value"] == 1
    assert tool("import os\nos.listdir('/tmp')")["value"] == []
    assert not Path("/tmp/mine").exists()
    fill = "for i in range(10**6):\n  with open(f'/tmp/{i}', 'w') as f: f.write('x' * 60000)"
    assert "No space left" in refusal(fill).message


@pytest.mark.usefixtures("container")
def test_threads_work_though_processes_do_not() -> None:
    code = "import threading\nx = []\nt = threading.Thread(target=x.append, args=(1,))\nt.start()\nt.join()\nx"
    assert code_tool("python")(code)["value"] == [1]


def test_without_bubblewrap_it_says_so_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PARTSONG_CODE_TIER", "python")
    with pytest.raises(Unavailable, match="bubblewrap is not installed") as refused:
        code_tool()("print('never')")
    assert refused.value.problem.code == "code.no_container"


def test_a_machine_without_a_filter_gets_none() -> None:
    assert program("vax") is None
    for machine in ("x86_64", "aarch64"):
        assert len(program(machine) or b"") % 8 == 0
