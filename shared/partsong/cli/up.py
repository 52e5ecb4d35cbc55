"""`partsong up`: the whole platform with one command."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from partsong.cli.options import data_option, given_options
from partsong.cli.output import Output, output_option, run_async
from partsong.cli.platform import Platform
from partsong.cli.process_list import out_of_sight
from partsong.runtime.visible import without_password

if TYPE_CHECKING:
    from partsong.cli.reloading import SourceWatch

__all__ = ["command"]


@click.command(epilog="Example: partsong up --load shop.nodes --fast")
@data_option("Where everything is kept.")
@click.option(
    "--load",
    "loads",
    multiple=True,
    metavar="MODULE",
    help="Module with functions and tools for the tool-runner; may be repeated.  [env: PARTSONG_LOAD]",
)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="NAME",
    help="Plugin of all runs, by entry point or module:Class; may be repeated.  [env: PARTSONG_PLUGINS]",
)
@click.option(
    "--nats", "nats_url", metavar="URL", help="Use this NATS server instead of the embedded one."
)
@click.option(
    "--fast",
    is_flag=True,
    help="Sync to disk every 100 ms instead of at every append: a power cut may lose the last 100 ms.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    default=8420,
    envvar="PARTSONG_HTTP_PORT",
    show_default=True,
    show_envvar=True,
    help="Port of the approval service; 0 takes a free one, and so does the default if it is taken.",
)
@click.option(
    "-d", "--detach", is_flag=True, help="Return once all is ready; `partsong down` stops it."
)
@click.option(
    "--reload",
    is_flag=True,
    help="For development: start the tool-runner again when the code of loaded modules changes.",
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write URLs and process ids here, as JSON, once all is ready; kept up to date as services are started again.",
)
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    data: Path,
    loads: tuple[str, ...],
    plugins: tuple[str, ...],
    nats_url: str | None,
    *,
    fast: bool,
    http_port: int,
    detach: bool,
    reload: bool,
    ready_file: Path | None,
    out: Output,
) -> None:
    """Run NATS and all services on this machine, until Ctrl-C. A second Ctrl-C does not wait for them.

    With --detach it goes on in the background, and logs to logs/up.log of the data directory.
    Exit codes: 0 stopped, 1 failed, 2 told something wrong, 78 the log is damaged or what a service stands on is not fit.
    """
    nats_url = out_of_sight(nats_url)
    if detach:
        from partsong.cli.detached import detached

        sys.exit(run_async(detached(_words(ctx), data.resolve(), out)))
    default = ctx.get_parameter_source("http_port") is ParameterSource.DEFAULT
    if default and _taken(http_port):
        out.say(f"{'http':<14} port {http_port} is taken, using a free one")
        http_port = 0
    env = {**os.environ, "PARTSONG_HTTP_PORT": str(http_port)}
    if plugins:
        env["PARTSONG_PLUGINS"] = ",".join(plugins)
    if loads:
        env["PARTSONG_LOAD"] = ",".join(loads)

    def say(who: str, what: str) -> None:
        out.say(f"{who:<14} {what}")

    words = given_options((("--nats", "nats_url", nats_url), ("--data", "data", data)))
    watched = _watched(env) if reload else None
    platform = Platform(
        data.resolve(), env=env, nats_url=nats_url, fast=fast, say=say, words=words, watched=watched
    )
    run_async(_run(platform, ready_file, out))


def _words(ctx: click.Context) -> list[str]:
    """The options that were typed, as words of another `partsong up` that stays in the foreground."""
    typed = list[str]()
    for option in ctx.command.params:
        name, value = option.name or "", ctx.params.get(option.name or "")
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name in {"detach", "out"}:
            continue
        if isinstance(value, bool):
            typed += [option.opts[-1]] if value else []
            continue
        for one in value if isinstance(value, tuple) else (value,):
            typed += [option.opts[-1], str(one.resolve() if isinstance(one, Path) else one)]
    return typed


def _watched(env: Mapping[str, str]) -> SourceWatch:
    """The code that a tool-runner loads; another module in the same folder is watched with it.

    Raises:
        InvalidInput: `up.nothing_to_watch`.
    """
    from partsong.cli.reloading import SourceWatch
    from partsong.contracts.errors import InvalidInput
    from partsong.runtime.settings import from_env

    watched = SourceWatch(from_env(env).loads, Path.cwd())
    if not watched.files:
        fix = "name a module with --load, or leave --reload out"
        raise InvalidInput("up.nothing_to_watch", "no code is loaded", where="--reload", fix=fix)
    return watched


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


async def _run(platform: Platform, ready_file: Path | None, out: Output) -> None:
    stop = asyncio.Event()

    def told() -> None:
        if stop.is_set():
            platform.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    try:
        await _until(stop, platform.start())
        if not stop.is_set():
            if ready_file is not None:
                platform.note(ready_file)
            nats_url = without_password(platform.nats_url)
            out.record({"nats": nats_url, "http": platform.http_url})
            sys.stdout.flush()
            for line in await platform.loaded():
                out.say(f"{'loaded':<14} {line}")
            out.say("Ctrl-C stops everything.")
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
