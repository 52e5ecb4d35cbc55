"""Record histories of this version: `python -m tests.histories.record v0.1`. A released version's are never recorded again."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from pydantic import JsonValue

from partsong.runtime.nats.server import start_embedded
from partsong.testing.nats import a_bus, fresh_subjects
from tests.system import graphs
from tests.system.platform import a_platform, decide

HERE = Path(__file__).parent
RUNS: dict[str, tuple[dict[str, JsonValue], bool | None]] = {
    "diamond": ({}, None),
    "loop": ({"until": 3}, None),
    "retrying": ({}, None),
    "failing": ({"x": 1}, None),
    "calculating": ({"amount": 14}, None),
    "asking": ({"word": "hello"}, None),
    "approving": ({"amount": 5}, True),
}


async def record(folder: Path) -> None:
    """Play each graph on the bus, and keep its log and its outcome."""
    with tempfile.TemporaryDirectory() as data:
        async with (
            start_embedded(Path(data), fast=True) as server,
            a_bus(server.url, fresh_subjects()) as bus,
            a_platform(bus) as platform,
        ):
            for name, (input, approve) in RUNS.items():
                run_id = await platform.client.start(
                    getattr(graphs, name)(), input, run_id=f"r_{name}"
                )
                if approve is not None:
                    await decide(bus, platform, run_id, approve=approve)
                result = await platform.client.result(run_id, timeout=30)
                lines = [
                    json.dumps({"seq": r.seq, "body": r.body.decode()})
                    async for r in platform.client.log.read(bus.subjects.run(run_id))
                ]
                outcome = {"status": result.status, "state": result.state}
                (folder / f"{name}.jsonl").write_text(
                    "\n".join([*lines, json.dumps(outcome)]) + "\n"
                )


if __name__ == "__main__":
    target = HERE / sys.argv[1]
    if target.exists():
        raise SystemExit(f"{target.name} is recorded already, and histories are kept as they are")
    target.mkdir()
    asyncio.run(record(target))
