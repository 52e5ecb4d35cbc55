"""`partsong doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec

import click

from partsong.cli.output import EXIT, Output, output_option, run_async
from partsong.contracts.errors import NotFound, PartsongError, Unavailable

__all__ = ["command"]

_EXTRAS = {
    "gateway": ("anthropic", "openai", "google.genai"),
    "approval": ("litestar", "sqlmodel"),
    "otel": ("opentelemetry.sdk",),
}


@click.command()
@click.option("--nats", "nats_url", help="NATS server.  [env: PARTSONG_NATS_URL]")
@output_option
def command(nats_url: str | None, out: Output) -> None:
    """Check this machine and the bus. Exit code 1 if something that is needed is missing."""

    async def work() -> int:
        checks: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
            ("python", _python),
            ("nats-server", _server),
            ("extras", _extras),
            ("providers", _providers),
            ("bus", lambda: _bus(nats_url)),
        )
        found: list[dict[str, object]] = []
        for name, check in checks:
            try:
                found.append({"check": name, "ok": True, "says": await check()})
            except PartsongError as error:
                fix = f"; {error.problem.fix}" if error.problem.fix else ""
                found.append({"check": name, "ok": False, "says": f"{error.problem.message}{fix}"})
        out.rows(found, ("check", "ok", "says"))
        return 0 if all(row["ok"] for row in found) else EXIT["failure"]

    sys.exit(run_async(work()))


async def _python() -> str:
    return sys.version.split()[0]


async def _server() -> str:
    from partsong.runtime.nats_binary import find_nats_server

    return str(find_nats_server().name) + " found"


async def _extras() -> str:
    missing = [
        f"{module} (partsong[{extra}])"
        for extra, modules in _EXTRAS.items()
        for module in modules
        if not _there(module)
    ]
    if missing:
        raise NotFound(
            "extra.missing",
            f"not installed: {', '.join(missing)}",
            fix="pip install 'partsong[up]'",
        )
    return "all there"


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


async def _providers() -> str:
    keys = {"anthropic": "ANTHROPIC", "openai": "OPENAI", "google": "GOOGLE"}
    found = [
        name
        for name, stem in keys.items()
        if os.environ.get(f"{stem}_API_KEY") or os.environ.get(f"{stem}_BASE_URL")
    ]
    return (
        f"keys or addresses for {', '.join(found)}"
        if found
        else "no keys: agents can use scripted:… models"
    )


async def _bus(nats_url: str | None) -> str:
    from partsong.client import Client
    from partsong.runtime.streams import check

    async with Client(nats_url) as client:
        await check(client.nats, client.subjects)
        store = await client.nats.jetstream().account_info()
        head = await client.log.head()
    if store.limits.max_storage >= 0 and store.storage > 0.9 * store.limits.max_storage:
        raise Unavailable(
            "bus.full", f"JetStream holds {store.storage} of {store.limits.max_storage} bytes"
        )
    return f"streams are as they should be, the log's head is at {head}"
