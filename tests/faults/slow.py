"""Functions and a tool that take their time, and write down when they begin and end."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections import Counter
from pathlib import Path

from pydantic import JsonValue

from partsong.tools import tool
from partsong.workflow import NodeContext

State = dict[str, JsonValue]


def write(file: str, word: str, key: str) -> None:
    """One line, whole, whoever else writes."""
    out = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(out, f"{word} {key}\n".encode())
    finally:
        os.close(out)


def written(file: Path) -> Counter[str]:
    """How often each line was written."""
    return Counter(file.read_text("utf-8").splitlines()) if file.exists() else Counter()


def hold(state: State, context: NodeContext) -> None:
    """Hold the interpreter's lock, as a library in C may: nothing else of the process runs."""
    write(str(state["file"]), "begin", context.run_id)
    ctypes.PyDLL(None).sleep(int(str(state["seconds"])))
    write(str(state["file"]), "end", context.run_id)


async def block(state: State, context: NodeContext) -> None:
    """Block the loop it runs on."""
    write(str(state["file"]), "begin", context.run_id)
    time.sleep(float(str(state["seconds"])))  # noqa: ASYNC251  # that is the point
    write(str(state["file"]), "end", context.run_id)


def wait_for(state: State, context: NodeContext) -> None:
    """Work until a file is there."""
    write(str(state["file"]), "begin", context.run_id)
    while not Path(str(state["go"])).exists():
        time.sleep(0.05)
    write(str(state["file"]), "end", context.run_id)


@tool
async def charge(file: str, order: str) -> str:
    """Charge somebody, which must not happen twice."""
    write(file, "begin", order)
    await asyncio.sleep(1.5)
    write(file, "end", order)
    return order
