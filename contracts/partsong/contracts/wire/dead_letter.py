"""Dead letters: what nobody could work off, with the reason, the digest of the message and its beginning."""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from partsong.contracts.errors import Problem
from partsong.contracts.wire.headers import REDRIVEN

__all__ = ["LONGEST_BODY", "LONGEST_RAW", "DeadLetter", "Settled"]

LONGEST_BODY = 4096
"""Bytes of a body that are kept."""
LONGEST_RAW = 16 * 1024
"""Bytes of a body that is kept whole beside: what is longer cannot be sent again from its letter."""


class Settled(BaseModel):
    """What somebody has done about a dead letter."""

    model_config = ConfigDict(frozen=True, extra="allow")

    how: Literal["retried", "discarded"]
    time: str = Field(json_schema_extra={"format": "date-time"})
    by: str
    reason: str = ""
    letter: int = 0
    """Sequence that the letter had before."""


class DeadLetter(BaseModel):
    """What a service could not work off, with the reason."""

    model_config = ConfigDict(frozen=True, extra="allow")

    time: str = Field(json_schema_extra={"format": "date-time"})
    service: str
    reason: SerializeAsAny[Problem]
    subject: str
    """Where the message had come from."""
    seq: int
    """Its sequence in that stream; 0 if it is no message's."""
    deliveries: int = 0
    size: int = 0
    """Bytes of the body."""
    digest: str = ""
    """`sha256:` and the body's hash: of it only the beginning is kept."""
    body: str
    """The first 4 KiB of the body; what would steer a terminal is written out."""
    raw: str = ""
    """The whole body in Base64, if it has at most 16 KiB and `body` is not all of it."""
    headers: dict[str, str] = Field(default_factory=dict)
    """The message's own headers, without the server's."""
    settled: Settled | None = None
    """Once somebody has sent the message again, or given it up."""

    @property
    def redriven(self) -> bool:
        """Whether the message had been a dead letter before, and was sent again."""
        return REDRIVEN in self.headers

    def message(self) -> bytes | None:
        """The body as it was, which its digest proves; None if the letter does not hold all of it."""
        try:
            body = base64.b64decode(self.raw, validate=True) if self.raw else self.body.encode()
        except ValueError:  # no Base64
            return None
        whole = f"sha256:{hashlib.sha256(body).hexdigest()}" == self.digest
        return body if whole else None
