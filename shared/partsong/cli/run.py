"""`partsong run`: start runs, watch them, read them again."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from partsong.cli import control, past
from partsong.cli.explain import explain
from partsong.cli.group import Group
from partsong.cli.options import (
    DEADLINE,
    DURATION_OR_ZERO,
    Address,
    address_options,
    label_option,
    parse_inputs,
)
from partsong.cli.output import EXIT, Output, output_option, pairs, run_async
from partsong.cli.repairs import carried
from partsong.cli.waiting import SHOWN, Waiting, wait_options

if TYPE_CHECKING:
    from partsong.client import OnBusy

__all__ = ["command"]

_STATUSES = (
    "queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "limit_exceeded", "damaged",
)  # fmt: skip
_COLUMNS = ("run_id", "status", "graph", "started", "error", "uncompensated")
_ON_BUSY = ("allow", "reject", "enqueue", "cancel_previous")


@click.group(cls=Group)
def command() -> None:
    """Start runs, watch them, read them again."""


@command.command(
    epilog="Example: partsong run start refund.yaml -i price=21 --max-cost 0.50 --follow"
)
@click.argument("graph")
@click.option(
    "-i", "--input", "inputs", multiple=True, metavar="K=V|@FILE", help="Input; may be repeated."
)
@click.option("--run-id", help="Your own id: starting twice is then the same run.")
@click.option("--thread", help="Runs of one thread go one after the other.")
@click.option(
    "--on-busy", type=click.Choice(_ON_BUSY), default="enqueue", show_default=True,
    help="If another run of the thread is open.",
)  # fmt: skip
@click.option(
    "--max-steps", type=click.IntRange(1), default=10_000, show_default=True,
    help="Node executions before it ends.",
)  # fmt: skip
@click.option("--max-cost", type=float, metavar="USD", help="What models may cost before it ends.")
@click.option(
    "--deadline",
    type=DEADLINE,
    help="When it ends: RFC 3339, or the time that it has, like 30m.",
)
@click.option("--webhook", metavar="URL", help="Who is told when it has ended.")
@label_option
@wait_options
@address_options
@output_option
def start(
    graph: str,
    inputs: tuple[str, ...],
    run_id: str | None,
    thread: str | None,
    on_busy: OnBusy,
    max_steps: int,
    max_cost: float | None,
    deadline: str | None,
    webhook: str | None,
    labels: dict[str, str],
    *,
    waiting: Waiting,
    address: Address,
    out: Output,
) -> None:
    """Start a run of GRAPH: a YAML or JSON file, MODULE:ATTRIBUTE, team:NAME, or a name the bus knows.

    With --wait or --follow the exit code is 4 if the run did not complete.
    """

    async def work() -> int:
        from partsong.cli.graphs import load_graph

        found, given = load_graph(graph), parse_inputs(inputs)
        async with address.client() as client:
            started = await client.start(
                found,
                given,
                run_id=run_id,
                thread=thread,
                on_busy=on_busy,
                max_steps=max_steps,
                max_cost=max_cost,
                deadline=deadline,
                webhook=webhook,
                labels=labels,
            )
            return await waiting.report(client, started, out)

    sys.exit(run_async(work()))


@command.command("list", epilog="Example: partsong run list --status failed -o jsonl")
@click.option("--status", type=click.Choice(_STATUSES), help="Only runs with this status.")
@click.option("--graph", help="Only runs of this graph.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="No more than these."
)
@click.option(
    "--after", metavar="RUN_ID", help="Only what comes after this run in the list: the next page."
)
@address_options
@output_option
def list_(
    status: str | None,
    graph: str | None,
    limit: int,
    after: str | None,
    *,
    address: Address,
    out: Output,
) -> None:
    """Runs, the newest first. If there are more than --limit, stderr says how the list goes on.

    If the log is damaged, some may be missing: stderr says so, and what to do. All forms but the table have the runs'
    labels, too.
    """

    async def work() -> None:
        from partsong.runtime.log_standing import log_standing

        async with address.client() as client:
            found = await client.runs(status=status, graph=graph, limit=limit + 1, after=after)
            runs = found[:limit]
            labels = {} if out.form == "table" else await client.labels(run.run_id for run in runs)
            log = await log_standing(client.nats, client.subjects, address.data)
        rows = [{c: getattr(run, c) for c in _COLUMNS} for run in runs]
        rows = [{**row, "labels": labels.get(str(row["run_id"]), {})} for row in rows]
        if out.plain:
            rows = [{**row, "uncompensated": ", ".join(row["uncompensated"])} for row in rows]
            rows = [{**row, "labels": pairs(row["labels"])} for row in rows]
        out.rows(rows, _COLUMNS, ("labels",))
        if len(found) > limit:
            out.say(f"there are more: --after {runs[-1].run_id}")
        if log.log == "damaged":
            out.say(f"log damaged: {carried(log.says, address.given)}")

    run_async(work())


@command.command(epilog="Example: partsong run show r_1")
@click.argument("run_id")
@click.option("--full", is_flag=True, help="Show long values whole, which a table cuts short.")
@address_options
@output_option
def show(run_id: str, address: Address, out: Output, *, full: bool) -> None:
    """How a run stands, what it waits for, where it comes from.

    Of a run whose log cannot be read to its end, it says why, and how the run stood before; then the exit code is 1.
    """

    async def work() -> int:
        from partsong.cli.failures import report
        from partsong.cli.standing import at_the_door, standing
        from partsong.contracts.errors import NotFound

        plain = out.plain
        async with address.client() as client:
            try:
                state, error = await client.readable_state(run_id)
            except NotFound:
                if (queued := await client.queued(run_id)) is not None:
                    out.record(at_the_door(run_id, queued, plain=plain))
                    return EXIT["ok"]
                state, error = await client.readable_state(run_id)  # it may have begun meanwhile
            forks = await client.forks(run_id)
        problem = error.problem if error is not None else None
        said = standing(state, forks, plain=plain, problem=problem)
        if out.record(said, most=None if full else SHOWN):
            out.say("shortened: --full or -o json shows all of it")
        out.block(state.error.traceback if state.error else None)
        return EXIT["ok"] if error is None else report(error, out)

    sys.exit(run_async(work()))


@command.command(epilog="Example: partsong run watch r_1 --timeout 10m")
@click.argument("run_id")
@click.option("--timeout", type=DURATION_OR_ZERO, help="Wait no longer, like 90s.")
@address_options
@output_option
def watch(run_id: str, timeout: float | None, address: Address, out: Output) -> None:
    """Follow a run's events and live text until it ends. Exit code 4 if it did not complete."""

    async def work() -> int:
        from partsong.cli.live import show_events, show_live
        from partsong.client.lacking import say

        async with address.client() as client:
            state = await client.state(run_id)
            if state.graph is not None and not state.ended:
                say(await client.lacking(state.graph))
            async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
                group.create_task(show_live(client, run_id, out))
                group.create_task(show_events(client, run_id, out, follow=True))
            state = await client.state(run_id)
        return EXIT["ok" if state.status == "completed" else "run_failed"]

    sys.exit(run_async(work()))


@command.command(epilog="Example: partsong run events r_1 --follow -o jsonl")
@click.argument("run_id")
@click.option("--from-seq", type=click.IntRange(0), default=0, help="Only events after this one.")
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


for _command in (*past.COMMANDS, *control.COMMANDS, explain):
    command.add_command(_command)
