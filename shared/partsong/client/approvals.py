"""The approval service over HTTP: what waits for a person, and the decision. Nothing but the standard library."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from partsong.client.where import find_http
from partsong.contracts.durations import Duration, parse_duration
from partsong.contracts.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PartsongError,
    Problem,
    Unavailable,
)

__all__ = ["Approvals", "Record"]

_WITHIN = 20.0
_PAGE, _WATCHED = 100, 10_000
"""Of which a watch looks at whatever has become of them, and which it looks at while they are pending."""
_KINDS: Mapping[int, type[PartsongError]] = {400: InvalidInput, 404: NotFound, 409: Conflict}

_FIXES = {
    "approval.unknown": "`partsong approval list --status all` lists them all",
    "approval.closed": "nothing is left to decide; `partsong approval show` says how it ended",
    "approval.behind": "try again; `partsong doctor` says whether all services are there",
}
"""What the service advises in HTTP's words, in those of a command line."""

Record = dict[str, JsonValue]


class Approvals:
    """Approvals of the service at a URL; without one, at PARTSONG_URL, or where the `partsong up` on the data directory says."""

    def __init__(self, url: str | None, *, data: Path | None = None) -> None:
        self._base = find_http(url, data=data).rstrip("/")

    def newest(self, *, limit: int, **filters: str | None) -> tuple[list[Record], bool]:
        """The newest ones that pass the filters (`status`, `run_id`), and whether there are more."""
        found: list[Record] = []
        cursor: JsonValue = None
        while len(found) < limit:
            wanted = {**filters, "limit": str(min(limit - len(found), _PAGE)), "cursor": cursor}
            query = urlencode({key: value for key, value in wanted.items() if value})
            page = self._call("GET", f"/api/approvals?{query}")
            found += cast("list[Record]", page["items"])
            if (cursor := page.get("next")) is None:
                break
        return found, cursor is not None

    def get(self, approval_id: str) -> Record:
        """One of them."""
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

    def watch(self, *, run_id: str | None = None, every: Duration = 1.0) -> Iterator[Record]:
        """What is pending, the oldest first; then each one that is asked for or has ended, as it comes, for ever.

        The service is asked `every` so often; while it is away, nothing comes.

        Raises:
            Unavailable: `approval.unreachable`, at the beginning.
        """
        recent = ((str(one["id"]), one["status"]) for one in self._recent(run_id))
        pause = parse_duration(every, "every", zero=True)
        known = {id_: how for id_, how in recent if how != "pending"}
        for one in reversed(self.newest(limit=_WATCHED, status="pending", run_id=run_id)[0]):
            known[str(one["id"])] = one["status"]
            yield one
        while True:
            time.sleep(pause)
            try:
                changed = self._changed(known, run_id)
            except Unavailable:
                continue
            for one in changed:
                known[str(one["id"])] = one["status"]
                yield one

    def _changed(self, known: Mapping[str, JsonValue], run_id: str | None) -> list[Record]:
        """Those that are new, or stand otherwise than is known, the oldest first."""
        recent = {str(one["id"]): one for one in self._recent(run_id)}
        pending = self.newest(limit=_WATCHED, status="pending", run_id=run_id)[0]
        recent |= {str(one["id"]): one for one in pending}
        gone = [id_ for id_, how in known.items() if how == "pending" and id_ not in recent]
        found = [*map(self.get, gone), *recent.values()]
        changed = [one for one in found if known.get(str(one["id"])) != one["status"]]
        return sorted(changed, key=lambda one: str(one.get("closed_at") or one["requested_at"]))

    def _recent(self, run_id: str | None) -> list[Record]:
        """The newest of all: one may be asked for and decided between two looks."""
        return self.newest(limit=_PAGE, run_id=run_id)[0]

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
