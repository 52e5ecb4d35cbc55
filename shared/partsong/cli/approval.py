"""`partsong approval`: see what waits for a person, and decide."""

from __future__ import annotations

import getpass
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import click

from partsong.cli.output import Output, output_option, run_async
from partsong.client.where import find_http
from partsong.contracts.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PartsongError,
    Problem,
    Unavailable,
)

__all__ = ["command"]

_COLUMNS = ("id", "status", "title", "requested_at", "deadline", "by")
url_option = click.option("--url", help="Approval service.  [env: PARTSONG_URL]")


@click.group()
def command() -> None:
    """See what waits for a person, and decide."""


def _call(url: str | None, method: str, path: str, body: object = None) -> dict[str, Any]:
    """One request to the approval service.

    Raises:
        PartsongError: what the service answered, as its own kind of error.
    """
    base = find_http(url)
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310  # the address is the user's own
        base + path, data, {"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        raise _error(error.code, error.read()) from error
    except OSError as error:
        raise Unavailable(
            "approval.unreachable",
            f"{base} does not answer: {error}",
            fix="run `partsong up`, or give --url",
        ) from error


def _error(status: int, body: bytes) -> PartsongError:
    kind: type[PartsongError] = {404: NotFound, 409: Conflict, 400: InvalidInput}.get(
        status, Unavailable
    )
    try:
        raw = json.loads(body)
        problem = Problem(
            code=raw["code"],
            message=raw.get("message") or raw["detail"],
            where=raw.get("where"),
            fix=raw.get("fix"),
        )
    except (ValueError, KeyError, TypeError):
        problem = Problem(code=f"http.{status}", message=body[:300].decode(errors="replace"))
    return kind.of(problem)


@command.command("list")
@click.option(
    "--status", default="pending", show_default=True, help="pending, or `all`, or how it ended."
)
@click.option("--run-id", help="Only this run's.")
@url_option
@output_option
def list_(status: str, run_id: str | None, url: str | None, out: Output) -> None:
    """What waits for a decision."""

    async def work() -> None:
        query = {
            k: v
            for k, v in (("status", "" if status == "all" else status), ("run_id", run_id))
            if v
        }
        page = _call(url, "GET", f"/api/approvals?{urllib.parse.urlencode(query)}")
        out.rows(page["items"], _COLUMNS)

    run_async(work())


@command.command()
@click.argument("approval_id")
@url_option
@output_option
def show(approval_id: str, url: str | None, out: Output) -> None:
    """One approval, with what its graph shows of the state."""

    async def work() -> None:
        out.record(_call(url, "GET", f"/api/approvals/{urllib.parse.quote(approval_id)}"))

    run_async(work())


def _decide(
    approval_id: str,
    decision: str,
    by: str | None,
    reason: str | None,
    url: str | None,
    out: Output,
) -> None:
    async def work() -> None:
        body = {"decision": decision, "by": by or getpass.getuser(), "reason": reason}
        out.record(
            _call(url, "POST", f"/api/approvals/{urllib.parse.quote(approval_id)}/decision", body)
        )

    run_async(work())


by_option = click.option("--by", help="Who decides.  [default: your login name]")


@command.command()
@click.argument("approval_id")
@click.option("--reason", help="Why; it is kept in the log.")
@by_option
@url_option
@output_option
def approve(
    approval_id: str, reason: str | None, by: str | None, url: str | None, out: Output
) -> None:
    """Approve. Exit code 1 if it has been decided already."""
    _decide(approval_id, "approve", by, reason, url, out)


@command.command()
@click.argument("approval_id")
@click.option("--reason", required=True, help="Why; it is kept in the log.")
@by_option
@url_option
@output_option
def reject(approval_id: str, reason: str, by: str | None, url: str | None, out: Output) -> None:
    """Reject. Exit code 1 if it has been decided already."""
    _decide(approval_id, "reject", by, reason, url, out)
