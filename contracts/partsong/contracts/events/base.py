"""What every event has, on the wire and in Python."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from partsong.contracts.services import Service

__all__ = ["EventBase"]


class EventBase(BaseModel):
    """What every event has; `type` and `writer` are added by each."""

    writer: ClassVar[Service]
    """The one service that may write it. In one process the engine writes for all."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = ""
    v: Literal[1] = 1
    time: str = ""
    cause: str = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Events without a writer are refused where they are written down, by their name."""
        if not hasattr(cls, "writer"):
            raise TypeError(f"{cls.__name__} names no service as its `writer`")
