"""Waiting for a run's end: the options for it, and what is shown meanwhile and then."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from partsong.cli.options import DURATION_OR_ZERO
from partsong.cli.output import EXIT, Output

if TYPE_CHECKING:
    from partsong.client import Client
    from partsong.contracts.state.results import RunResult

__all__ = ["SHOWN", "Waiting", "wait_options"]

R = TypeVar("R")

SHOWN = 2_000
"""Characters of a run's state, or of anything else of it, that a table shows."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether to wait for a run's end, and how."""

    wait: bool
    follow: bool
    timeout: float | None

    async def report(self, client: Client, run_id: str, out: Output) -> int:
        """Print the run's id, or its outcome if it is waited for; the exit code."""
        from partsong.cli.live import show_live

        if not (self.wait or self.follow):
            out.record({"run_id": run_id})
            return EXIT["ok"]
        out.say(run_id)
        async with asyncio.timeout(self.timeout):
            if self.follow:
                await show_live(client, run_id, out)
            result = await client.result(run_id)
        if out.record(_summary(result, plain=out.form == "table"), most=SHOWN):
            out.say(f"shortened: `partsong run state {run_id}` or -o json shows all of it")
        out.block(result.error.traceback if result.error else None)
        return EXIT["ok" if result.status == "completed" else "run_failed"]


def wait_options(command: Callable[..., R]) -> Callable[..., R]:
    """`--wait`, `--follow` and `--timeout`; the command gets `waiting`."""

    @functools.wraps(command)
    def waits(*args: Any, wait: bool, follow: bool, timeout: float | None, **named: Any) -> R:
        return command(*args, waiting=Waiting(wait, follow, timeout), **named)

    end = click.option("--wait", is_flag=True, help="Wait for the end, print the result.")
    live = click.option("--follow", is_flag=True, help="Like --wait, and show live text meanwhile.")
    bound = click.option("--timeout", type=DURATION_OR_ZERO, help="Wait no longer, like 90s.")
    return end(live(bound(waits)))


def _summary(result: RunResult, *, plain: bool) -> dict[str, object]:
    from partsong.cli.standing import error_of

    return {
        "run_id": result.run_id,
        "status": result.status,
        "state": result.state,
        "error": error_of(result.error, plain=plain),
    }
