"""A report at every tick of a schedule: the numbers are gathered, a model says what stands out, a file gets the report.

    python -m examples.scheduled_report --every 2s --reports 2

It starts a platform of its own, waits for so many reports, and takes the schedule away again. On a platform that stays
the schedule stays too, also while no process of yours runs: `--cron "0 8 * * mon"` would be every Monday's report.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

from examples.on_the_bus import platform
from examples.scheduled_report.steps import report
from partsong.client import Client

NAME = "orders-report"


async def work(file: Path, every: str, reports: int) -> None:
    """Set the schedule, wait for its runs, take it away."""
    model = os.environ.get("PARTSONG_EXAMPLE_MODEL", "scripted:summary")
    with tempfile.TemporaryDirectory(prefix="partsong-report-") as folder:
        async with (
            platform(Path(folder), "examples.scheduled_report.steps") as where,
            Client(where["nats_url"]) as client,
        ):
            await client.schedule(NAME, report(model), {"file": str(file)}, every=every)
            print(f"schedule {NAME}: every {every}, with {model}")
            seen: set[str] = set()
            while len(seen) < reports:
                for run in await client.runs(status="completed"):
                    if run.run_id not in seen:
                        seen.add(run.run_id)
                        print(f"{run.run_id}: {file.name} has one more report")
                await asyncio.sleep(0.2)
            await client.unschedule(NAME)


def main() -> None:
    """Print each run as it ends, then the reports."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.scheduled_report", description=__doc__
    )
    parser.add_argument("--every", default="2s", help="time between reports (default: 2s)")
    parser.add_argument("--reports", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--output", type=Path, default=Path("reports.md"))
    given = parser.parse_args()
    asyncio.run(work(given.output.resolve(), given.every, given.reports))
    print(f"\n{given.output.read_text('utf-8').rstrip()}")


if __name__ == "__main__":
    main()
