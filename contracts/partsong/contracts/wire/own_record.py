"""Records of the log's own: of no run, but with the form that every record has, so that any reader can pass them by."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["NO_EVENTS", "OwnRecord"]

NO_EVENTS = b'{"run":"~","events":[]}'
"""The body of a record that says nothing."""


class OwnRecord(BaseModel):
    """A body with a run that is none, and without events; what it says stands beside."""

    model_config = ConfigDict(frozen=True, extra="allow")

    run: Literal["~"] = "~"
    events: tuple[()] = ()
