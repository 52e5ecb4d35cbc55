"""`partsong doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from partsong.cli.options import Address, address_options
from partsong.cli.output import EXIT, Output, out_of, output_option, run_async
from partsong.cli.repairs import carried
from partsong.contracts.counts import number_of, verb_of
from partsong.contracts.errors import InvalidInput, NotFound, PartsongError, Unavailable
from partsong.runtime import clock
from partsong.runtime.extras import lacking

if TYPE_CHECKING:
    from partsong.client import Client
    from partsong.contracts.wire.heartbeat import Beat
    from partsong.tools.settings import Setting

__all__ = ["command"]

_ROOM = 1024**3
_CROWDED = 0.9
"""Share of what a stream may hold from which on it is said, before it refuses anything."""
_LISTEN, _TIMES = 1.0, 4
_ANSWERED = 15.0
"""Seconds that an engine has to answer a request."""


@click.command(epilog="Example: partsong doctor -o json")
@address_options
@output_option
def command(address: Address, out: Output) -> None:
    """Check this machine and the bus. Exit code 1 if something that is needed is missing."""

    async def work() -> int:
        rows = [
            await _row("python", _python()),
            await _row("nats-server", _server()),
            await _row("extras", _extras()),
            await _row("providers", _providers()),
            await _row("disk", _disk(address.data)),
            await _row("tools", _tools()),
            await _row("sandbox", _sandbox()),
            await _row("services", _services(address.data)),
        ]
        rows += [await _row(setting.name, _setting(setting)) for setting in _settings()]
        rows += await _bus_rows(address)
        out.rows(rows, ("check", "ok", "says"))
        return EXIT["ok" if all(row["ok"] for row in rows) else "failure"]

    sys.exit(run_async(work()))


async def _bus_rows(address: Address) -> list[dict[str, object]]:
    """What can only be checked where there is a bus."""
    checks: tuple[tuple[str, Callable[[Client], Awaitable[str]]], ...] = (
        ("streams", _streams),
        ("log", partial(_log, data=address.data)),
        ("clock", _clock),
        ("clocks", _clocks),
        ("workers", _workers),
    )
    try:
        async with address.client() as client:
            rows = [{"check": "bus", "ok": True, "says": _where(client)}]
            rows += [await _row(name, check(client)) for name, check in checks]
            if rows[-1]["ok"]:  # otherwise nobody may be there who answers
                rows.append(await _row("door", _door(client)))
            return rows
    except PartsongError as error:
        return [_failed("bus", error)]


async def _row(name: str, check: Awaitable[str]) -> dict[str, object]:
    try:
        return {"check": name, "ok": True, "says": await check}
    except PartsongError as error:
        return _failed(name, error)


def _failed(name: str, error: PartsongError) -> dict[str, object]:
    problem, given = error.problem, out_of(click.get_current_context()).given
    fix = f"; {problem.fix}" if problem.fix else ""
    return {"check": name, "ok": False, "says": carried(f"{problem.message}{fix}", given)}


async def _python() -> str:
    return sys.version.split()[0]


async def _server() -> str:
    from partsong.runtime.nats.binary import find_nats_server

    return str(find_nats_server())


async def _extras() -> str:
    if missing := lacking("up"):
        raise NotFound(
            "extra.missing",
            f"not installed: {', '.join(missing)}",
            fix="pip install 'partsong[up]'",
        )
    return "all there"


async def _providers() -> str:
    keys = {"anthropic": "ANTHROPIC", "openai": "OPENAI", "google": "GOOGLE"}
    found = [
        name
        for name, stem in keys.items()
        if os.environ.get(f"{stem}_API_KEY") or os.environ.get(f"{stem}_BASE_URL")
    ]
    if found:
        return f"keys or addresses for {', '.join(found)}"
    return "no keys: agents can use scripted:… models"


async def _disk(data: Path) -> str:
    """The disks of the data directory, and of the server that `partsong up` runs in it; another server's are elsewhere."""
    said: list[str] = []
    for place in (data, data / "nats"):
        here = _nearest(place)
        free = shutil.disk_usage(here).free
        said.append(f"{free / _ROOM:.1f} GiB free in {here}")
        if free < _ROOM:
            fix = "the log is kept for ever: make room, or set PARTSONG_DATA to a larger disk"
            raise Unavailable("disk.full", said[-1], fix=fix)
    return "; ".join(dict.fromkeys(said))


def _nearest(folder: Path) -> Path:
    """A folder, or what it would be made in."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


async def _tools() -> str:
    """What tools lack: they are there all the same, and say so when they are called."""
    from partsong.tools.settings import PACKAGES

    missing = [
        f"{', '.join(package.tools)} (partsong[{package.extra}])"
        for package in PACKAGES
        if find_spec(package.module) is None
    ]
    return f"not installed: what {'; '.join(missing)} need" if missing else "all can be called"


async def _sandbox() -> str:
    """Whether run_code has its second tier, which matters only where it is chosen."""
    from partsong.tools.builtin.code.bubblewrap import unable
    from partsong.tools.builtin.code.tool import TIER_SETTING

    why = await asyncio.to_thread(unable)
    if why and os.environ.get(TIER_SETTING) == "python":
        raise Unavailable("code.no_container", why, fix=f"set {TIER_SETTING}=monty")
    return f"monty only: {why}" if why else "monty, and python in bubblewrap"


async def _services(data: Path) -> str:
    """What the `partsong up` on the data directory says of services that it cannot keep alive."""
    from partsong.client.where import find_troubles

    if troubles := find_troubles(data):
        said = "; ".join(f"{service}: {why}" for service, why in troubles.items())
        fix = f"read its log in {data / 'logs'}; what it did last stands in the output of `partsong up`"
        raise Unavailable("services.troubled", said, fix=fix)
    return "no trouble is known on this machine"


def _settings() -> tuple[Setting, ...]:
    from partsong.tools.settings import SETTINGS

    return SETTINGS


async def _setting(setting: Setting) -> str:
    return setting.says(os.environ)


def _where(client: Client) -> str:
    url = client.nats.connected_url
    return (
        f"nats-server {client.nats.connected_server_version} at {url.hostname}:{url.port}"
        if url
        else ""
    )


async def _streams(client: Client) -> str:
    from partsong.log.full import ACCOUNT_LIMIT
    from partsong.runtime.room import full_streams
    from partsong.runtime.streams import check

    await check(client.nats, client.subjects)
    store = await client.nats.jetstream().account_info()
    most = store.limits.max_storage
    if most >= 0 and store.storage > 0.9 * most:
        said = f"the streams hold {store.storage} of the {most} bytes that the account may have"
        raise Unavailable("bus.full", said, fix=ACCOUNT_LIMIT)
    for problem in await full_streams(client.nats, client.subjects, share=_CROWDED):
        raise Unavailable.of(problem)
    return f"as they should be, they hold {store.storage} bytes"


async def _log(client: Client, data: Path) -> str:
    """Whether the log still is what was acknowledged, there is room to write to it, and all services can."""
    from partsong.contracts.services import SERVICES
    from partsong.runtime.log_answers import ask_services
    from partsong.runtime.log_standing import log_standing, standing_error

    found = await log_standing(client.nats, client.subjects, data, room=True)
    if error := standing_error(found):
        raise error
    said = await ask_services(client.nats, client.subjects, SERVICES)
    for one in said:
        if one.problem is not None:
            who = ", ".join(x.worker.partition("~")[0] for x in said if x.problem == one.problem)
            message = f"{who}: {one.problem.message}"
            raise Unavailable.of(one.problem.model_copy(update={"message": message}))
    which = f"log {found.log_id[:12]}, epoch {found.epoch}: " if found.log_id else ""
    return f"{which}{found.says}"


async def _clock(client: Client) -> str:
    """The broker's clock against ours, halfway between question and answer."""
    from partsong.runtime.broker_clock import measure, said
    from partsong.runtime.streams import Names

    found = await measure(client.nats, Names.of(client.subjects).timers)
    if found.skewed:
        raise found.refusal()
    return said(found.offset)


async def _clocks(client: Client) -> str:
    """The offsets that the workers have measured; those that are too large are corrected, but a machine is wrong."""
    from partsong.contracts.services import SERVICES
    from partsong.runtime.broker_clock import TOLERATED, said

    asked = (_all_answers(client, client.subjects.query(role, "clock")) for role in SERVICES)
    found = {
        str(answer["worker"]).partition("~")[0]: float(answer["offset"])
        for answers in await asyncio.gather(*asked)
        for answer in answers
    }
    apart = {name: offset for name, offset in found.items() if abs(offset) > TOLERATED}
    if apart:
        worst = ", ".join(f"{name}: {said(offset)}" for name, offset in sorted(apart.items()))
        raise Unavailable("clock.skew", worst, fix="run NTP on those machines")
    most = max(map(abs, found.values()), default=0.0)
    agree = verb_of(len(found), "agrees", "agree")
    return f"{number_of(len(found), 'worker')} {agree} with the broker's to {most:.3f} s"


async def _all_answers(client: Client, subject: str) -> list[dict[str, Any]]:
    """What all that listen to a query answer within a second."""
    import json

    from partsong.runtime.answers import all_answers

    said = await all_answers(client.nats, subject, within=_LISTEN)
    return [json.loads(answer) for answer in said if answer]


async def _workers(client: Client) -> str:
    from partsong.cli.bus import blocked_workers, hear
    from partsong.contracts.services import SERVICES

    alive, missing = set[str](), list(SERVICES)
    beats: list[Beat] = []
    for _ in range(_TIMES):  # on a busy machine a heartbeat may be late
        beats = await hear(client)
        alive |= {beat.service for beat in beats}
        missing = [role for role in SERVICES if role not in alive]
        if not missing:
            break
    if missing:
        fix = f"start them: `partsong worker start {missing[0]}`, or `partsong up`"
        raise NotFound("workers.missing", f"no heartbeat of {', '.join(missing)}", fix=fix)
    if blocked := blocked_workers(beats):
        raise Unavailable(
            "workers.blocked",
            "; ".join(blocked),
            fix="a function that computes for long, or waits without `await`, belongs into a process of its own; who "
            "started the worker replaces it after five minutes",
        )
    return "all services are alive"


async def _door(client: Client) -> str:
    """Ask for something that cannot be: only a request that was stored and refused shows that requests come through."""
    began = clock.monotonic()
    try:
        async with asyncio.timeout(_ANSWERED):
            await client.cancel(
                f"doctor_{clock.new_id()}", "partsong doctor looks whether requests are answered"
            )
    except TimeoutError:
        raise Unavailable(
            "door.silent",
            f"no engine has answered a request within {_ANSWERED:g} s",
            fix="see whether a graph-engine runs, and whether the server's log speaks of its disk",
        ) from None
    except InvalidInput:
        pass
    return f"a request was answered in {(clock.monotonic() - began) * 1000:.0f} ms"
