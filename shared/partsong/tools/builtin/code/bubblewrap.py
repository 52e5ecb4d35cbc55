"""The second tier: all of Python in a container of Linux's own, made by bubblewrap, with nothing else in it.

No network, no home, no configuration, no process but its own, and an empty folder in memory. Its limits are set before
the code begins and can only shrink.
"""

from __future__ import annotations

import json
import math
import os
import platform
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from pydantic import JsonValue

from partsong.contracts.errors import PartsongError, Unavailable
from partsong.tools.builtin.code import problems, seccomp
from partsong.tools.builtin.code.limits import Limits
from partsong.tools.builtin.code.outcome import Finished
from partsong.tools.builtin.code.source import SHOW, with_value

__all__ = ["run", "unable"]

_PYTHON_ITSELF = 192 * 1024 * 1024
"""Bytes of address space the interpreter and its libraries take before the code has any."""
_GRACE = 2.0
"""Seconds for starting and ending, besides the code's own."""

_RUNNER = """
import json, resource, sys
told = json.load(sys.stdin)
for name, value in told["limits"].items():
    resource.setrlimit(getattr(resource, name), (value, value))
sys.setrecursionlimit(told["depth"])
space = {"__name__": "__main__", "_value_": None}
exec(compile(told["code"], "<code>", "exec"), space)
sys.stdout.flush()
exec(told["show"], space)
"""


def run(code: str, limits: Limits) -> Finished:
    """Run code to its end. Blocks its thread.

    Raises:
        InvalidInput: `code.too_long`, `code.syntax`, `code.raised`, `code.limit`.
        Unavailable: `code.no_container` if this machine cannot make one.
    """
    limits.check(code)
    told = {
        "code": with_value(code),
        "show": SHOW,
        "depth": limits.depth + 50,
        "limits": {
            "RLIMIT_AS": limits.memory + _PYTHON_ITSELF,
            "RLIMIT_CPU": math.ceil(limits.seconds) + 1,
            "RLIMIT_FSIZE": limits.output,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_CORE": 0,
        },
    }
    with (
        tempfile.TemporaryFile() as told_to,
        tempfile.TemporaryFile() as printed,
        tempfile.TemporaryFile() as written,
        tempfile.TemporaryFile() as rules,
    ):
        _write(told_to, json.dumps(told).encode())
        _write(rules, _filter())
        process = subprocess.Popen(  # noqa: S603  # nothing of it comes from the model
            _command(limits, rules.fileno()),
            stdin=told_to,
            stdout=printed,
            stderr=written,
            pass_fds=(rules.fileno(),),
        )
        try:
            status = process.wait() if _ends(process, limits.seconds + _GRACE) else None
        finally:
            process.kill()
            process.wait()
        return _read(status, _text(printed, limits), _text(written, limits), limits)


def unable() -> str:
    """Why this machine cannot run the second tier; empty if it can."""
    try:
        run("1", Limits(seconds=20))
    except Unavailable as error:
        return error.problem.message
    return ""


def _command(limits: Limits, rules: int) -> list[str]:
    program = shutil.which("bwrap")
    if program is None or sys.platform != "linux":
        raise _no_container("bubblewrap is not installed")
    base = sys.base_prefix
    python = f"{base}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    bound = ["--ro-bind", "/usr", "/usr"]
    for path in (Path("/lib"), Path("/lib64")):
        if path.is_symlink():
            bound += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            bound += ["--ro-bind", str(path), str(path)]
    if not base.startswith("/usr"):
        bound += ["--ro-bind", base, base]
    return [
        program,
        *("--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"),
        *("--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"),
        *bound,
        *("--dev", "/dev", "--size", str(limits.memory), "--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108
        *("--remount-ro", "/", "--seccomp", str(rules)),
        *(python, "-I", "-S", "-B", "-c", _RUNNER),
    ]


def _ends(process: subprocess.Popen[bytes], within: float) -> bool:
    """Whether it ends in time: Popen could only be asked again and again, up to 50 ms apart."""
    handle = os.pidfd_open(process.pid)
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        return bool(waiting.poll(within * 1000))
    finally:
        os.close(handle)


def _filter() -> bytes:
    rules = seccomp.program(platform.machine())
    if rules is None:
        raise _no_container(f"no filter of system calls is known for {platform.machine()}")
    return rules


def _read(status: int | None, printed: str, written: str, limits: Limits) -> Finished:
    match status:
        case 0:
            return Finished(_value(written), printed)
        case None | 137 | 152:  # killed by us, or by the kernel when its processor time was over
            raise problems.limit("it took too long", limits, printed)
        case _ if limits.output in (len(printed.encode()), len(written.encode())):
            raise problems.limit("it wrote too much", limits, printed)
        case _:
            raise _explained(written.strip(), printed, limits)


def _value(written: str) -> JsonValue:
    """What SHOW has written last; nothing, if the code has left before."""
    try:
        value: JsonValue = json.loads(written.rstrip("\n").rpartition("\n")[2], parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return value


def _explained(written: str, printed: str, limits: Limits) -> PartsongError:
    last = written.rpartition("\n")[2]
    if written.startswith("bwrap: "):
        return _no_container(last)
    if last.startswith(("MemoryError", "RecursionError", "OSError: [Errno 27]")):
        return problems.limit(last, limits, printed)
    if last.startswith(("SyntaxError", "IndentationError", "TabError")):
        return problems.syntax(written)
    return problems.raised(written or "it ended without a word", printed)


def _no_container(why: str) -> Unavailable:
    return Unavailable(
        "code.no_container",
        f"no container for code can be made here: {why}",
        where="PARTSONG_CODE_TIER",
        fix="install bubblewrap and allow user namespaces, or use the other sandbox: PARTSONG_CODE_TIER=monty",
    )


def _write(file: IO[bytes], data: bytes) -> None:
    file.write(data)
    file.seek(0)


def _text(file: IO[bytes], limits: Limits) -> str:
    file.seek(0)
    return file.read(limits.output).decode(errors="replace")
