"""Functions that the graph suite's nodes call: importable, so that a tool-runner can load them by name."""

from __future__ import annotations

import asyncio
import random
import threading
import time

from pydantic import JsonValue

from partsong.workflow import NodeContext, Route

State = dict[str, JsonValue]


async def start(state: State) -> State:
    return {"started": True}


async def left(state: State) -> State:
    return {"left": 1, "log": ["left"]}


def right(state: State) -> State:
    return {"right": 2, "log": ["right"]}


async def join(state: State) -> State:
    return {"sum": int(str(state["left"])) + int(str(state["right"]))}


async def analyze(state: State) -> Route:
    return Route("success" if state.get("good", True) else "failure", {"analyzed": True})


async def path_a(state: State) -> State:
    return {"path": "A"}


async def path_b(state: State) -> State:
    return {"path": "B"}


async def count(state: State) -> Route:
    n = int(str(state.get("n", 0))) + 1
    return Route("again" if n < int(str(state.get("until", 3))) else "done", {"n": n})


async def nothing(state: State) -> None:
    return None


async def flaky(state: State, context: NodeContext) -> State:
    if context.attempt < 3:
        raise ValueError(f"attempt {context.attempt} fails")
    return {"attempt": context.attempt}


async def broken(state: State) -> State:
    raise ValueError("always")


async def repaired(state: State) -> State:
    return {"repaired": True}


async def bad_return(state: State) -> object:
    return 42


async def unroutable(state: State) -> Route:
    return Route("nowhere", {})


def blocking(state: State) -> None:
    time.sleep(3)


class Signal:
    """An event between loops: functions on a bus do not run in the test's."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.set, self.clear = self._event.set, self._event.clear

    async def wait(self) -> None:
        while not self._event.is_set():  # noqa: ASYNC110  # an asyncio.Event is for one loop
            await asyncio.sleep(0.01)


asleep = Signal()
"""Set when `sleepy` has begun."""
stopped = Signal()
"""Set when `sleepy` was cancelled."""


async def sleepy(state: State) -> State:
    asleep.set()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        stopped.set()
        raise
    return {"slept": True}


async def ten(state: State) -> State:
    return {"k": 10}


async def twenty(state: State) -> State:
    return {"k": 20}


async def mutate(state: State) -> State:
    state["leaked"] = True
    return {"kept": True}


async def speak(state: State, context: NodeContext) -> State:
    context.emit("half ")
    context.emit("way")
    return {"key": context.idempotency_key, "run": context.run_id}


async def big(state: State) -> State:
    return {"big": "x" * 400_000}


async def measure(state: State) -> State:
    return {"length": len(str(state["big"]))}


called: list[str] = []
"""What was called of the shop, in order."""
mended = asyncio.Event()
"""Set when the till takes large sums."""


async def price(state: State) -> State:
    called.append("price")
    return {"total": int(str(state["amount"])) * 3}


async def pay(state: State) -> State:
    called.append("pay")
    if int(str(state["total"])) > 100 and not mended.is_set():
        raise ValueError(f"{state['total']} is too much")
    return {"paid": state["total"]}


def load_text(state: State) -> State:
    """Text that no compression makes small."""
    return {"doc": random.Random(1).randbytes(int(str(state["size"])) // 2).hex()}


def one_more(state: State) -> State:
    assert state["doc"]
    return {"i": int(str(state.get("i", 0))) + 1}


def length(state: State) -> State:
    return {"n": len(str(state["item"]))}


def text_length(state: State) -> State:
    return {"n": len(str(state["text"]))}


def many(state: State) -> State:
    docs: list[JsonValue] = ["x" * int(str(state["size"]))] * int(str(state["count"]))
    return {"docs": docs}
