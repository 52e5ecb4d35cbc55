"""A run as it happens, for a terminal: its events, and what its agents say."""

from __future__ import annotations

import sys
from contextlib import aclosing

from partsong.cli.output import Output
from partsong.cli.voices import Voices
from partsong.client import Client
from partsong.contracts.errors import Problem
from partsong.contracts.events import CallFailed, Event, write

__all__ = ["describe", "show_events", "show_live"]


async def show_live(client: Client, run_id: str, out: Output) -> None:
    """Print the text of all agents until the run ends, each line behind the name of who says it."""
    voices = Voices(lambda text: out.say(text, end=""), live=sys.stderr.isatty())
    try:
        async with aclosing(client.stream(run_id)) as chunks:
            async for chunk in chunks:
                voices.take(chunk)
    finally:
        voices.close()


async def show_events(
    client: Client, run_id: str, out: Output, *, after: int = 0, follow: bool = False
) -> None:
    """Print a run's events, one a line."""
    async with aclosing(client.events(run_id, after=after, follow=follow)) as placed:
        async for found in placed:
            record = {"seq": found.seq, "index": found.index, **write(found.event)}
            out.line(record, f"{found.seq:>8}.{found.index:<2} {describe(found.event)}")
            if isinstance(found.event, CallFailed):  # those that follow from it say the same
                out.block(found.event.error.traceback)


def describe(event: Event) -> str:
    """An event in one line: when, what, about what, and what went wrong."""
    names = ("call_id", "exec", "timer_id", "owner")
    about = next((str(said) for name in names if (said := getattr(event, name, None))), "")
    problem = getattr(event, "error", None)
    said = f"  {problem.code}: {problem.message}" if isinstance(problem, Problem) else ""
    return f"{event.time}  {event.type:<22} {about}{said}".rstrip()
