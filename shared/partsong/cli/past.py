"""`partsong run history|state|diff|compare|replay`: a run's past. Nobody is called, nothing changes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from partsong.cli.options import Address, address_options
from partsong.cli.output import EXIT, Output, output_option, run_async

if TYPE_CHECKING:
    from partsong.client import Change, Comparison
    from partsong.client.comparison import Side

__all__ = ["COMMANDS"]

_AT = click.IntRange(1)


@click.command(epilog="Example: partsong run history r_1")
@click.argument("run_id")
@address_options
@output_option
def history(run_id: str, address: Address, out: Output) -> None:
    """A run's checkpoints: the sequences that can be read, compared and forked from, and what was decided there.

    Of a damaged run those before the first lost record are listed: they can be read, not compared or forked from.
    Then the exit code is 1; it is 78 if the log as a whole is damaged.
    """

    async def work() -> int:
        from partsong.cli.failures import report

        async with address.client() as client:
            found, problem = await client.readable_history(run_id)
        plain = out.plain
        rows = (
            {
                "seq": checkpoint.seq,
                "n": checkpoint.n,
                "time": checkpoint.time,
                "status": checkpoint.status,
                "did": ", ".join(checkpoint.did) if plain else checkpoint.did,
            }
            for checkpoint in found
        )
        out.rows(rows, ("seq", "time", "status", "did"))
        return EXIT["ok"] if problem is None else report(problem, out)

    sys.exit(run_async(work()))


@click.command(epilog="Example: partsong run state r_1 --at 12")
@click.argument("run_id")
@click.option("--at", type=_AT, metavar="SEQ", help="As it was at this sequence.")
@address_options
@output_option
def state(run_id: str, at: int | None, address: Address, out: Output) -> None:
    """A run's state: a fold of its log."""

    async def work() -> None:
        async with address.client() as client:
            out.record((await client.state(run_id, at=at)).values)

    run_async(work())


@click.command(epilog="Example: partsong run diff r_1 3 12")
@click.argument("run_id")
@click.argument("before", type=_AT)
@click.argument("after", type=_AT)
@address_options
@output_option
def diff(run_id: str, before: int, after: int, address: Address, out: Output) -> None:
    """Where a run's state at sequence AFTER differs from that at BEFORE."""

    async def work() -> None:
        async with address.client() as client:
            found = await client.diff(run_id, before, after)
        out.rows(_changes(found), ("kind", "path", "before", "after"))

    run_async(work())


@click.command(epilog="Example: partsong run compare r_1 r_2")
@click.argument("run_a")
@click.argument("run_b")
@address_options
@output_option
def compare(run_a: str, run_b: str, address: Address, out: Output) -> None:
    """How two runs differ: what became of their executions, and their states."""

    async def work() -> None:
        async with address.client() as client:
            found = await client.compare(run_a, run_b)
        if out.plain:
            _show(found, out)
        else:
            out.record(_whole(found))

    run_async(work())


@click.command(epilog="Example: partsong run replay r_1")
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


def _changes(changes: Iterable[Change]) -> list[dict[str, object]]:
    return [dataclasses.asdict(change) for change in changes]


def _show(found: Comparison, out: Output) -> None:
    from partsong.cli.standing import place

    parted = place(found.parted) if found.parted else "nothing in common"
    out.record({"a": _line(found.a), "b": _line(found.b), "parted": parted})
    rows = [
        {"what": what, **row}
        for what, changes in (("execution", found.executions), ("state", found.state))
        for row in _sides(changes)
    ]
    out.rows(rows, ("what", "path", "a", "b"))


def _sides(changes: Iterable[Change]) -> list[dict[str, object]]:
    return [{"path": c.path, "kind": c.kind, "a": c.before, "b": c.after} for c in changes]


def _line(side: Side) -> str:
    error = f", {side.error.code}" if side.error else ""
    return f"{side.run_id}: {side.status}{error}, {side.steps} steps"


def _whole(found: Comparison) -> dict[str, object]:
    return {
        "a": _side(found.a),
        "b": _side(found.b),
        "parted": dataclasses.asdict(found.parted) if found.parted else None,
        "executions": _sides(found.executions),
        "state": _sides(found.state),
    }


def _side(side: Side) -> dict[str, object]:
    return {
        "run_id": side.run_id,
        "status": side.status,
        "error": side.error.model_dump(exclude_none=True) if side.error else None,
        "steps": side.steps,
        "usage": side.usage.model_dump(exclude_defaults=True),
        "executions": dict(side.executions),
    }


COMMANDS = (history, state, diff, compare, replay)
"""For `partsong run`."""
