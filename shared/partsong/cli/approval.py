"""`partsong approval`: see what waits for a person, and decide."""

from __future__ import annotations

import functools
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from partsong.cli.group import Group
from partsong.cli.options import data_option
from partsong.cli.output import Output, output_option

if TYPE_CHECKING:
    from partsong.cli.http import Api

__all__ = ["command"]

R = TypeVar("R")


_COLUMNS = ("id", "status", "title", "requested_at", "deadline", "by")
_STATUSES = ("pending", "approved", "rejected", "expired", "cancelled", "damaged", "all")

reason_help = "Why; it is kept in the log."
by_option = click.option("--by", help="Who decides.  [default: your login name]")


@click.group(cls=Group)
def command() -> None:
    """See what waits for a person, and decide."""


def _api_options(command: Callable[..., R]) -> Callable[..., R]:
    """`--url` and `--data`; the command gets `api`."""

    @functools.wraps(command)
    def addressed(*args: Any, url: str | None, data: Path, **named: Any) -> R:
        from partsong.cli.http import Api

        return command(*args, api=Api(url, data=data), **named)

    at = click.option("--url", help="Approval service.  [env: PARTSONG_URL]")
    data = data_option(
        "Data directory of the services, where a running `partsong up` says where it is."
    )
    return at(data(addressed))


@command.command("list", epilog="Example: partsong approval list --run-id r_1")
@click.option(
    "--status", type=click.Choice(_STATUSES), default="pending", show_default=True, help="How they stand."
)  # fmt: skip
@click.option("--run-id", help="Only this run's.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="No more than these."
)
@_api_options
@output_option
def list_(status: str, run_id: str | None, limit: int, api: Api, out: Output) -> None:
    """What waits for a decision, the newest first."""
    wanted = None if status == "all" else status
    found, more = api.approvals(limit=limit, status=wanted, run_id=run_id)
    out.rows(found, _COLUMNS)
    if more:
        out.say(f"there are more than {limit}: --limit shows them")


@command.command(epilog="Example: partsong approval show r_1.ok:1")
@click.argument("approval_id")
@_api_options
@output_option
def show(approval_id: str, api: Api, out: Output) -> None:
    """One approval, with what its graph shows of the state."""
    out.record(api.approval(approval_id))


@command.command(epilog="Example: partsong approval approve r_1.ok:1 --edit @plan.yaml")
@click.argument("approval_id")
@click.option("--reason", help=reason_help)
@click.option(
    "--edit", metavar="JSON|@FILE", help="Approve this in the place of the value that may be edited."
)  # fmt: skip
@by_option
@_api_options
@output_option
def approve(
    approval_id: str,
    reason: str | None,
    edit: str | None,
    by: str | None,
    api: Api,
    out: Output,
) -> None:
    """Approve, perhaps another value than the one shown. Exit code 1 if it has been decided already."""
    from partsong.cli.options import parse_edit

    edited = parse_edit(edit)
    by = by or getpass.getuser()
    out.record(api.decide(approval_id, "approve", by, reason, edit=edited))


@command.command(epilog="Example: partsong approval reject r_1.ok:1 --reason 'too much'")
@click.argument("approval_id")
@click.option("--reason", required=True, help=reason_help)
@by_option
@_api_options
@output_option
def reject(approval_id: str, reason: str, by: str | None, api: Api, out: Output) -> None:
    """Reject. Exit code 1 if it has been decided already."""
    out.record(api.decide(approval_id, "reject", by or getpass.getuser(), reason))
