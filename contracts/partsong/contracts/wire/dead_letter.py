"""Dead letters: what nobody could work off, with the reason, the digest of the message and its beginning."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from partsong.contracts.errors import Problem

__all__ = ["LONGEST_BODY", "DeadLetter"]

LONGEST_BODY = 4096
"""Bytes of a body that are kept."""


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
