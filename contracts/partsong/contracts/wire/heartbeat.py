"""Heartbeats: what a worker says of itself once a second, and to whoever asks.

A worker's id is `<name>~<incarnation>`. The name is stable over restarts, so when a newer incarnation of a name beats
and the older one does not any more, the older one is known to be dead at once.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

__all__ = ["Beat", "Blocked", "HeldCall", "Unattended"]


class HeldCall(BaseModel):
    """One attempt of a call that a worker has in its hands."""

    model_config = ConfigDict(frozen=True, extra="allow")

    run_id: str
    call_id: str
    attempt: int = 1
    function: str = ""
    """What is called: a function, a tool, a kind of work."""
    asking: bool = False
    """It has not begun yet: its worker asks the others whether one of them works on it."""


class Blocked(BaseModel):
    """Code that lets nothing else of its worker run. The worker is alive all the same."""

    model_config = ConfigDict(frozen=True, extra="allow")

    since: str
    functions: tuple[str, ...] = ()
    """The function that runs; of a process that does not answer at all, those it may be, the latest first."""
    run_id: str = ""
    call_id: str = ""
    process: bool = False
    """The whole process does not answer, not only the loop of user code."""


class Beat(BaseModel):
    """One heartbeat."""

    model_config = ConfigDict(frozen=True, extra="allow")

    service: str
    name: str
    incarnation: str
    started: str
    in_flight: int = 0
    url: str | None = None
    """Where the service answers HTTP, if it does."""
    ready: bool = True
    """It works. False while it starts: it is alive, and what it holds is its own. Workers of before do not say."""
    draining: bool = False
    """It was told to stop: should it be gone with calls in its hands, it has not died of them."""
    stopped: bool = False
    """The last one: nothing comes from this worker any more."""
    held: tuple[HeldCall, ...] = ()
    """Calls in its hands; a heartbeat leaves out those that are a moment old, the answer to a ping has them all."""
    held_more: int = 0
    """How many calls it holds beside those: any call may be one of them."""
    blocked: Blocked | None = None

    @property
    def worker(self) -> str:
        """The id that claims carry."""
        return f"{self.name}~{self.incarnation}"


class Unattended(NamedTuple):
    """For how many seconds nobody could end a call that was begun."""

    seconds: float
    still: float
    """For how many of them it could show nothing either."""
