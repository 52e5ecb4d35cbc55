"""`partsong run cancel|pause|resume|signal|retry|fork`: what can be asked of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import click

from partsong.cli.options import (
    DEADLINE,
    Address,
    address_options,
    parse_inputs,
    parse_value,
)
from partsong.cli.output import Output, output_option, run_async
from partsong.cli.waiting import Waiting, wait_options

if TYPE_CHECKING:
    from partsong.client import Client
    from partsong.contracts.errors import Conflict

__all__ = ["COMMANDS"]

_WHY = "Why; it is kept in the log."


@click.command(epilog="Example: partsong run cancel r_1 --reason 'not needed'")
@click.argument("run_id")
@click.option("--reason", required=True, help=_WHY)
@address_options
@output_option
def cancel(run_id: str, reason: str, address: Address, out: Output) -> None:
    """End a run; what runs for it is stopped. Exit code 1 if it has ended already."""

    async def work() -> None:
        async with address.client() as client:
            if not await client.cancel(run_id, reason):
                raise await _no_change(client, run_id, "cancel")
        out.say(f"{run_id} cancelled")

    run_async(work())


@click.command(epilog="Example: partsong run pause r_1 --reason 'the bank is closed'")
@click.argument("run_id")
@click.option("--reason", help=_WHY)
@address_options
@output_option
def pause(run_id: str, reason: str | None, address: Address, out: Output) -> None:
    """Begin nothing new in a run; what is in flight goes on, and its results are kept. Exit code 1 if it cannot be."""

    async def work() -> None:
        async with address.client() as client:
            if not await client.pause(run_id, reason):
                raise await _no_change(client, run_id, "pause")
        out.say(f"{run_id} paused; it goes on with: partsong run resume {run_id}")

    run_async(work())


@click.command(epilog="Example: partsong run resume r_1")
@click.argument("run_id")
@address_options
@output_option
def resume(run_id: str, address: Address, out: Output) -> None:
    """Go on with a paused run. Exit code 1 if it is not paused."""

    async def work() -> None:
        async with address.client() as client:
            if not await client.resume(run_id):
                raise await _no_change(client, run_id, "resume")
        out.say(f"{run_id} resumed")

    run_async(work())


@click.command(epilog="""Example: partsong run signal r_1 paid '{"sum": 42}' --id payment-7""")
@click.argument("run_id")
@click.argument("name")
@click.argument("payload", required=False)
@click.option(
    "--key", help="Which of several waits for the signal is meant: the one with this key."
)
@click.option("--id", "signal_id", help="Your own id: sent twice, the signal counts once.")
@click.option(
    "--start",
    metavar="GRAPH",
    help="Begin the run if it is not there: a file, MODULE:ATTRIBUTE, or a name.",
)
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="K=V|@FILE",
    help="Input of a run that begins.",
)
@address_options
@output_option
def signal(
    run_id: str,
    name: str,
    payload: str | None,
    key: str | None,
    signal_id: str | None,
    start: str | None,
    inputs: tuple[str, ...],
    address: Address,
    out: Output,
) -> None:
    """Send a run the signal NAME; PAYLOAD is JSON, or else text."""

    async def work() -> None:
        from partsong.cli.graphs import load_graph

        value = None if payload is None else parse_value(payload)
        graph = None if start is None else load_graph(start)
        given = parse_inputs(inputs) if inputs else None
        async with address.client() as client:
            await client.signal(
                run_id, name, value, key=key, signal_id=signal_id, start=graph, input=given
            )
        out.say(f"{run_id} has the signal {name}")

    run_async(work())


@click.command(epilog="Example: partsong run retry r_1 --graph mended.yaml --follow")
@click.argument("run_id")
@click.option("--graph", help="The graph mended: a file, MODULE:ATTRIBUTE, or a name.")
@click.option("--max-steps", type=click.IntRange(1), help="New limit of node executions.")
@click.option("--max-cost", type=float, metavar="USD", help="New limit of what models may cost.")
@click.option("--deadline", type=DEADLINE, help="New end: RFC 3339, or from now, like 30m.")
@click.option("--reason", help=_WHY)
@wait_options
@address_options
@output_option
def retry(
    run_id: str,
    graph: str | None,
    max_steps: int | None,
    max_cost: float | None,
    deadline: str | None,
    reason: str | None,
    *,
    waiting: Waiting,
    address: Address,
    out: Output,
) -> None:
    """Go on with a run that failed, was cancelled or met a limit: only what is unfinished runs.

    With --wait or --follow the exit code is 4 if the run did not complete.
    """

    async def work() -> int:
        from partsong.cli.graphs import load_graph

        async with address.client() as client:
            await client.retry(
                run_id,
                graph=load_graph(graph) if graph else None,
                max_steps=max_steps,
                max_cost=max_cost,
                deadline=deadline,
                reason=reason,
            )
            return await waiting.report(client, run_id, out)

    sys.exit(run_async(work()))


@click.command(epilog="Example: partsong run fork r_1 --at 12 --set total=30 --follow")
@click.argument("run_id")
@click.option("--at", type=click.IntRange(1), metavar="SEQ", help="Where.  [default: its end]")
@click.option(
    "--set", "values", multiple=True, metavar="K=V|@FILE", help="Set a key of the state; may be repeated."
)  # fmt: skip
@click.option(
    "--returned", "outputs", multiple=True, metavar="EXEC=JSON",
    help="What an execution like price:1 is taken to have returned; may be repeated.",
)  # fmt: skip
@click.option(
    "--run-id", "new_run_id", help="The new run's id: forking twice is then the same run."
)
@wait_options
@address_options
@output_option
def fork(
    run_id: str,
    at: int | None,
    values: tuple[str, ...],
    outputs: tuple[str, ...],
    new_run_id: str | None,
    *,
    waiting: Waiting,
    address: Address,
    out: Output,
) -> None:
    """Begin a new run where another one was, perhaps with other values.

    `run history` lists the sequences. With --wait or --follow the exit code is 4 if the run did not complete.
    """

    async def work() -> int:
        edited = parse_inputs(values, "--set")
        returned = cast("dict[str, Mapping[str, object]]", parse_inputs(outputs, "--returned"))
        async with address.client() as client:
            forked = await client.fork(
                run_id, at, new_run_id=new_run_id, values=edited, outputs=returned
            )
            return await waiting.report(client, forked, out)

    sys.exit(run_async(work()))


async def _no_change(client: Client, run_id: str, verb: str) -> Conflict:
    """What to say of a run in which there was nothing to cancel, to pause or to go on with."""
    from partsong.contracts.errors import Conflict

    state = await client.state(run_id)
    code, says, fix = "run.not_paused", f"is {state.phase}, and not paused", None
    if state.ended:
        code, says = "run.ended", f"has ended already: it is {state.phase}"
        fix = f"partsong run show {run_id}" if verb != "resume" else f"partsong run retry {run_id}"
    elif verb == "cancel":
        code, says = "run.ending", "is being cancelled already, or ends for another reason"
    elif verb == "pause":
        code, says, fix = "run.paused", "is paused already", f"partsong run resume {run_id}"
    return Conflict(code, f"run {run_id} {says}; nothing was changed", where="run_id", fix=fix)


COMMANDS = (cancel, pause, resume, signal, retry, fork)
"""For `partsong run`."""
