"""A pipeline over data: all rows go through a map side by side, each is a saga, and a failure undoes what was done.

    python -m examples.pipeline            every order is booked
    python -m examples.pipeline --broken   the last one cannot be, so the others are undone

`--log FILE` keeps the run: started again after a crash, it goes on where it was and does nothing twice.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from pydantic import JsonValue

from partsong.workflow import Retry, RunResult, WorkflowGraph

ORDERS: list[JsonValue] = [
    {"id": "A-1", "euros": 20, "stock": 3},
    {"id": "A-2", "euros": 35, "stock": 1},
    {"id": "A-3", "euros": 5, "stock": 9},
]
SOLD_OUT: JsonValue = {"id": "A-4", "euros": 99, "stock": 0}

Json = dict[str, Any]


def charge(state: Json) -> Json:
    """Take the money."""
    order = state["item"]
    print(f"charge {order['id']}: {order['euros']} euros")
    return {"charged": order["euros"]}


def give_back(state: Json) -> None:
    """Undo the charge; called when the run fails, the newest first."""
    print(f"give back {state['charged']} euros")


def ship(state: Json) -> Json:
    """Send it, if it is there."""
    order = state["item"]
    if not order["stock"]:
        raise LookupError(f"{order['id']} is sold out")
    print(f"ship {order['id']}")
    return {"result": f"{order['id']} for {state['charged']}"}


def total(state: Json) -> Json:
    """Sum up the whole run."""
    return {"total": sum(order["euros"] for order in state["orders"])}


def booking() -> WorkflowGraph:
    """One order: charge → ship; a charge is undone if the run fails."""
    graph = WorkflowGraph("booking")
    graph.add_node("charge", charge, retry=Retry(attempts=3))
    graph.add_node("ship", ship)
    return graph.add_edge("charge", "ship").compensate("charge", give_back)


def pipeline() -> WorkflowGraph:
    """All orders, at most two at a time → their sum."""
    graph = WorkflowGraph("pipeline")
    graph.add_map("book", booking(), over="orders", into="booked", collect="result", max_concurrency=2, on_item_error="continue")  # fmt: skip
    return graph.add_node("total", total).add_edge("book", "total")


async def work(orders: list[JsonValue], log: str | None = None) -> RunResult:
    """Run it in this process."""
    return await pipeline().execute({"orders": orders}, run_id="orders" if log else None, log=log)


def main() -> None:
    """Print what is done and undone; exit code 1 if the run failed."""
    parser = argparse.ArgumentParser(prog="python -m examples.pipeline", description=__doc__)
    parser.add_argument("--broken", action="store_true", help="with an order that is sold out")
    parser.add_argument("--log", help="keep the run in this file")
    given = parser.parse_args()
    result: Any = asyncio.run(work([*ORDERS, *([SOLD_OUT] if given.broken else [])], given.log))
    if result.error is not None:
        print(f"{result.status}: {result.error.message}")
        sys.exit(1)
    print(f"{', '.join(result['booked'])}; {result['total']} euros")


if __name__ == "__main__":
    main()
