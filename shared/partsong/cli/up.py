"""`partsong up`: the whole platform with one command."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

import click

from partsong.cli.platform import Platform
from partsong.contracts.errors import PartsongError

__all__ = ["command"]


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".partsong"),
    show_default=True,
    help="Where everything is kept.",
)
@click.option(
    "--load",
    "loads",
    multiple=True,
    metavar="MODULE",
    help="Module with functions for the tool-runner; may be repeated.",
)
@click.option("--nats", "nats_url", help="Use this NATS server instead of the embedded one.")
@click.option(
    "--fast",
    is_flag=True,
    help="Sync to disk every 100 ms instead of at every append: a power cut may lose the last 100 ms.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    default=8420,
    show_default=True,
    help="Port of the approval service; 0 takes a free one.",
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write URLs and process ids here, as JSON, once all is ready.",
)
def command(
    data: Path,
    loads: tuple[str, ...],
    nats_url: str | None,
    *,
    fast: bool,
    http_port: int,
    ready_file: Path | None,
) -> None:
    """Run NATS and all services on this machine, until Ctrl-C."""
    env = {**os.environ, "PARTSONG_HTTP_PORT": str(http_port)}
    if loads:
        env["PARTSONG_LOAD"] = ",".join(loads)
    platform = Platform(data.resolve(), env=env, nats_url=nats_url, fast=fast, say=_say)
    try:
        asyncio.run(_run(platform, ready_file))
    except PartsongError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _say(who: str, what: str) -> None:
    click.echo(f"{who:<14} {what}", err=True)


async def _run(platform: Platform, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await _until(stop, platform.start())
        if not stop.is_set():
            if ready_file is not None:
                platform.note(ready_file)
            click.echo(f"NATS  {platform.nats_url}")
            click.echo(f"HTTP  {platform.http_url}")
            click.echo("Ctrl-C stops everything.", err=True)
            await stop.wait()
    finally:
        await platform.stop()


async def _until(stop: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Do `work`, but no longer than until `stop`."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
    else:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
