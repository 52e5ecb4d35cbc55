"""`partsong bus dead`: what services could not work off."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from partsong.cli.group import Group
from partsong.cli.options import Address, address_options
from partsong.cli.output import EXIT, Output, output_option, run_async
from partsong.contracts.services import SERVICES

if TYPE_CHECKING:
    from partsong.client import Client, KeptLetter

__all__ = ["command"]

_MOST = 10_000
"""Letters that one range may name: the bus keeps no more."""

_seqs = click.argument("seqs", nargs=-1, metavar="[SEQ|FROM-TO]...")
_service_option = click.option("--service", type=click.Choice(SERVICES), help="Only this one's.")
_all_option = click.option("--all", "everything", is_flag=True, help="All that are open.")
_yes_option = click.option("--yes", is_flag=True, help="Do not ask before many are dealt with.")
_by_option = click.option("--by", help="Who does it.  [default: your login name]")


@click.group(cls=Group)
def command() -> None:
    """What services could not work off: look at it, send it again, give it up."""


@command.command("list", epilog="Example: partsong bus dead list --service tool-runner")
@_service_option
@click.option("--settled", is_flag=True, help="Those that were sent again or given up instead.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="No more than these."
)
@address_options
@output_option
def list_(service: str | None, *, settled: bool, limit: int, address: Address, out: Output) -> None:
    """Dead letters, the newest first."""

    async def work() -> None:
        async with address.client() as client:
            found = await client.dead.list(service=service, settled=settled)
        shown = [_row(one) for one in reversed(found[-limit:])]
        columns = ("seq", "time", "service", "code", "subject", "message")
        out.rows(
            shown, (*columns[:3], "status", *columns[3:]) if settled else columns, ("redriven",)
        )
        if len(found) > limit:
            out.say(f"there are {len(found) - limit} more: --limit shows them")

    run_async(work())


@command.command(epilog="Example: partsong bus dead show 7")
@click.argument("seq", type=click.IntRange(1))
@address_options
@output_option
def show(seq: int, address: Address, out: Output) -> None:
    """One dead letter: why, from where, and what it says."""

    async def work() -> None:
        async with address.client() as client:
            found = await client.dead.get(seq)
        letter = found.letter.model_dump(mode="json", exclude_none=True, exclude={"seq"})
        whole = found.letter.message() is not None
        out.record({"seq": seq, "message_seq": found.letter.seq, "whole": whole, **letter})

    run_async(work())


@command.command(epilog="Example: partsong bus dead retry 7 9-12 --yes")
@_seqs
@_all_option
@_service_option
@click.option("--reason", default="", help="Why; it is kept in the letter's place.")
@click.option("--force", is_flag=True, help="Also what came back after it was sent again before.")
@_yes_option
@_by_option
@address_options
@output_option
def retry(
    seqs: tuple[str, ...],
    *,
    everything: bool,
    service: str | None,
    reason: str,
    force: bool,
    yes: bool,
    by: str | None,
    address: Address,
    out: Output,
) -> None:
    """Send messages again to where they had come from, each by itself. Exit code 1 if one of them was not.

    A message that came back after that is refused, unless --force is given.
    """
    who = by or getpass.getuser()

    async def one(client: Client, seq: int) -> KeptLetter:
        return await client.dead.retry(seq, by=who, reason=reason, force=force)

    wanted = _wanted(seqs, everything=everything)
    sys.exit(run_async(_each("retried", wanted, service, one, address, out, yes=yes)))


@command.command(epilog="Example: partsong bus dead discard 7 --reason 'sent by hand'")
@_seqs
@_all_option
@_service_option
@click.option("--reason", required=True, help="Why; it is kept in the letter's place.")
@_yes_option
@_by_option
@address_options
@output_option
def discard(
    seqs: tuple[str, ...],
    *,
    everything: bool,
    service: str | None,
    reason: str,
    yes: bool,
    by: str | None,
    address: Address,
    out: Output,
) -> None:
    """Give messages up; who did, and why, is kept in their places. Exit code 1 if one of them could not be."""
    who = by or getpass.getuser()

    async def one(client: Client, seq: int) -> KeptLetter:
        return await client.dead.discard(seq, by=who, reason=reason)

    wanted = _wanted(seqs, everything=everything)
    sys.exit(run_async(_each("discarded", wanted, service, one, address, out, yes=yes)))


def _wanted(words: tuple[str, ...], *, everything: bool) -> list[range] | None:
    """The ranges that were typed; None for all letters.

    Raises:
        UsageError: neither, both, or a word that is no range.
    """
    if everything == bool(words):
        raise click.UsageError("give SEQ, FROM-TO, or --all")
    if everything:
        return None
    found = list[range]()
    for word in words:
        first, _, last = word.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()):
            raise click.UsageError(f"{word!r} is neither SEQ nor FROM-TO")
        one = range(int(first), int(last or first) + 1)
        if not one or len(one) > _MOST:
            raise click.UsageError(f"{word!r} names {len(one)} letters, and at most {_MOST} can be")
        found.append(one)
    return found


async def _each(
    did: str,
    wanted: list[range] | None,
    service: str | None,
    one: Callable[[Client, int], Awaitable[KeptLetter]],
    address: Address,
    out: Output,
    *,
    yes: bool,
) -> int:
    """Do it with each letter that is meant, and say what became of it; the exit code of all."""
    from partsong.cli.failures import exit_code
    from partsong.contracts.errors import PartsongError

    rows, codes = list[dict[str, object]](), set[int]()
    async with address.client() as client:
        there = [kept.seq for kept in await client.dead.list(service=service)]
        seqs = _meant(there, wanted, service)
        if len(seqs) != 1 and not yes:
            _confirm(f"{len(seqs)} dead letters are to be {did}")
        for seq in seqs:
            try:
                found = await one(client, seq)
            except PartsongError as error:
                codes.add(exit_code(error))
                problem = error.problem
                said = f"{problem.code}: {problem.message}" + (
                    f"; {problem.fix}" if problem.fix else ""
                )
                rows.append({"seq": seq, "status": "refused", "says": said})
            else:
                rows.append({"seq": seq, "status": did, "says": found.letter.subject})
    out.rows(rows, ("seq", "status", "says"))
    return (
        EXIT["ok"]
        if not codes
        else codes.pop()
        if len(codes) == len(rows) == 1
        else EXIT["failure"]
    )


def _meant(there: list[int], wanted: list[range] | None, service: str | None) -> list[int]:
    """The letters of ranges that are there, and those that were named one by one; of one service, only its own."""
    if wanted is None:
        return there
    named = [
        seq
        for one in wanted
        for seq in (one if len(one) == 1 else [seq for seq in there if seq in one])
    ]
    return [seq for seq in dict.fromkeys(named) if service is None or seq in there]


def _confirm(what: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what}: give --yes, as nobody can be asked here")
    click.confirm(f"{what}. Go on?", abort=True, err=True)


def _row(one: KeptLetter) -> dict[str, object]:
    letter = one.letter
    settled = letter.settled
    return {
        "seq": one.seq,
        "time": letter.time,
        "service": letter.service,
        "status": "open" if settled is None else f"{settled.how} by {settled.by}",
        "code": letter.reason.code,
        "subject": letter.subject,
        "message": letter.reason.message,
        "redriven": letter.redriven,
        "settled": None if settled is None else settled.model_dump(mode="json"),
    }
