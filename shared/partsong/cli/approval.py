"""`partsong approval`: see what waits for a person, and decide."""

from __future__ import annotations

import functools
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from partsong.cli.group import Group
from partsong.cli.options import data_option
from partsong.cli.output import EXIT, Output, output_option

if TYPE_CHECKING:
    from partsong.client.approvals import Approvals, Record

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
        from partsong.client.approvals import Approvals

        return command(*args, api=Approvals(url, data=data), **named)

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
def list_(status: str, run_id: str | None, limit: int, api: Approvals, out: Output) -> None:
    """What waits for a decision, the newest first."""
    wanted = None if status == "all" else status
    found, more = api.newest(limit=limit, status=wanted, run_id=run_id)
    out.rows(found, _COLUMNS)
    if more:
        out.say(f"there are more than {limit}: --limit shows them")


@command.command(epilog="Example: partsong approval show r_1.ok:1")
@click.argument("approval_id")
@_api_options
@output_option
def show(approval_id: str, api: Approvals, out: Output) -> None:
    """One approval, with what its graph shows of the state."""
    out.record(api.get(approval_id))


@command.command(epilog="Example: partsong approval watch --run-id r_1")
@click.option("--run-id", help="Only this run's.")
@_api_options
@output_option
def watch(run_id: str | None, api: Approvals, out: Output) -> None:
    """What waits for a decision, and each one that comes or has ended, as it happens, until Ctrl-C."""
    for one in api.watch(run_id=run_id):
        when = one.get("closed_at") or one["requested_at"]
        who = f"  by {one['by']}" if one.get("by") else ""
        why = f": {one['reason']}" if one.get("reason") else ""
        out.line(one, f"{when}  {one['id']}  {one['title']}{who}{why}", status=str(one["status"]))


@command.command(epilog="Example: partsong approval approve r_1.ok:1 --edit @plan.yaml")
@click.argument("approval_ids", nargs=-1, required=True, metavar="APPROVAL_ID...")
@click.option("--reason", help=reason_help)
@click.option(
    "--edit", metavar="JSON|@FILE", help="Approve this in the place of the value that may be edited."
)  # fmt: skip
@by_option
@_api_options
@output_option
def approve(
    approval_ids: tuple[str, ...],
    reason: str | None,
    edit: str | None,
    by: str | None,
    api: Approvals,
    out: Output,
) -> None:
    """Approve, perhaps another value than the one shown; several are decided each by itself.

    Exit code 1 if one has been decided already.
    """
    from partsong.cli.options import parse_edit

    if edit is not None and len(approval_ids) > 1:
        raise click.UsageError("--edit is for one approval: each has a value of its own")
    edited, by = parse_edit(edit), by or getpass.getuser()
    _decide(approval_ids, lambda one: api.decide(one, "approve", by, reason, edit=edited), out)


@command.command(epilog="Example: partsong approval reject r_1.ok:1 --reason 'too much'")
@click.argument("approval_ids", nargs=-1, required=True, metavar="APPROVAL_ID...")
@click.option("--reason", required=True, help=reason_help)
@by_option
@_api_options
@output_option
def reject(
    approval_ids: tuple[str, ...], reason: str, by: str | None, api: Approvals, out: Output
) -> None:
    """Reject; several are decided each by itself. Exit code 1 if one has been decided already."""
    by = by or getpass.getuser()
    _decide(approval_ids, lambda one: api.decide(one, "reject", by, reason), out)


def _decide(ids: tuple[str, ...], decide: Callable[[str], Record], out: Output) -> None:
    """Decide one, or several, of which one that is refused does not hold up the others."""
    from partsong.cli.failures import exit_code, tell
    from partsong.contracts.errors import PartsongError

    wanted = list(dict.fromkeys(ids))
    if len(wanted) == 1:
        out.record(decide(wanted[0]))
        return
    rows, codes = list[dict[str, object]](), list[int]()
    for one in wanted:
        try:
            rows.append({**decide(one), "error": None})
        except PartsongError as error:
            tell(error.problem.model_copy(update={"where": one}), out)
            rows.append({"id": one, "status": "refused", "error": error.problem.code})
            codes.append(exit_code(error))
    out.rows(rows, ("id", "status", "title", "by", "error"))
    if codes:
        same = len(codes) == len(wanted) and len(set(codes)) == 1
        sys.exit(codes[0] if same else EXIT["failure"])
