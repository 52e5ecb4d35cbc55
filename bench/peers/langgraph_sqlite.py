"""LangGraph with its SQLite saver, `durability="sync"`: a step is durable before the next one starts."""

from __future__ import annotations

import asyncio
import operator
import statistics
import time
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from report import FIGURE_SECONDS, KILOBYTE, Sizes, bytes_on_disk, percentile, play, say, timed


class Replaced(TypedDict):
    payload: str


class Appended(TypedDict):
    items: Annotated[list[str], operator.add]
    count: int


async def replace(_: Replaced) -> dict[str, str]:
    return {"payload": KILOBYTE}


async def append(state: Appended) -> dict[str, object]:
    return {"items": [KILOBYTE], "count": state["count"] + 1}


def chain(nodes: int, saver: AsyncSqliteSaver | None):
    """`nodes` no-op function nodes in a row, each replacing 1 KB of state."""
    graph = StateGraph(Replaced)
    names = [f"n{index}" for index in range(nodes)]
    for name in names:
        graph.add_node(name, replace)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return graph.compile(checkpointer=saver)


def loop(rounds: int, saver: AsyncSqliteSaver):
    """One node that runs `rounds` times and appends 1 KB each time."""
    graph = StateGraph(Appended)
    graph.add_node("add", append)
    graph.add_edge(START, "add")
    graph.add_conditional_edges("add", lambda state: "add" if state["count"] < rounds else END)
    return graph.compile(checkpointer=saver)


def thread(name: str) -> dict[str, object]:
    return {"configurable": {"thread_id": name}, "recursion_limit": 5000}


async def run(graph, name: str, state: dict[str, object]) -> None:
    await graph.ainvoke(state, thread(name), durability="sync")


async def sequential_step(sizes: Sizes, folder: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(folder / "seq.db")) as saver:
        graph = chain(sizes.chain, saver)
        await run(graph, "warm", {"payload": ""})
        took = []
        for index in range(sizes.rounds):
            with timed() as seconds:
                await run(graph, f"r{index}", {"payload": ""})
            took.append(seconds() * 1000 / sizes.chain)
    say("sequential_step", statistics.median(took), "ms")


async def concurrent_runs(sizes: Sizes, folder: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(folder / "many.db")) as saver:
        graph = chain(sizes.run_nodes, saver)
        await run(graph, "warm", {"payload": ""})
        ended: list[float] = []
        start = time.perf_counter()

        async def one(index: int) -> None:
            await run(graph, f"r{index}", {"payload": ""})
            ended.append(time.perf_counter() - start)

        tasks = [asyncio.create_task(one(index)) for index in range(sizes.runs)]
        _, late = await asyncio.wait(tasks, timeout=FIGURE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    note = f"{len(ended)} of {sizes.runs} runs ended within {FIGURE_SECONDS} s" if late else ""
    say("concurrent_runs", len(ended) / max(ended), "runs/s", note)
    say("concurrent_p99", percentile(ended, 0.99), "s", note)


async def disk_per_step(sizes: Sizes, folder: Path) -> None:
    """Both shapes of 1 KB updates: a chain that replaces it, and a loop that appends it."""
    for size, steps in (("short", sizes.short), ("long", sizes.long)):
        async with AsyncSqliteSaver.from_conn_string(str(folder / f"chain-{size}.db")) as saver:
            await run(chain(steps, saver), "r", {"payload": ""})
        grown = bytes_on_disk(folder, f"chain-{size}.db") / steps / 1024
        say(f"disk_replace_{size}", grown, "KB/step", f"{steps} steps")
        async with AsyncSqliteSaver.from_conn_string(str(folder / f"loop-{size}.db")) as saver:
            await run(loop(steps, saver), "r", {"items": [], "count": 0})
        grown = bytes_on_disk(folder, f"loop-{size}.db") / steps / 1024
        say(f"disk_append_{size}", grown, "KB/step", f"{steps} steps")


async def history(sizes: Sizes, folder: Path) -> None:
    """Every state of one long run, and one in its middle, read by a fresh process's graph."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "long.db")) as saver:
        graph = chain(sizes.long, saver)
        await run(graph, "r", {"payload": ""})
    async with AsyncSqliteSaver.from_conn_string(str(folder / "long.db")) as saver:
        graph = chain(sizes.long, saver)
        with timed() as seconds:
            states = [state async for state in graph.aget_state_history(thread("r"))]
        say("history", seconds() * 1000, "ms", f"{len(states)} states")
        middle = states[len(states) // 2].config
        with timed() as seconds:
            await graph.aget_state(middle)
        say("state_at", seconds() * 1000, "ms")


class Wide(TypedDict):
    items: list[int]
    results: Annotated[list[str], operator.add]


class Item(TypedDict):
    item: int


async def one(_: Item) -> dict[str, list[str]]:
    return {"results": [KILOBYTE]}


async def fan_out(sizes: Sizes, folder: Path) -> None:
    """One task per item, and a node that runs when all are done."""
    for name, width in (("100", 100), ("1000", min(1000, sizes.long))):
        async with AsyncSqliteSaver.from_conn_string(str(folder / f"wide-{name}.db")) as saver:
            graph = StateGraph(Wide)
            graph.add_node("spread", lambda _: {})
            graph.add_node("one", one)
            graph.add_node("gather", lambda _: {})
            graph.add_edge(START, "spread")
            graph.add_conditional_edges(
                "spread", lambda state: [Send("one", {"item": i}) for i in state["items"]], ["one"]
            )
            graph.add_edge("one", "gather")
            graph.add_edge("gather", END)
            compiled = graph.compile(checkpointer=saver)
            took = []
            for index in range(3):
                with timed() as seconds:
                    await run(compiled, f"r{index}", {"items": list(range(width)), "results": []})
                took.append(seconds() * 1000)
        say(f"fan_out_{name}", statistics.median(took), "ms", f"{width} items")


async def past(sizes: Sizes, folder: Path) -> None:
    """The loop that appends: its history, a state in the middle, and a fork from there that ends one step later."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "past.db")) as saver:
        graph = loop(sizes.long, saver)
        await run(graph, "r", {"items": [], "count": 0})
        with timed() as seconds:
            states = [state async for state in graph.aget_state_history(thread("r"))]
        say("past_history", seconds() * 1000, "ms", f"{len(states)} states")
        middle = states[len(states) // 2].config
        with timed() as seconds:
            await graph.aget_state(middle)
        say("past_state_at", seconds() * 1000, "ms")
        with timed() as seconds:
            fork = await graph.aupdate_state(middle, {"count": sizes.long - 1, "items": []})
            await graph.ainvoke(None, {**fork, "recursion_limit": 5000}, durability="sync")
        say("past_fork", seconds() * 1000, "ms")


if __name__ == "__main__":
    figures = {
        "sequential_step": sequential_step,
        "concurrent_runs": concurrent_runs,
        "disk_per_step": disk_per_step,
        "history": history,
        "fan_out": fan_out,
        "past": past,
    }
    asyncio.run(play("LangGraph + SQLite, sync", "langgraph", figures))
