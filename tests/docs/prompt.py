"""`python -m asyncio`, typed into as a reader does who pastes the blocks of a page, one after the other."""

from __future__ import annotations

import ast
import codeop
import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from partsong.runtime.clock import monotonic

__all__ = ["Prompt", "python_of", "unpasteable"]

SECONDS = 120
# What is typed first: no prompts and no echo of values between what a block prints, and an error that says so.
_TYPED_FIRST = """\
import sys as _sys, traceback as _traceback
_sys.ps1 = _sys.ps2 = ""
_sys.displayhook = lambda value: None
_sys.excepthook = lambda *error: (_traceback.print_exception(*error, file=_sys.stdout), print({failed!r}))
"""
_DONE, _FAILED = "\x1edone\x1e", "\x1efailed\x1e"


def python_of(environment: Mapping[str, str]) -> str:
    """The interpreter that is meant where a reader types `python`."""
    return shutil.which("python", path=environment["PATH"]) or sys.executable


class Prompt:
    """One session: what a block leaves behind, the next one finds."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the session
        self._process = subprocess.Popen(
            [python_of(environment), "-u", "-m", "asyncio"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._type(_TYPED_FIRST.format(failed=_FAILED))

    def paste(self, text: str) -> tuple[str, bool]:
        """What a block printed, the traceback of its error included, and whether it went well.

        Raises:
            TimeoutError: it is still running.
        """
        printed = self._type(text)
        return printed.replace(_FAILED, ""), _FAILED not in printed

    def close(self) -> None:
        """End the session as Ctrl-D does."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        try:
            self._process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        stdout.close()
        self._errors.close()

    def _type(self, text: str) -> str:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: what it said is read below
            stdin.write(f"{text}\n\nprint({_DONE!r})\n".encode())
            stdin.flush()
        return self._printed().removesuffix(f"{_DONE}\n")

    def _printed(self) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        said, deadline = b"", monotonic() + SECONDS
        while not said.endswith(f"{_DONE}\n".encode()):
            if not select.select([stdout], [], [], max(0.0, deadline - monotonic()))[0]:
                self._process.kill()
                raise TimeoutError(f"still running after {SECONDS} s: {said.decode()}")
            piece = os.read(stdout.fileno(), 65536)
            if not piece:
                self._errors.seek(0)
                errors = self._errors.read().decode()
                return f"{said.decode()}\nthe session has ended\n{errors}{_FAILED}{_DONE}\n"
            said += piece
        return said.decode()


def unpasteable(text: str) -> str | None:
    """Why a prompt takes a block for something else: it ends a function at a blank line, and only there."""
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    typed: list[str] = []
    for number, line in _lines(text):
        typed.append(line)
        try:
            code = compiler("\n".join(typed), symbol="single")
        except (SyntaxError, ValueError, OverflowError) as error:
            return (
                f"line {number} is not what a prompt takes ({error}): at a prompt a blank line ends a function, a "
                "class, a `with` and the like, and only a blank line does; so leave none inside, and one after"
            )
        if code is not None:
            typed = []
    return f"it ends in the middle of {typed[0]!r}" if "".join(typed).strip() else None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    yield from enumerate([*text.splitlines(), "", ""], 1)
