"""The approval service's HTTP API, as the command line asks it: nothing but the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from partsong.client.where import find_http
from partsong.contracts.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PartsongError,
    Problem,
    Unavailable,
)

__all__ = ["Api"]

_WITHIN = 20.0
_KINDS: Mapping[int, type[PartsongError]] = {400: InvalidInput, 404: NotFound, 409: Conflict}

_FIXES = {
    "approval.unknown": "`partsong approval list --status all` lists them all",
    "approval.closed": "nothing is left to decide; `partsong approval show` says how it ended",
    "approval.behind": "try again; `partsong doctor` says whether all services are there",
}
"""What the service advises in HTTP's words, in those of a command line."""

Record = dict[str, JsonValue]


class Api:
    """The service at a URL; without one, at PARTSONG_URL, or where the `partsong up` on the data directory says."""

    def __init__(self, url: str | None, *, data: Path | None = None) -> None:
        self._base = find_http(url, data=data).rstrip("/")

    def approvals(self, *, limit: int, **filters: str | None) -> tuple[list[Record], bool]:
        """The newest approvals that pass the filters, and whether there are more."""
        found: list[Record] = []
        cursor: JsonValue = None
        while len(found) < limit:
            wanted = {**filters, "limit": str(min(limit - len(found), 100)), "cursor": cursor}
            query = urlencode({key: value for key, value in wanted.items() if value})
            page = self._call("GET", f"/api/approvals?{query}")
            found += cast("list[Record]", page["items"])
            if (cursor := page.get("next")) is None:
                break
        return found, cursor is not None

    def approval(self, approval_id: str) -> Record:
        """One approval."""
        return self._call("GET", f"/api/approvals/{quote(approval_id, safe='')}")

    def decide(
        self,
        approval_id: str,
        decision: str,
        by: str,
        reason: str | None,
        *,
        edit: JsonValue = None,
    ) -> Record:
        """Decide an approval, perhaps with another value in the place of the editable one; what it is afterwards.

        Raises:
            Conflict: it has been decided already, or its deadline has passed.
        """
        body: Record = {"decision": decision, "by": by, "reason": reason}
        if edit is not None:
            body["edit"] = edit
        return self._call("POST", f"/api/approvals/{quote(approval_id, safe='')}/decision", body)

    def _call(self, method: str, path: str, body: Record | None = None) -> Record:
        """One request.

        Raises:
            PartsongError: what the service answered, as its own kind of error.
            Unavailable: `approval.unreachable`.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        request = urllib.request.Request(self._base + path, data, headers, method=method)  # noqa: S310  # the user's own address
        try:
            with urllib.request.urlopen(request, timeout=_WITHIN) as answer:  # noqa: S310
                return cast("Record", json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            raise _refused(error.code, error.read()) from error
        except (OSError, ValueError) as error:
            raise Unavailable(
                "approval.unreachable",
                f"{self._base} does not answer as an approval service does: {error}",
                where=self._base,
                fix="run `partsong up`, or give --url",
            ) from error


def _refused(status: int, body: bytes) -> PartsongError:
    """A problem (RFC 9457) with our own fields in it, as the error it was."""
    try:
        raw = json.loads(body)
        fields = {name: raw.get(name) for name in ("where", "fix")}
        if "GET " in str(fields["fix"]):
            fields["fix"] = _FIXES.get(raw["code"])
        problem = Problem(code=raw["code"], message=raw.get("message") or raw["detail"], **fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = body[:300].decode(errors="replace") or "nothing"
        problem = Problem(code=f"http.{status}", message=f"the service said {said}")
    return _KINDS.get(status, Unavailable).of(problem)
