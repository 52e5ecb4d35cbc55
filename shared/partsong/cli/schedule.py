"""`partsong schedule`: runs that begin again and again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from partsong.cli.group import Group
from partsong.cli.options import DURATION, Address, address_options, label_option, parse_inputs
from partsong.cli.output import Output, output_option, run_async

if TYPE_CHECKING:
    from partsong.client import Client, Overlap
    from partsong.contracts.wire.requests import ScheduleRequest

__all__ = ["command"]

_OVERLAPS = ("allow", "skip", "enqueue", "cancel_previous")


@click.group(cls=Group)
def command() -> None:
    """Start runs again and again."""


@command.command(
    epilog="Example: partsong schedule add morning report.yaml --cron '30 9 * * mon-fri' --timezone Europe/Berlin"
)
@click.argument("name")
@click.argument("graph")
@click.option(
    "-i", "--input", "inputs", multiple=True, metavar="K=V|@FILE", help="Input; may be repeated."
)
@click.option("--every", type=DURATION, help="Time between starts, like 30m or 1h30m.")
@click.option("--cron", help="Six fields, seconds first: '0 30 9 * * mon-fri'.")
@click.option("--timezone", help="IANA name for --cron.  [default: UTC]")
@click.option(
    "--overlap", type=click.Choice(_OVERLAPS), default="skip", show_default=True,
    help="When the run before is still open.",
)  # fmt: skip
@click.option(
    "--max-steps", type=click.IntRange(1), default=10_000, show_default=True,
    help="Node executions before a run ends.",
)  # fmt: skip
@click.option(
    "--max-cost", type=float, metavar="USD", help="What models may cost before a run ends."
)
@click.option("--webhook", metavar="URL", help="Who is told when a run has ended.")
@label_option
@address_options
@output_option
def add(
    name: str,
    graph: str,
    inputs: tuple[str, ...],
    every: float | None,
    cron: str | None,
    timezone: str | None,
    overlap: Overlap,
    max_steps: int,
    max_cost: float | None,
    webhook: str | None,
    labels: dict[str, str],
    address: Address,
    out: Output,
) -> None:
    """Start runs of GRAPH under a NAME, by --every or --cron; a schedule of that name is replaced."""
    if every is None and cron is None:
        raise click.UsageError("give --every DURATION or --cron EXPRESSION")
    if every is not None and cron is not None:
        raise click.UsageError("give --every or --cron, not both")

    async def work() -> None:
        from partsong.cli.graphs import load_graph

        found, given = load_graph(graph), parse_inputs(inputs)
        async with address.client() as client:
            await client.schedule(
                name,
                found,
                given,
                every=every,
                cron=cron,
                timezone=timezone,
                overlap=overlap,
                max_steps=max_steps,
                max_cost=max_cost,
                webhook=webhook,
                labels=labels,
            )
        out.say(f"{name} is scheduled; its runs are called {name}~...")

    run_async(work())


@command.command("list", epilog="Example: partsong schedule list -o json")
@address_options
@output_option
def list_(address: Address, out: Output) -> None:
    """All schedules, by name."""
    from partsong.contracts.durations import format_duration

    async def work() -> None:
        async with address.client() as client:
            found = await client.schedules()
            names = await _names(client, found)
        rows = [
            {
                "name": kept.name,
                "every": format_duration(kept.every) if kept.every and out.plain else kept.every,
                "cron": kept.cron,
                "timezone": kept.timezone,
                "overlap": kept.overlap,
                "graph": names.get(str(kept.graph), kept.graph),
                "graph_hash": kept.graph if str(kept.graph) in names else None,
                "input": kept.input,
            }
            for kept in found
        ]
        out.rows(
            rows,
            ("name", "every", "cron", "timezone", "overlap", "graph", "input"),
            ("graph_hash",),
        )

    run_async(work())


async def _names(client: Client, schedules: Iterable[ScheduleRequest]) -> dict[str, str]:
    """The names of the graphs that schedules name by hash; of one that the bus does not know any more, a short hash."""
    from partsong.contracts.errors import NotFound

    names: dict[str, str] = {}
    for hash_ in {str(one.graph) for one in schedules if str(one.graph).startswith("sha256:")}:
        try:
            names[hash_] = (await client.graph(hash_)).name
        except NotFound:
            names[hash_] = f"{hash_[:19]}…"
    return names


@command.command(epilog="Example: partsong schedule remove morning")
@click.argument("name")
@address_options
@output_option
def remove(name: str, address: Address, out: Output) -> None:
    """Start no more runs for a schedule; those that run go on."""

    async def work() -> None:
        async with address.client() as client:
            await client.unschedule(name)
        out.say(f"{name} is removed")

    run_async(work())
