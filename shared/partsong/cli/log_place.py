"""Where the log is that a `partsong log` works on: on a server that runs, or on one that is started for the command."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from partsong.cli.options import Address, address_options
from partsong.cli.output import out_of

if TYPE_CHECKING:
    from partsong.client import Client
    from partsong.contracts.errors import PartsongError

__all__ = ["Place", "insist_on_rest", "place_options"]

R = TypeVar("R")

_OFFLINE = "the same command with --offline"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the log is, and where marks of it are."""

    address: Address
    offline: bool

    @property
    def data(self) -> Path:
        """Where the marks are."""
        return self.address.data

    @asynccontextmanager
    async def client(self, *, at_rest: bool = False) -> AsyncIterator[Client]:
        """A client; offline, of the embedded server, started for as long as it is used.

        `at_rest` says of the command that services must not run while it does.

        Raises:
            Conflict: `nats.already_running`: offline, and the server of the data directory runs.
            Unavailable: `nats.unknown`: not offline, and no server is given.
        """
        async with AsyncExitStack() as stack:
            if self.offline:
                url = await self._started(stack, at_rest=at_rest)
                client = replace(self.address, url=url).client()
            else:
                client = self._found()
            yield await stack.enter_async_context(client)

    async def _started(self, stack: AsyncExitStack, *, at_rest: bool) -> str:
        """The URL of the embedded server, which runs until the stack is unwound."""
        from partsong.client.where import find_up
        from partsong.contracts.errors import Conflict
        from partsong.runtime.nats.server import start_embedded

        try:
            return (await stack.enter_async_context(start_embedded(self.data / "nats"))).url
        except Conflict as error:
            pid = find_up(self.data)
            if error.problem.code != "nats.already_running" or pid is None:
                raise
            stop = f"stop `partsong up` (process {pid}), then do it again"
            raise _advised(error, stop if at_rest else "leave out --offline") from error

    def _found(self) -> Client:
        """A client of the server that is given, or that `partsong up` runs."""
        from partsong.contracts.errors import Unavailable

        try:
            return self.address.client()
        except Unavailable as error:
            if error.problem.code != "nats.unknown" or not (self.data / "nats").is_dir():
                raise
            fix = f"give {_OFFLINE}: it runs the server that `partsong up` has run here; {error.problem.fix}"
            raise _advised(error, fix) from error


def _advised(error: PartsongError, fix: str) -> PartsongError:
    """The same error with another advice."""
    return type(error).of(error.problem.model_copy(update={"fix": fix}))


def place_options(command: Callable[..., R]) -> Callable[..., R]:
    """Where the log is; the command gets `place`."""

    @functools.wraps(command)
    def placed(*args: Any, address: Address, offline: bool, **named: Any) -> R:
        if offline:
            address = replace(address, given=(*address.given, "--offline"))
            out_of(click.get_current_context()).given = address.given
        return command(*args, place=Place(address, offline), **named)

    offline = click.option(
        "--offline",
        is_flag=True,
        help="Run the embedded NATS of the data directory for this command: the platform is not up.",
    )
    return address_options(offline(placed))


async def insist_on_rest(client: Client, place: Place, where: str) -> None:
    """Refuse to put a log in the place of one that services work on.

    Raises:
        Conflict: `services.running`.
    """
    from partsong.client.where import find_up
    from partsong.contracts.errors import Conflict
    from partsong.contracts.services import SERVICES
    from partsong.runtime.log_answers import ask_services

    if said := await ask_services(client.nats, client.subjects, SERVICES):
        who = ", ".join(sorted(one.worker.partition("~")[0] for one in said))
        url = client.nats.connected_url
        pid = find_up(place.data, url.port if url else None)
        stop = "stop them, then do it again"
        if pid is not None and not place.offline:  # with it, the server ends
            stop = f"stop `partsong up` (process {pid}), then give {_OFFLINE}"
        raise Conflict(
            "services.running",
            f"these services are running: {who}",
            where=where,
            fix=f"{stop}; nothing was changed",
        )
