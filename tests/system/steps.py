"""Functions that the graphs of `constructs` call: importable, so that a tool-runner can load them by name."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from pydantic import JsonValue

from partsong.workflow import Goto, NodeContext, Overwrite, Route

State = dict[str, JsonValue]

gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
"""By run: opened by `release`, for whoever holds."""
undone: dict[str, list[str]] = defaultdict(list)
"""By run: what was undone, in order, and why."""


def number(value: object) -> int:
    assert isinstance(value, int), value
    return value


async def count(state: State) -> State:
    return {"n": number(state.get("n", 0)) + 1, "log": ["count"]}


async def double(state: State) -> State:
    return {"n": 2 * number(state["n"]), "log": ["double"]}


async def square(state: State) -> State:
    return {"square": number(state["item"]) ** 2, "seen": number(state["index"])}


async def picky(state: State) -> State:
    if number(state["item"]) % 2:
        raise ValueError(f"{state['item']} is odd")
    return {"half": number(state["item"]) // 2}


async def note(state: State, context: NodeContext) -> State:
    return {"log": [context.node]}


async def jump(state: State) -> Goto:
    return Goto(str(state["to"]), update={"log": ["jump"]})


async def broken(state: State) -> None:
    raise ValueError("always")


async def why(state: State) -> State:
    error = state["error"]
    assert isinstance(error, dict)
    return {"why": f"{error['node']}: {error['code']}"}


async def quick(state: State) -> None:
    return None


async def hold(state: State, context: NodeContext) -> State:
    async with asyncio.timeout(30):
        await gates[context.run_id].wait()
    return {"held": True}


async def stuck(state: State) -> None:
    await asyncio.sleep(60)


async def release(state: State, context: NodeContext) -> State:
    gates[context.run_id].set()
    return {"released": number(state.get("released", 0)) + 1}


async def reserve(state: State) -> State:
    return {"reserved": "seat 3"}


async def charge(state: State) -> State:
    return {"charged": 10}


async def unreserve(state: State, context: NodeContext) -> None:
    undone[context.run_id].append(f"unreserve {state['reserved']}")


async def refund(state: State, context: NodeContext) -> None:
    if context.attempt == 1:
        raise ValueError("try again")
    error = state["error"]
    assert isinstance(error, dict)
    undone[context.run_id].append(f"refund {state['charged']} for {error['code']}")


async def restart(state: State) -> dict[str, Overwrite]:
    return {"log": Overwrite(["fresh"])}


async def greet(state: State) -> State:
    return {"chat": [{"id": "1", "text": "helo"}, {"id": "2", "text": "spam"}]}


async def correct(state: State) -> State:
    return {"chat": [{"id": "1", "text": "hello"}, {"id": "2", "remove": True}, {"text": "bye"}]}


async def age(state: State) -> State:
    return {"age": state["said"]}


async def whisper(state: State) -> Route:
    return Route("on", {"told": True}, private={"secret": 7})


async def hear(state: State) -> State:
    return {"heard": state.get("secret")}


async def listen(state: State) -> State:
    return {"listened": state.get("secret")}


async def several(state: State) -> list[State]:
    return [{"log": ["one"], "n": 1}, {"log": ["two"], "n": 2}]
