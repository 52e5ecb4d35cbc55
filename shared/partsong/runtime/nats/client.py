"""NATS's own client, mended where the log needs it to be."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache

from nats.aio.client import PING_PROTO, Client
from nats.aio.msg import Msg
from nats.js.api import Header
from nats.protocol import parser

from partsong.contracts.wire.headers import SUBJECT

__all__ = ["NatsClient", "parse_headers"]

_SUBJECT_WITHIN = 256
"""Bytes at the beginning of a command that name its subject, as far as it matters here."""

_FIRST_LINE = b"NATS/1.0"
_EXACTLY = "backslashreplace"
"""How subjects are read: two that differ must not become one."""
_TOKEN = rb"([^ \t\r\n]+)[ \t]+"
"""What the server takes for a word: any bytes but these, a form feed among them."""
# The parser has these for all clients of the process, and no place for those of one.
parser.MSG_RE = re.compile(rb"\AMSG[ \t]+" + _TOKEN * 2 + rb"(" + _TOKEN + rb")?(\d+)\r\n")
parser.HMSG_RE = re.compile(
    rb"\AHMSG[ \t]+" + _TOKEN * 2 + rb"(" + _TOKEN + rb")?(\d+)[ \t]+(\d+)\r\n"
)


class NatsClient(Client):
    """NATS's own client (2.16), mended in four places.

    It looks at every character of every header's name; they repeat, so once will do. Records and deliveries have up
    to a dozen headers, and reading them was the largest part of reading a log.
    And its PING overtakes what still waits in its buffer, so that a flush right after a subscription came back before
    the server had the subscription.
    And what still waits in its buffer when a connection is lost, as much where a server hangs before it dies, it sends
    as the first thing on the next one: an append would be stored before anybody has looked whether that server still
    holds the log that it was meant for. Whoever appends does so again until it is answered, so appends are dropped.
    And it stops reading for ever, or reconnects without end, at bytes that anybody may publish: at a subject or a status
    that is not UTF-8, at a form feed in a subject, at a block of headers without a line. A log would be closed by one
    record for all its readers. What cannot be read is left out here, and what is no character is spelled out as a number.
    """

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        return parse_headers(headers) if headers else None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return self.msg_class(
            subject=subject.decode(errors=_EXACTLY),
            reply=reply.decode(errors=_EXACTLY),
            data=data,
            headers=headers,
            _client=self,
            _sid=sid,
        )

    async def _process_connect_init(self) -> None:
        await super()._process_connect_init()
        # From here to the first byte that is sent nothing waits, so nothing comes in between.
        self._pending = [sent for sent in self._pending if not _is_append(sent)]
        self._pending_data_size = sum(map(len, self._pending))

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    @property
    def server_version(self) -> str:
        """What the server last connected to says of itself, like `2.15.1`."""
        return str(self._server_info.get("version", ""))

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in raw.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon and (key := _header(name)) is not None:
                how = _EXACTLY if key == SUBJECT else "replace"
                found[key] = value.strip().decode("utf-8", how)
        return found


def parse_headers(block: bytes) -> dict[str, str] | None:
    """The headers in a block as it travels and is stored, with what its first line says; None if there are none."""
    line, _, rest = block.partition(b"\r\n")
    found = NatsClient._parse_header_lines(rest)  # noqa: SLF001  # ours, under the client's name
    code, _, description = line[len(_FIRST_LINE) :].strip().partition(b" ")
    if code.isdigit():
        found[Header.STATUS.value] = code.decode()
        if description:
            found[Header.DESCRIPTION.value] = description.decode(errors="replace")
    return found or None


def _is_append(sent: bytes) -> bool:
    """Whether a command publishes to a log: `HPUB <prefix>.log.… …`."""
    command, _, rest = sent[:_SUBJECT_WITHIN].partition(b" ")
    subject = rest.partition(b" ")[0]
    return command in {b"PUB", b"HPUB"} and subject.split(b".", 2)[1:2] == [b"log"]


@lru_cache(maxsize=512)
def _header(name: bytes) -> str | None:
    """The name of a header; None if it is none."""
    try:
        key = name.strip().decode("ascii")
    except UnicodeDecodeError:
        return None
    return None if any(char.isspace() for char in key) else key
