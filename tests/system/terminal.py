"""`partsong` as it is typed, in the test's own process, against services in there too."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest
from pydantic import JsonValue

from partsong.cli.main import main
from tests.system.platform import Platform

__all__ = ["Terminal"]


class Terminal:
    """Runs `partsong` with the words of a command line, in a thread of its own, as it has a loop of its own."""

    def __init__(self, platform: Platform, patch: pytest.MonkeyPatch) -> None:
        self.platform, self._patch = platform, patch
        self.said = ""
        """What it said beside, the last time."""

    async def __call__(self, *words: object, code: int = 0) -> str:
        """What it printed: data, or the error if one is expected."""
        out, self.said = await self._both(words, code)
        return self.said if code else out

    async def refused(self, *words: object, code: int = 1) -> str:
        """What it printed as data, although it ended with a code."""
        out, self.said = await self._both(words, code)
        return out

    async def _both(self, words: tuple[object, ...], code: int) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        self._patch.setattr(sys, "argv", ["partsong", *map(str, words)])
        with redirect_stdout(out), redirect_stderr(err):
            ended = await asyncio.to_thread(_exit_code)
        assert ended == code, f"{words}: exit {ended}\n{out.getvalue()}\n{err.getvalue()}"
        return out.getvalue(), err.getvalue()

    async def record(self, *words: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self(*words, "-o", "json"))
        return found

    async def rows(self, *words: object) -> list[dict[str, JsonValue]]:
        lines = (await self(*words, "-o", "jsonl")).splitlines()
        return [json.loads(line) for line in lines]


def _exit_code() -> int:
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)
