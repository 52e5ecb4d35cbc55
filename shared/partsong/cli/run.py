"""`partsong run`: start runs, watch them, read them again."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from partsong.cli.options import Address, address_options, parse_inputs
from partsong.cli.output import EXIT, Output, output_option, run_async

if TYPE_CHECKING:
    from partsong.contracts.results import RunResult

__all__ = ["command"]

_STATUSES = (
    "queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "limit_exceeded",
)  # fmt: skip


@click.group()
def command() -> None:
    """Start runs, watch them, read them again."""


@command.command()
@click.argument("graph")
@click.option(
    "-i", "--input", "inputs", multiple=True, metavar="K=V|@FILE", help="Input; may be repeated."
)
@click.option("--run-id", help="Your own id: starting twice is then the same run.")
@click.option("--wait", is_flag=True, help="Wait for the end, print the result.")
@click.option("--follow", is_flag=True, help="Like --wait, and show live text meanwhile.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer.")
@address_options
@output_option
def start(
    graph: str,
    inputs: tuple[str, ...],
    run_id: str | None,
    *,
    wait: bool,
    follow: bool,
    timeout: float | None,
    address: Address,
    out: Output,
) -> None:
    """Start a run of GRAPH: a YAML or JSON file, MODULE:ATTRIBUTE, or a name the bus knows.

    With --wait or --follow the exit code is 4 if the run did not complete.
    """

    async def work() -> int:
        from partsong.cli.graphs import load_graph
        from partsong.cli.live import show_live

        found, given = load_graph(graph), parse_inputs(inputs)
        async with address.client() as client:
            started = await client.start(found, given, run_id=run_id)
            if not (wait or follow):
                out.record({"run_id": started})
                return EXIT["ok"]
            out.say(started)
            async with asyncio.timeout(timeout):
                if follow:
                    await show_live(client, started, out)
                result = await client.result(started)
        out.record(_summary(result))
        return EXIT["ok" if result.status == "completed" else "run_failed"]

    sys.exit(run_async(work()))


def _summary(result: RunResult) -> dict[str, object]:
    error = result.error.model_dump(exclude_none=True) if result.error else None
    return {
        "run_id": result.run_id,
        "status": result.status,
        "state": result.state,
        "error": error,
    }


@command.command("list")
@click.option("--status", type=click.Choice(_STATUSES), help="Only runs with this status.")
@click.option("--graph", help="Only runs of this graph.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="No more than these."
)
@address_options
@output_option
def list_(status: str | None, graph: str | None, limit: int, address: Address, out: Output) -> None:
    """Runs, the newest first."""

    async def work() -> None:
        async with address.client() as client:
            runs = await client.runs(status=status, graph=graph, limit=limit)
        columns = ("run_id", "status", "graph", "started", "error")
        out.rows([{c: getattr(run, c) for c in columns} for run in runs], columns)

    run_async(work())


@command.command()
@click.argument("run_id")
@address_options
@output_option
def show(run_id: str, address: Address, out: Output) -> None:
    """How a run stands, and what it waits for."""

    async def work() -> None:
        async with address.client() as client:
            state = await client.state(run_id)
        error = state.error.model_dump(exclude_none=True) if state.error else None
        out.record(
            {
                "run_id": run_id,
                "status": state.phase,
                "waits_on": str(state.waits_on) if state.waits_on else None,
                "graph": state.graph.name if state.graph else None,
                "graph_hash": state.graph.hash if state.graph else None,
                "started": state.started,
                "updated": state.updated,
                "steps": state.steps,
                "open": [
                    f"{c.id} (attempt {c.attempt}{', ' + c.worker if c.worker else ''})"
                    for c in state.calls.values()
                    if c.open
                ],
                "usage": state.usage.model_dump(exclude_defaults=True),
                "error": error,
                "state": state.values,
            }
        )

    run_async(work())


@command.command()
@click.argument("run_id")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer.")
@address_options
@output_option
def watch(run_id: str, timeout: float | None, address: Address, out: Output) -> None:
    """Follow a run's events and live text until it ends. Exit code 4 if it did not complete."""

    async def work() -> int:
        from partsong.cli.live import show_events, show_live

        async with address.client() as client:
            await client.state(run_id)
            async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
                group.create_task(show_live(client, run_id, out))
                group.create_task(show_events(client, run_id, out, follow=True))
            state = await client.state(run_id)
        return EXIT["ok" if state.status == "completed" else "run_failed"]

    sys.exit(run_async(work()))


@command.command()
@click.argument("run_id")
@click.option("--from-seq", type=click.IntRange(0), default=0, help="Only events behind this one.")
@click.option("--follow", is_flag=True, help="Go on until the run ends.")
@address_options
@output_option
def events(run_id: str, from_seq: int, *, follow: bool, address: Address, out: Output) -> None:
    """A run's events, in log order."""

    async def work() -> None:
        from partsong.cli.live import show_events

        async with address.client() as client:
            await client.state(run_id)
            await show_events(client, run_id, out, after=from_seq, follow=follow)

    run_async(work())


@command.command()
@click.argument("run_id")
@click.option("--at", type=click.IntRange(1), metavar="SEQ", help="As it was at this sequence.")
@address_options
@output_option
def state(run_id: str, at: int | None, address: Address, out: Output) -> None:
    """A run's state: a fold of its log."""

    async def work() -> None:
        async with address.client() as client:
            out.record((await client.state(run_id, at=at)).values)

    run_async(work())


@command.command()
@click.argument("run_id")
@address_options
@output_option
def replay(run_id: str, address: Address, out: Output) -> None:
    """Fold a run's log again and check every commit. Nobody is called. Exit code 1 if the log is damaged."""

    async def work() -> int:
        async with address.client() as client:
            found = await client.replay(run_id)
        out.record(
            {
                "run_id": run_id,
                "ok": found.ok,
                "status": found.state.phase,
                "records": found.records,
                "events": found.events,
                "verified": found.verified,
                "findings": [finding.model_dump(exclude_none=True) for finding in found.findings],
            }
        )
        return EXIT["ok" if found.ok else "failure"]

    sys.exit(run_async(work()))


@command.command()
@click.argument("run_id")
@click.option("--reason", required=True, help="Why; it is kept in the log.")
@address_options
@output_option
def cancel(run_id: str, reason: str, address: Address, out: Output) -> None:
    """End a run; what runs for it is stopped."""

    async def work() -> None:
        async with address.client() as client:
            await client.cancel(run_id, reason)
        out.say(f"{run_id} cancelled")

    run_async(work())
