"""What the leader of a stream says of it: never a replica, which may be behind, and never a direct get.

Small questions with short deadlines: whoever asks here wants to know whether the log stands, and "nobody answered" is
an answer of its own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nats.aio.client import Client

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.damage import Gone, Silent, View, wanted
from partsong.contracts.wire.differences import Difference
from partsong.contracts.wire.headers import EXPECTED_LAST, MSG_ID
from partsong.contracts.wire.marks import Genesis, Identity, Mark, digest_of, identity_of
from partsong.contracts.wire.subjects import Subjects
from partsong.log.link import Link, Lost
from partsong.log.stored import headers_of
from partsong.runtime import clock

__all__ = ["Leader", "Stored"]

_NOT_FOUND, _STALE, _NO_STREAM = 10037, 10071, 10059


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as the stream holds it."""

    seq: int
    subject: str
    id: str
    body: bytes
    """Of a big body, the stub."""
    headers: Mapping[str, str]
    at: str
    """When it was stored, by the server's clock."""

    @property
    def digest(self) -> str:
        """What a mark says of it."""
        return digest_of(self.body, self.id)


class Leader:
    """The leader of the log's stream."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        stream: str,
        *,
        attempt: float = 2.0,
        deadline: float = 5.0,
    ) -> None:
        self._link = Link(nc, attempt=attempt, deadline=deadline)
        self._subjects, self.stream = subjects, stream

    async def close(self) -> None:
        """Give back what it holds of the connection."""
        await self._link.close()

    async def info(self, **query: object) -> Mapping[str, Any] | None:
        """The stream's configuration and state; None if there is no such stream.

        Raises:
            Unavailable: nobody answered, or the answer is a refusal.
        """
        return await self._api("STREAM.INFO", query, missing=(_NO_STREAM,))

    async def now(self) -> str:
        """The time by the server's clock, in RFC 3339: the services go by it, whatever this machine's says.

        Raises:
            Unavailable: as above.
        """
        info = await self.info()
        if info is None:
            raise Unavailable("log.missing", f"there is no stream {self.stream}")
        return clock.to_text(clock.server_time(str(info["ts"])))

    async def head(self) -> int:
        """Sequence of the newest record; 0 if there is no stream.

        Raises:
            Unavailable: as above.
        """
        info = await self.info()
        return int(info["state"]["last_seq"]) if info is not None else 0

    async def get(self, query: Mapping[str, str | int]) -> Stored | None:
        """One record, by `seq`, `last_by_subj` or `next_by_subj`; None if there is none that can be read, or no stream.

        Raises:
            Unavailable: as above.
        """
        answer = await self._api("STREAM.MSG.GET", query, missing=(_NOT_FOUND, _NO_STREAM))
        return None if answer is None else _stored(answer["message"])

    async def identity(self) -> Identity | None:
        """Which log it is; None if its first record cannot be read, or there is none.

        Raises:
            Unavailable: as above.
        """
        first = await self.get({"seq": 1})
        if first is None:
            return None
        restores: list[bytes] = []
        seq = 1
        while found := await self.get({"next_by_subj": self._subjects.restored(), "seq": seq}):
            restores.append(found.body)
            seq = found.seq + 1
        return identity_of(first.body, restores)

    async def begin(self) -> None:
        """Write the genesis of a log that holds nothing; does nothing if it holds something, or somebody is first.

        Raises:
            Unavailable: as above.
        """
        genesis = Genesis(log_id=clock.new_id(), created=clock.now_text())
        headers = {MSG_ID: f"{genesis.log_id}.genesis", EXPECTED_LAST: "0"}
        body = genesis.model_dump_json().encode()
        ask = partial(self._link.ask, self._subjects.genesis(), body, headers)
        answer = json.loads((await self._link.insist("beginning the log", ask)).data)
        if (error := answer.get("error")) and error.get("err_code") != _STALE:
            raise _refused("the genesis", error)

    async def view(
        self,
        marks: Sequence[Mark],
        differences: Callable[[Mapping[str, Any]], Sequence[Difference]] = lambda _config: (),
    ) -> View | Gone | Silent:
        """What is to be judged against the marks; `differences` says what is wrong with the stream's configuration."""
        try:
            info = await self.info()
            if info and info["state"].get("num_deleted"):
                info = await self.info(deleted_details=True)
            if info is None:
                return Gone()
            identity = await self.identity()
            digests: dict[int, str | None] = {}
            for seq in wanted(marks, identity):
                found = await self.get({"seq": seq})
                digests[seq] = found.digest if found else None
        except Unavailable as error:
            return Silent(error.problem.message)
        state = info["state"]
        return View(
            identity,
            int(state["first_seq"]),
            int(state["last_seq"]),
            int(state["messages"]),
            tuple(state.get("deleted") or ()),
            digests,
            tuple(differences(info["config"])),
            int(info["config"].get("num_replicas", 1)),
        )

    async def _api(
        self, call: str, body: Mapping[str, object], *, missing: tuple[int, ...]
    ) -> Mapping[str, Any] | None:
        payload = json.dumps(body).encode() if body else b""
        ask = partial(self._answer, f"$JS.API.{call}.{self.stream}", payload, missing)
        return await self._link.insist(f"asking the leader of {self.stream}", ask)

    async def _answer(
        self, subject: str, payload: bytes, missing: tuple[int, ...]
    ) -> Mapping[str, Any] | None:
        answer: dict[str, Any] = json.loads((await self._link.ask(subject, payload)).data)
        error = answer.get("error")
        if not error:
            return answer
        if error.get("err_code") in missing:
            return None
        if error.get("code") == 503:
            raise Lost(str(error.get("description")))
        raise _refused(subject, error)


def _stored(message: Mapping[str, Any]) -> Stored:
    headers = headers_of(message)
    return Stored(
        int(message["seq"]),
        str(message["subject"]),
        headers.get(MSG_ID, ""),
        base64.b64decode(str(message.get("data") or "")),
        headers,
        str(message["time"]),
    )


def _refused(what: str, error: Mapping[str, Any]) -> Unavailable:
    return Unavailable(
        "log.refused",
        f"the server refused {what}: {error.get('description')} ({error.get('err_code')})",
        fix="check this user's rights on the JetStream API",
    )
