"""`partsong run`: start runs, watch them, read them again."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from partsong.cli.output import EXIT, Output, output_option, run_async
from partsong.contracts.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import JsonValue

    from partsong.client import Client

__all__ = ["command"]

nats_option = click.option("--nats", "nats_url", help="NATS server.  [env: PARTSONG_NATS_URL]")


@click.group()
def command() -> None:
    """Start runs, watch them, read them again."""


def _client(url: str | None) -> Client:
    from partsong.client import Client

    return Client(url)


def _inputs(pairs: tuple[str, ...]) -> dict[str, JsonValue]:
    """`k=v` (JSON if it parses, else text) and `@file.json`, later ones win."""
    found: dict[str, JsonValue] = {}
    for pair in pairs:
        if pair.startswith("@"):
            try:
                value = json.loads(Path(pair[1:]).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise InvalidInput("input.unreadable", f"{pair}: {error}", where="-i") from error
            if not isinstance(value, Mapping):
                raise InvalidInput(
                    "input.not_object",
                    f"{pair} holds a {type(value).__name__}, not an object",
                    where="-i",
                )
            found.update(value)
            continue
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InvalidInput("input.malformed", f"{pair!r} is neither k=v nor @file", where="-i")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


@command.command()
@click.argument("graph")
@click.option(
    "-i", "--input", "inputs", multiple=True, metavar="K=V|@FILE", help="Input; may be repeated."
)
@click.option("--run-id", help="Your own id: starting twice is then the same run.")
@click.option("--follow", is_flag=True, help="Show live text, wait for the end, print the result.")
@click.option("--timeout", type=float, help="Seconds to follow.")
@nats_option
@output_option
def start(
    graph: str,
    inputs: tuple[str, ...],
    run_id: str | None,
    *,
    follow: bool,
    timeout: float | None,
    nats_url: str | None,
    out: Output,
) -> None:
    """Start a run of GRAPH: a YAML or JSON file, MODULE:ATTRIBUTE, or a name the bus knows."""

    async def work() -> int:
        from partsong.cli.graphs import load_graph

        async with _client(nats_url) as client:
            started = await client.start(load_graph(graph), _inputs(inputs), run_id=run_id)
            if not follow:
                out.record({"run_id": started})
                return 0
            click.echo(started, err=True)
            async with asyncio.timeout(timeout):
                await _show_live(client, started)
                result = await client.result(started)
            error = result.error.model_dump(exclude_none=True) if result.error else None
            out.record(
                {"run_id": started, "status": result.status, "state": result.state, "error": error}
            )
            return 0 if result.status == "completed" else EXIT["run_failed"]

    sys.exit(run_async(work()))


async def _show_live(client: Client, run_id: str) -> None:
    async with aclosing(client.stream(run_id)) as chunks:
        speaker = ""
        async for chunk in chunks:
            if chunk.kind == "text":
                if chunk.call_id != speaker:
                    click.echo(f"\n[{chunk.call_id}] ", err=True, nl=False)
                    speaker = chunk.call_id
                click.echo(chunk.text, err=True, nl=False)
        click.echo(err=True)


@command.command("list")
@click.option("--status", help="Only runs with this status.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@nats_option
@output_option
def list_(status: str | None, limit: int, nats_url: str | None, out: Output) -> None:
    """Runs, the newest first."""

    async def work() -> None:
        async with _client(nats_url) as client:
            runs = await client.runs(status=status, limit=limit)
        columns = ("run_id", "status", "graph", "started", "error")
        out.rows([{c: getattr(run, c) for c in columns} for run in runs], columns)

    run_async(work())


@command.command()
@click.argument("run_id")
@nats_option
@output_option
def show(run_id: str, nats_url: str | None, out: Output) -> None:
    """How a run stands, and what it waits for."""

    async def work() -> None:
        async with _client(nats_url) as client:
            state = await client.state(run_id)
        usage = state.usage.model_dump(exclude_defaults=True)
        error = state.error.model_dump(exclude_none=True) if state.error else None
        out.record(
            {
                "run_id": run_id,
                "status": state.phase,
                "waits_on": state.waits_on,
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
                "usage": usage,
                "error": error,
                "state": state.values,
            }
        )

    run_async(work())


@command.command()
@click.argument("run_id")
@nats_option
def watch(run_id: str, nats_url: str | None) -> None:
    """Follow a run's events and live text until it ends."""

    async def work() -> None:
        async with _client(nats_url) as client, asyncio.TaskGroup() as group:
            await client.state(run_id)
            group.create_task(_show_live(client, run_id))
            async with aclosing(client.events(run_id, follow=True)) as placed:
                async for found in placed:
                    click.echo(_line(found.seq, found.event))

    run_async(work())


def _line(seq: int, event: object) -> str:
    subject = next(
        (v for name in ("call_id", "exec", "timer_id") if (v := getattr(event, name, None))), ""
    )
    problem = getattr(event, "error", None)
    tail = f"  {problem.code}: {problem.message}" if problem else ""
    return (
        f"{seq:>8}  {getattr(event, 'time', '')}  {getattr(event, 'type', ''):<24} {subject}{tail}"
    )


@command.command()
@click.argument("run_id")
@click.option(
    "--from-seq", type=click.IntRange(0), default=0, help="Only events behind this sequence."
)
@click.option("--follow", is_flag=True, help="Go on until the run ends.")
@nats_option
@output_option
def events(run_id: str, from_seq: int, *, follow: bool, nats_url: str | None, out: Output) -> None:
    """A run's events, in log order."""
    from partsong.contracts.events import write

    async def work() -> None:
        async with _client(nats_url) as client:
            await client.state(run_id)
            async with aclosing(client.events(run_id, after=from_seq, follow=follow)) as placed:
                async for found in placed:
                    out.line(
                        {"seq": found.seq, "index": found.index, **write(found.event)},
                        _line(found.seq, found.event),
                    )

    run_async(work())


@command.command()
@click.argument("run_id")
@click.option(
    "--at", type=click.IntRange(1), metavar="SEQ", help="The state as it was at this sequence."
)
@nats_option
@output_option
def state(run_id: str, at: int | None, nats_url: str | None, out: Output) -> None:
    """A run's state: a fold of its log."""

    async def work() -> None:
        async with _client(nats_url) as client:
            out.record((await client.state(run_id, at=at)).values)

    run_async(work())


@command.command()
@click.argument("run_id")
@nats_option
@output_option
def replay(run_id: str, nats_url: str | None, out: Output) -> None:
    """Fold a run's log again and check every commit. Nobody is called. Exit code 1 if the log is damaged."""

    async def work() -> int:
        async with _client(nats_url) as client:
            found = await client.replay(run_id)
        findings = [finding.model_dump(exclude_none=True) for finding in found.findings]
        out.record(
            {
                "run_id": run_id,
                "ok": found.ok,
                "status": found.state.phase,
                "records": found.records,
                "events": found.events,
                "findings": findings,
            }
        )
        return 0 if found.ok else EXIT["failure"]

    sys.exit(run_async(work()))


@command.command()
@click.argument("run_id")
@click.option("--reason", required=True, help="Why; it is kept in the log.")
@nats_option
def cancel(run_id: str, reason: str, nats_url: str | None) -> None:
    """End a run; what runs for it is stopped."""

    async def work() -> None:
        async with _client(nats_url) as client:
            await client.cancel(run_id, reason)
        click.echo(f"{run_id} cancelled", err=True)

    run_async(work())
