"""`partsong worker start ROLE`: one service in this process. This is what containers run."""

from __future__ import annotations

import importlib
import os
import sys

import click

from partsong.cli.platform import ROLES

__all__ = ["command"]


@click.group()
def command() -> None:
    """Run one service in this process."""


@command.command()
@click.argument("role", type=click.Choice(ROLES))
@click.option("--nats", "nats_url", help="NATS server.  [env: PARTSONG_NATS_URL]")
@click.option("--name", help="Name that is stable over restarts.  [env: PARTSONG_WORKER]")
@click.option(
    "--load",
    "loads",
    multiple=True,
    metavar="MODULE",
    help="Module with functions; may be repeated.  [env: PARTSONG_LOAD]",
)
def start(role: str, nats_url: str | None, name: str | None, loads: tuple[str, ...]) -> None:
    """Run ROLE until it is told to stop (SIGTERM, Ctrl-C), then drain.

    Exit codes: 0 drained, 1 failed, 2 told something wrong.
    """
    from partsong.contracts.errors import InvalidInput, NotFound
    from partsong.runtime.serve import serve
    from partsong.runtime.settings import from_env

    given = {
        "PARTSONG_NATS_URL": nats_url,
        "PARTSONG_WORKER": name,
        "PARTSONG_LOAD": ",".join(loads),
    }
    env = {**os.environ, **{key: value for key, value in given.items() if value}}
    try:
        settings = from_env(env)
        app = importlib.import_module(f"partsong.{role.replace('-', '_')}.app")
        service = app.service(settings)
    except (InvalidInput, NotFound) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    sys.exit(serve(service, settings))


@command.command()
@click.option("--nats", "nats_url", help="NATS server.  [env: PARTSONG_NATS_URL]")
@click.option("--name", help="Name of the worker.  [env: PARTSONG_WORKER; default: any]")
def health(nats_url: str | None, name: str | None) -> None:
    """Whether a worker is alive: exit code 0 if it beats within three seconds. For container health checks."""
    from partsong.cli.output import run_async

    wanted = name or os.environ.get("PARTSONG_WORKER", "")

    async def work() -> str | None:
        from partsong.client import Client
        from partsong.runtime.alive import Watch

        async with Client(nats_url) as client:
            watch = Watch(client.nats, client.subjects)
            await watch.start()
            try:
                return await watch.heard(wanted, within=3.0)
            finally:
                await watch.stop()

    worker = run_async(work())
    click.echo(
        f"{worker} is alive" if worker else f"no heartbeat of {wanted or 'any worker'}", err=True
    )
    sys.exit(0 if worker else 1)
