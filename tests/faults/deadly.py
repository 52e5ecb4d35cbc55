"""Functions that end their worker, as a crash in native code or the kernel's out-of-memory killer does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pydantic import JsonValue

from partsong.workflow import NodeContext
from tests.faults.slow import write, written

State = dict[str, JsonValue]


def die(state: State, context: NodeContext) -> None:
    """Kill the worker, whoever it is and whatever else it does."""
    write(str(state["file"]), "die", f"{context.run_id} {context.attempt}")
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(state: State, context: NodeContext) -> State:
    """Kill the first worker, and return from the second."""
    first = not written(Path(str(state["file"])))
    write(str(state["file"]), "die_once", context.run_id)
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"lived": True}


def step(state: State, context: NodeContext) -> State:
    """Work for a moment."""
    write(str(state["file"]), "begin", f"{context.run_id} {context.idempotency_key}")
    time.sleep(0.2)
    return {}
