"""Who is asked before a log is written to, and told of what was."""

from __future__ import annotations

from typing import Protocol

from partsong.contracts.errors import Problem

__all__ = ["Keeper"]


class Keeper(Protocol):
    """Called for every append, so it does not wait."""

    @property
    def doubtful(self) -> bool:
        """Whether some records of the log are known to be unreadable: then "there is none" is asked twice."""
        ...

    def admit(self, connection: int) -> None:
        """Let an append pass; `connection` counts how often the connection came back.

        Raises:
            Unavailable: the log is damaged; it is not written to.
            Lost: it has not been looked at on this connection; try again.
        """
        ...

    def acked(self, seq: int, id: str, stored: bytes) -> None:
        """An append was acknowledged."""
        ...

    def full(self, problem: Problem) -> None:
        """An append found no room."""
        ...

    def unanswered(self) -> None:
        """An append was given up: nobody had answered it."""
        ...
